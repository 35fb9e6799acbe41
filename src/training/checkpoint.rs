//! A job's state between two steps, as it is stored: a job that goes on from it ends with the same weights to the bit.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::encoder::Encoder;
use crate::domain::artifact::{self, ArtifactError, Kind};
use crate::domain::dataset::Dataset;
use crate::domain::job_spec::JobSpec;
use crate::nn::spec::Plan;
use crate::nn::trainer::{self, Checkpoint};

/// What a crash costs at most, or an epoch where that takes longer.
const EVERY: Duration = Duration::from_secs(10);
/// The first comes soon: a job whose server is killed again and again before it would look like the culprit.
const FIRST_AFTER: Duration = Duration::from_secs(1);

/// When checkpoints are made.
pub(super) struct Timetable {
    due: Instant,
}

impl Timetable {
    pub(super) fn begin(now: Instant) -> Self {
        Self { due: now + FIRST_AFTER }
    }

    /// Whether the epoch that ends now ends with a checkpoint.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + EVERY;
        }
        due
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_costs_at_most_ten_seconds_or_an_epoch() {
        let begun = Instant::now();
        for epoch in [1, 700, 4_000, 25_000].map(Duration::from_millis) {
            let mut timetable = Timetable::begin(begun);
            let mut last = begun;
            for end in (1..=60_000 / epoch.as_millis() as u32).map(|epochs| begun + epochs * epoch) {
                // Whatever happens before this epoch has ended is trained again.
                assert!(end - last <= Duration::from_secs(10) + epoch, "{epoch:?}");
                if timetable.is_due(end) {
                    last = end;
                }
            }
            assert!(last > begun + Duration::from_secs(45), "{epoch:?}");
        }
    }
}
