//! The model that a job goes on with, ready to be trained further.

use super::admission::Continued;
use crate::data::encoder::Encoder;
use crate::domain::artifact::{self, ArtifactError, Kind};
use crate::domain::id::ModelId;
use crate::domain::model::{Model, ModelParts};
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;
use crate::nn::optimizer::OptimizerState;
use crate::nn::weights::LayerWeights;
use crate::store::{Store, StoreError, aside};

pub(super) struct Base {
    pub(super) model: Model,
    pub(super) encoder: Encoder,
    pub(super) weights: Vec<LayerWeights>,
    pub(super) optimizer: OptimizerState<f32>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BaseError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the stored preprocessing does not decode: {0}")]
    Encoder(#[from] serde_json::Error),
}

impl From<BaseError> for Problem {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Store(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl Base {
    pub(super) fn as_continued(&self) -> Continued<'_> {
        Continued {
            model: &self.model,
            encoder: &self.encoder,
        }
    }

    /// `None` when the tenant has no such model.
    pub(super) async fn load(store: &Store, tenant: &TenantId, id: ModelId) -> Result<Option<Self>, BaseError> {
        let (Some(model), Some(parts)) = (store.get_model(tenant, id).await?, store.model_parts(tenant, id).await?)
        else {
            return Ok(None);
        };
        let size = parts.encoder.len() + parts.weights.len() + parts.optimizer_state.len();
        aside(size, move || Self::open(model, &parts)).await?.map(Some)
    }

    fn open(model: Model, parts: &ModelParts) -> Result<Self, BaseError> {
        Ok(Self {
            model,
            encoder: serde_json::from_str(&parts.encoder)?,
            weights: artifact::open(Kind::Weights, &parts.weights)?,
            optimizer: artifact::open(Kind::Optimizer, &parts.optimizer_state)?,
        })
    }
}
