//! A job's moves from state to state: each is one transaction with the event that tells of it.

use jiff::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;

use super::artifacts::delete_artifact;
use super::events::append_event;
use super::jobs::{read_job, read_status};
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
    ///
    /// Errors: a job that can't be read is cancelled all the same, and then said to be damaged.
    pub async fn request_cancel(&self, tenant: &TenantId, id: JobId) -> Result<Move, StoreError> {
        let mut write = self.database().begin_freeing().await?;
        let Some(from) = job_status(&mut write, tenant, id).await? else {
            return Ok(Move::NotFound);
        };
        let to = match from {
            JobStatus::Cancelling => from,
            JobStatus::Queued | JobStatus::Paused if has_checkpoint(&mut write, tenant, id).await? => {
                JobStatus::Cancelling
            }
            JobStatus::Queued | JobStatus::Paused => JobStatus::Cancelled,
            JobStatus::Running => JobStatus::Cancelling,
            done => return Ok(Move::Refused(done)),
        };
        if to != from {
            move_job(&mut write, tenant, id, from, to).await?;
        }
        let moved = existing_job(&mut write, tenant, id).await;
        if matches!(moved, Ok(_) | Err(StoreError::Damaged { .. })) {
            self.database().commit(write).await?;
        }
        Ok(Move::Done(Box::new(moved?)))
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

async fn job_status(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
) -> Result<Option<JobStatus>, StoreError> {
    let status: Option<String> = sqlx::query_scalar("SELECT status FROM jobs WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(write)
        .await?;
    status.map(|status| read_status(&status)).transpose()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::JobError;
    use crate::store::{Claim, Outcome, samples};

    /// A claimed job that is then brought to a state by those who may.
    async fn job_in(status: JobStatus) -> (tempfile::TempDir, Store, Claim) {
        let (directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let id = claim.job.id;
        let outcome = match status {
            JobStatus::Queued => Some(Outcome::Released),
            JobStatus::Paused => Some(Outcome::Paused),
            JobStatus::Succeeded => Some(Outcome::Succeeded {
                model: samples::model(&claim.job),
            }),
            JobStatus::Failed => {
                let error = JobError {
                    code: "diverged".to_owned(),
                    detail: "Lower the rate.".to_owned(),
                };
                Some(Outcome::Failed { error, model: None })
            }
            JobStatus::Running => None,
            JobStatus::Cancelling | JobStatus::Cancelled => {
                store.request_cancel(&claim.tenant, id).await.unwrap();
                (status == JobStatus::Cancelled).then_some(Outcome::Cancelled { model: None })
            }
        };
        if let Some(outcome) = outcome {
            samples::finish(&store, &claim, outcome).await;
        }
        let job = store.get_job(&claim.tenant, id).await.unwrap().unwrap();
        assert_eq!(job.status, status);
        (directory, store, claim)
    }

    fn status_of(moved: &Move) -> JobStatus {
        match moved {
            Move::Done(job) => job.status,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_client_can_cancel_whatever_is_not_done() {
        for status in JobStatus::ALL {
            let (_directory, store, claim) = job_in(status).await;
            let moved = store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
            match status {
                JobStatus::Queued | JobStatus::Paused => assert_eq!(status_of(&moved), JobStatus::Cancelled),
                JobStatus::Running | JobStatus::Cancelling => assert_eq!(status_of(&moved), JobStatus::Cancelling),
                done => assert_eq!(moved, Move::Refused(done)),
            }
        }
    }

    #[tokio::test]
    async fn a_client_can_resume_only_what_is_paused() {
        for status in JobStatus::ALL {
            let (_directory, store, claim) = job_in(status).await;
            let moved = store.request_resume(&claim.tenant, claim.job.id).await.unwrap();
            match status {
                JobStatus::Paused => assert_eq!(status_of(&moved), JobStatus::Queued),
                other => assert_eq!(moved, Move::Refused(other)),
            }
        }
    }

    #[tokio::test]
    async fn only_moves_of_the_table_are_made() {
        for from in JobStatus::ALL {
            let (_directory, store, claim) = job_in(from).await;
            for to in JobStatus::ALL {
                let mut write = store.database().begin().await.unwrap();
                let moved = move_job(&mut write, &claim.tenant, claim.job.id, from, to).await;
                assert_eq!(moved.is_ok(), from.can_become(to), "{from:?} to {to:?}");
            }
        }
    }

    #[tokio::test]
    async fn every_final_state_is_told_once_and_last() {
        for status in JobStatus::ALL.into_iter().filter(|status| status.is_final()) {
            let (_directory, store, claim) = job_in(status).await;
            let told = samples::told(&store, claim.job.id).await;
            assert_eq!(told.iter().filter(|event| event.starts_with("done")).count(), 1);
            assert_eq!(told.last().unwrap(), &format!("done {}", status.name()));
            let job = store.get_job(&claim.tenant, claim.job.id).await.unwrap().unwrap();
            assert!(job.finished_at.is_some_and(|end| end >= job.created_at));
        }
    }

    #[tokio::test]
    async fn a_cancelled_job_keeps_the_epochs_of_its_checkpoint() {
        for before in [JobStatus::Queued, JobStatus::Paused] {
            let (_directory, store) = samples::open().await;
            let claim = samples::running(&store).await;
            let (tenant, id) = (claim.tenant.clone(), claim.job.id);
            samples::checkpoint(&store, &claim, b"epoch 3").await;
            let outcome = if before == JobStatus::Paused {
                Outcome::Paused
            } else {
                Outcome::Released
            };
            assert_eq!(samples::finish(&store, &claim, outcome).await.status, before);
            let moved = store.request_cancel(&tenant, id).await.unwrap();
            assert_eq!(status_of(&moved), JobStatus::Cancelling);

            assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
            let claim = store.claim_cancelling("worker").await.unwrap().unwrap();
            assert_eq!((claim.job.id, claim.checkpoint.as_deref()), (id, Some(&b"epoch 3"[..])));
            assert!(store.claim_cancelling("worker").await.unwrap().is_none());
            let model = samples::model(&claim.job);
            let made = model.model.id;
            let job = samples::finish(&store, &claim, Outcome::Cancelled { model: Some(model) }).await;
            assert_eq!((job.status, job.model), (JobStatus::Cancelled, Some(made)));
        }
    }
}
