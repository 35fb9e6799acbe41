//! How the learning rate changes with the steps; `learning_rate` is where each schedule starts.

use super::kernel::Float;
use crate::nn::spec::bounds::{boolean, factor, fraction, positive, rate, rate_or_null, steps, steps_or_zero};
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{ReadField, vocabulary};

vocabulary! {
    /// How the learning rate changes with the steps.
    "schedule" ScheduleOrName ScheduleSpec {
        /// rate·((1 − alpha)·½(1 + cos(π·step/decay_steps)) + alpha), after a linear warm-up to `warmup_target`.
        "cosine_decay" => CosineDecay(CosineDecaySpec, CosineDecayType)
        required {
            #[schema(minimum = 1, example = 1000)]
            decay_steps: u64 [steps],
        }
        optional {
            #[schema(minimum = 0, maximum = 1)]
            alpha: f64 [fraction] = 0.0,
            #[schema(minimum = 0)]
            warmup_target: Option<f64> [rate_or_null] = None,
            #[schema(minimum = 0)]
            warmup_steps: u64 [steps_or_zero] = 0,
        }
        /// Cosine decays one after the other, each `t_mul` times as long and starting `m_mul` times as high as the last.
        "cosine_decay_restarts" => CosineDecayRestarts(CosineDecayRestartsSpec, CosineDecayRestartsType)
        required {
            #[schema(minimum = 1, example = 1000)]
            first_decay_steps: u64 [steps],
        }
        optional {
            #[schema(exclusive_minimum = 0)]
            t_mul: f64 [positive] = 2.0,
            #[schema(minimum = 0)]
            m_mul: f64 [factor] = 1.0,
            #[schema(minimum = 0, maximum = 1)]
            alpha: f64 [fraction] = 0.0,
        }
        /// rate·decay_rate^(step/decay_steps)
        "exponential_decay" => ExponentialDecay(ExponentialDecaySpec, ExponentialDecayType)
        required {
            #[schema(minimum = 1, example = 1000)]
            decay_steps: u64 [steps],
            #[schema(minimum = 0, example = 0.96)]
            decay_rate: f64 [factor],
        }
        optional {
            /// Whether the exponent is rounded down.
            staircase: bool [boolean] = false,
        }
        /// rate / (1 + decay_rate·step/decay_steps)
        "inverse_time_decay" => InverseTimeDecay(InverseTimeDecaySpec, InverseTimeDecayType)
        required {
            #[schema(minimum = 1, example = 1000)]
            decay_steps: u64 [steps],
            #[schema(minimum = 0, example = 0.5)]
            decay_rate: f64 [factor],
        }
        optional {
            /// Whether step/decay_steps is rounded down.
            staircase: bool [boolean] = false,
        }
        /// (rate − end_learning_rate)·(1 − step/decay_steps)^power + end_learning_rate
        "polynomial_decay" => PolynomialDecay(PolynomialDecaySpec, PolynomialDecayType)
        required {
            #[schema(minimum = 1, example = 1000)]
            decay_steps: u64 [steps],
        }
        optional {
            #[schema(minimum = 0)]
            end_learning_rate: f64 [rate] = 1e-4,
            #[schema(exclusive_minimum = 0)]
            power: f64 [positive] = 1.0,
            /// Whether the decay starts again, over twice, thrice … the steps, once it has ended.
            cycle: bool [boolean] = false,
        }
        /// `values[i]` at the first i with step ≤ `boundaries[i]`, and the last value after all of them.
        "piecewise_constant_decay" => PiecewiseConstantDecay(PiecewiseConstantDecaySpec, PiecewiseConstantDecayType)
        required {
            /// Rising step numbers.
            boundaries: Vec<u64> [boundaries],
            /// Learning rates, one more than the boundaries.
            values: Vec<f64> [values],
        }
    }
}

