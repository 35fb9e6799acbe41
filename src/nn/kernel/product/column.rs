//! The product of a matrix and a column, which needs neither tiles nor panels: the chains of neighbouring rows run side by
//! side in registers, and pieces of the matrix are transposed on their way there.

use std::marker::PhantomData;

use super::lanes::{Lanes, column};
use super::{Float, Kernel, Level, Stop, Team};

/// With fewer rows a register would not be full.
const FEWEST_ROWS: usize = 8;

/// `out (n) = begin + matrix (n,k) · weights (k)`
#[derive(Debug)]
pub(super) struct MatrixColumn<'a, F> {
    pub(super) matrix: &'a [F],
    pub(super) weights: &'a [F],
    pub(super) begin: F,
    pub(super) out: &'a mut [F],
    /// Looked at before every few rows.
    pub(super) stop: Option<&'a Stop>,
}

impl<'a, F: Float> MatrixColumn<'a, F> {
    /// Whether there are rows enough for this way.
    pub(super) fn pays(rows: usize) -> bool {
        rows >= FEWEST_ROWS
    }

    /// Shared out among so many of the team.
    pub(super) fn run(self, threads: usize, team: &Team) {
        let (rows, k) = (self.out.len(), self.weights.len());
        assert_eq!(self.matrix.len(), rows * k, "shapes of a matrix and a column");
        let pieces = threads.min(rows / FEWEST_ROWS);
        if pieces <= 1 {
            return self.run_at_level();
        }
        let mut rest = self.out;
        let piece = |p: usize| {
            let (first, end) = (rows * p / pieces, rows * (p + 1) / pieces);
            let (out, others) = std::mem::take(&mut rest).split_at_mut(end - first);
            rest = others;
            MatrixColumn {
                matrix: &self.matrix[first * k..end * k],
                out,
                ..self
            }
        };
        team.for_each((0..pieces).map(piece), MatrixColumn::run_at_level);
    }

    fn run_at_level(self) {
        // SAFETY: a level is current only where the processor has its instructions.
        unsafe {
            match Level::current() {
                Level::Portable => <[F; 8]>::dispatch(Rows::<F, [F; 8]>(self, PhantomData)),
                #[cfg(target_arch = "x86_64")]
                _ => F::Avx2::dispatch(Rows::<F, F::Avx2>(self, PhantomData)),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("only x86-64 has other levels"),
            }
        }
    }
}

/// Its rows, some at a time.
struct Rows<'a, F, V>(MatrixColumn<'a, F>, PhantomData<V>);

impl<F: Float, V: Lanes<F>> Kernel for Rows<'_, F, V> {
    type Output = ();

    /// A step of a chain waits for the one before it: so many chains go at once as registers are full.
    #[inline(always)]
    fn run(mut self) {
        match self.0.out.len() / V::N {
            0 | 1 => self.in_registers::<1>(),
            2 | 3 => self.in_registers::<2>(),
            _ => self.in_registers::<4>(),
        }
    }
}

impl<F: Float, V: Lanes<F>> Rows<'_, F, V> {
    /// In so many registers at a time; the last do some rows again where fewer are left.
    #[inline(always)]
    fn in_registers<const COUNT: usize>(&mut self) {
        let (rows, height) = (self.0.out.len(), COUNT * V::N);
        for first in (0..rows).step_by(height) {
            if self.0.stop.is_some_and(Stop::is_asked) {
                return;
            }
            // SAFETY: only `run_at_level` makes these, where the processor has the instructions.
            unsafe { self.chains::<COUNT>(first.min(rows - height)) };
        }
    }

    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn chains<const COUNT: usize>(&mut self, first: usize) {
        let MatrixColumn {
            matrix, weights, begin, ..
        } = self.0;
        let (k, height) = (weights.len(), COUNT * V::N);
        let matrix = matrix[first * k..][..height * k].as_ptr();
        let out = self.0.out[first..][..height].as_mut_ptr();
        // SAFETY: rows and columns are those of `matrix`, `out` has an element for each row; the rest is the caller's promise.
        unsafe {
            let mut sums = [V::splat(begin); COUNT];
            let (fours, rest) = weights.as_chunks::<4>();
            for (four, weights) in fours.iter().enumerate() {
                for (register, sum) in sums.iter_mut().enumerate() {
                    let columns = V::four_columns(matrix.add(register * V::N * k + 4 * four), k);
                    for (column, &weight) in columns.into_iter().zip(weights) {
                        *sum = column.mul_add(V::splat(weight), *sum);
                    }
                }
            }
            for (j, &weight) in (k - rest.len()..).zip(rest) {
                for (register, sum) in sums.iter_mut().enumerate() {
                    let column: V = column(matrix.add(register * V::N * k + j), k);
                    *sum = column.mul_add(V::splat(weight), *sum);
                }
            }
            for (register, sum) in sums.into_iter().enumerate() {
                sum.store(out.add(register * V::N));
            }
        }
    }
}
