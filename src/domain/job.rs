//! A training job and its states.
//!
//! ```text
//!            claim               trained to its end
//!   queued ────────► running ──────────────────────► succeeded | failed
//!    │  ▲              │ │ │
//!    │  ├─crash, stop──┘ │ └─pause──► paused
//!    │  └───────────────────resume──────┤
//!    │                   │              │
//!    └─────────────────cancel───────────┴──► cancelling ──► cancelled
//! ```
//!
//! | from | to | moved by | when |
//! |---|---|---|---|
//! | – | queued | a client | it submits the job |
//! | queued | running | a runner | it claims the job that has waited longest |
//! | running | succeeded | its worker | all epochs are done, or early stopping ended them |
//! | running | failed | its worker | it can't go on; `error` says why |
//! | running | failed | the start | the third crash in a row without a new checkpoint |
//! | running | paused | its worker | its client paused it; a checkpoint is stored with the move |
//! | running | queued | its worker | the server stops, or a suspect is to train alone; a checkpoint is stored with the move |
//! | running | queued | the start | after a crash |
//! | paused | queued | a client | it resumes the job |
//! | running | cancelling | a client | it cancels a job that a worker has |
//! | queued, paused | cancelling | a client | it cancels a job that has a checkpoint, whose epochs are worth a model |
//! | queued, paused | cancelled | a client | it cancels a job that has none |
//! | cancelling | cancelled | a worker | it has stopped and the model, if any, is stored with the move |
//! | cancelling | cancelled | the start | after a crash, when there is no checkpoint to make a model from |
//!
//! Every job that a worker has when the process ends took part in the crash, and which one caused it nobody can tell. So
//! the second crash in a row makes a job a suspect: until it has a new checkpoint it trains alone. It stands at the head of
//! the queue, those that train are queued again for it with what they have trained, and while it trains none starts. The
//! third crash, which fails it, is then its own, and its neighbours are not failed with it.
//!
//! "The start" is the next opening of the data directory. Every move is one transaction with the event that tells of it
//! and all that belongs to it. A worker's move counts only while the job is still its own (owner and fence of its
//! claim); a crash in the middle of a move is a crash before it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{DatasetId, JobId, ModelId};
use super::job_spec::JobSpec;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waits its turn, in the order of submission; new, interrupted or resumed. A crash changes nothing.
    Queued,
    /// A worker trains it. After a crash the next start moves it to queued, to go on from its last checkpoint: at most
    /// the epochs since then are done again, to the same bits, and none is told twice.
    Running,
    /// Stopped by its client, who resumes it; no worker has it. A crash changes nothing.
    Paused,
    /// Its client wants it to stop: a worker finishes its last batch, or makes a model from its checkpoint. After a
    /// crash the next start moves it to cancelled when it has no checkpoint, else a runner makes the model.
    Cancelling,
    /// The whole training was done; it has a model. Final.
    Succeeded,
    /// It could not go on; `error` says why. It has a model when there was one to save. Final.
    Failed,
    /// Stopped by its client; it has a model when epochs were done whose weights could be saved. Final.
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

    /// Whether the table above has a move from this state to `next`.
    pub fn can_become(self, next: Self) -> bool {
        use JobStatus::{Cancelled, Cancelling, Failed, Paused, Queued, Running, Succeeded};
        match self {
            Queued => matches!(next, Running | Cancelling | Cancelled),
            Running => matches!(next, Queued | Paused | Cancelling | Succeeded | Failed),
            Paused => matches!(next, Queued | Cancelling | Cancelled),
            Cancelling => matches!(next, Cancelled),
            Succeeded | Failed | Cancelled => false,
        }
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

/// What a queued job waits for: jobs before it in the queue, a worker that is free, the memory that it will need, or that
/// those that train make way, because it or one of them was there at two crashes of the server in a row and so trains alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// Jobs before it in the queue.
    EarlierJobs,
    /// A worker that is free.
    Worker,
    /// The memory that it will need, which jobs that train have.
    Memory,
    /// The end of the jobs that train. One of them, or the job itself, was there at two crashes of the server in a row; such
    /// a job trains alone until its state is stored, so that no other is blamed for a third.
    TrainingAlone,
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
    /// Whether it is queued and may not train beside what trains, because one of them is suspected of crashes.
    pub kept_apart: bool,
    /// How often a worker has started it.
    pub attempt: u32,
    pub error: Option<JobError>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: from; columns: to; both in the order of `ALL`.
    const MOVES: [&str; 7] = [
        // Queued Running Paused Cancelling Succeeded Failed Cancelled
        ". x . x . . x", // Queued
        "x . x x x x .", // Running
        "x . . x . . x", // Paused
        ". . . . . . x", // Cancelling
        ". . . . . . .", // Succeeded
        ". . . . . . .", // Failed
        ". . . . . . .", // Cancelled
    ];

    #[test]
    fn every_pair_of_states_is_a_move_or_none() {
        for (from, row) in JobStatus::ALL.into_iter().zip(MOVES) {
            let marks: Vec<&str> = row.split(' ').collect();
            assert_eq!(marks.len(), JobStatus::ALL.len());
            for (to, mark) in JobStatus::ALL.into_iter().zip(marks) {
                assert_eq!(from.can_become(to), mark == "x", "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn a_state_is_final_exactly_when_it_has_no_move() {
        for status in JobStatus::ALL {
            let moves = JobStatus::ALL.into_iter().any(|next| status.can_become(next));
            assert_eq!(status.is_final(), !moves, "{status:?}");
        }
    }

    #[test]
    fn every_state_can_reach_an_end() {
        for status in JobStatus::ALL {
            let mut reached = vec![status];
            while let Some(next) = JobStatus::ALL
                .into_iter()
                .find(|next| !reached.contains(next) && reached.iter().any(|from| from.can_become(*next)))
            {
                reached.push(next);
            }
            assert!(reached.into_iter().any(JobStatus::is_final), "{status:?}");
        }
    }

    #[test]
    fn names_are_unique_and_read_back() {
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::from_name(status.name()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
