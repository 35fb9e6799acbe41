//! The elements of a left side that are not zero, row by row: compressed sparse rows (CSR), block by block of the inner
//! index.

use std::ops::Range;

use super::Float;
use super::lanes::Lanes;
use super::pack::room_for;
use super::tile::{Left, Panel, Target, load_all, store_all};

/// Rows of a left side that lies against the grain are transposed so many at a time.
const TRANSPOSED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Nonzeros<F> {
    values: Vec<F>,
    /// Where in a panel the row begins that a value is multiplied with.
    offsets: Vec<u32>,
    /// Where the values of each row end in each block: (blocks, rows).
    ends: Vec<usize>,
    rows: usize,
    /// The length of each block.
    lengths: Vec<usize>,
    width: usize,
}

impl<F: Float> Nonzeros<F> {
    /// Lists some rows of `left`, for panels `width` wide of the blocks' rows; `room` is to work in.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn list<V: Lanes<F>>(
        &mut self,
        left: Left<'_, F>,
        rows: Range<usize>,
        blocks: impl Iterator<Item = Range<usize>> + Clone,
        width: usize,
        room: &mut Vec<F>,
    ) {
        self.ends.clear();
        self.lengths.clear();
        (self.rows, self.width) = (rows.len(), width);
        // A register is written at once, whatever of it counts.
        let elements = rows.len() * blocks.clone().map(|inner| inner.len()).sum::<usize>() + V::N;
        if self.values.len() < elements {
            self.values.resize(elements, F::ZERO);
            self.offsets.resize(elements, 0);
        }
        for inner in blocks {
            self.lengths.push(inner.len());
            if !left.is_against_the_grain() {
                for r in rows.clone() {
                    // SAFETY: the caller's promise.
                    unsafe { self.append::<V>(left.row(r, inner.clone())) };
                }
                continue;
            }
            for first in rows.clone().step_by(TRANSPOSED) {
                let count = (rows.end - first).min(TRANSPOSED);
                let transposed = room_for(room, count * inner.len());
                // SAFETY: the caller's promise.
                unsafe { left.at(first, inner.start).transpose_into::<V>(inner.len(), transposed) };
                for row in transposed.chunks_exact(inner.len()) {
                    // SAFETY: the caller's promise.
                    unsafe { self.append::<V>(row) };
                }
            }
        }
    }

    /// Lists a row of a block.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn append<V: Lanes<F>>(&mut self, row: &[F]) {
        let first = self.ends.last().copied().unwrap_or_default();
        let room = first..first + row.len() + V::N;
        let (values, offsets) = (&mut self.values[room.clone()], &mut self.offsets[room]);
        let (whole, rest) = row.split_at(row.len() / V::N * V::N);
        let mut count = 0;
        for (register, numbers) in whole.chunks_exact(V::N).enumerate() {
            let counted = [register * V::N * self.width, self.width].map(|count| count as u32);
            // SAFETY: so far no more have been listed than there were before, and the room has a register more than the row;
            // the instructions are the caller's promise.
            unsafe {
                let (values, offsets) = (values.as_mut_ptr().add(count), offsets.as_mut_ptr().add(count));
                count += V::compress(numbers.as_ptr(), counted, values, offsets);
            }
        }
        for (k, &value) in rest.iter().enumerate() {
            values[count] = value;
            offsets[count] = ((whole.len() + k) * self.width) as u32;
            count += usize::from(value != F::ZERO);
        }
        self.ends.push(first + count);
    }

    /// The chains of each row over a block: `target (rows, NV·V::N) = begin + left · panel`, its rows `stride` apart. Without
    /// numbers to begin with they go on from what the target holds.
    ///
    /// # Panics
    /// If the panel is not one of those that the block was listed for, or a row does not lie in the target.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; while this runs the target lives and nobody else reads or writes these elements
    /// of it.
    #[inline(always)]
    pub(super) unsafe fn multiply<V: Lanes<F>, const NV: usize>(
        &self,
        block: usize,
        panel: Panel<'_, F>,
        begin: Option<&[F]>,
        (target, stride): (Target<F>, usize),
    ) {
        let width = NV * V::N;
        assert!(
            width == self.width && panel.stride == width && panel.data.len() >= self.lengths[block] * width,
            "the panel is as it was said to be"
        );
        let to = target.reach((self.rows - 1) * stride + width);
        let ends = &self.ends[block * self.rows..][..self.rows];
        let mut first = match block {
            0 => 0,
            _ => self.ends[block * self.rows - 1],
        };
        let panel = panel.data.as_ptr();
        for (r, &end) in ends.iter().enumerate() {
            let list = self.values[first..end].iter().zip(&self.offsets[first..end]);
            // SAFETY: `reach` has found this row in the target; an offset is `width` times an index below the block's length, so that
            // as many numbers from there on lie in the panel; the rest is the caller's promise.
            unsafe {
                let to = to.add(r * stride);
                let mut sums: [V; NV] = match begin {
                    Some(begin) => load_all(begin[..width].as_ptr()),
                    None => load_all(to),
                };
                for (&value, &offset) in list {
                    let (left, right) = (V::splat(value), panel.add(offset as usize));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = left.mul_add(V::load(right.add(v * V::N)), *sum);
                    }
                }
                store_all(sums, to);
            }
            first = end;
        }
    }

    /// Has nothing here that a test would take for right.
    #[cfg(test)]
    pub(super) fn spoil(&mut self) {
        self.values.fill(F::NAN);
        self.offsets.fill(u32::MAX);
        self.ends.clear();
    }
}
