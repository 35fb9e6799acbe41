//! The right operand in panels of `width` columns: packed (each panel's rows one after the other) or read where it
//! lies.

use std::ops::Range;

use super::Float;
use super::lanes::Lanes;
use super::tile::Panel;

/// The right operand (k,c).
#[derive(Clone, Copy)]
pub(super) enum Right<'a, F> {
    /// A matrix (k,c), as it is.
    Rows(&'a [F]),
    /// The transpose of a matrix (c,k).
    Columns(&'a [F]),
}

impl<F: Float> Right<'_, F> {
    /// Which panels must be packed for a product with `m` rows: those that would be read past the end of a row or
    /// against the grain, and all if that pays.
    pub(super) fn packed_panels(self, [m, k, c]: [usize; 3], width: usize) -> Range<usize> {
        let panels = c.div_ceil(width);
        match self {
            Right::Rows(_) if m < 48 || k * c <= 4096 => c / width..panels,
            _ => 0..panels,
        }
    }

    /// Fills `panel` (k,width) with the columns from `column` on, zeros beyond the last.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn pack<V: Lanes<F>>(self, [k, c]: [usize; 2], column: usize, width: usize, panel: &mut [F]) {
        let columns = (c - column).min(width);
        match self {
            Right::Rows(data) => {
                for (to, from) in panel.chunks_exact_mut(width).zip(data.chunks_exact(c)) {
                    let from = &from[column..column + columns];
                    if columns == width {
                        for (to, from) in to.chunks_exact_mut(V::N).zip(from.chunks_exact(V::N)) {
                            // SAFETY: both have `V::N` elements; the instructions are the caller's promise.
                            unsafe { V::load(from.as_ptr()).store(to.as_mut_ptr()) };
                        }
                    } else {
                        to[..columns].copy_from_slice(from);
                        to[columns..].fill(F::ZERO);
                    }
                }
            }
            // SAFETY: the caller's promise.
            Right::Columns(data) => unsafe {
                transpose::<F, V>(&data[column * k..(column + columns) * k], k, panel, width);
            },
        }
    }
}

/// Writes the transpose of `from`, whose rows are `k` long, into the rows of `to`, `width` long, and zeros behind it.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn transpose<F: Float, V: Lanes<F>>(from: &[F], k: usize, to: &mut [F], width: usize) {
    let rows = from.len() / k;
    let (block_rows, block_columns) = (rows / V::N * V::N, k / V::N * V::N);
    assert!(rows <= width && to.len() == k * width, "the size of a panel");
    for r in (0..block_rows).step_by(V::N) {
        for c in (0..block_columns).step_by(V::N) {
            // SAFETY: r + N ≤ rows ≤ width and c + N ≤ k, so the block read ends inside `from` (rows,k), and the one
            // written inside `to` (k,width); the instructions are the caller's promise.
            unsafe {
                V::transpose(
                    from.as_ptr().add(r * k + c),
                    k,
                    to.as_mut_ptr().add(c * width + r),
                    width,
                )
            };
        }
    }
    if block_rows == width && block_columns == k {
        return;
    }
    for (c, to) in to.chunks_exact_mut(width).enumerate() {
        let first = if c < block_columns { block_rows } else { 0 };
        for r in first..rows {
            to[r] = from[r * k + c];
        }
        to[rows..].fill(F::ZERO);
    }
}

/// The right operand, ready to be read by tiles.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a, F> {
    pub(super) right: Right<'a, F>,
    /// The panels from `first_packed` on, each (k,width).
    pub(super) packed: &'a [F],
    pub(super) first_packed: usize,
    pub(super) k: usize,
    pub(super) c: usize,
    pub(super) width: usize,
}

impl<'a, F: Float> Panels<'a, F> {
    /// The panel that starts at `column`, from inner index `k` on.
    #[inline(always)]
    pub(super) fn at(self, column: usize, k: usize) -> Panel<'a, F> {
        let panel = column / self.width;
        match self.right {
            Right::Rows(data) if panel < self.first_packed => Panel {
                data: &data[k * self.c + column..],
                stride: self.c,
            },
            _ => {
                let start = ((panel - self.first_packed) * self.k + k) * self.width;
                Panel {
                    data: &self.packed[start..],
                    stride: self.width,
                }
            }
        }
    }
}
