//! What a job runs: every default filled in. What its client wrote is a [`JobRequest`](super::job_request::JobRequest).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{DatasetId, JobId, ModelId};
use crate::data::encoder::NumericScaling;
use crate::nn::spec::ModelSpec;

/// A job as it runs: every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSpec {
    pub dataset: DatasetId,
    /// The column to predict.
    #[schema(example = "품종")]
    pub target: String,
    /// The columns to predict from, in the order of the network's inputs.
    pub features: Vec<String>,
    pub model: ModelSpec,
    pub training: TrainingSpec,
    pub preprocessing: PreprocessingSpec,
    /// Whether the job was given its first weights, which are not repeated here.
    pub initial_weights: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<ModelId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreprocessingSpec {
    pub numeric: NumericScaling,
}

/// How the network is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainingSpec {
    /// Passes over the training rows.
    #[schema(minimum = 1, maximum = 1_000_000, example = 500)]
    pub epochs: u32,
    /// Rows a step; the last batch of an epoch may be smaller.
    #[schema(minimum = 1, maximum = 10_000_000, example = 150)]
    pub batch_size: u32,
    /// Whether each epoch takes the rows in a new order.
    pub shuffle: bool,
    /// Everything random follows from it: first weights, order of rows, dropout, the split.
    #[schema(maximum = 9_007_199_254_740_991u64, example = 7)]
    pub seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStoppingSpec>,
    /// Class → factor on the loss of its rows; classes left out have 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weight: Option<BTreeMap<String, f64>>,
    /// A number column with a factor on the loss of each row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_weight: Option<String>,
    /// Adds `inference_loss` to each epoch: the loss over the training rows in inference mode, after the epoch. It shows
    /// how dropout and BatchNormalization differ outside training.
    #[serde(default)]
    pub report_inference_loss: bool,
    /// Adds `gradient_norm`, the mean length of the batches' gradients, and `gradient_noise`, their spread, to each epoch:
    /// what the batch size does.
    #[serde(default)]
    pub report_gradient_noise: bool,
}

/// Rows that are not trained on but measured after every epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ValidationSpec {
    Split(ValidationSplit),
    Dataset(ValidationDataset),
}

/// A seeded share of the rows, for classes the same share of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationSplit {
    #[schema(exclusive_minimum = 0, exclusive_maximum = 1, example = 0.2)]
    pub split: f64,
}

/// All rows of another dataset with the same columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidationDataset {
    pub dataset: DatasetId,
}

/// Stop when a figure of the history has not improved for `patience` epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EarlyStoppingSpec {
    /// A column of the history; less is better, except for accuracy and its like. Left out: `val_loss`, or `loss` for a
    /// job without validation.
    #[schema(required = false, example = "val_loss")]
    pub monitor: String,
    #[schema(required = false, minimum = 0, maximum = 1_000_000, default = 0, example = 20)]
    pub patience: u32,
    /// The least change that counts as an improvement.
    #[schema(required = false, minimum = 0, default = 0.0)]
    pub min_delta: f64,
    /// Whether the model gets the weights of its best epoch instead of its last.
    #[schema(required = false, default = false)]
    pub restore_best: bool,
}

impl Default for TrainingSpec {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 32,
            shuffle: true,
            seed: 0,
            validation: None,
            early_stopping: None,
            class_weight: None,
            sample_weight: None,
            report_inference_loss: false,
            report_gradient_noise: false,
        }
    }
}

impl JobSpec {
    /// The name of a job that was given none.
    pub fn default_name(dataset_name: &str, id: JobId) -> String {
        let id = id.to_string();
        format!("{dataset_name}-{}", &id[id.len() - 6..])
    }
}
