//! What the shares of a batch come to, added up in their order.

use crate::nn::kernel::product::Sink;
use crate::nn::kernel::{Buffer, Float, reduce};
use crate::nn::optimizer::{Changing, LANES};

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
const AT_ONCE: usize = 4096;

/// `gradients ← gradients + Σ shares`, each element's sum in the order of the shares; then an update of the weights, where
/// there is one. They begin with element `first` of the shares.
///
/// If `parallel`, by the threads of rayon's current pool, which have just left the shares.
pub(super) fn add<F: Float>(
    gradients: &mut [F],
    shares: &[Sums<F>],
    first: usize,
    weights: Option<Changing<'_, F>>,
    parallel: bool,
) {
    let length = gradients.len();
    if length > AT_ONCE {
        let middle = (length / 2).next_multiple_of(LANES);
        let (left, right) = gradients.split_at_mut(middle);
        let (left_weights, right_weights) = weights.map(|weights| weights.split_at(middle)).unzip();
        let left = || add(left, shares, first, left_weights, parallel);
        let right = || add(right, shares, first + middle, right_weights, parallel);
        match parallel {
            true => drop(rayon::join(left, right)),
            false => {
                left();
                right();
            }
        }
        return;
    }
    for share in shares {
        reduce::add(gradients, &share.gradients[first..][..length]);
    }
    if let Some(weights) = weights {
        weights.change_by(gradients, false);
    }
}
