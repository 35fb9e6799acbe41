//! A job's state between two steps, as it is stored: a job that goes on from it ends with the same weights to the bit.

use serde::{Deserialize, Serialize};

use crate::data::encoder::Encoder;
use crate::domain::artifact::{self, ArtifactError, Kind};
use crate::domain::dataset::Dataset;
use crate::domain::job_spec::JobSpec;
use crate::nn::spec::Plan;
use crate::nn::trainer::{self, Checkpoint};

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    spec_sha256: String,
    dataset_sha256: String,
    /// The model of a job that is cancelled while paused is made without its table. JSON.
    encoder: String,
    pub(super) trainer: Checkpoint<f32>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the checkpoint is of another {0}")]
    Foreign(&'static str),
    #[error(transparent)]
    Unfit(#[from] trainer::CheckpointError),
    #[error("the checkpoint's preprocessing does not decode: {0}")]
    Encoder(#[from] serde_json::Error),
}

/// What a checkpoint must belong to.
pub(super) struct Identity {
    plan: Plan,
    spec_sha256: String,
    dataset_sha256: String,
}

impl Identity {
    pub(super) fn new(plan: &Plan, spec: &JobSpec, dataset: &Dataset) -> Self {
        Self {
            plan: plan.clone(),
            spec_sha256: artifact::json_sha256(spec),
            dataset_sha256: dataset.sha256.clone(),
        }
    }

    /// The bytes to store.
    pub(super) fn seal(&self, encoder: &Encoder, trainer: Checkpoint<f32>) -> Vec<u8> {
        let saved = Saved {
            spec_sha256: self.spec_sha256.clone(),
            dataset_sha256: self.dataset_sha256.clone(),
            encoder: serde_json::to_string(encoder).expect("an encoder is JSON"),
            trainer,
        };
        artifact::seal(Kind::Checkpoint, &saved)
    }

    /// The state that was stored, if it is this job's.
    pub(super) fn open(&self, bytes: &[u8]) -> Result<Saved, CheckpointError> {
        let saved: Saved = artifact::open(Kind::Checkpoint, bytes)?;
        let foreign = [
            (saved.spec_sha256 != self.spec_sha256, "spec"),
            (saved.dataset_sha256 != self.dataset_sha256, "dataset"),
        ];
        if let Some((_, what)) = foreign.into_iter().find(|(differs, _)| *differs) {
            return Err(CheckpointError::Foreign(what));
        }
        saved.trainer.check(&self.plan)?;
        Ok(saved)
    }
}

impl Saved {
    pub(super) fn encoder(&self) -> Result<Encoder, CheckpointError> {
        Ok(serde_json::from_str(&self.encoder)?)
    }
}
