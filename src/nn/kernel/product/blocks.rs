//! A product cut into blocks for the caches, pieces for the threads and tiles for the registers.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::Start;
use super::lanes::Lanes;
use super::pack::{Panels, Right};
use super::tile::{Begin, Left, Output, Panel, tile};
use super::{Float, Kernel};

/// Elements of a panel that are worked on at once: 16 KiB of f32, half of the first-level cache.
const PANEL_LENGTH: usize = 4096;

/// Elements of the left side that are worked on at once: 128 KiB of f32, a part of the second-level cache.
const ROW_BLOCK_LENGTH: usize = 32 * 1024;

/// `out (m,c) = start + left (m,k) · right (k,c)`, or with `transposed` the same stored as (c,m).
#[derive(Clone, Copy)]
pub(super) struct Problem<'a, F> {
    pub(super) left: Left<'a, F>,
    pub(super) right: Right<'a, F>,
    /// `[m, k, c]`
    pub(super) size: [usize; 3],
    pub(super) start: Start<'a, F>,
    pub(super) transposed: bool,
    /// How many threads take part. Not with `transposed`.
    pub(super) pieces: usize,
}

impl<F: Float> Problem<'_, F> {
    /// With tiles of MR rows and NV registers. All threads read one packing.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    pub(super) unsafe fn run<V: Lanes<F>, const MR: usize, const NV: usize>(self, out: &mut [F], room: &mut Vec<F>) {
        let [m, k, c] = self.size;
        let width = NV * V::N;
        let packed = self.right.packed_panels([m, k, c], width);
        let length = packed.len() * k * width;
        if room.len() < length {
            room.resize(length, F::ZERO);
        }
        let room = &mut room[..length];
        if length > 0 {
            let pack = |(p, panel): (usize, &mut [F])| {
                let column = (packed.start + p) * width;
                let pack = Pack::<F, V> {
                    problem: self,
                    column,
                    width,
                    panel,
                    lanes: PhantomData,
                };
                // SAFETY: the caller's promise.
                unsafe { V::dispatch(pack) };
            };
            if self.pieces > 1 {
                room.par_chunks_mut(k * width).enumerate().for_each(pack);
            } else {
                room.chunks_mut(k * width).enumerate().for_each(pack);
            }
        }
        let panels = Panels {
            right: self.right,
            packed: room,
            first_packed: packed.start,
            k,
            c,
            width,
        };
        let work = |rows, out: &mut [F]| {
            let tiles = Tiles::<F, V, MR, NV> {
                problem: self,
                panels,
                rows,
                out,
                lanes: PhantomData,
            };
            // SAFETY: the caller's promise.
            unsafe { V::dispatch(tiles) };
        };
        if self.pieces > 1 {
            let rows = m.div_ceil(self.pieces);
            let pieces = out.par_chunks_mut(rows * c).enumerate();
            pieces.for_each(|(p, out)| work(p * rows..p * rows + out.len() / c, out));
        } else {
            work(0..m, out);
        }
    }
}

struct Pack<'a, F, V> {
    problem: Problem<'a, F>,
    column: usize,
    width: usize,
    panel: &'a mut [F],
    lanes: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>> Kernel for Pack<'_, F, V> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let [_, k, c] = self.problem.size;
        // SAFETY: only `Problem::run` makes these, with its caller's promise.
        unsafe {
            self.problem
                .right
                .pack::<V>([k, c], self.column, self.width, self.panel)
        };
    }
}

/// Some rows of the result, tile by tile.
struct Tiles<'a, F, V, const MR: usize, const NV: usize> {
    problem: Problem<'a, F>,
    panels: Panels<'a, F>,
    rows: Range<usize>,
    out: &'a mut [F],
    lanes: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Kernel for Tiles<'_, F, V, MR, NV> {
    type Output = ();

    /// Blocks of the inner index keep a panel in the first-level cache, blocks of rows keep the left side in the
    /// second. A block goes on with the chains that the one before it has stored.
    #[inline(always)]
    fn run(mut self) {
        let Problem {
            size: [_, k, c], start, ..
        } = self.problem;
        let width = NV * V::N;
        let blocks = k.div_ceil(PANEL_LENGTH / width).max(1);
        let length = k.div_ceil(blocks);
        let height = (ROW_BLOCK_LENGTH / length.max(1) / MR * MR).max(MR);
        for block in 0..blocks {
            self.problem.start = if block == 0 { start } else { Start::Continue };
            let inner = k.min(block * length)..k.min((block + 1) * length);
            for row in self.rows.clone().step_by(height) {
                let rows = row..self.rows.end.min(row + height);
                for column in (0..c).step_by(width) {
                    self.column_of_tiles(inner.clone(), rows.clone(), column);
                }
            }
        }
    }
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Tiles<'_, F, V, MR, NV> {
    /// Tiles whose heights differ by at most one: no last tile of a row or two, which would leave units idle.
    #[inline(always)]
    fn column_of_tiles(&mut self, inner: Range<usize>, rows: Range<usize>, column: usize) {
        let Problem {
            left,
            size: [m, _, c],
            start,
            transposed,
            ..
        } = self.problem;
        let strides = if transposed { [1, m] } else { [c, 1] };
        let panel = self.panels.at(column, inner.start);
        let tiles = rows.len().div_ceil(MR);
        for t in 0..tiles {
            let row = rows.start + rows.len() * t / tiles;
            let height = rows.start + rows.len() * (t + 1) / tiles - row;
            let output = Output {
                out: &mut self.out[(row - self.rows.start) * strides[0] + column * strides[1]..],
                strides,
                columns: (c - column).min(NV * V::N),
                begin: match start {
                    Start::Zero => Begin::Zero,
                    Start::Row(bias) if transposed => Begin::Column(&bias[row..]),
                    Start::Row(bias) => Begin::Row(&bias[column..]),
                    Start::Continue => Begin::Continue,
                },
            };
            tile_of_height::<F, V, MR, NV>(height, inner.len(), left.at(row, inner.start), panel, output);
        }
    }
}

#[inline(always)]
fn tile_of_height<F: Float, V: Lanes<F>, const MR: usize, const NV: usize>(
    height: usize,
    k: usize,
    a: Left<'_, F>,
    b: Panel<'_, F>,
    output: Output<'_, F>,
) {
    // `MR` is known to the compiler: tiles higher than that are not compiled.
    // SAFETY: only `Problem::run` makes these, with its caller's promise.
    unsafe {
        match height {
            1 => tile::<F, V, 1, NV>(k, a, b, output),
            2 if MR >= 2 => tile::<F, V, 2, NV>(k, a, b, output),
            3 if MR >= 3 => tile::<F, V, 3, NV>(k, a, b, output),
            4 if MR >= 4 => tile::<F, V, 4, NV>(k, a, b, output),
            5 if MR >= 5 => tile::<F, V, 5, NV>(k, a, b, output),
            6 if MR >= 6 => tile::<F, V, 6, NV>(k, a, b, output),
            7 if MR >= 7 => tile::<F, V, 7, NV>(k, a, b, output),
            8 if MR >= 8 => tile::<F, V, 8, NV>(k, a, b, output),
            _ => unreachable!("no tile is {height} high"),
        }
    }
}
