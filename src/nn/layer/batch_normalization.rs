//! Batch normalization: every column to mean 0 and variance 1 over the rows of a batch, then scaled and shifted.

mod columns;

use std::ops::Range;

use columns::{Gradients, InBlocks, Infer, InputGradient, Normalize, Squares};

use super::{BatchNormalizationSpec, Context};
use crate::nn::kernel::{Float, dispatch, reduce};
use crate::nn::layout::Layout;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchNormalization {
    momentum: f64,
    epsilon: f64,
    gamma: Range<usize>,
    beta: Range<usize>,
    moving_mean: Range<usize>,
    moving_variance: Range<usize>,
}

impl BatchNormalization {
    pub(super) fn new(spec: &BatchNormalizationSpec, layer: usize, layout: &Layout) -> Self {
        let range = |name| {
            layout
                .place(layer, name)
                .expect("the layout has its four arrays")
                .range
                .clone()
        };
        Self {
            momentum: spec.momentum,
            epsilon: spec.epsilon,
            gamma: range("gamma"),
            beta: range("beta"),
            moving_mean: range("moving_mean"),
            moving_variance: range("moving_variance"),
        }
    }

    /// Training: with mean and biased variance of each column of `x` (n,o) over the batch
    ///   x̂ = (x − mean)/√(variance + epsilon)    y = gamma·x̂ + beta
    /// The trace is x̂. Moving averages: m ← momentum·m + (1 − momentum)·batch.
    /// Source: `keras/src/layers/normalization/batch_normalization.py`.
    pub(super) fn forward<F: Float>(
        &self,
        context: &mut Context<F>,
        moving: &mut [F],
        statistics: &mut [F],
        x: &mut [F],
        y: &mut [F],
    ) {
        self.sum(x, statistics);
        self.find_mean(context.rows, &mut [statistics]);
        self.sum_squares(x, statistics);
        self.find_variance(context.rows, &mut [statistics], moving);
        self.normalize(context.weights, statistics, x, y);
    }

    /// Gradients of batch normalization.
    ///
    /// Forward was `y = gamma·x̂ + beta` with x̂ the trace; mean and variance depend on every row. Hence
    ///   d_gamma = Σₙ d_y·x̂    d_beta = Σₙ d_y    d_x = gamma/√(variance + epsilon)·(d_y − d_beta/n − x̂·d_gamma/n)
    pub(super) fn backward<F: Float>(
        &self,
        context: &mut Context<F>,
        statistics: &mut [F],
        normalized: &[F],
        d: &mut [F],
        gradients: &mut [F],
    ) {
        self.sum_gradients(statistics, normalized, d, gradients);
        self.input_gradient(context.rows, context.weights, statistics, normalized, d);
    }

    /// A share of the batch adds up its rows: the first of its steps, between which [`Self::find_mean`] and its like bring
    /// the shares together.
    pub(crate) fn sum<F: Float>(&self, x: &[F], statistics: &mut [F]) {
        reduce::column_sums(x, Moments::of(statistics).means);
    }

    /// From the sums of the shares of so many rows.
    pub(crate) fn find_mean<F: Float>(&self, rows: usize, shares: &mut [&mut [F]]) {
        let n = F::from_f64(rows as f64);
        bring_together(shares, |moments| moments.means, |sum| *sum /= n);
    }

    pub(crate) fn sum_squares<F: Float>(&self, x: &[F], statistics: &mut [F]) {
        let Moments { means, variances, .. } = Moments::of(statistics);
        dispatch(InBlocks(Squares { x, means, variances }));
    }

    /// From the sums of squares of the shares of so many rows; moving averages advance.
    pub(crate) fn find_variance<F: Float>(&self, rows: usize, shares: &mut [&mut [F]], moving: &mut [F]) {
        let n = F::from_f64(rows as f64);
        bring_together(shares, |moments| moments.variances, |sum| *sum /= n);
        let epsilon = F::from_f64(self.epsilon);
        for share in shares.iter_mut() {
            let Moments { scales, variances, .. } = Moments::of(share);
            for (scale, &variance) in scales.iter_mut().zip(&*variances) {
                *scale = F::ONE / (variance + epsilon).sqrt();
            }
        }
        let Moments { means, variances, .. } = Moments::of(shares[0]);
        let (keep, take) = (F::from_f64(self.momentum), F::from_f64(1.0 - self.momentum));
        for (range, batch) in [(&self.moving_mean, means), (&self.moving_variance, variances)] {
            let moving = moving[range.clone()].iter_mut();
            moving
                .zip(batch)
                .for_each(|(moving, batch)| *moving = *moving * keep + *batch * take);
        }
    }

    pub(crate) fn normalize<F: Float>(&self, weights: &[F], statistics: &mut [F], x: &mut [F], y: &mut [F]) {
        let Moments { scales, means, .. } = Moments::of(statistics);
        let (gamma, beta) = (&weights[self.gamma.clone()], &weights[self.beta.clone()]);
        dispatch(InBlocks(Normalize {
            x,
            y,
            means,
            scales,
            gamma,
            beta,
        }));
    }

    /// On the way back a share adds up its rows' gradients, in the place of the moments.
    pub(crate) fn sum_gradients<F: Float>(&self, statistics: &mut [F], normalized: &[F], d: &[F], gradients: &mut [F]) {
        let moments = Moments::of(statistics);
        let (d_gamma, d_beta) = (moments.means, moments.variances);
        dispatch(InBlocks(Gradients {
            normalized,
            d,
            d_gamma,
            d_beta,
        }));
        gradients[self.gamma.clone()].copy_from_slice(d_gamma);
        gradients[self.beta.clone()].copy_from_slice(d_beta);
    }

