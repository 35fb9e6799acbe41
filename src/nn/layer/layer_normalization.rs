//! Layer normalization: every row to mean 0 and variance 1 over its columns, then scaled and shifted.

use std::ops::Range;

use super::{Context, LayerNormalizationSpec};
use crate::nn::kernel::{Float, Kernel, dispatch, reduce};
use crate::nn::layout::Layout;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct LayerNormalization {
    epsilon: f64,
    gamma: Range<usize>,
    beta: Range<usize>,
}

impl LayerNormalization {
    pub(super) fn new(spec: &LayerNormalizationSpec, layer: usize, layout: &Layout) -> Self {
        let range = |name| {
            layout
                .place(layer, name)
                .expect("the layout has its two arrays")
                .range
                .clone()
        };
        Self {
            epsilon: spec.epsilon,
            gamma: range("gamma"),
            beta: range("beta"),
        }
    }

    /// With mean and biased variance of each row of `x` (n,o) over its columns
    ///   x̂ = (x − mean)/√(variance + epsilon)    y = gamma·x̂ + beta
    /// The trace is x̂; `statistics` (n) keeps 1/√(variance + epsilon).
    /// Source: `keras/src/layers/normalization/layer_normalization.py`.
    pub(super) fn forward<F: Float>(
        &self,
        context: &mut Context<'_, F>,
        statistics: &mut [F],
        x: &mut [F],
        y: &mut [F],
    ) {
        let (gamma, beta) = (
            &context.weights[self.gamma.clone()],
            &context.weights[self.beta.clone()],
        );
        let epsilon = F::from_f64(self.epsilon);
        dispatch(Forward {
            x,
            y,
            inverse_deviation: statistics,
            gamma,
            beta,
            epsilon,
        });
    }

    /// Gradients of layer normalization.
    ///
    /// Forward was `y = gamma·x̂ + beta` with x̂ the trace; mean and variance depend on every column. With g = d_y·gamma
    ///   d_gamma = Σₙ d_y·x̂    d_beta = Σₙ d_y    d_x = (g − meanₒ g − x̂·meanₒ(g·x̂))/√(variance + epsilon)
    pub(super) fn backward<F: Float>(
        &self,
        context: &mut Context<'_, F>,
        statistics: &[F],
        normalized: &[F],
        d: &mut [F],
        gradients: &mut [F],
    ) {
        let (before, after) = gradients.split_at_mut(self.beta.start);
        dispatch(Backward {
            normalized,
            d,
            inverse_deviation: statistics,
            gamma: &context.weights[self.gamma.clone()],
            d_gamma: &mut before[self.gamma.clone()],
            d_beta: &mut after[..self.beta.len()],
        });
    }

    /// As in training, with the same bits: a row's statistics are its own.
    pub(super) fn infer<F: Float>(&self, context: &mut Context<'_, F>, x: &mut [F]) {
        let (gamma, beta) = (
            &context.weights[self.gamma.clone()],
            &context.weights[self.beta.clone()],
        );
        dispatch(Infer {
            x,
            gamma,
            beta,
            epsilon: F::from_f64(self.epsilon),
        });
    }
}

/// `x ← x̂`; returns 1/√(variance + epsilon).
#[inline(always)]
fn normalize<F: Float>(x: &mut [F], epsilon: F) -> F {
    let share = F::ONE / F::from_f64(x.len() as f64);
    let mean = reduce::sum_in_lanes(x, |x| x) * share;
    x.iter_mut().for_each(|x| *x -= mean);
    let variance = reduce::sum_in_lanes(x, |x| x * x) * share;
    let inverse_deviation = F::ONE / (variance + epsilon).sqrt();
    x.iter_mut().for_each(|x| *x *= inverse_deviation);
    inverse_deviation
}

struct Forward<'a, F> {
    x: &'a mut [F],
    y: &'a mut [F],
    inverse_deviation: &'a mut [F],
    gamma: &'a [F],
    beta: &'a [F],
    epsilon: F,
}

impl<F: Float> Kernel for Forward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let columns = self.gamma.len();
        let rows = self.x.chunks_exact_mut(columns).zip(self.y.chunks_exact_mut(columns));
        for ((x, y), inverse_deviation) in rows.zip(self.inverse_deviation) {
            *inverse_deviation = normalize(x, self.epsilon);
            for (((y, x), &gamma), &beta) in y.iter_mut().zip(x).zip(self.gamma).zip(self.beta) {
                *y = x.mul_add(gamma, beta);
            }
        }
    }
}

struct Infer<'a, F> {
    x: &'a mut [F],
    gamma: &'a [F],
    beta: &'a [F],
    epsilon: F,
}

impl<F: Float> Kernel for Infer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.x.chunks_exact_mut(self.gamma.len()) {
            normalize(x, self.epsilon);
            for ((x, &gamma), &beta) in x.iter_mut().zip(self.gamma).zip(self.beta) {
                *x = x.mul_add(gamma, beta);
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
    fn run(self) {
        let columns = self.gamma.len();
        let gamma = self.gamma;
        let (d_gamma, d_beta) = (&mut self.d_gamma[..columns], &mut self.d_beta[..columns]);
        let share = F::ONE / F::from_f64(columns as f64);
        d_gamma.fill(F::ZERO);
        d_beta.fill(F::ZERO);
        let rows = self
            .normalized
            .chunks_exact(columns)
            .zip(self.d.chunks_exact_mut(columns));
        for ((normalized, d), &inverse_deviation) in rows.zip(self.inverse_deviation) {
            let (mut mean, mut along) = (F::ZERO, F::ZERO);
            for column in 0..columns {
                d_gamma[column] = d[column].mul_add(normalized[column], d_gamma[column]);
                d_beta[column] += d[column];
                let g = d[column] * gamma[column];
                d[column] = g;
                mean += g;
                along = g.mul_add(normalized[column], along);
            }
            let (mean, along) = (mean * share, along * share);
            for column in 0..columns {
                d[column] = (d[column] - mean - normalized[column] * along) * inverse_deviation;
            }
        }
    }
}
