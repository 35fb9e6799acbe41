//! What the shares of a batch come to, added up in their order.

use std::ops::RangeInclusive;

use crate::nn::kernel::product::Sink;
use crate::nn::kernel::{Buffer, Float, Team, reduce};
use crate::nn::optimizer::{Changing, LANES, OptimizerSpec, OptimizerState};

/// What the rows of a share come to.
#[derive(Debug)]
pub(super) struct Sums<F> {
    pub(super) loss: f64,
    /// Laid out as the trainable weights.
    pub(super) gradients: Buffer<F>,
}

impl<F: Float> Sums<F> {
    pub(super) fn new(weights: usize) -> Self {
        Self {
            loss: 0.0,
            gradients: Buffer::filled(F::ZERO, weights),
        }
    }
}

/// The gradients become those of the first share, which there must be; returns the others.
pub(super) fn begin_with<'a, F: Float>(gradients: &mut Buffer<F>, shares: &'a mut [Sums<F>]) -> &'a mut [Sums<F>] {
    let (first, others) = shares.split_at_mut(1);
    std::mem::swap(gradients, &mut first[0].gradients);
    others
}

/// Gradients that a thread adds up at a time.
const PIECE: RangeInclusive<usize> = 1024..=4096;

/// `gradients ← gradients + Σ shares`, each element's sum in the order of the shares; then a step of the optimizer, where there
/// is one.
pub(super) fn add<F: Float>(
    gradients: &mut [F],
    shares: &[Sums<F>],
    weights: &mut [F],
    step: Option<(&OptimizerSpec, &mut OptimizerState<F>)>,
    team: &Team,
) {
    let mut step = step.map(|(optimizer, state)| (optimizer.begin_step(state), state));
    let mut rest = step
        .as_mut()
        .map(|(update, state)| Changing::new(state.part(weights), update));
    let size = team.piece(gradients.len(), PIECE).next_multiple_of(LANES);
    let mut next = |count: usize| {
        let (next, others) = rest.take().map(|weights| weights.split_at(count)).unzip();
        rest = others;
        next
    };
    let pieces = gradients.chunks_mut(size).enumerate();
    let pieces = pieces.map(|(number, gradients)| {
        let weights = next(gradients.len());
        (number * size, gradients, weights)
    });
    team.for_each(pieces, |(first, gradients, weights)| {
        for share in shares {
            reduce::add(gradients, &share.gradients[first..][..gradients.len()]);
        }
        if let Some(weights) = weights {
            weights.change_by(gradients, &Team::default());
        }
    });
}
