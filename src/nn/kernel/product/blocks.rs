//! A product cut into pieces for the threads, blocks for the caches and tiles for the registers.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::Lanes;
use super::nonzeros::Nonzeros;
use super::pack::{Panels, Right, room_for};
use super::tile::{Begin, Left, Output, Target, tile};
use super::{Float, Kernel, Sink, Stop, Team};

/// Elements of a panel that are worked on at once: 20 KiB of f32, most of the first-level cache.
const PANEL_LENGTH: usize = 5120;

/// Elements of the left side that are worked on at once: 128 KiB of f32, a part of the second-level cache.
const LEFT_LENGTH: usize = 32 * 1024;

/// Elements of the right side that are packed at once: 256 KiB of f32, another part of the second-level cache.
const RIGHT_LENGTH: usize = 64 * 1024;

/// Elements of a result that are handed over at once: 64 KiB of f32.
const HANDED_OVER: usize = 16 * 1024;

/// A left side that lies against the grain is packed where so many panels read it.
const PANELS_PAY_FOR_LEFT: usize = 8;

/// `out (m,c) = bias + left (m,k) · right (k,c)`, or with `transposed` the same stored as (c,m).
#[derive(Clone, Copy)]
pub(super) struct Problem<'a, F> {
    pub(super) left: Left<'a, F>,
    pub(super) right: Right<'a, F>,
    /// `[m, k, c]`
    pub(super) size: [usize; 3],
    /// One number for each column of what is stored; without it zero.
    pub(super) bias: Option<&'a [F]>,
    pub(super) transposed: bool,
    /// Whether what is zero on the left is left out.
    pub(super) sparse: bool,
    /// How many threads may take part.
    pub(super) threads: usize,
    /// Looked at before every block of rows, or panel of a sparse product, unless the result is handed over.
    pub(super) stop: Option<&'a Stop>,
}

/// A thread's room for what it packs.
#[derive(Debug, Default)]
pub(super) struct Room<F> {
    pub(super) left: Vec<F>,
    pub(super) right: Vec<F>,
    /// Rows of a result that is handed over.
    pub(super) result: Vec<F>,
    /// The sums of a sparse product's panel.
    pub(super) sums: Vec<F>,
    pub(super) nonzeros: Nonzeros<F>,
}

/// What becomes of a result.
pub(super) enum Destination<'a, F> {
    Stored(&'a mut [F]),
    /// Some of its rows each, handed over from top to bottom.
    Taken(Vec<(Range<usize>, &'a mut dyn Sink<F>)>),
}

impl<'a, F: Float> Problem<'a, F> {
    /// On one thread, never given up.
    pub(super) fn new(left: Left<'a, F>, right: Right<'a, F>, size: [usize; 3]) -> Self {
        Self {
            left,
            right,
            size,
            bias: None,
            transposed: false,
            sparse: false,
            threads: 1,
            stop: None,
        }
    }

    pub(super) fn with_bias(self, bias: Option<&'a [F]>) -> Self {
        Self { bias, ..self }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            transposed: true,
            ..self
        }
    }

    pub(super) fn sparse(self) -> Self {
        Self { sparse: true, ..self }
    }

    /// With tiles of MR rows and NV registers.
    ///
    /// Each thread packs for itself what its piece of the result needs: no thread waits for another's packing.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    pub(super) unsafe fn run<V: Lanes<F>, const MR: usize, const NV: usize>(
        self,
        destination: Destination<'_, F>,
        (rooms, team): (&mut Vec<Room<F>>, &Team),
    ) {
        match destination {
            // SAFETY: the caller's promise.
            Destination::Stored(out) => unsafe { self.store::<V, MR, NV>(out, rooms, team) },
            // SAFETY: the caller's promise.
            Destination::Taken(sinks) => unsafe { self.hand_over::<V, MR, NV>(sinks, rooms, team) },
        }
    }

    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn store<V: Lanes<F>, const MR: usize, const NV: usize>(
        self,
        out: &mut [F],
        rooms: &mut Vec<Room<F>>,
        team: &Team,
    ) {
        let [m, _, c] = self.size;
        let width = NV * V::N;
        let (pieces, of_rows) = self.pieces(MR, width);
        if rooms.len() < pieces {
            rooms.resize_with(pieces, Room::default);
        }
        let target = Target::new(out);
        let work = |(p, room): (usize, &mut Room<F>)| {
            let part = |length: usize, unit: usize| {
                let units = length.div_ceil(unit);
                (units * p / pieces * unit)..(units * (p + 1) / pieces * unit).min(length)
            };
            let (rows, columns) = match of_rows {
                true => (part(m, 1), 0..c),
                false => (0..m, part(c, width)),
            };
            let piece = Piece::<F, V, MR, NV> {
                problem: self,
                target,
                rows,
                columns,
                room,
                lanes: PhantomData,
            };
            // SAFETY: the caller's promise; no two pieces have an element in common.
            unsafe { V::dispatch(piece) };
        };
        match pieces {
            1 => work((0, &mut rooms[0])),
            _ => team.for_each(rooms[..pieces].iter_mut().enumerate(), work),
        }
    }

    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn hand_over<V: Lanes<F>, const MR: usize, const NV: usize>(
        self,
        sinks: Vec<(Range<usize>, &mut dyn Sink<F>)>,
        rooms: &mut Vec<Room<F>>,
        team: &Team,
    ) {
        if rooms.len() < sinks.len() {
            rooms.resize_with(sinks.len(), Room::default);
        }
        let work = |(room, (rows, sink)): (&mut Room<F>, (Range<usize>, &mut dyn Sink<F>))| {
            let strip = Strip::<F, V, MR, NV> {
                problem: self,
                rows,
                sink,
                room,
                lanes: PhantomData,
            };
            // SAFETY: the caller's promise.
            unsafe { V::dispatch(strip) };
        };
        team.for_each(rooms.iter_mut().zip(sinks), work);
    }

    /// Into how many pieces the result is cut, and whether these are rows, otherwise columns: whichever way more threads
    /// take part, and if that is the same, they pack less twice.
    fn pieces(self, height: usize, width: usize) -> (usize, bool) {
        if self.threads == 1 {
            return (1, true);
        }
        let [m, k, c] = self.size;
        let of_rows = m.div_ceil(height).min(self.threads);
        let of_columns = c.div_ceil(width).min(self.threads);
        let left = if self.left.is_against_the_grain() { m * k } else { 0 };
        let right = k * c;
        let less = right <= PANEL_LENGTH || right + left / of_rows <= left + right / of_columns;
        match of_rows.cmp(&of_columns).is_gt() || of_rows == of_columns && less {
            true => (of_rows, true),
            false => (of_columns, false),
        }
    }
}