    /// From the sums of the shares.
    pub(crate) fn find_gradients<F: Float>(&self, shares: &mut [&mut [F]]) {
        bring_together(shares, |moments| moments.means, |_| ());
        bring_together(shares, |moments| moments.variances, |_| ());
    }

    /// `d` is that of a share of a batch of so many rows.
    pub(crate) fn input_gradient<F: Float>(
        &self,
        rows: usize,
        weights: &[F],
        statistics: &mut [F],
        normalized: &[F],
        d: &mut [F],
    ) {
        let moments = Moments::of(statistics);
        dispatch(InBlocks(InputGradient {
            normalized,
            d,
            scales: moments.scales,
            gamma: &weights[self.gamma.clone()],
            d_gamma: moments.means,
            d_beta: moments.variances,
            inverse_rows: F::ONE / F::from_f64(rows as f64),
        }));
    }

    /// Inference: the moving averages stand for the batch's.
    pub(super) fn infer<F: Float>(&self, context: &mut Context<F>, moving: &[F], x: &mut [F]) {
        dispatch(Infer {
            x,
            mean: &moving[self.moving_mean.clone()],
            variance: &moving[self.moving_variance.clone()],
            gamma: &context.weights[self.gamma.clone()],
            beta: &context.weights[self.beta.clone()],
            epsilon: F::from_f64(self.epsilon),
        });
    }

    /// Inference's d_x = d_y·gamma/√(moving variance + epsilon): the averages depend on no row.
    pub(super) fn infer_backward<F: Float>(&self, context: &mut Context<F>, moving: &[F], d: &mut [F]) {
        let epsilon = F::from_f64(self.epsilon);
        let variances = &moving[self.moving_variance.clone()];
        let gammas = &context.weights[self.gamma.clone()];
        for d in d.chunks_exact_mut(self.gamma.len()) {
            for ((d, &variance), &gamma) in d.iter_mut().zip(variances).zip(gammas) {
                *d = *d * gamma / (variance + epsilon).sqrt();
            }
        }
    }
}

/// What a share keeps from its forward pass: three numbers of each column.
struct Moments<'a, F> {
    /// 1/√(variance + epsilon)
    scales: &'a mut [F],
    /// On the way back d_gamma.
    means: &'a mut [F],
    /// On the way back d_beta.
    variances: &'a mut [F],
}

impl<'a, F> Moments<'a, F> {
    fn of(statistics: &'a mut [F]) -> Self {
        let columns = statistics.len() / 3;
        let (scales, moments) = statistics.split_at_mut(columns);
        let (means, variances) = moments.split_at_mut(columns);
        Self {
            scales,
            means,
            variances,
        }
    }
}

/// Adds up what the shares have, in their order, makes something of the sums, and lets every share have that.
fn bring_together<F: Float>(
    shares: &mut [&mut [F]],
    of: impl for<'a> Fn(Moments<'a, F>) -> &'a mut [F],
    finish: impl Fn(&mut F),
) {
    let (first, others) = shares.split_first_mut().expect("a batch has a share");
    let total = of(Moments::of(first));
    for share in &mut *others {
        reduce::add(total, of(Moments::of(share)));
    }
    total.iter_mut().for_each(finish);
    for share in others {
        of(Moments::of(share)).copy_from_slice(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::{Workspace, at_every_level};

    #[test]
    fn moments_are_summed_row_by_row_and_rows_are_normalized_by_them_at_every_level() {
        at_every_level(|level| {
            for columns in (1..=70).chain([128, 130]) {
                let x: Vec<f32> = (0..37 * columns).map(|k| (k * 7919 % 1009) as f32 / 101.0).collect();
                let layer = BatchNormalization {
                    momentum: 0.75,
                    epsilon: 1e-3,
                    gamma: 0..columns,
                    beta: columns..2 * columns,
                    moving_mean: 0..columns,
                    moving_variance: columns..2 * columns,
                };
                let mut context = Context {
                    rows: 37,
                    weights: &vec![1.0; 2 * columns],
                    products: &mut Workspace::serial(),
                };
                let (mut y, mut normalized) = (x.clone(), x.clone());
                let (mut moving, mut statistics) = (vec![0.0; 2 * columns], vec![f32::NAN; 3 * columns]);
                layer.forward(&mut context, &mut moving, &mut statistics, &mut normalized, &mut y);
                let Moments {
                    means: mean,
                    variances: variance,
                    ..
                } = Moments::of(&mut statistics);
                for c in 0..columns {
                    let column = x.iter().copied().skip(c).step_by(columns);
                    let expected = column.clone().sum::<f32>() / 37.0;
                    let square = |sum: f32, x: f32| (x - expected).mul_add(x - expected, sum);
                    assert_eq!(mean[c], expected, "column {c} of {columns} at {level:?}");
                    assert_eq!(
                        variance[c],
                        column.clone().fold(0.0, square) / 37.0,
                        "column {c} of {columns} at {level:?}"
                    );
                    let scale = 1.0 / (variance[c] + 1e-3).sqrt();
                    let wanted = column.map(|x| (x - expected) * scale);
                    let found = normalized.iter().copied().skip(c).step_by(columns);
                    assert!(found.eq(wanted), "column {c} of {columns} at {level:?}");
                }
            }
        });
    }
}
