//! The losses: each with its value and its derivative side by side.

use super::activation::Activation;
use super::kernel::{Float, Kernel, dispatch, reduce};
use crate::nn::spec::bounds::{fraction, positive};
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{ReadField, vocabulary};

vocabulary! {
    /// What training makes small; t are the targets, y the network's outputs.
    "loss" LossOrName LossSpec {
        /// mean (y − t)²
        "mse" | "mean_squared_error" => Mse(MseSpec, MseType)
        /// mean |y − t|
        "mae" | "mean_absolute_error" => Mae(MaeSpec, MaeType)
        /// mean of ½(y − t)² where |y − t| ≤ delta, else delta·|y − t| − ½delta²
        "huber" => Huber(HuberSpec, HuberType)
        optional {
            #[schema(exclusive_minimum = 0)]
            delta: f64 [positive] = 1.0,
        }
        /// mean ln cosh(y − t)
        "log_cosh" | "logcosh" => LogCosh(LogCoshSpec, LogCoshType)
        /// mean (y − t·ln y)
        "poisson" => Poisson(PoissonSpec, PoissonType)
        /// mean −(t·ln y + (1 − t)·ln(1 − y))
        "binary_crossentropy" => BinaryCrossentropy(BinaryCrossentropySpec, BinaryCrossentropyType)
        optional {
            /// The targets become t·(1 − s) + s/2.
            #[schema(minimum = 0, maximum = 1)]
            label_smoothing: f64 [fraction] = 0.0,
        }
        /// −Σ t·ln y
        "categorical_crossentropy" => CategoricalCrossentropy(CategoricalCrossentropySpec, CategoricalCrossentropyType)
        optional {
            /// The targets become t·(1 − s) + s/classes.
            #[schema(minimum = 0, maximum = 1)]
            label_smoothing: f64 [fraction] = 0.0,
        }
    }
}

impl LossSpec {
    /// Whether the targets are classes.
    pub fn is_crossentropy(&self) -> bool {
        matches!(self, Self::BinaryCrossentropy(_) | Self::CategoricalCrossentropy(_))
    }

    /// The activation that the last layer must have: a cross-entropy is computed from what goes into it (logits),
    /// where nothing overflows and nothing cancels.
    pub(crate) fn fused_activation(&self) -> Option<Activation> {
        match self {
            Self::BinaryCrossentropy(_) => Some(Activation::Sigmoid),
            Self::CategoricalCrossentropy(_) => Some(Activation::Softmax),
            _ => None,
        }
    }

    /// The loss of a batch and its gradient.
    ///
    /// `y` (n,o) holds the outputs, for a cross-entropy the logits, which become the outputs; `t` (n,o) are the targets,
    /// `weights` (n) factors of the rows. They may be some rows of a batch of `of` rows. Returns Σₙ weight·loss, for the
    /// mean still to be divided by `of`; `d` (n,o) becomes the gradient of the mean, ∂(Σ weight·loss / of)/∂y, for a
    /// cross-entropy ∂/∂logits.
    /// A row's loss is the mean over its columns (categorical: the sum). `values` (n,o) is room to work in.
    ///
    /// The sum runs over blocks of about a thousand numbers in f32 and over the blocks in f64.
    /// Source: `keras/src/losses/losses.py`, reduction `sum_over_batch_size`.
    pub(crate) fn score<F: Float>(
        &self,
        [of, columns]: [usize; 2],
        y: &mut [F],
        t: &[F],
        weights: Option<&[F]>,
        d: &mut [F],
        values: &mut [F],
    ) -> f64 {
        let scale = F::from_f64(1.0 / (of * columns) as f64);
        let mut score = Score {
            columns,
            y,
            t,
            weights,
            d,
            values,
            scale,
        };
        match self {
            Self::Mse(_) => score.pointwise(SquaredError),
            Self::Mae(_) => score.pointwise(AbsoluteError),
            Self::Huber(spec) => score.pointwise(HuberError {
                delta: F::from_f64(spec.delta),
            }),
            Self::LogCosh(_) => score.pointwise(LogCoshError),
            Self::Poisson(_) => score.pointwise(PoissonError),
            Self::BinaryCrossentropy(spec) => {
                let smoothing = F::from_f64(spec.label_smoothing);
                score.pointwise(SigmoidCrossentropy { smoothing })
            }
            Self::CategoricalCrossentropy(spec) => {
                score.scale = F::from_f64(1.0 / of as f64);
                let smoothing = F::from_f64(spec.label_smoothing);
                dispatch(SoftmaxCrossentropy { score, smoothing })
            }
        }
    }
}

