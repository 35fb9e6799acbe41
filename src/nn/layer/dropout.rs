//! Dropout: in training some inputs are 0, so that the network relies on no single one.

use crate::nn::kernel::{Float, curve};
use crate::nn::rng::Random;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dropout {
    pub(super) rate: f64,
}

impl Dropout {
    /// `y = x·m` with m = 0 of probability `rate`, else 1/(1 − rate): the mean stays. The trace is m.
    pub(super) fn forward<F: Float>(&self, mut random: Random, x: &mut [F], y: &mut [F]) {
        let (rate, scale) = (self.rate as f32, F::from_f64(1.0 / (1.0 - self.rate)));
        for (x, y) in x.iter_mut().zip(y) {
            let mask = if random.uniform() < rate { F::ZERO } else { scale };
            *y = *x * mask;
            *x = mask;
        }
    }

    /// `d_x = d_y·m`
    pub(super) fn backward<F: Float>(&self, mask: &[F], d: &mut [F]) {
        curve::backward(mask, d);
    }
}
