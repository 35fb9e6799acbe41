//! Batch normalization: every column to mean 0 and variance 1 over the rows of a batch, then scaled and shifted.

use std::ops::Range;

use super::{BatchNormalizationSpec, Context};
use crate::nn::kernel::{Float, Kernel, dispatch};
use crate::nn::layout::Layout;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct BatchNormalization {
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
    /// The trace is x̂; `statistics` keeps 1/√(variance + epsilon), mean and variance. Moving averages: m ← momentum·m + (1 − momentum)·batch.
    /// Source: `keras/src/layers/normalization/batch_normalization.py`.
    pub(super) fn forward<F: Float>(
        &self,
        context: &mut Context<F>,
        moving: &mut [F],
        statistics: &mut [F],
        x: &mut [F],
        y: &mut [F],
    ) {
        let columns = self.gamma.len();
        let (inverse_deviation, moments) = statistics.split_at_mut(columns);
        let (mean, variance) = moments.split_at_mut(columns);
        dispatch(Normalize {
            x,
            y,
            mean,
            variance,
            inverse_deviation,
            gamma: &context.weights[self.gamma.clone()],
            beta: &context.weights[self.beta.clone()],
            epsilon: F::from_f64(self.epsilon),
        });
        let (keep, take) = (F::from_f64(self.momentum), F::from_f64(1.0 - self.momentum));
        for (range, batch) in [(&self.moving_mean, &*mean), (&self.moving_variance, &*variance)] {
            let moving = moving[range.clone()].iter_mut();
            moving
                .zip(batch)
                .for_each(|(moving, &batch)| *moving = *moving * keep + batch * take);
        }
    }

    /// Gradients of batch normalization.
    ///
    /// Forward was `y = gamma·x̂ + beta` with x̂ the trace; mean and variance depend on every row. Hence
    ///   d_gamma = Σₙ d_y·x̂    d_beta = Σₙ d_y    d_x = gamma/√(variance + epsilon)·(d_y − d_beta/n − x̂·d_gamma/n)
    pub(super) fn backward<F: Float>(
        &self,
        context: &mut Context<F>,
        statistics: &[F],
        normalized: &[F],
        d: &mut [F],
        gradients: &mut [F],
    ) {
        let (before, after) = gradients.split_at_mut(self.beta.start);
        dispatch(Backward {
            normalized,
            d,
            inverse_deviation: &statistics[..self.gamma.len()],
            gamma: &context.weights[self.gamma.clone()],
            d_gamma: &mut before[self.gamma.clone()],
            d_beta: &mut after[..self.beta.len()],
        });
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

struct Infer<'a, F> {
    x: &'a mut [F],
    mean: &'a [F],
    variance: &'a [F],
    gamma: &'a [F],
    beta: &'a [F],
    epsilon: F,
}

impl<F: Float> Kernel for Infer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let columns = self.gamma.len();
        let (mean, variance, beta) = (&self.mean[..columns], &self.variance[..columns], &self.beta[..columns]);
        for x in self.x.chunks_exact_mut(columns) {
            for column in 0..columns {
                let normalized = (x[column] - mean[column]) / (variance[column] + self.epsilon).sqrt();
                x[column] = normalized.mul_add(self.gamma[column], beta[column]);
            }
        }
    }
}

/// Work on the columns of a matrix, a block of them at a time.
trait Columns {
    /// Takes the N columns from `first` on. Must be `#[inline(always)]`.
    fn block<const N: usize>(&mut self, first: usize);
}

/// Takes all columns in blocks, whose constants and sums then stay in registers while the rows go by.
#[inline(always)]
fn in_blocks(columns: usize, work: &mut impl Columns) {
    let mut first = 0;
    while first + 32 <= columns {
        work.block::<32>(first);
        first += 32;
    }
    while first + 8 <= columns {
        work.block::<8>(first);
        first += 8;
    }
    while first < columns {
        work.block::<1>(first);
        first += 1;
    }
}

/// The N numbers from `first` on.
#[inline(always)]
fn at<F: Copy, const N: usize>(numbers: &[F], first: usize) -> [F; N] {
    *numbers[first..].first_chunk().expect("a block lies within the columns")
}

#[inline(always)]
fn at_mut<F, const N: usize>(numbers: &mut [F], first: usize) -> &mut [F; N] {
    numbers[first..]
        .first_chunk_mut()
        .expect("a block lies within the columns")
}

