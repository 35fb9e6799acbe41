//! A trained network and all that is needed to predict with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{DatasetId, JobId, ModelId};
use super::job_spec::{PreprocessingSpec, TrainingSpec};
use crate::data::encoder::InputColumn;
use crate::nn::spec::ModelSpec;
pub use crate::nn::spec::ParameterCounts;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    Classification,
    Regression,
}

/// What a client sees of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    pub id: ModelId,
    #[schema(example = "iris")]
    pub name: String,
    pub task: TaskKind,
    /// The columns a prediction is made from, in order.
    pub inputs: Vec<InputColumn>,
    pub target: String,
    /// The classes in the order of the network's outputs; null for a regression.
    pub classes: Option<Vec<String>>,
    pub parameters: ParameterCounts,
    /// The last figures of its training (of its best epoch where that was restored).
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Epochs its weights have seen, those of the models it continues included.
    pub epochs: u32,
    /// Null for one that was saved from a session.
    pub job: Option<JobId>,
    /// The table it was trained on; null where a session's client sent the rows.
    pub dataset: Option<DatasetId>,
    /// Layers, loss, optimizer and metrics.
    pub network: ModelSpec,
    pub preprocessing: PreprocessingSpec,
    /// How it was fitted; null where a session's client wrote the loop.
    pub training: Option<TrainingSpec>,
    /// SHA-256 over all weights as little-endian f32 in the order of the layers, in hexadecimal.
    pub weights_sha256: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// The stored parts of a model that predictions and further training need, each as the bytes its maker wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParts {
    /// The fitted preprocessing, JSON.
    pub encoder: String,
    pub weights: Vec<u8>,
    pub optimizer_state: Vec<u8>,
}