struct Score<'a, F> {
    columns: usize,
    y: &'a mut [F],
    t: &'a [F],
    weights: Option<&'a [F]>,
    d: &'a mut [F],
    values: &'a mut [F],
    /// Factor from the sum of the elements to their mean.
    scale: F,
}

/// About how many numbers are added up in F before f64 takes over.
const BLOCK: usize = 1024;

impl<F: Float> Score<'_, F> {
    fn pointwise<P: Pointwise<F>>(self, loss: P) -> f64 {
        let columns = self.columns as f64;
        dispatch(PointwiseLoss { score: self, loss }) / columns
    }

    /// `Σ values` where `width` of them make a row.
    #[inline(always)]
    fn total(values: &[F], width: usize) -> f64 {
        let block = (BLOCK / width).max(1) * width;
        values
            .chunks(block)
            .map(|block| reduce::sum_in_lanes(block, |value| value).to_f64())
            .sum()
    }
}

/// The loss of one element: value, derivative by `y`, and what the output is (`y` itself but for logits).
struct Point<F> {
    value: F,
    slope: F,
    output: F,
}

trait Pointwise<F>: Copy {
    /// Must be `#[inline(always)]`; what it branches on becomes a selection.
    fn at(self, y: F, t: F) -> Point<F>;
}

struct PointwiseLoss<'a, F, P> {
    score: Score<'a, F>,
    loss: P,
}

impl<F: Float, P: Pointwise<F>> Kernel for PointwiseLoss<'_, F, P> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let Score {
            columns,
            y,
            t,
            weights,
            d,
            values,
            scale,
        } = self.score;
        for (((y, &t), d), value) in y.iter_mut().zip(t).zip(d.iter_mut()).zip(values.iter_mut()) {
            let point = self.loss.at(*y, t);
            *y = point.output;
            *d = point.slope * scale;
            *value = point.value;
        }
        if let Some(weights) = weights {
            let rows = d.chunks_exact_mut(columns).zip(values.chunks_exact_mut(columns));
            for ((d, values), &weight) in rows.zip(weights) {
                d.iter_mut().for_each(|d| *d *= weight);
                values.iter_mut().for_each(|value| *value *= weight);
            }
        }
        Score::total(values, columns)
    }
}

/// (y − t)²
#[derive(Clone, Copy)]
struct SquaredError;

impl<F: Float> Pointwise<F> for SquaredError {
    #[inline(always)]
    fn at(self, y: F, t: F) -> Point<F> {
        let error = y - t;
        Point {
            value: error * error,
            slope: error + error,
            output: y,
        }
    }
}

/// |y − t|; slope 0 where they are equal.
#[derive(Clone, Copy)]
struct AbsoluteError;

impl<F: Float> Pointwise<F> for AbsoluteError {
    #[inline(always)]
    fn at(self, y: F, t: F) -> Point<F> {
        let error = y - t;
        Point {
            value: error.abs(),
            slope: sign(error),
            output: y,
        }
    }
}

/// ½(y − t)² where |y − t| ≤ delta, else delta·|y − t| − ½delta²
#[derive(Clone, Copy)]
struct HuberError<F> {
    delta: F,
}

impl<F: Float> Pointwise<F> for HuberError<F> {
    #[inline(always)]
    fn at(self, y: F, t: F) -> Point<F> {
        let half = F::from_f64(0.5);
        let (error, size) = (y - t, (y - t).abs());
        let far = size > self.delta;
        let near_value = half * error * error;
        let far_value = self.delta * size - half * self.delta * self.delta;
        Point {
            value: if far { far_value } else { near_value },
            slope: if far { self.delta * sign(error) } else { error },
            output: y,
        }
    }
}

