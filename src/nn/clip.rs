//! Clipping: the link between the gradients and an optimizer that keeps a wild batch from doing harm.

use super::kernel::{Float, reduce};
use super::layout::Layout;
use super::optimizer::Common;

/// Numbers whose squares are added up in F before f64 takes over.
const BLOCK: usize = 4096;

/// √Σ x²
pub(crate) fn norm<F: Float>(x: &[F]) -> f64 {
    x.chunks(BLOCK)
        .map(|block| reduce::sum_of_squares(block).to_f64())
        .sum::<f64>()
        .sqrt()
}

/// Clips the gradients as the optimizer asks: each array to a norm, each element to a size, or all to a norm together.
///
/// `g ← g·c/max(‖g‖, c)`. Source: `keras/src/optimizers/base_optimizer.py`.
pub(crate) fn clip<F: Float>(common: &Common, layout: &Layout, gradients: &mut [F]) {
    if let Some(most) = common.clipnorm {
        for place in layout.trainable() {
            scale_to(most, &mut gradients[place.range.clone()]);
        }
    } else if let Some(most) = common.global_clipnorm {
        scale_to(most, gradients);
    } else if let Some(most) = common.clipvalue {
        let most = F::from_f64(most);
        gradients.iter_mut().for_each(|g| *g = clamp(*g, most));
    }
}

fn scale_to<F: Float>(most: f64, gradients: &mut [F]) {
    let norm = norm(gradients);
    if norm > most {
        let factor = F::from_f64(most / norm);
        gradients.iter_mut().for_each(|g| *g *= factor);
    }
}

/// NaN stays NaN, so that a diverged run is seen.
fn clamp<F: Float>(g: F, most: F) -> F {
    let below = if g > most { most } else { g };
    if below < -most { -most } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::reader::Reader;
    use crate::nn::spec::{ModelSpec, Target};

    fn clipped(optimizer: serde_json::Value) -> Vec<f64> {
        let document = serde_json::json!({"layers": [{"type": "dense", "units": 1}], "optimizer": optimizer});
        let spec = ModelSpec::read(&mut Reader::default(), &document, "").unwrap();
        let plan = spec.plan("", 2, Target::Regression).unwrap();
        let layout = Layout::new(&plan);
        let mut gradients = vec![0.0; layout.trainable];
        gradients[..2].copy_from_slice(&[3.0, -4.0]);
        gradients[16] = 12.0;
        clip(&plan.optimizer.common(), &layout, &mut gradients);
        vec![gradients[0], gradients[1], gradients[16]]
    }

    #[test]
    fn clipnorm_bounds_each_array_and_global_clipnorm_all_together() {
        let near = |found: Vec<f64>, wanted: [f64; 3]| {
            assert!(
                found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-12),
                "{found:?} {wanted:?}"
            );
        };
        near(
            clipped(serde_json::json!({"type": "sgd", "clipnorm": 2.5})),
            [1.5, -2.0, 2.5],
        );
        near(
            clipped(serde_json::json!({"type": "sgd", "clipnorm": 20.0})),
            [3.0, -4.0, 12.0],
        );
        near(
            clipped(serde_json::json!({"type": "sgd", "global_clipnorm": 6.5})),
            [1.5, -2.0, 6.0],
        );
        near(
            clipped(serde_json::json!({"type": "sgd", "clipvalue": 3.5})),
            [3.0, -3.5, 3.5],
        );
    }
}
