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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng::Purpose;

    #[test]
    fn a_share_of_the_inputs_is_dropped_and_the_others_make_up_for_them() {
        let dropout = Dropout { rate: 0.2 };
        let (mut x, mut y) = (vec![1.0_f64; 20_000], vec![0.0; 20_000]);
        dropout.forward(Random::new(0, Purpose::Dropout, 0, 0), &mut x, &mut y);
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.25));
        assert_eq!(x, y, "the trace is the factor");
        let mean = y.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let mut d = vec![2.0; 20_000];
        dropout.backward(&x, &mut d);
        assert!(d.iter().zip(&x).all(|(d, factor)| *d == 2.0 * factor));
    }
}