/// Some rows and columns of the result, tile by tile.
struct Piece<'a, F, V, const MR: usize, const NV: usize> {
    problem: Problem<'a, F>,
    target: Target<F>,
    rows: Range<usize>,
    columns: Range<usize>,
    room: &'a mut Room<F>,
    lanes: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Kernel for Piece<'_, F, V, MR, NV> {
    type Output = ();

    /// Blocks of the inner index keep a panel in the first-level cache, blocks of rows and columns keep both sides in
    /// the second. A block goes on with the chains that the one before it has stored.
    #[inline(always)]
    fn run(self) {
        let Problem { left, right, size, .. } = self.problem;
        let [_, k, c] = size;
        let width = NV * V::N;
        let longest = PANEL_LENGTH / width;
        let widest = (RIGHT_LENGTH / longest.min(k.max(1))).next_multiple_of(width);
        let packs_left = left.is_against_the_grain() && self.columns.len() >= PANELS_PAY_FOR_LEFT * width;
        let first_packed = right.first_packed(size, width);
        for columns in even_parts(self.columns, widest, width) {
            for inner in even_parts(0..k.max(1), longest, 1) {
                let inner = inner.start..inner.end.min(k);
                let packed = columns.start.max(first_packed).min(columns.end)..columns.end;
                // SAFETY: only `Problem::run` makes these, with its caller's promise.
                let panels = unsafe { right.panels::<V>([k, c], inner.clone(), packed, width, &mut self.room.right) };
                let highest = match k * c <= PANEL_LENGTH {
                    true => 4 * MR,
                    false => (LEFT_LENGTH / inner.len().max(1)).max(MR),
                };
                let highest = highest.min(self.rows.len());
                let mut block = Block::<F, V, MR, NV> {
                    problem: self.problem,
                    target: self.target,
                    target_row: 0,
                    packed_left: packs_left.then(|| room_for(&mut self.room.left, highest * inner.len())),
                    inner,
                    columns: columns.clone(),
                    panels,
                    lanes: PhantomData,
                };
                for rows in even_parts(self.rows.clone(), highest, 1) {
                    if self.problem.stop.is_some_and(Stop::is_asked) {
                        return;
                    }
                    block.run(rows);
                }
            }
        }
    }
}

/// Some rows of the result, which go to a sink.
struct Strip<'a, F, V, const MR: usize, const NV: usize> {
    problem: Problem<'a, F>,
    rows: Range<usize>,
    sink: &'a mut dyn Sink<F>,
    room: &'a mut Room<F>,
    lanes: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Kernel for Strip<'_, F, V, MR, NV> {
    type Output = ();

    /// As for a [`Piece`], but a few rows are made whole before the next, while they are in the cache.
    #[inline(always)]
    fn run(self) {
        let Problem { left, right, size, .. } = self.problem;
        let [_, k, c] = size;
        let width = NV * V::N;
        let packs_left = left.is_against_the_grain() && c >= PANELS_PAY_FOR_LEFT * width;
        let packed = right.first_packed(size, width)..c;
        // SAFETY: only `Problem::hand_over` makes these, with its caller's promise.
        let panels = unsafe { right.panels::<V>([k, c], 0..k, packed, width, &mut self.room.right) };
        for rows in even_parts(self.rows, (HANDED_OVER / c).max(1).next_multiple_of(MR), MR) {
            let result = room_for(&mut self.room.result, rows.len() * c);
            let target = Target::new(result);
            for inner in even_parts(0..k.max(1), PANEL_LENGTH / width, 1) {
                let inner = inner.start..inner.end.min(k);
                let mut block = Block::<F, V, MR, NV> {
                    problem: self.problem,
                    target,
                    target_row: rows.start,
                    packed_left: packs_left.then(|| room_for(&mut self.room.left, rows.len() * inner.len())),
                    columns: 0..c,
                    panels: panels.skip(inner.start),
                    inner,
                    lanes: PhantomData,
                };
                block.run(rows.clone());
            }
            self.sink.take(result);
        }
    }
}

