//! What the shares of a batch come to, added up in their order.

use rayon::prelude::*;

use crate::nn::kernel::{Float, reduce};

/// What the rows of a share come to.
#[derive(Debug)]
pub(super) struct Sums<F> {
    pub(super) loss: f64,
    /// Laid out as the trainable weights.
    pub(super) gradients: Vec<F>,
}

impl<F: Float> Sums<F> {
    pub(super) fn new(weights: usize) -> Self {
        Self {
            loss: 0.0,
            gradients: vec![F::ZERO; weights],
        }
    }
}

/// `gradients = Σ shares`, which are used up.
pub(super) fn begin_with<F: Float>(gradients: &mut Vec<F>, shares: &mut [Sums<F>]) {
    if let Some((first, others)) = shares.split_first_mut() {
        std::mem::swap(gradients, &mut first.gradients);
        add(gradients, others);
    }
}

/// Gradients that a thread adds up at a time.
const AT_ONCE: usize = 4096;

/// `gradients ← gradients + Σ shares`, each element's sum in the order of the shares.
///
/// Several shares are added by the threads of rayon's current pool, which have just left them.
pub(super) fn add<F: Float>(gradients: &mut [F], shares: &[Sums<F>]) {
    let add = |(block, gradients): (usize, &mut [F])| {
        for share in shares {
            reduce::add(gradients, &share.gradients[block * AT_ONCE..][..gradients.len()]);
        }
    };
    match shares.len() {
        0 | 1 => gradients.chunks_mut(AT_ONCE).enumerate().for_each(add),
        _ => gradients.par_chunks_mut(AT_ONCE).enumerate().for_each(add),
    }
}
