//! The checked network: only a [`Plan`] can train.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, LayerSpec, LossSpec, Metric, ModelSpec, OptimizerSpec};
use crate::nn::summary::Summary;

/// What the network is to put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One number.
    Regression,
    /// One of so many classes: one-hot columns, or one 0/1 column for two classes and one output.
    Classes(usize),
    /// Columns as they come (sessions); `None`: as many as the last layer has.
    Columns(Option<usize>),
}

/// Numbers of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParameterCounts {
    pub total: u64,
    pub trainable: u64,
    pub non_trainable: u64,
}

/// A network that fits its data, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    pub layers: Vec<LayerSpec>,
    pub loss: LossSpec,
    pub optimizer: OptimizerSpec,
    pub metrics: Vec<Metric>,
}

impl ModelSpec {
    /// Fills in the defaults and checks everything that can be known before the rows are.
    ///
    /// Errors: every fault, with pointers that start with `at`.
    pub fn plan(&self, at: &str, inputs: usize, target: Target) -> Result<Plan, Vec<Fault>> {
        let _ = (at, inputs, target);
        unimplemented!()
    }
}

impl Plan {
    /// The spec that gives this plan: nothing left out.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            layers: Some(self.layers.clone()),
            loss: Some(self.loss.clone()),
            optimizer: Some(self.optimizer.clone()),
            metrics: Some(self.metrics.clone()),
        }
    }

    pub fn parameters(&self) -> ParameterCounts {
        unimplemented!()
    }

    /// Columns of y: one-hot classes, or 1.
    pub fn target_columns(&self) -> usize {
        self.outputs
    }

    /// An upper estimate of what a training of `rows` rows (validation included) with this batch size holds in memory.
    pub fn memory_bytes(&self, rows: u64, batch_size: u64) -> u128 {
        let _ = (rows, batch_size);
        unimplemented!()
    }

    /// The columns of a history of this plan: `loss`, the metrics, then with validation their `val_` twins.
    pub fn figure_names(&self, validation: bool) -> Vec<String> {
        let mut names = vec!["loss".to_owned()];
        names.extend(self.metrics.iter().map(|metric| metric.name().to_owned()));
        if validation {
            let twins: Vec<String> = names.iter().map(|name| format!("val_{name}")).collect();
            names.extend(twins);
        }
        names
    }

    pub fn summary(&self) -> Summary {
        unimplemented!()
    }
}
