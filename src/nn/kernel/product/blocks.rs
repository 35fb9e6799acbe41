//! A product cut into blocks for the caches, pieces for the threads and tiles for the registers.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::Start;
use super::lanes::Lanes;
use super::pack::{Panels, Right};
use super::tile::{Begin, Left, Output, tile};
use super::{Float, Kernel, Stop};

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
    /// Looked at before every block of rows.
    pub(super) stop: Option<&'a Stop>,
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
        for inner in even_parts(0..k.max(1), PANEL_LENGTH / width) {
            let inner = inner.start..inner.end.min(k);
            self.problem.start = if inner.start == 0 { start } else { Start::Continue };
            let small = k * c <= PANEL_LENGTH;
            let most = if small {
                4 * MR
            } else {
                (ROW_BLOCK_LENGTH / inner.len().max(1)).max(MR)
            };
            for rows in even_parts(self.rows.clone(), most) {
                if self.problem.stop.is_some_and(Stop::is_asked) {
                    return;
                }
                for column in (0..c).step_by(width) {
                    self.column_of_tiles(inner.clone(), rows.clone(), column);
                }
            }
        }
    }
}

/// Cuts a range into as few parts of at most `most` as possible, whose lengths differ by at most one.
#[inline(always)]
fn even_parts(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = range.len().div_ceil(most);
    let at = move |part: usize| range.start + range.len() * part / parts;
    (0..parts).map(move |part| at(part)..at(part + 1))
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Tiles<'_, F, V, MR, NV> {
    /// Tiles whose heights differ by at most one: no last tile of a row or two, which would leave units idle.
    #[inline(always)]
    fn column_of_tiles(&mut self, inner: Range<usize>, rows: Range<usize>, column: usize) {
        let tiles = rows.len().div_ceil(MR);
        let (height, higher) = (rows.len() / tiles, rows.len() % tiles);
        let middle = rows.start + higher * (height + 1);
        self.tiles_of_height(height + 1, inner.clone(), rows.start..middle, column);
        self.tiles_of_height(height, inner, middle..rows.end, column);
    }

    #[inline(always)]
    fn tiles_of_height(&mut self, height: usize, inner: Range<usize>, rows: Range<usize>, column: usize) {
        // `MR` is known to the compiler: tiles higher than that are not compiled.
        match height {
            1 => self.tiles::<1>(inner, rows, column),
            2 if MR >= 2 => self.tiles::<2>(inner, rows, column),
            3 if MR >= 3 => self.tiles::<3>(inner, rows, column),
            4 if MR >= 4 => self.tiles::<4>(inner, rows, column),
            5 if MR >= 5 => self.tiles::<5>(inner, rows, column),
            6 if MR >= 6 => self.tiles::<6>(inner, rows, column),
            7 if MR >= 7 => self.tiles::<7>(inner, rows, column),
            8 if MR >= 8 => self.tiles::<8>(inner, rows, column),
            _ => debug_assert!(rows.is_empty(), "no tile is {height} high"),
        }
    }

    #[inline(always)]
    fn tiles<const HEIGHT: usize>(&mut self, inner: Range<usize>, rows: Range<usize>, column: usize) {
        let Problem {
            left,
            size: [m, _, c],
            start,
            transposed,
            ..
        } = self.problem;
        let strides = if transposed { [1, m] } else { [c, 1] };
        let panel = self.panels.at(column, inner.start);
        for row in rows.step_by(HEIGHT) {
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
            // SAFETY: only `Problem::run` makes these, with its caller's promise.
            unsafe { tile::<F, V, HEIGHT, NV>(inner.len(), left.at(row, inner.start), panel, output) };
        }
    }
}