fn boundaries(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Vec<u64>> {
    let items = reader.array(value, at)?;
    if items.is_empty() || items.len() > 1000 {
        reader.fault(at, "must have from 1 to 1000 step numbers");
        return None;
    }
    let found: Vec<Option<u64>> = items.iter().map(|(item, at)| steps_or_zero(reader, item, at)).collect();
    let found: Vec<u64> = found.into_iter().collect::<Option<_>>()?;
    if !found.is_sorted_by(|a, b| a < b) {
        reader.fault(at, "must rise from each step number to the next");
        return None;
    }
    Some(found)
}

fn values(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Vec<f64>> {
    let items = reader.array(value, at)?;
    let found: Vec<Option<f64>> = items.iter().map(|(item, at)| rate(reader, item, at)).collect();
    found.into_iter().collect()
}

impl ScheduleSpec {
    /// The learning rate of a step, counted from 0, of a schedule that starts at `rate`.
    ///
    /// Source: `keras/src/optimizers/schedules/learning_rate_schedule.py`.
    pub fn rate(&self, rate: f64, step: u64) -> f64 {
        let step_number = step as f64;
        match self {
            Self::CosineDecay(spec) => {
                let decay_steps = spec.decay_steps as f64;
                let cosine = |from: f64, step: f64| {
                    let decayed = 0.5 * (1.0 + cos_pi(step.min(decay_steps) / decay_steps));
                    from * ((1.0 - spec.alpha) * decayed + spec.alpha)
                };
                match spec.warmup_target {
                    None => cosine(rate, step_number),
                    Some(target) if step < spec.warmup_steps => {
                        (target - rate) * (step_number / spec.warmup_steps as f64) + rate
                    }
                    Some(target) => cosine(target, step_number - spec.warmup_steps as f64),
                }
            }
            Self::CosineDecayRestarts(spec) => {
                let (restarts, fraction) = spec.period(step_number / spec.first_decay_steps as f64);
                let height = power(spec.m_mul, restarts);
                let decayed = 0.5 * height * (1.0 + cos_pi(fraction));
                rate * ((1.0 - spec.alpha) * decayed + spec.alpha)
            }
            Self::ExponentialDecay(spec) => {
                let periods = periods(step_number / spec.decay_steps as f64, spec.staircase);
                rate * power(spec.decay_rate, periods)
            }
            Self::InverseTimeDecay(spec) => {
                let periods = periods(step_number / spec.decay_steps as f64, spec.staircase);
                rate / (1.0 + spec.decay_rate * periods)
            }
            Self::PolynomialDecay(spec) => {
                let decay_steps = spec.decay_steps as f64;
                let cycles = if spec.cycle {
                    (step_number / decay_steps).ceil().max(1.0)
                } else {
                    1.0
                };
                let decay_steps = decay_steps * cycles;
                let left = 1.0 - step_number.min(decay_steps) / decay_steps;
                (rate - spec.end_learning_rate) * power(left, spec.power) + spec.end_learning_rate
            }
            Self::PiecewiseConstantDecay(spec) => {
                let passed = spec.boundaries.partition_point(|boundary| *boundary < step);
                spec.values[passed]
            }
        }
    }
}

impl CosineDecayRestartsSpec {
    /// How many periods are over after `progress` lengths of the first, and which share of the running one.
    ///
    /// The k-th period is t^k long, so that (1 − t^k)/(1 − t) is over when it starts. Periods that shrink add up to a
    /// finite length, after which nothing changes any more.
    fn period(&self, progress: f64) -> (f64, f64) {
        let t = self.t_mul;
        if t == 1.0 {
            return (progress.floor(), progress - progress.floor());
        }
        let left = 1.0 - progress * (1.0 - t);
        if left <= 0.0 {
            return (0.0, 1.0);
        }
        let started = |restarts: f64| (1.0 - power(t, restarts)) / (1.0 - t);
        let mut restarts = (Float::ln(left) / Float::ln(t)).round();
        if started(restarts) > progress {
            restarts -= 1.0;
        }
        (
            restarts,
            ((progress - started(restarts)) / power(t, restarts)).clamp(0.0, 1.0),
        )
    }
}

fn periods(progress: f64, staircase: bool) -> f64 {
    if staircase { progress.floor() } else { progress }
}

/// `base` (from 0) to any power from 0.
fn power(base: f64, exponent: f64) -> f64 {
    match (base, exponent) {
        _ if exponent == 0.0 => 1.0,
        (0.0, _) => 0.0,
        _ => Float::exp(exponent * Float::ln(base)),
    }
}

/// cos(π·x) for 0 ≤ x ≤ 1, to 5e-16: our own Taylor series, because the libraries' last bits differ.
fn cos_pi(x: f64) -> f64 {
    // cos(πx) = sin(π(½ − x)), and |π(½ − x)| ≤ π/2, where the series is quick.
    let angle = std::f64::consts::PI * (0.5 - x);
    let square = angle * angle;
    let (mut term, mut sum) = (angle, angle);
    for k in 1..14 {
        term *= -square / f64::from(2 * k * (2 * k + 1));
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates that Keras 3.15 gives; the program is `tests/keras/schedules.py`.
    #[test]
    fn cosine_is_exact_enough() {
        for k in 0..=1000 {
            let x = f64::from(k) / 1000.0;
            assert!((cos_pi(x) - (std::f64::consts::PI * x).cos()).abs() < 5e-16, "{x}");
        }
    }
}
