//! How a worker lets go of its job.

use sqlx::SqliteConnection;

use super::artifacts::Staged;
use super::claim::Claim;
use super::models::insert_model;
use super::moves::{existing_job, has_checkpoint, move_job};
use super::progress::{ProgressUpdate, held, write_progress};
use super::{Store, StoreError};
use crate::domain::job::{Job, JobError, JobStatus};
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

/// The model's artifacts and the checkpoint, staged.
struct StagedEnd<'a> {
    checkpoint: Option<Staged<'a>>,
    model: Option<(&'a NewModel, [Staged<'a>; 2])>,
}

impl Store {
    /// Stores the last news, the model and the outcome in one commit.
    pub async fn finish(
        &self,
        claim: &Claim,
        last: ProgressUpdate<'_>,
        outcome: Outcome,
    ) -> Result<Settled, StoreError> {
        let model = match &outcome {
            Outcome::Succeeded { model } => Some(model),
            Outcome::Failed { model, .. } | Outcome::Cancelled { model } => model.as_ref(),
            Outcome::Paused | Outcome::Released => None,
        };
        let mut staged = StagedEnd {
            checkpoint: self.stage_checkpoint(claim, last).await?,
            model: None,
        };
        if let Some(new) = model {
            let weights = self.stage_artifact(&claim.tenant, &new.parts.weights).await?;
            let optimizer_state = self.stage_artifact(&claim.tenant, &new.parts.optimizer_state).await?;
            staged.model = Some((new, [weights, optimizer_state]));
        }
        let settled = self.finish_staged(claim, last, &outcome, &staged).await;
        if !matches!(settled, Ok(Settled::Stored(_))) {
            self.discard_staged(&claim.tenant, staged.checkpoint.as_slice()).await?;
            if let Some((_, artifacts)) = &staged.model {
                self.discard_staged(&claim.tenant, artifacts).await?;
            }
        }
        settled
    }

    async fn finish_staged(
        &self,
        claim: &Claim,
        last: ProgressUpdate<'_>,
        outcome: &Outcome,
        staged: &StagedEnd<'_>,
    ) -> Result<Settled, StoreError> {
        let mut write = self.database().begin().await?;
        let Some(held) = held(&mut write, claim).await? else {
            return Ok(Settled::Lost);
        };
        write_progress(&mut write, claim, held, last, staged.checkpoint.as_ref()).await?;
        if let Some((new, artifacts)) = &staged.model {
            insert_model(&mut write, &claim.tenant, new, artifacts).await?;
        }
        let (tenant, id) = (&claim.tenant, claim.job.id);
        let resumable = has_checkpoint(&mut write, tenant, id).await?;
        let next = next_status(held.status, outcome, resumable);
        let model = staged.model.as_ref().map(|(new, _)| new.model.id.to_string());
        let error = match outcome {
            Outcome::Failed { error, .. } if next == JobStatus::Failed => Some(error),
            _ => None,
        };
        let_go(&mut write, claim, model, error).await?;
        if next != held.status {
            move_job(&mut write, tenant, id, held.status, next).await?;
        }
        let job = existing_job(&mut write, tenant, id).await?;
        self.database().commit(write).await?;
        Ok(Settled::Stored(Box::new(job)))
    }
}

/// What a worker's outcome makes of the job's state. In cancelling the client's wish counts, not how far the worker got;
/// what a checkpoint holds is still worth a model, which [`Store::claim_cancelling`] sees to.
fn next_status(status: JobStatus, outcome: &Outcome, has_checkpoint: bool) -> JobStatus {
    match (status, outcome) {
        (JobStatus::Cancelling, Outcome::Paused | Outcome::Released) if has_checkpoint => JobStatus::Cancelling,
        (JobStatus::Cancelling, _) => JobStatus::Cancelled,
        (_, Outcome::Succeeded { .. }) => JobStatus::Succeeded,
        (_, Outcome::Failed { .. }) => JobStatus::Failed,
        (_, Outcome::Cancelled { .. }) => JobStatus::Cancelled,
        (_, Outcome::Paused) => JobStatus::Paused,
        (_, Outcome::Released) => JobStatus::Queued,
    }
}

async fn let_go(
    write: &mut SqliteConnection,
    claim: &Claim,
    model: Option<String>,
    error: Option<&JobError>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE jobs SET owner = NULL, model = $3, error_code = $4, error_detail = $5 WHERE tenant = $1 AND id = $2",
    )
    .bind(claim.tenant.as_str())
    .bind(claim.job.id.to_string())
    .bind(model)
    .bind(error.map(|error| error.code.as_str()))
    .bind(error.map(|error| error.detail.as_str()))
    .execute(write)
    .await?;
    Ok(())
}
