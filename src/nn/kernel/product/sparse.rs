//! Products whose left side is full of zeros, as relu, dropout and columns of ones and zeros make it: only the rest is
//! multiplied.
//!
//! A chain of fused multiply-adds stays what it is where a factor is zero, so these steps are left out: for finite numbers the
//! bits are those of the dense product, but for the sign of a sum that is zero.
//!
//! Each step loads what it multiplies, so that loads are the limit and wider registers bring nothing: all of x86-64 takes AVX2's.

use std::marker::PhantomData;
use std::ops::Range;

use super::blocks::{Destination, Problem, Room, even_parts};
use super::lanes::Lanes;
use super::pack::room_for;
use super::tile::Target;
use super::{Float, Kernel, Level, Sink, Stop, Team};

/// Elements of a panel that are worked on at once: 20 KiB of f32, most of the first-level cache.
const PANEL_LENGTH: usize = 5120;

/// The widest panel's registers, and the numbers in the widest of them.
const MOST_REGISTERS: usize = 12;
const WIDEST_REGISTER: usize = 8;

/// Elements of the left side that are listed at once: 512 KiB of f32 and offsets, half of the second-level cache.
const LISTED: usize = 64 * 1024;

/// Elements of the left side that may be listed at once where the result can't be had otherwise.
const MOST_LISTED: usize = 512 * 1024;

/// Fewer rows would not pay for packing the right side.
const FEWEST_ROWS: usize = 64;

/// Fewer columns would leave a panel empty.
pub(super) const FEWEST_COLUMNS: usize = 64;

/// A shorter inner index would not pay for loading and storing sums.
const FEWEST_STEPS: usize = 16;

/// Elements that are looked at to tell how many are zero.
const SAMPLES: usize = 128;

/// Of these: fewer zeros would not pay, for a dense tile does more with each element that it loads.
const FEWEST_ZEROS: usize = 45;

/// Where none of so many samples is zero the others aren't looked at.
const FIRST_SAMPLES: usize = 16;

/// Where the samples lie, as multiples of 2⁻⁶⁴ of the matrix's length: as good as random, for even steps would meet the same
/// few columns where the row count suits them. Source: SplitMix64, Steele, Lea, Flood 2014.
static PLACES: [u64; SAMPLES] = {
    let mut places = [0; SAMPLES];
    let mut sample = 0;
    while sample < SAMPLES {
        let number = (sample as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        places[sample] = number ^ (number >> 31);
        sample += 1;
    }
    places
};

/// How many of some elements of `left` (m,k), spread all over it, are zero; `None` if they are too few, or the product
/// `left`·(k,c) too small, for leaving them out to pay.
///
/// That depends on nothing but shape and numbers, and so do the bits.
pub(super) fn sampled_zeros<F: Float>(left: &[F], [m, k, c]: [usize; 3]) -> Option<usize> {
    if m < FEWEST_ROWS || k < FEWEST_STEPS || c < FEWEST_COLUMNS || FEWEST_ROWS * k > MOST_LISTED {
        return None;
    }
    let element = |&place: &u64| left[((u128::from(place) * left.len() as u128) >> 64) as usize];
    let zeros = |places: &[u64]| places.iter().filter(|place| element(place) == F::ZERO).count();
    let (first, others) = PLACES.split_at(FIRST_SAMPLES);
    match zeros(first) {
        0 => None,
        some => Some(some + zeros(others)).filter(|&zeros| zeros >= FEWEST_ZEROS),
    }
}

/// Whether a left side may be listed, and have sums, whole: without that no result can be handed over.
pub(super) fn is_listed_whole([m, k, _]: [usize; 3]) -> bool {
    m * k.max(MOST_REGISTERS * WIDEST_REGISTER) <= MOST_LISTED
}

/// As [`super::run`], but what is zero on the left is left out. A transpose has no bias; only a transpose is handed over, its
/// columns being rows of the result.
pub(super) fn run<F: Float>(
    problem: Problem<'_, F>,
    destination: Destination<'_, F>,
    (rooms, team): (&mut Vec<Room<F>>, &Team),
) {
    debug_assert!(!problem.transposed || problem.bias.is_none());
    let parts = parts(&problem, destination);
    if rooms.len() < parts.len() {
        rooms.resize_with(parts.len(), Room::default);
    }
    let work = |(room, part): (&mut Room<F>, Part<'_, F>)| {
        // SAFETY: a level is current only where the processor has its instructions; no two parts have an element of the
        // result in common.
        unsafe {
            match Level::current() {
                Level::Portable => part.run::<[F; 8]>(problem, room),
                #[cfg(target_arch = "x86_64")]
                _ => part.run::<F::Avx2>(problem, room),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("only x86-64 has other levels"),
            }
        }
    };
    team.for_each(rooms.iter_mut().zip(parts), work);
}

/// Some rows and columns of the result.
struct Part<'a, F> {
    rows: Range<usize>,
    columns: Range<usize>,
    outlet: Outlet<'a, F>,
}