/// Mean and biased variance of each of N columns: `mean = Σₙ x / n`, `variance = Σₙ (x − mean)² / n`, row after row.
#[inline(always)]
fn moments<F: Float, const N: usize>(x: &[F], columns: usize, first: usize) -> ([F; N], [F; N]) {
    let (mut mean, mut variance) = ([F::ZERO; N], [F::ZERO; N]);
    let rows = x.chunks_exact(columns).map(|x| at(x, first));
    let n = F::from_f64(rows.len() as f64);
    for x in rows.clone() {
        let x: [F; N] = x;
        (0..N).for_each(|column| mean[column] += x[column]);
    }
    mean = mean.map(|sum| sum / n);
    for x in rows {
        for column in 0..N {
            let distance = x[column] - mean[column];
            variance[column] = distance.mul_add(distance, variance[column]);
        }
    }
    (mean, variance.map(|sum| sum / n))
}

struct Normalize<'a, F> {
    x: &'a mut [F],
    y: &'a mut [F],
    mean: &'a mut [F],
    variance: &'a mut [F],
    inverse_deviation: &'a mut [F],
    gamma: &'a [F],
    beta: &'a [F],
    epsilon: F,
}

impl<F: Float> Kernel for Normalize<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        in_blocks(self.gamma.len(), &mut self);
    }
}

impl<F: Float> Columns for Normalize<'_, F> {
    /// The moments and then the rows once more: a block's columns stay in the first-level cache.
    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let columns = self.gamma.len();
        let (mean, variance) = moments::<F, N>(self.x, columns, first);
        let scale = variance.map(|variance| F::ONE / (variance + self.epsilon).sqrt());
        *at_mut(self.mean, first) = mean;
        *at_mut(self.variance, first) = variance;
        *at_mut(self.inverse_deviation, first) = scale;
        let (gamma, beta): ([F; N], [F; N]) = (at(self.gamma, first), at(self.beta, first));
        let rows = self.x.chunks_exact_mut(columns).zip(self.y.chunks_exact_mut(columns));
        for (x, y) in rows {
            let (x, y): (&mut [F; N], &mut [F; N]) = (at_mut(x, first), at_mut(y, first));
            for column in 0..N {
                let normalized = (x[column] - mean[column]) * scale[column];
                x[column] = normalized;
                y[column] = normalized.mul_add(gamma[column], beta[column]);
            }
        }
    }
}

struct Backward<'a, F> {
    normalized: &'a [F],
    d: &'a mut [F],
    inverse_deviation: &'a [F],
    gamma: &'a [F],
    d_gamma: &'a mut [F],
    d_beta: &'a mut [F],
}

impl<F: Float> Kernel for Backward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        in_blocks(self.gamma.len(), &mut self);
    }
}

impl<F: Float> Columns for Backward<'_, F> {
    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let columns = self.gamma.len();
        let (mut d_gamma, mut d_beta) = ([F::ZERO; N], [F::ZERO; N]);
        for (normalized, d) in self.normalized.chunks_exact(columns).zip(self.d.chunks_exact(columns)) {
            let (normalized, d): ([F; N], [F; N]) = (at(normalized, first), at(d, first));
            for column in 0..N {
                d_gamma[column] = d[column].mul_add(normalized[column], d_gamma[column]);
                d_beta[column] += d[column];
            }
        }
        *at_mut(self.d_gamma, first) = d_gamma;
        *at_mut(self.d_beta, first) = d_beta;
        let share = F::ONE / F::from_f64((self.d.len() / columns) as f64);
        let (gamma, scale): ([F; N], [F; N]) = (at(self.gamma, first), at(self.inverse_deviation, first));
        let factor: [F; N] = std::array::from_fn(|column| gamma[column] * scale[column]);
        for (normalized, d) in self
            .normalized
            .chunks_exact(columns)
            .zip(self.d.chunks_exact_mut(columns))
        {
            let (normalized, d): ([F; N], &mut [F; N]) = (at(normalized, first), at_mut(d, first));
            for column in 0..N {
                let common = normalized[column].mul_add(d_gamma[column], d_beta[column]) * share;
                d[column] = factor[column] * (d[column] - common);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::at_every_level;

    #[test]
    fn moments_are_summed_row_by_row_and_rows_are_normalized_by_them_at_every_level() {
        at_every_level(|level| {
            for columns in (1..=70).chain([128, 130]) {
                let x: Vec<f32> = (0..37 * columns).map(|k| (k * 7919 % 1009) as f32 / 101.0).collect();
                let ones = vec![1.0; columns];
                let (mut y, mut normalized) = (x.clone(), x.clone());
                let (mut mean, mut variance, mut inverse_deviation) = (ones.clone(), ones.clone(), ones.clone());
                dispatch(Normalize {
                    x: &mut normalized,
                    y: &mut y,
                    mean: &mut mean,
                    variance: &mut variance,
                    inverse_deviation: &mut inverse_deviation,
                    gamma: &ones,
                    beta: &ones,
                    epsilon: 1e-3,
                });
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
