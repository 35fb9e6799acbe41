//! What a worker tells while it trains: epochs and checkpoints, each pair of them in one commit.

use sqlx::SqliteConnection;

use super::artifacts::{Staged, delete_artifact, insert_last_chunk};
use super::claim::Claim;
use super::column::{bigint, unsigned};
use super::events::{append_epochs, metrics_json};
use super::jobs::read_status;
use super::{Store, StoreError};
use crate::domain::event::EpochRow;
use crate::domain::id::JobId;
use crate::domain::job::JobStatus;
use crate::domain::tenant::TenantId;

/// News from a worker, stored in one commit.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgressUpdate<'a> {
    /// Epochs done, in order; those that are stored already are skipped (a resumed job trains some again, to the bit).
    pub epochs: &'a [EpochRow],
    pub batches_per_epoch: Option<u32>,
    pub checkpoint: Option<&'a [u8]>,
}

/// Whether a worker still has its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It was stored; the job is running, or cancelling when its client wants it to stop.
    Mine(JobStatus),
    /// The job is another's or done: nothing was stored, and the worker must stop.
    Lost,
}

/// A job as its own worker finds it, inside of a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) status: JobStatus,
    epoch: u32,
}

const KEPT_CHECKPOINTS: i64 = 2;

impl Store {
    /// Stores news of a job that is still the worker's.
    pub async fn record_progress(&self, claim: &Claim, update: ProgressUpdate<'_>) -> Result<Hold, StoreError> {
        let checkpoint = self.stage_checkpoint(claim, update).await?;
        let recorded = self.record_staged(claim, update, checkpoint.as_ref()).await;
        if !matches!(recorded, Ok(Hold::Mine(_))) {
            self.discard_staged(&claim.tenant, checkpoint.as_slice()).await?;
        }
        recorded
    }

    pub(super) async fn stage_checkpoint<'a>(
        &self,
        claim: &Claim,
        update: ProgressUpdate<'a>,
    ) -> Result<Option<Staged<'a>>, StoreError> {
        match update.checkpoint {
            Some(bytes) => Ok(Some(self.stage_artifact(&claim.tenant, bytes).await?)),
            None => Ok(None),
        }
    }

    async fn record_staged(
        &self,
        claim: &Claim,
        update: ProgressUpdate<'_>,
        checkpoint: Option<&Staged<'_>>,
    ) -> Result<Hold, StoreError> {
        let mut write = self.database().begin().await?;
        let Some(held) = held(&mut write, claim).await? else {
            return Ok(Hold::Lost);
        };
        write_progress(&mut write, claim, held, update, checkpoint).await?;
        self.database().commit(write).await?;
        Ok(Hold::Mine(held.status))
    }
}

/// The guard of every write of a worker: state, owner and fence.
pub(super) async fn held(write: &mut SqliteConnection, claim: &Claim) -> Result<Option<Held>, StoreError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT status, epoch FROM jobs
        WHERE tenant = $1 AND id = $2 AND status IN ('running', 'cancelling') AND owner = $3 AND fence = $4",
    )
    .bind(claim.tenant.as_str())
    .bind(claim.job.id.to_string())
    .bind(&claim.owner)
    .bind(bigint(claim.fence))
    .fetch_optional(write)
    .await?;
    let Some((status, epoch)) = row else { return Ok(None) };
    Ok(Some(Held {
        status: read_status(&status)?,
        epoch: unsigned("job", epoch)?,
    }))
}

pub(super) async fn write_progress(
    write: &mut SqliteConnection,
    claim: &Claim,
    held: Held,
    update: ProgressUpdate<'_>,
    checkpoint: Option<&Staged<'_>>,
) -> Result<(), StoreError> {
    let (tenant, job) = (&claim.tenant, claim.job.id);
    if let Some(batches) = update.batches_per_epoch {
        sqlx::query("UPDATE jobs SET batches_per_epoch = $3 WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(job.to_string())
            .bind(i64::from(batches))
            .execute(&mut *write)
            .await?;
    }
    let new = new_epochs(update.epochs, held.epoch)?;
    if let Some(last) = new.last() {
        append_epochs(write, tenant, job, new).await?;
        sqlx::query("UPDATE jobs SET epoch = $3, metrics = $4 WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(job.to_string())
            .bind(i64::from(last.epoch))
            .bind(metrics_json(last))
            .execute(&mut *write)
            .await?;
    }
    match checkpoint {
        Some(staged) => keep_checkpoint(write, tenant, job, staged).await,
        None => Ok(()),
    }
}

/// The epochs that follow those that are stored.
fn new_epochs(epochs: &[EpochRow], stored: u32) -> Result<&[EpochRow], StoreError> {
    let new = &epochs[epochs.partition_point(|row| row.epoch <= stored)..];
    match (stored + 1..).zip(new).find(|(expected, row)| *expected != row.epoch) {
        None => Ok(new),
        Some((expected, row)) => Err(StoreError::EpochOutOfOrder {
            expected,
            found: row.epoch,
        }),
    }
}

/// Stores a checkpoint and deletes the one that is one too many. Crashes count anew from here: the job has come on.
async fn keep_checkpoint(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    job: JobId,
    staged: &Staged<'_>,
) -> Result<(), StoreError> {
    insert_last_chunk(write, tenant, staged).await?;
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO checkpoints (tenant, job, number, artifact)
        SELECT $1, $2, coalesce(max(number), 0) + 1, $3 FROM checkpoints WHERE tenant = $1 AND job = $2
        RETURNING number",
    )
    .bind(tenant.as_str())
    .bind(job.to_string())
    .bind(&staged.id)
    .fetch_one(&mut *write)
    .await?;
    let surplus: Vec<String> = sqlx::query_scalar(
        "DELETE FROM checkpoints WHERE tenant = $1 AND job = $2 AND number <= $3 RETURNING artifact",
    )
    .bind(tenant.as_str())
    .bind(job.to_string())
    .bind(number - KEPT_CHECKPOINTS)
    .fetch_all(&mut *write)
    .await?;
    for artifact in surplus {
        delete_artifact(write, tenant, &artifact).await?;
    }
    sqlx::query("UPDATE jobs SET crashes = 0 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(job.to_string())
        .execute(write)
        .await?;
    Ok(())
}
