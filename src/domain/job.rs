//! A training job and its states.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{DatasetId, JobId, ModelId};
use super::job_spec::JobSpec;

/// The states of a job.
///
/// ```text
/// queued ──► running ──► succeeded | failed
///   │ ▲        │  ▲ ▲──────────────┐
///   │ └─crash──┘  └─resume─ paused ┘   (running ─pause─► paused)
///   └─────────► cancelling ──► cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Stored and waiting; a runner's claim moves it to running. A crash changes nothing.
    Queued,
    /// A worker trains it and ends it. After a crash the next start moves it back to queued, one attempt on.
    Running,
    /// Stopped by its client, who resumes it. A crash changes nothing.
    Paused,
    /// A client asked a running job to stop; its worker moves it to cancelled. After a crash the next start does.
    Cancelling,
    /// The whole training was done; it has a model. Final.
    Succeeded,
    /// It could not go on; `error` says why. Final.
    Failed,
    /// Stopped by its client; it has a model when at least one epoch was done. Final.
    Cancelled,
}

impl JobStatus {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Epochs done.
    pub epoch: u32,
    /// Epochs asked for.
    pub epochs: u32,
    /// Null until the table has been read.
    pub batches_per_epoch: Option<u32>,
    /// The figures of the last epoch done.
    pub metrics: serde_json::Map<String, serde_json::Value>,
}

/// Why a job failed: a stable code, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    #[schema(example = "diverged")]
    pub code: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub name: String,
    pub status: JobStatus,
    pub dataset: DatasetId,
    pub model: Option<ModelId>,
    pub spec: JobSpec,
    pub progress: Progress,
    /// From 1 for the job that starts next; `None` when it isn't queued.
    pub queue_position: Option<u64>,
    /// How often a worker has started it.
    pub attempt: u32,
    pub error: Option<JobError>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}