/// ln cosh e = e + softplus(−2e) − ln 2, written in |e|; slope tanh e
#[derive(Clone, Copy)]
struct LogCoshError;

impl<F: Float> Pointwise<F> for LogCoshError {
    #[inline(always)]
    fn at(self, y: F, t: F) -> Point<F> {
        let error = y - t;
        let size = error.abs();
        let value = size + (-(size + size)).exp().ln_1p() - F::from_f64(std::f64::consts::LN_2);
        Point {
            value,
            slope: error.tanh(),
            output: y,
        }
    }
}

/// y − t·ln(y + 1e-7); not finite where y ≤ −1e-7, as Keras's.
#[derive(Clone, Copy)]
struct PoissonError;

impl<F: Float> Pointwise<F> for PoissonError {
    #[inline(always)]
    fn at(self, y: F, t: F) -> Point<F> {
        let above = y + F::from_f64(1e-7);
        Point {
            value: y - t * above.ln(),
            slope: F::ONE - t / above,
            output: y,
        }
    }
}

/// From the logit z: max(z, 0) − z·t + ln(1 + e^−|z|); slope σ(z) − t
#[derive(Clone, Copy)]
struct SigmoidCrossentropy<F> {
    smoothing: F,
}

impl<F: Float> Pointwise<F> for SigmoidCrossentropy<F> {
    #[inline(always)]
    fn at(self, z: F, t: F) -> Point<F> {
        let t = t * (F::ONE - self.smoothing) + F::from_f64(0.5) * self.smoothing;
        let output = z.sigmoid();
        Point {
            value: z.softplus() - z * t,
            slope: output - t,
            output,
        }
    }
}

/// −1, 0 or 1; NaN stays NaN.
#[inline(always)]
fn sign<F: Float>(x: F) -> F {
    let up = if x > F::ZERO { F::ONE } else { x };
    if x < F::ZERO { -F::ONE } else { up }
}

/// From the logits z of a row: Σⱼ tⱼ·(ln Σₖ eᶻᵏ − zⱼ); slope (Σ t)·softmax(z) − t
struct SoftmaxCrossentropy<'a, F> {
    score: Score<'a, F>,
    smoothing: F,
}

impl<F: Float> Kernel for SoftmaxCrossentropy<'_, F> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let Score {
            columns,
            y,
            t,
            weights,
            d,
            values,
            scale,
        } = self.score;
        let keep = F::ONE - self.smoothing;
        let spread = self.smoothing / F::from_f64(columns as f64);
        for z in y.chunks_exact_mut(columns) {
            let largest = reduce::largest(z);
            z.iter_mut().for_each(|z| *z -= largest);
        }
        // All exponentials in one loop: rows are often too short for SIMD.
        d.iter_mut().zip(&*y).for_each(|(e, &z)| *e = z.exp());
        // So with the logarithms of the rows' sums; the columns are at least two, so that there is room for both.
        let rows = y.len() / columns;
        let (sums, rest) = values.split_at_mut(rows);
        let losses = &mut rest[..rows];
        for (sum, e) in sums.iter_mut().zip(d.chunks_exact(columns)) {
            *sum = reduce::sum_in_lanes(e, |e| e);
        }
        losses
            .iter_mut()
            .zip(&*sums)
            .for_each(|(log_sum, sum)| *log_sum = sum.ln());
        let each = y
            .chunks_exact_mut(columns)
            .zip(d.chunks_exact_mut(columns))
            .zip(t.chunks_exact(columns));
        for (row, ((z, e), t)) in each.enumerate() {
            let weight = weights.map_or(F::ONE, |weights| weights[row]);
            let (sum, log_sum) = (sums[row], losses[row]);
            let (mut loss, mut targets) = (F::ZERO, F::ZERO);
            for (&z, &t) in z.iter().zip(t) {
                let t = t.mul_add(keep, spread);
                loss = t.mul_add(log_sum - z, loss);
                targets += t;
            }
            losses[row] = loss * weight;
            for ((z, e), &t) in z.iter_mut().zip(e).zip(t) {
                *z = *e / sum;
                *e = targets.mul_add(*z, -t.mul_add(keep, spread)) * scale * weight;
            }
        }
        Score::total(losses, 1)
    }
}
