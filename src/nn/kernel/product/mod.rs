//! Matrix products, row-major and contiguous. Axis letters: `n` rows of the batch, `i` inputs, `o` outputs.
//!
//! Every output element is one chain of fused multiply-adds over the inner index, in order, from its starting value:
//! `sum ← a·b + sum`. How the work is cut into tiles and threads never shows in the bits.

mod blocks;
pub(super) mod lanes;
mod outer;
mod pack;
mod tile;

use blocks::{Destination, Problem, Room};
use lanes::Lanes;
use outer::outer;
use pack::Right;
use tile::Left;

use super::{Float, Kernel, Level, Stop};

/// Room for packed panels, kept by the caller so that no call allocates once it has grown; and whether a product that
/// pays for it may use the threads of rayon's current pool.
#[derive(Debug, Default)]
pub struct Workspace<F> {
    /// One for each thread that has taken part.
    rooms: Vec<Room<F>>,
    parallel: bool,
    stop: Option<Stop>,
}

impl<F: Float> Workspace<F> {
    /// Products on this thread only.
    pub fn serial() -> Self {
        Workspace {
            rooms: Vec::new(),
            parallel: false,
            stop: None,
        }
    }

    /// Products that pay for it are shared out among the threads of rayon's current pool.
    pub fn parallel() -> Self {
        Workspace {
            rooms: Vec::new(),
            parallel: true,
            stop: None,
        }
    }

    /// Whether products may use the threads of rayon's current pool from now on; the bits stay the same.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.parallel = parallel;
    }

    /// How many threads may take part in a product of this size.
    fn threads(&self, [m, k, c]: [usize; 3]) -> usize {
        match self.parallel && m * k * c >= WORTH_A_THREAD {
            true => rayon::current_num_threads(),
            false => 1,
        }
    }

    /// Products are given up, whatever is in their results then, soon after `stop`, if there is one, is asked for. Returns
    /// what was heeded before.
    pub fn heed(&mut self, stop: Option<Stop>) -> Option<Stop> {
        std::mem::replace(&mut self.stop, stop)
    }

    /// Whether what is computed here is to be given up.
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::is_asked)
    }

    /// Whether work may be shared out among the threads of rayon's current pool.
    pub fn is_parallel(&self) -> bool {
        self.parallel
    }
}

/// What the chains of a product start from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, F> {
    /// From zero.
    Zero,
    /// From this row, the same for every row of the result: a bias.
    Row(&'a [F]),
    /// From what the result holds: the chains go on.
    Continue,
}

/// Takes the elements of a result, row by row, instead of memory.
pub trait Sink<F>: Send {
    /// The one that takes the first `count`, and the one that takes the rest.
    fn split_at(self, count: usize) -> (Self, Self)
    where
        Self: Sized;

    /// The next elements.
    fn take(&mut self, elements: &[F]);
}

/// `out = start + x·w`: (n,i)·(i,o) → (n,o), chains over i.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn x_w<F: Float>(
    x: &[F],
    w: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((x.len(), w.len(), out.len()), (n * i, i * o, n * o), "shapes of x·w");
    if i == 1 {
        return outer(x, w, start, out);
    }
    let (left, right) = if is_narrow(o, n) {
        (Left::columns(w, o), Right::Columns(x))
    } else {
        (Left::rows(x, i), Right::Rows(w))
    };
    multiply(left, right, [n, i, o], start, out, workspace);
}

/// `out = start + xᵀ·d`: (i,n)·(n,o) → (i,o), chains over n.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn xt_d<F: Float>(
    x: &[F],
    d: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((x.len(), d.len(), out.len()), (n * i, n * o, i * o), "shapes of xᵀ·d");
    if n == 1 {
        return outer(x, d, start, out);
    }
    let (left, right) = if is_narrow(o, i) {
        (Left::columns(d, o), Right::Rows(x))
    } else {
        (Left::columns(x, i), Right::Rows(d))
    };
    multiply(left, right, [i, n, o], start, out, workspace);
}

