//! How the learning rate changes with the steps; `learning_rate` is where each schedule starts.

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
        /// values[0] while step ≤ boundaries[0], then values[1] while step ≤ boundaries[1], … and the last value after.
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