/// What becomes of a part.
enum Outlet<'a, F> {
    Stored(Target<F>),
    Taken(&'a mut dyn Sink<F>),
}

/// A part for each thread: columns if there are enough, for listing the left side twice costs less than packing the right.
fn parts<'a, F: Float>(problem: &Problem<'_, F>, destination: Destination<'a, F>) -> Vec<Part<'a, F>> {
    let Problem {
        size: [m, _, c],
        threads,
        ..
    } = *problem;
    let [of_rows, of_columns] = [m / FEWEST_ROWS, c / FEWEST_COLUMNS].map(|most| most.min(threads));
    // At lines of the cache, which then belong to one thread each where the result's rows begin with one.
    let cut = |length: usize, pieces: usize| {
        let at = move |p: usize| (length * p / pieces).next_multiple_of(16).min(length);
        (0..pieces).map(move |p| at(p)..at(p + 1))
    };
    let part = |rows, columns, outlet| Part { rows, columns, outlet };
    match destination {
        Destination::Taken(sinks) => sinks
            .into_iter()
            .map(|(columns, sink)| part(0..m, columns, Outlet::Taken(sink)))
            .collect(),
        Destination::Stored(out) if of_columns >= of_rows => {
            let target = Target::new(out);
            let columns = cut(c, of_columns);
            columns
                .map(|columns| part(0..m, columns, Outlet::Stored(target)))
                .collect()
        }
        Destination::Stored(out) => {
            let target = Target::new(out);
            cut(m, of_rows)
                .map(|rows| part(rows, 0..c, Outlet::Stored(target)))
                .collect()
        }
    }
}

impl<F: Float> Part<'_, F> {
    /// # Safety
    /// The processor has the instructions of `V`; while this runs nobody else reads or writes these elements of the result.
    unsafe fn run<V: Lanes<F>>(self, problem: Problem<'_, F>, room: &mut Room<F>) {
        // Enough registers to keep the units for multiply-adds busy: as many as leave least of the last panel empty.
        let used = |registers: &usize| self.columns.len().div_ceil(registers * V::N) * registers;
        let best = [MOST_REGISTERS, 10, 8].into_iter().min_by_key(used);
        // SAFETY: the caller's promise.
        unsafe {
            match best {
                Some(MOST_REGISTERS) => V::dispatch(InPanels::<F, V, MOST_REGISTERS>::new(self, problem, room)),
                Some(10) => V::dispatch(InPanels::<F, V, 10>::new(self, problem, room)),
                _ => V::dispatch(InPanels::<F, V, 8>::new(self, problem, room)),
            }
        }
    }
}

/// A part in panels of NV registers.
struct InPanels<'r, 'p, F, V, const NV: usize> {
    part: Part<'r, F>,
    problem: Problem<'p, F>,
    room: &'p mut Room<F>,
    lanes: PhantomData<V>,
}

impl<'r, 'p, F, V, const NV: usize> InPanels<'r, 'p, F, V, NV> {
    fn new(part: Part<'r, F>, problem: Problem<'p, F>, room: &'p mut Room<F>) -> Self {
        Self {
            part,
            problem,
            room,
            lanes: PhantomData,
        }
    }
}

impl<F: Float, V: Lanes<F>, const NV: usize> Kernel for InPanels<'_, '_, F, V, NV> {
    type Output = ();