/// `xᵀ·d` as [`xt_d`] makes it from zero, handed over: each element once, some rows as soon as they are ready. It is never
/// given up.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn xt_d_into<F: Float, S: Sink<F>>(x: &[F], d: &[F], [n, i, o]: [usize; 3], sink: S, workspace: &mut Workspace<F>) {
    assert_eq!((x.len(), d.len()), (n * i, n * o), "shapes of xᵀ·d");
    let pieces = workspace.threads([i, n, o]).min(i);
    let mut sinks = Vec::with_capacity(pieces);
    let mut rest = sink;
    for p in 0..pieces {
        let rows = i * p / pieces..i * (p + 1) / pieces;
        let (sink, others) = rest.split_at(rows.len() * o);
        sinks.push((rows, sink));
        rest = others;
    }
    let sinks = sinks
        .iter_mut()
        .map(|(rows, sink)| (rows.clone(), sink as &mut dyn Sink<F>));
    let problem = Problem {
        left: Left::columns(x, i),
        right: Right::Rows(d),
        size: [i, n, o],
        start: Start::Zero,
        transposed: false,
        threads: pieces,
        stop: None,
    };
    run(problem, Destination::Taken(sinks.collect()), workspace);
}

/// `out = start + d·wᵀ`: (n,o)·(o,i) → (n,i), chains over o.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn d_wt<F: Float>(
    d: &[F],
    w: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((d.len(), w.len(), out.len()), (n * o, i * o, n * i), "shapes of d·wᵀ");
    if o == 1 {
        return outer(d, w, start, out);
    }
    let (left, right) = if is_narrow(i, n) {
        (Left::rows(w, o), Right::Columns(d))
    } else {
        (Left::rows(d, o), Right::Columns(w))
    };
    multiply(left, right, [n, o, i], start, out, workspace);
}

/// A narrow result is computed as its transpose, so that the SIMD lanes run along the long side.
fn is_narrow(columns: usize, rows: usize) -> bool {
    columns < 8 && columns < rows
}

/// `out (rows,columns) = start + left·right` over `inner`; if narrow, left and right are those of the transpose.
fn multiply<F: Float>(
    left: Left<'_, F>,
    right: Right<'_, F>,
    [rows, inner, columns]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    if let Start::Row(row) = start {
        assert_eq!(row.len(), columns, "the length of the starting row");
    }
    let transposed = is_narrow(columns, rows);
    let [m, c] = if transposed { [columns, rows] } else { [rows, columns] };
    let problem = Problem {
        left,
        right,
        size: [m, inner, c],
        start,
        transposed,
        threads: workspace.threads([m, inner, c]),
        stop: None,
    };
    run(problem, Destination::Stored(out), workspace);
}

/// The tile is as large as the level's registers allow: 6×16 f32 for the 16 registers of AVX2 (and the 32 of NEON, half
/// as wide), 8×32 for AVX-512, 8×16 if there are no more columns; long and flat if there is one row or two, to have
/// enough chains under way.
fn run<'a, F: Float>(mut problem: Problem<'a, F>, destination: Destination<'_, F>, workspace: &'a mut Workspace<F>) {
    let [m, _, c] = problem.size;
    if m == 0 || c == 0 {
        return;
    }
    let Workspace { rooms, stop, .. } = workspace;
    problem.stop = stop.as_ref();
    // SAFETY: a level is current only where the processor has its instructions.
    unsafe {
        match (Level::current(), m) {
            (Level::Portable, _) => problem.run::<[F; 8], 6, 2>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (_, 1) if c <= 4 * F::Avx2::N => problem.run::<F::Avx2, 1, 4>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (_, 1) => problem.run::<F::Avx2, 1, 8>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (_, 2) => problem.run::<F::Avx2, 2, 4>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, _) => problem.run::<F::Avx2, 6, 2>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) if c <= F::Avx512::N => problem.run::<F::Avx512, 8, 1>(destination, rooms),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) => problem.run::<F::Avx512, 8, 2>(destination, rooms),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only x86-64 has other levels"),
        }
    }
}

/// Multiply-adds from which a second thread pays.
const WORTH_A_THREAD: usize = 1 << 19;

#[cfg(test)]
mod tests;