/// Cuts a range into as few parts of at most `most` as possible, of whole units but for the last, whose lengths differ by
/// at most one unit.
#[inline(always)]
pub(super) fn even_parts(range: Range<usize>, most: usize, unit: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let units = range.len().div_ceil(unit);
    let parts = units.div_ceil(most / unit);
    let at = move |part: usize| (range.start + units * part / parts * unit).min(range.end);
    (0..parts).map(move |part| at(part)..at(part + 1))
}

/// Some columns of the result and a part of the inner index.
struct Block<'a, F, V, const MR: usize, const NV: usize> {
    problem: Problem<'a, F>,
    target: Target<F>,
    /// The row that the target begins with.
    target_row: usize,
    inner: Range<usize>,
    columns: Range<usize>,
    panels: Panels<'a, F>,
    /// Room for the left side, where packing it pays.
    packed_left: Option<&'a mut [F]>,
    lanes: PhantomData<V>,
}

impl<F: Float, V: Lanes<F>, const MR: usize, const NV: usize> Block<'_, F, V, MR, NV> {
    /// Some rows, in tiles whose heights differ by at most one: no last tile of a row or two, which would leave units idle.
    #[inline(always)]
    fn run(&mut self, rows: Range<usize>) {
        let tiles = rows.len().div_ceil(MR);
        let (height, higher) = (rows.len() / tiles, rows.len() % tiles);
        let middle = rows.start + higher * (height + 1);
        for column in self.columns.clone().step_by(NV * V::N) {
            self.tiles_of_height(height + 1, rows.start, rows.start..middle, column);
            self.tiles_of_height(height, rows.start, middle..rows.end, column);
        }
    }

    #[inline(always)]
    fn tiles_of_height(&mut self, height: usize, first: usize, rows: Range<usize>, column: usize) {
        // `MR` is known to the compiler: tiles higher than that are not compiled.
        match height {
            1 => self.tiles::<1>(first, rows, column),
            2 if MR >= 2 => self.tiles::<2>(first, rows, column),
            3 if MR >= 3 => self.tiles::<3>(first, rows, column),
            4 if MR >= 4 => self.tiles::<4>(first, rows, column),
            5 if MR >= 5 => self.tiles::<5>(first, rows, column),
            6 if MR >= 6 => self.tiles::<6>(first, rows, column),
            7 if MR >= 7 => self.tiles::<7>(first, rows, column),
            8 if MR >= 8 => self.tiles::<8>(first, rows, column),
            _ => debug_assert!(rows.is_empty(), "no tile is {height} high"),
        }
    }

    #[inline(always)]
    fn tiles<const HEIGHT: usize>(&mut self, first: usize, rows: Range<usize>, column: usize) {
        let Problem {
            left,
            size: [m, _, c],
            bias,
            transposed,
            ..
        } = self.problem;
        let strides = if transposed { [1, m] } else { [c, 1] };
        let panel = self.panels.at(column);
        for row in rows.step_by(HEIGHT) {
            let left = left.at(row, self.inner.start);
            let left = match &mut self.packed_left {
                None => left,
                Some(room) => {
                    let room = &mut room[(row - first) * self.inner.len()..][..HEIGHT * self.inner.len()];
                    if column == self.columns.start {
                        left.pack::<HEIGHT>(room);
                    }
                    Left::columns(room, HEIGHT)
                }
            };
            let output = Output {
                target: self
                    .target
                    .at((row - self.target_row) * strides[0] + column * strides[1]),
                strides,
                columns: (c - column).min(NV * V::N),
                begin: match bias {
                    _ if self.inner.start > 0 => Begin::Continue,
                    None => Begin::Zero,
                    Some(bias) if transposed => Begin::Column(&bias[row..]),
                    Some(bias) => Begin::Row(&bias[column..]),
                },
            };
            // SAFETY: only pieces and strips make these, with `Problem::run`'s caller's promise: a piece's rows and columns of
            // the result are nobody else's, a strip's result is its own.
            unsafe { tile::<F, V, HEIGHT, NV>(self.inner.len(), left, panel, output) };
        }
    }
}
