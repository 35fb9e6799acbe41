//! The right operand in panels of `width` columns: packed (each panel's rows one after the other) or read where it
//! lies.

use std::ops::Range;

use super::Float;
use super::lanes::Lanes;
use super::tile::Panel;
use crate::nn::kernel::buffer::LINE;

/// The right operand (k,c).
#[derive(Clone, Copy)]
pub(super) enum Right<'a, F> {
    /// A matrix (k,c), as it is.
    Rows(&'a [F]),
    /// The transpose of a matrix (c,k).
    Columns(&'a [F]),
}

/// Right operands of up to so many elements are read where they lie: 16 KiB of f32 stay in the first-level cache unpacked.
const SMALL: usize = 4096;

/// Fewer rows of the left side don't pay for packing the right.
const FEWEST_ROWS: usize = 48;

impl<F: Float> Right<'_, F> {
    /// The column from which on panels of a product with `m` rows are packed: those that would be read past the end of a
    /// row or against the grain, and all if that pays.
    pub(super) fn first_packed(self, [m, k, c]: [usize; 3], width: usize) -> usize {
        match self {
            Right::Rows(_) if m < FEWEST_ROWS || k * c <= SMALL => c / width * width,
            _ => 0,
        }
    }

    /// The rows `inner` of a (k,c) operand, ready to be read by tiles; its columns `packed` are packed into `room`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn panels<'p, V: Lanes<F>>(
        self,
        [k, c]: [usize; 2],
        inner: Range<usize>,
        packed: Range<usize>,
        width: usize,
        room: &'p mut Vec<F>,
    ) -> Panels<'p, F>
    where
        Self: 'p,
    {
        let length = inner.len() * width;
        let room = room_for(room, packed.len().div_ceil(width) * length);
        for (index, column) in packed.clone().step_by(width).enumerate() {
            let panel = &mut room[index * length..][..length];
            let columns = (packed.end - column).min(width);
            match self {
                // SAFETY: the caller's promise.
                Right::Rows(data) => unsafe {
                    copy::<F, V>(from(data, inner.start * c + column), c, columns, panel, width);
                },
                // SAFETY: the caller's promise.
                Right::Columns(data) => unsafe {
                    transpose::<F, V>(from(data, column * k + inner.start), [columns, k], panel, width);
                },
            }
        }
        Panels {
            right: self,
            first: inner.start * c,
            skipped: 0,
            length,
            packed: room,
            first_packed: packed.start,
            c,
            width,
        }
    }
}

/// What comes from `first` on; nothing of an operand without rows.
#[inline(always)]
fn from<F>(data: &[F], first: usize) -> &[F] {
    data.get(first..).unwrap_or_default()
}

/// `length` elements of `room`, which grows to hold them, from the beginning of a cache line on.
#[inline(always)]
pub(super) fn room_for<F: Float>(room: &mut Vec<F>, length: usize) -> &mut [F] {
    let spare = LINE / size_of::<F>();
    if room.len() < length + spare {
        room.resize(length + spare, F::ZERO);
    }
    let first = room.as_ptr().align_offset(LINE).min(spare);
    &mut room[first..][..length]
}

/// Copies the first `columns` of rows that are `stride` long into the rows of `to`, `width` long, and zeros behind them.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn copy<F: Float, V: Lanes<F>>(data: &[F], stride: usize, columns: usize, to: &mut [F], width: usize) {
    for (to, from) in to.chunks_exact_mut(width).zip(data.chunks(stride)) {
        let from = &from[..columns];
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

/// Writes the transpose of `from` (rows, to.len()/width), whose rows are `stride` apart, into the rows of `to`, `width`
/// long, and zeros behind it.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn transpose<F: Float, V: Lanes<F>>(
    from: &[F],
    [rows, stride]: [usize; 2],
    to: &mut [F],
    width: usize,
) {
    let k = to.len() / width;
    if k == 0 {
        return;
    }
    let (block_rows, block_columns) = (rows / V::N * V::N, k / V::N * V::N);
    assert!(
        rows <= width && k <= stride && (rows - 1) * stride + k <= from.len(),
        "the size of a panel"
    );
    for r in (0..block_rows).step_by(V::N) {
        for c in (0..block_columns).step_by(V::N) {
            // SAFETY: r + N ≤ rows ≤ width and c + N ≤ k, so the block read ends inside `from`, and the one written
            // inside `to` (k,width); the instructions are the caller's promise.
            unsafe {
                V::transpose(
                    from.as_ptr().add(r * stride + c),
                    stride,
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
            to[r] = from[r * stride + c];
        }
        to[rows..].fill(F::ZERO);
    }
}

/// Some rows of the right operand, ready to be read by tiles.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a, F> {
    right: Right<'a, F>,
    /// Where these rows begin in an operand that lies as it is.
    first: usize,
    /// How many elements of each packed panel come before them.
    skipped: usize,
    /// Elements of a packed panel.
    length: usize,
    /// The panels from column `first_packed` on.
    packed: &'a [F],
    first_packed: usize,
    c: usize,
    width: usize,
}

impl<'a, F: Float> Panels<'a, F> {
    /// The same without the first `count` rows.
    #[inline(always)]
    pub(super) fn skip(self, count: usize) -> Self {
        Panels {
            first: self.first + count * self.c,
            skipped: self.skipped + count * self.width,
            ..self
        }
    }

    /// The panel that starts at `column`.
    #[inline(always)]
    pub(super) fn at(self, column: usize) -> Panel<'a, F> {
        match self.right {
            Right::Rows(data) if column < self.first_packed => Panel {
                data: from(data, self.first + column),
                stride: self.c,
            },
            _ => Panel {
                data: &self.packed[(column - self.first_packed) / self.width * self.length + self.skipped..],
                stride: self.width,
            },
        }
    }
}
