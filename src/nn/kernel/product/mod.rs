//! Matrix products, row-major and contiguous. Axis letters: `n` rows of the batch, `i` inputs, `o` outputs.
//!
//! Every output element is one chain of fused multiply-adds over the inner index, in order, from its starting value:
//! `sum ← a·b + sum`. How the work is cut into tiles and threads never shows in the bits.

mod blocks;
pub(super) mod lanes;
mod outer;
mod pack;
mod tile;

use blocks::Problem;
use lanes::Lanes;
use outer::outer;
use pack::Right;
use tile::Left;

use super::{Float, Kernel, Level, Stop};

/// Room for packed panels, kept by the caller so that no call allocates once it has grown; and whether a product that
/// pays for it may use the threads of rayon's current pool.
#[derive(Debug, Default)]
pub struct Workspace<F> {
    panels: Vec<F>,
    parallel: bool,
    stop: Option<Stop>,
}

impl<F: Float> Workspace<F> {
    /// Products on this thread only.
    pub fn serial() -> Self {
        Workspace {
            panels: Vec::new(),
            parallel: false,
            stop: None,
        }
    }

    /// Products that pay for it are shared out among the threads of rayon's current pool.
    pub fn parallel() -> Self {
        Workspace {
            panels: Vec::new(),
            parallel: true,
            stop: None,
        }
    }

    /// Whether products may use the threads of rayon's current pool from now on; the bits stay the same.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.parallel = parallel;
    }

    /// Products are given up, whatever is in their results then, soon after `stop` is asked for.
    pub fn heed(&mut self, stop: Stop) {
        self.stop = Some(stop);
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
///
/// The tile is as large as the level's registers allow: 6×16 f32 for the 16 registers of AVX2 (and the 32 of NEON, half
/// as wide), 8×32 for AVX-512, 8×16 if there are no more columns; long and flat if there is one row or two, to have
/// enough chains under way.
fn multiply<F: Float>(
    left: Left<'_, F>,
    right: Right<'_, F>,
    [rows, inner, columns]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    if let Start::Row(row) = start {
        assert_eq!(row.len(), columns, "the length of the starting row");
    }
    let transposed = is_narrow(columns, rows);
    let [m, c] = if transposed { [columns, rows] } else { [rows, columns] };
    let parallel = workspace.parallel && !transposed && m * inner * c >= WORTH_A_THREAD;
    let pieces = if parallel { rayon::current_num_threads() } else { 1 };
    let problem = Problem {
        left,
        right,
        size: [m, inner, c],
        start,
        transposed,
        pieces,
        stop: workspace.stop.as_ref(),
    };
    let room = &mut workspace.panels;
    // SAFETY: a level is current only where the processor has its instructions.
    unsafe {
        match (Level::current(), m) {
            (Level::Portable, _) => problem.run::<[F; 8], 6, 2>(out, room),
            #[cfg(target_arch = "x86_64")]
            (_, 1) if c <= 4 * F::Avx2::N => problem.run::<F::Avx2, 1, 4>(out, room),
            #[cfg(target_arch = "x86_64")]
            (_, 1) => problem.run::<F::Avx2, 1, 8>(out, room),
            #[cfg(target_arch = "x86_64")]
            (_, 2) => problem.run::<F::Avx2, 2, 4>(out, room),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, _) => problem.run::<F::Avx2, 6, 2>(out, room),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) if c <= F::Avx512::N => problem.run::<F::Avx512, 8, 1>(out, room),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) => problem.run::<F::Avx512, 8, 2>(out, room),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only x86-64 has other levels"),
        }
    }
}

/// Multiply-adds from which a second thread pays.
const WORTH_A_THREAD: usize = 1 << 20;

#[cfg(test)]
mod tests;
