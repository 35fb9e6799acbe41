//! The losses: each with its value and its derivative side by side.

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
}
