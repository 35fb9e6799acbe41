//! One pass over weights, gradients and slots.

use crate::nn::kernel::{Float, Kernel, dispatch};

/// What an update does to one weight; must be `#[inline(always)]` and free of branches.
pub(super) trait Rule<F, const SLOTS: usize>: Copy + Send + Sync {
    /// From weight, gradient and slots to the new weight and slots.
    fn at(self, w: F, g: F, slots: [F; SLOTS]) -> (F, [F; SLOTS]);
}

/// Numbers a thread takes at a time; below twice as many the update stays on one thread.
const SHARE: usize = 1 << 15;
/// The flat buffers' length is a multiple of this.
const LANES: usize = 16;

/// Updates every weight: first `w ← w − w·decay`, then the rule. Each element depends on itself alone, so that
/// threads (those of rayon's current pool, if `parallel`) never show in the bits.
pub(super) fn update<F: Float, R: Rule<F, SLOTS>, const SLOTS: usize>(
    rule: R,
    decay: F,
    weights: &mut [F],
    gradients: &[F],
    slots: [&mut [F]; SLOTS],
    parallel: bool,
) {
    if parallel && weights.len() >= 2 * SHARE {
        let middle = (weights.len() / 2).next_multiple_of(LANES);
        let (left, right) = weights.split_at_mut(middle);
        let (left_gradients, right_gradients) = gradients.split_at(middle);
        let mut right_slots = [const { None }; SLOTS];
        let mut rest = right_slots.iter_mut();
        let left_slots = slots.map(|slot| {
            let (left, right) = slot.split_at_mut(middle);
            *rest.next().expect("one for each slot") = Some(right);
            left
        });
        let right_slots = right_slots.map(|slot| slot.expect("filled just now"));
        rayon::join(
            || update(rule, decay, left, left_gradients, left_slots, true),
            || update(rule, decay, right, right_gradients, right_slots, true),
        );
    } else {
        dispatch(Update {
            rule,
            decay,
            weights,
            gradients,
            slots,
        });
    }
}

struct Update<'a, F, R, const SLOTS: usize> {
    rule: R,
    decay: F,
    weights: &'a mut [F],
    gradients: &'a [F],
    slots: [&'a mut [F]; SLOTS],
}

impl<F: Float, R: Rule<F, SLOTS>, const SLOTS: usize> Kernel for Update<'_, F, R, SLOTS> {
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
