//! One pass over weights, gradients and slots.

use std::ops::{Range, RangeInclusive};

use crate::nn::kernel::product::Sink;
use crate::nn::kernel::{Buffer, Float, Kernel, Team, dispatch};
use crate::nn::layout::ALIGNMENT;

/// What an update does to one weight; must be `#[inline(always)]` and free of branches.
pub(super) trait Rule<F, const SLOTS: usize>: Copy + Send + Sync + 'static {
    /// From weight, gradient and slots to the new weight and slots.
    fn at(self, w: F, g: F, slots: [F; SLOTS]) -> (F, [F; SLOTS]);
}

/// The most arrays that an optimizer keeps beside the weights.
const MOST_SLOTS: usize = 3;

/// Some of the weights with what the optimizer keeps for each of them.
#[derive(Debug, Default)]
pub(crate) struct Part<'a, F> {
    weights: &'a mut [F],
    /// As long as the weights; empty are those that the optimizer hasn't.
    slots: [&'a mut [F]; MOST_SLOTS],
}

impl<'a, F: Float> Part<'a, F> {
    /// All of them.
    pub(super) fn new(weights: &'a mut [F], slots: &'a mut [Buffer<F>]) -> Self {
        let mut slots = slots.iter_mut();
        Self {
            weights,
            slots: std::array::from_fn(|_| slots.next().map_or(&mut [][..], |slot| slot)),
        }
    }

    /// The first `count` of them, and the rest.
    fn split_at(self, count: usize) -> (Self, Self) {
        let split = |array: &'a mut [F]| array.split_at_mut(count.min(array.len()));
        let (weights, other_weights) = split(self.weights);
        let mut others = [const { None }; MOST_SLOTS];
        let mut rest = others.iter_mut();
        let slots = self.slots.map(|slot| {
            let (slot, other) = split(slot);
            *rest.next().expect("one for each slot") = Some(other);
            slot
        });
        let other = Self {
            weights: other_weights,
            slots: others.map(|slot| slot.expect("filled just now")),
        };
        (Self { weights, slots }, other)
    }

    /// The same for a while.
    fn reborrow(&mut self) -> Part<'_, F> {
        Part {
            weights: self.weights,
            slots: self.slots.each_mut().map(|slot| &mut **slot),
        }
    }
}

/// Weights that a thread takes at a time.
const PIECE: RangeInclusive<usize> = 1024..=1 << 15;
/// Weights change so many at a time: any part of them has a multiple of it.
pub(crate) const LANES: usize = ALIGNMENT;

/// What a step does to any part of the weights; each depends on its own gradient alone.
pub(crate) struct Update<F>(Box<Change<F>>);

type Change<F> = dyn Fn(Part<'_, F>, &[F]) + Send + Sync;

impl<F: Float> Update<F> {
    /// First `w ← w − w·decay`, then the rule.
    pub(super) fn new<R: Rule<F, SLOTS>, const SLOTS: usize>(rule: R, decay: F) -> Self {
        const { assert!(SLOTS <= MOST_SLOTS) }
        Self(Box::new(move |part, gradients| {
            let mut slots = part.slots.into_iter();
            dispatch(Sweep {
                rule,
                decay,
                weights: part.weights,
                gradients,
                slots: std::array::from_fn(|_| slots.next().expect("no more than there are")),
            });
        }))
    }

    /// Changes some weights by their gradients; the team never shows in the bits.
    ///
    /// # Panics
    /// If there are more gradients than weights.
    pub(crate) fn apply(&self, part: Part<'_, F>, gradients: &[F], team: &Team) {
        let size = team.piece(gradients.len(), PIECE).next_multiple_of(LANES);
        if gradients.len() <= size {
            return self.0(part, gradients);
        }
        let mut rest = part;
        let mut next = |count: usize| {
            let (next, others) = std::mem::take(&mut rest).split_at(count);
            rest = others;
            next
        };
        let pieces = gradients.chunks(size);
        let pieces = pieces.map(|gradients| (next(gradients.len()), gradients));
        team.for_each(pieces, |(part, gradients)| self.0(part, gradients));
    }
}

/// Weights that an update is to change.
pub(crate) struct Changing<'a, F> {
    part: Part<'a, F>,
    update: &'a Update<F>,
}

impl<'a, F: Float> Changing<'a, F> {
    pub(crate) fn new(part: Part<'a, F>, update: &'a Update<F>) -> Self {
        Self { part, update }
    }

    /// As they are now.
    pub(crate) fn weights(&self) -> &[F] {
        self.part.weights
    }

    /// Those in a range.
    pub(crate) fn slice(&mut self, range: Range<usize>) -> Changing<'_, F> {
        let (before, _) = self.part.reborrow().split_at(range.end);
        Changing::new(before.split_at(range.start).1, self.update)
    }

    /// The same for a while.
    pub(crate) fn reborrow(&mut self) -> Changing<'_, F> {
        Changing::new(self.part.reborrow(), self.update)
    }

    /// See [`Update::apply`].
    pub(crate) fn change_by(self, gradients: &[F], team: &Team) {
        self.update.apply(self.part, gradients, team);
    }
}

/// As their gradients come.
impl<F: Float> Sink<F> for Changing<'_, F> {
    fn split_at(self, count: usize) -> (Self, Self) {
        let (first, rest) = self.part.split_at(count);
        (Self::new(first, self.update), Self::new(rest, self.update))
    }

    fn take(&mut self, gradients: &[F]) {
        let (now, rest) = std::mem::take(&mut self.part).split_at(gradients.len());
        self.update.0(now, gradients);
        self.part = rest;
    }
}

struct Sweep<'a, F, R, const SLOTS: usize> {
    rule: R,
    decay: F,
    weights: &'a mut [F],
    gradients: &'a [F],
    slots: [&'a mut [F]; SLOTS],
}

impl<F: Float, R: Rule<F, SLOTS>, const SLOTS: usize> Kernel for Sweep<'_, F, R, SLOTS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let weights = self.weights.as_chunks_mut::<LANES>().0;
        let gradients = self.gradients.as_chunks::<LANES>().0;
        let mut slots = self.slots.map(|slot| slot.as_chunks_mut::<LANES>().0.iter_mut());
        for (w, g) in weights.iter_mut().zip(gradients) {
            let chunk: [&mut [F; LANES]; SLOTS] =
                std::array::from_fn(|slot| slots[slot].next().expect("slots are as long as the weights"));
            for lane in 0..LANES {
                let decayed = w[lane] - w[lane] * self.decay;
                let old = std::array::from_fn(|slot| chunk[slot][lane]);
                let (new, kept) = self.rule.at(decayed, g[lane], old);
                w[lane] = new;
                for slot in 0..SLOTS {
                    chunk[slot][lane] = kept[slot];
                }
            }
        }
    }
}
