//! The penalties on the kernels: l1·|w| + l2·w².

use super::kernel::{Float, reduce};
use super::network::Network;

impl<F: Float> Network<F> {
    /// Adds the penalties' gradients and returns the penalties: Σ l1·|w| + l2·w² over the kernels that have them.
    pub(super) fn penalize(&self, gradients: &mut [F]) -> f64 {
        for place in self.layout.penalized() {
            let (l1, twice_l2) = (F::from_f64(place.penalty.0), F::from_f64(2.0 * place.penalty.1));
            let weights = &self.trainable[place.range.clone()];
            for (g, &w) in gradients[place.range.clone()].iter_mut().zip(weights) {
                let sign = if w > F::ZERO { F::ONE } else { F::ZERO } - if w < F::ZERO { F::ONE } else { F::ZERO };
                *g += l1 * sign + twice_l2 * w;
            }
        }
        self.penalty()
    }

    /// The penalties alone.
    pub(super) fn penalty(&self) -> f64 {
        let of = |weights: &[F], (l1, l2): (f64, f64)| {
            let size = |block: &[F]| block.iter().map(|w| w.abs().to_f64()).sum::<f64>();
            let square = |block: &[F]| reduce::sum_of_squares(block).to_f64();
            weights
                .chunks(1024)
                .map(|block| l1 * size(block) + l2 * square(block))
                .sum::<f64>()
        };
        self.layout
            .penalized()
            .map(|place| of(&self.trainable[place.range.clone()], place.penalty))
            .sum()
    }
}