    /// A part of a panel is packed into the first-level cache and met by all rows that are listed; their sums lie in the
    /// second until the panel is done.
    #[inline(always)]
    fn run(self) {
        let Part {
            rows,
            columns,
            mut outlet,
        } = self.part;
        let Problem {
            left,
            right,
            size: [m, k, c],
            bias,
            transposed,
            stop,
            ..
        } = self.problem;
        let Room {
            left: transposed_left,
            right: packed,
            result,
            sums,
            nonzeros,
        } = self.room;
        let width = NV * V::N;
        let blocks = even_parts(0..k, PANEL_LENGTH / width, 1);
        let highest = match outlet {
            Outlet::Stored(_) => (LISTED / k.max(width)).max(FEWEST_ROWS),
            Outlet::Taken(_) => m,
        };
        for rows in even_parts(rows, highest, 1) {
            // SAFETY: only `Part::run` makes these, with its caller's promise.
            unsafe { nonzeros.list::<V>(left, rows.clone(), blocks.clone(), width, transposed_left) };
            for column in columns.clone().step_by(width) {
                if stop.is_some_and(Stop::is_asked) {
                    return;
                }
                let columns = column..columns.end.min(column + width);
                let target = match outlet {
                    Outlet::Stored(target) if !transposed => Some(target.at(rows.start * c + column)),
                    _ => None,
                };
                // A whole panel of what is stored as it is needs no other place for its sums.
                let at_once = target.filter(|_| columns.len() == width).map(|target| (target, c));
                let sums = room_for(sums, if at_once.is_some() { 0 } else { rows.len() * width });
                let place = at_once.unwrap_or_else(|| (Target::new(sums), width));
                let mut edge = [F::ZERO; MOST_REGISTERS * WIDEST_REGISTER];
                if let Some(bias) = bias {
                    edge[..columns.len()].copy_from_slice(&bias[columns.clone()]);
                }
                for (block, inner) in blocks.clone().enumerate() {
                    let begin = (block == 0).then_some(&edge[..width]);
                    // SAFETY: as above.
                    unsafe {
                        let panels = right.panels::<V>([k, c], inner, columns.clone(), width, packed);
                        nonzeros.multiply::<V, NV>(block, panels.at(column), begin, place);
                    }
                }
                if at_once.is_some() {
                    continue;
                }
                let sums = PanelSums {
                    sums,
                    width,
                    columns: columns.len(),
                };
                // SAFETY: as above; a result that is handed over is this thread's own.
                unsafe {
                    match (&mut outlet, target) {
                        (_, Some(target)) => sums.store(target, c),
                        (Outlet::Stored(target), None) => {
                            sums.store_transposed::<V>(target.at(column * m + rows.start), m)
                        }
                        (Outlet::Taken(sink), None) => {
                            let result = room_for(result, columns.len() * m);
                            sums.store_transposed::<V>(Target::new(result), m);
                            sink.take(result);
                        }
                    }
                }
            }
        }
    }
}

/// Rows of sums, `width` long, of which the first `columns` are wanted.
struct PanelSums<'a, F> {
    sums: &'a [F],
    width: usize,
    columns: usize,
}

impl<F: Float> PanelSums<'_, F> {
    /// Writes them into rows of the result that are `stride` apart.
    ///
    /// # Safety
    /// While this runs the result lives and nobody else reads or writes these elements of it.
    #[inline(always)]
    unsafe fn store(&self, target: Target<F>, stride: usize) {
        let rows = self.sums.len() / self.width;
        let to = target.reach((rows - 1) * stride + self.columns);
        for (r, sums) in self.sums.chunks_exact(self.width).enumerate() {
            // SAFETY: inside what `reach` has found in the result; the rest is the caller's promise.
            unsafe { to.add(r * stride).copy_from_nonoverlapping(sums.as_ptr(), self.columns) };
        }
    }

    /// Writes their transpose into rows of the result that are `stride` apart.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; while this runs the result lives and nobody else reads or writes these
    /// elements of it.
    #[inline(always)]
    unsafe fn store_transposed<V: Lanes<F>>(&self, target: Target<F>, stride: usize) {
        let rows = self.sums.len() / self.width;
        let to = target.reach((self.columns - 1) * stride + rows);
        let (whole_rows, whole_columns) = (rows / V::N * V::N, self.columns / V::N * V::N);
        // Along the rows of the result, whose lines are then written whole.
        for c in (0..whole_columns).step_by(V::N) {
            for r in (0..whole_rows).step_by(V::N) {
                // SAFETY: N rows from r on and N columns from c on are there; the rest is the caller's promise.
                unsafe {
                    V::transpose(
                        self.sums.as_ptr().add(r * self.width + c),
                        self.width,
                        to.add(c * stride + r),
                        stride,
                    )
                };
            }
        }
        for (r, sums) in self.sums.chunks_exact(self.width).enumerate() {
            let first = if r < whole_rows { whole_columns } else { 0 };
            for (c, &sum) in sums[..self.columns].iter().enumerate().skip(first) {
                // SAFETY: one of their elements; the rest is the caller's promise.
                unsafe { to.add(c * stride + r).write(sum) };
            }
        }
    }
}
