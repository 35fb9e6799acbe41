//! A job's moves from state to state: each is one transaction with the event that tells of it.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::artifacts::delete_artifact;
use super::events::append_event;
use super::jobs::read_job;
use super::{Store, StoreError};
use crate::domain::event::EventKind;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobStatus};
use crate::domain::tenant::TenantId;

/// What became of a client's wish to move a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    Done(Box<Job>),
    /// A job in this state has no such move.
    Refused(JobStatus),
    NotFound,
}

impl Store {
    /// Moves a running job to cancelling, and one that no worker has to cancelled; but when a checkpoint holds trained
    /// epochs of it, also to cancelling, and [`Store::claim_cancelling`] hands it to a worker for its model.
    /// Asked again while cancelling, the answer is the same.
    pub async fn request_cancel(&self, tenant: &TenantId, id: JobId) -> Result<Move, StoreError> {
        let mut write = self.database().begin().await?;
        let Some(job) = read_job(&mut write, tenant, id).await? else {
            return Ok(Move::NotFound);
        };
        let to = match job.status {
            JobStatus::Cancelling => return Ok(Move::Done(Box::new(job))),
            JobStatus::Queued | JobStatus::Paused if has_checkpoint(&mut write, tenant, id).await? => {
                JobStatus::Cancelling
            }
            JobStatus::Queued | JobStatus::Paused => JobStatus::Cancelled,
            JobStatus::Running => JobStatus::Cancelling,
            done => return Ok(Move::Refused(done)),
        };
        move_job(&mut write, tenant, id, job.status, to).await?;
        let moved = existing_job(&mut write, tenant, id).await?;
        self.database().commit(write).await?;
        Ok(Move::Done(Box::new(moved)))
    }

    /// Moves a paused job back to its old place in the queue.
    pub async fn request_resume(&self, tenant: &TenantId, id: JobId) -> Result<Move, StoreError> {
        let mut write = self.database().begin().await?;
        let Some(job) = read_job(&mut write, tenant, id).await? else {
            return Ok(Move::NotFound);
        };
        if job.status != JobStatus::Paused {
            return Ok(Move::Refused(job.status));
        }
        move_job(&mut write, tenant, id, job.status, JobStatus::Queued).await?;
        let moved = existing_job(&mut write, tenant, id).await?;
        self.database().commit(write).await?;
        Ok(Move::Done(Box::new(moved)))
    }
}

/// A job that the caller's transaction has seen.
pub(super) async fn existing_job(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
) -> Result<Job, StoreError> {
    let job = read_job(write, tenant, id).await?;
    job.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
}

#[derive(sqlx::FromRow)]
struct Moved {
    attempt: i64,
    model: Option<String>,
    error_code: Option<String>,
    error_detail: Option<String>,
}

/// Moves a job and appends the event that says so. A job that is done loses what only its worker needed.
///
/// The caller has written what belongs to the move (owner, attempt, model, error) before, in the same transaction.
pub(super) async fn move_job(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
    from: JobStatus,
    to: JobStatus,
) -> Result<(), StoreError> {
    if !from.can_become(to) {
        return Err(StoreError::NoSuchMove { from, to });
    }
    let finished_at = to.is_final().then(|| Timestamp::now().to_string());
    let moved: Moved = sqlx::query_as(
        "UPDATE jobs SET status = $4, finished_at = $5 WHERE tenant = $1 AND id = $2 AND status = $3
        RETURNING attempt, model, error_code, error_detail",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(from.name())
    .bind(to.name())
    .bind(finished_at)
    .fetch_one(&mut *write)
    .await?;
    if !to.is_final() {
        let told = status_event(to, moved.attempt);
        return append_event(write, tenant, id, EventKind::Status, &told).await;
    }
    delete_training_state(write, tenant, id).await?;
    let error = moved
        .error_code
        .map(|code| json!({ "code": code, "detail": moved.error_detail }));
    let told = json!({ "status": to.name(), "model": moved.model, "error": error });
    append_event(write, tenant, id, EventKind::Done, &told.to_string()).await
}

pub(super) fn status_event(status: JobStatus, attempt: i64) -> String {
    json!({ "status": status.name(), "attempt": attempt }).to_string()
}

async fn delete_training_state(write: &mut SqliteConnection, tenant: &TenantId, id: JobId) -> Result<(), StoreError> {
    let artifacts: Vec<String> = sqlx::query_scalar(
        "SELECT artifact FROM checkpoints WHERE tenant = $1 AND job = $2
        UNION ALL SELECT initial_weights FROM jobs WHERE tenant = $1 AND id = $2 AND initial_weights IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .fetch_all(&mut *write)
    .await?;
    for artifact in artifacts {
        delete_artifact(write, tenant, &artifact).await?;
    }
    sqlx::query("DELETE FROM checkpoints WHERE tenant = $1 AND job = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .execute(&mut *write)
        .await?;
    sqlx::query("UPDATE jobs SET initial_weights = NULL WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .execute(write)
        .await?;
    Ok(())
}

pub(super) async fn has_checkpoint(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
) -> Result<bool, StoreError> {
    let there = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM checkpoints WHERE tenant = $1 AND job = $2)")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_one(connection)
        .await?;
    Ok(there)
}
