//! How a worker lets go of its job.

use super::claim::Claim;
use super::progress::ProgressUpdate;
use super::{Store, StoreError};
use crate::domain::job::{Job, JobError};
use crate::domain::model::{Model, ModelParts};

/// A model on its way into the store.
#[derive(Clone, Debug)]
pub struct NewModel {
    pub model: Model,
    pub parts: ModelParts,
}

/// Why a worker lets go.
#[derive(Clone, Debug)]
pub enum Outcome {
    Succeeded {
        model: NewModel,
    },
    Failed {
        error: JobError,
        model: Option<NewModel>,
    },
    /// Its client cancelled it; a model when at least one epoch was done.
    Cancelled {
        model: Option<NewModel>,
    },
    /// Its client paused it; the last update carries the checkpoint.
    Paused,
    /// The server stops: the job is queued again; the last update carries the checkpoint.
    Released,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// As the job is now. A job whose client cancelled it just before ends cancelled, whatever its worker says.
    Stored(Box<Job>),
    /// The job is another's or done: nothing was stored.
    Lost,
}

impl Store {
    /// Stores the last epochs and the outcome in one commit.
    pub async fn finish(
        &self,
        claim: &Claim,
        last: ProgressUpdate<'_>,
        outcome: Outcome,
    ) -> Result<Settled, StoreError> {
        unimplemented!()
    }
}
