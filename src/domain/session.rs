//! A session: a network whose training loop its client writes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{ModelId, SessionId};
use super::model::{Model, ParameterCounts};
use crate::nn::spec::ModelSpec;

/// What a session was made of; it never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionOrigin {
    pub id: SessionId,
    /// Columns of x.
    pub inputs: usize,
    /// Nothing left out.
    pub network: ModelSpec,
    pub seed: u64,
    /// The model that it began from.
    pub model: Option<Box<OriginModel>>,
    pub created_at: Timestamp,
}

/// A model as it was when a session began from it; it may be deleted since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginModel {
    pub model: Model,
    /// The fitted preprocessing, JSON.
    pub encoder: String,
}

/// What a client sees of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    pub id: SessionId,
    /// Columns of x: numbers as the network sees them, after any preprocessing.
    #[schema(example = 13)]
    pub inputs: usize,
    /// Columns of y.
    #[schema(example = 1)]
    pub outputs: usize,
    /// Layers, loss, optimizer and metrics.
    pub network: ModelSpec,
    pub parameters: ParameterCounts,
    /// Dropout and first weights follow from it.
    pub seed: u64,
    /// The model that it began from; null for one that began with a spec.
    pub from_model: Option<ModelId>,
    /// Changing calls applied: the next one is `seq` + 1.
    pub seq: u64,
    /// Updates of the weights that the optimizer has done.
    pub step: u64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It is deleted when no call comes until then.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
