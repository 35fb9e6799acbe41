//! Handing jobs to workers, one worker a job, in the order of submission.

use jiff::Timestamp;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::artifacts::read_artifact;
use super::column::{bigint, parsed, unsigned};
use super::jobs::kept_apart;
use super::moves::{existing_job, move_job};
use super::{Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobStatus};
use crate::domain::tenant::TenantId;

/// The right to work on a job: every write of a worker names it, and is refused once the job is no longer the worker's.
#[derive(Clone, Debug)]
pub struct Claim {
    pub tenant: TenantId,
    pub job: Job,
    /// Who claimed it.
    pub owner: String,
    /// One more with every claim of the job.
    pub fence: u64,
    /// In how many crashes in a row the job took part, without a new checkpoint in between.
    pub crashes: u32,
    /// As submitted.
    pub memory_bytes: u64,
    /// As submitted.
    pub initial_weights: Option<Vec<u8>>,
    /// The newest, to go on from.
    pub checkpoint: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    tenant: String,
    id: String,
    memory_bytes: i64,
    kept_apart: bool,
}

#[derive(sqlx::FromRow)]
struct Claimed {
    fence: i64,
    crashes: i64,
    memory_bytes: i64,
    initial_weights: Option<String>,
}

impl Store {
    /// Claims the job at the head of the queue, where those stand that must train alone; `None` when there is none, it needs more than `room_bytes`, or it may not
    /// train beside those that workers have.
    ///
    /// A job that can't be read is failed instead: it would keep all behind it waiting.
    pub async fn claim_next(&self, owner: &str, room_bytes: u64) -> Result<Option<Claim>, StoreError> {
        let head = concat!(
            "SELECT tenant, id, memory_bytes, ",
            kept_apart!(),
            " AS kept_apart FROM jobs WHERE status = 'queued' ORDER BY crashes < 2, id LIMIT 1"
        );
        while let Some((mut write, head)) = self.begin_with_first(head, room_bytes).await? {
            let (tenant, id) = (TenantId::new(head.tenant), parsed("job", &head.id)?);
            sqlx::query(
                "UPDATE jobs SET attempt = attempt + 1, started_at = coalesce(started_at, $3)
                WHERE tenant = $1 AND id = $2",
            )
            .bind(tenant.as_str())
            .bind(&head.id)
            .bind(Timestamp::now().to_string())
            .execute(&mut *write)
            .await?;
            move_job(&mut write, &tenant, id, JobStatus::Queued, JobStatus::Running).await?;
            let claim = take_or_end(&mut write, &tenant, id, owner, [JobStatus::Running, JobStatus::Failed]).await?;
            self.database().commit(write).await?;
            if claim.is_some() {
                crash_point!("job-claimed");
                return Ok(claim);
            }
        }
        Ok(None)
    }

    /// Whether a job that must train alone, having been there at two crashes in a row, waits for others to let go.
    pub async fn suspect_waits(&self) -> Result<bool, StoreError> {
        let waits = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'queued' AND crashes >= 2)
            AND NOT EXISTS (SELECT 1 FROM jobs WHERE status IN ('running', 'cancelling') AND owner IS NOT NULL AND crashes >= 2)",
        );
        Ok(waits.fetch_one(self.database().readers()).await?)
    }

    /// Claims a job that was cancelled while no worker had it but a checkpoint holds trained epochs: its worker makes
    /// the model from the checkpoint and finishes the job as cancelled, without training. One that can't be read is
    /// cancelled at once.
    pub async fn claim_cancelling(&self, owner: &str) -> Result<Option<Claim>, StoreError> {
        let waiting = "SELECT tenant, id, memory_bytes, FALSE AS kept_apart FROM jobs
            WHERE status = 'cancelling' AND owner IS NULL ORDER BY id LIMIT 1";
        while let Some((mut write, candidate)) = self.begin_with_first(waiting, u64::MAX).await? {
            let (tenant, id) = (TenantId::new(candidate.tenant), parsed("job", &candidate.id)?);
            let end = [JobStatus::Cancelling, JobStatus::Cancelled];
            let claim = take_or_end(&mut write, &tenant, id, owner, end).await?;
            self.database().commit(write).await?;
            if claim.is_some() {
                return Ok(claim);
            }
        }
        Ok(None)
    }

    /// Begins a write with the job that the query finds, if it finds one that fits; else the writer is left alone.
    async fn begin_with_first(
        &self,
        query: &'static str,
        room_bytes: u64,
    ) -> Result<Option<(Transaction<'static, Sqlite>, Candidate)>, StoreError> {
        let fits = |candidate: &Candidate| !candidate.kept_apart && candidate.memory_bytes <= bigint(room_bytes);
        let seen: Option<Candidate> = sqlx::query_as(query).fetch_optional(self.database().readers()).await?;
        if !seen.is_some_and(|candidate| fits(&candidate)) {
            return Ok(None);
        }
        let mut write = self.database().begin().await?;
        let first: Option<Candidate> = sqlx::query_as(query).fetch_optional(&mut *write).await?;
        Ok(first.filter(fits).map(|candidate| (write, candidate)))
    }

    /// The checkpoint before the newest, for when the newest can't be read.
    pub async fn earlier_checkpoint(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        let mut reader = self.database().reader().await?;
        checkpoint(&mut reader, &claim.tenant, claim.job.id, 1).await
    }
}

/// Makes the job the owner's.
async fn take(write: &mut SqliteConnection, tenant: TenantId, id: JobId, owner: &str) -> Result<Claim, StoreError> {
    let claimed: Claimed = sqlx::query_as(
        "UPDATE jobs SET owner = $3, fence = fence + 1 WHERE tenant = $1 AND id = $2
        RETURNING fence, crashes, memory_bytes, initial_weights",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(owner)
    .fetch_one(&mut *write)
    .await?;
    let initial_weights = match claimed.initial_weights {
        Some(artifact) => Some(read_artifact(write, &tenant, &artifact).await?),
        None => None,
    };
    Ok(Claim {
        checkpoint: checkpoint(write, &tenant, id, 0).await?,
        job: existing_job(write, &tenant, id).await?,
        tenant,
        owner: owner.to_owned(),
        fence: unsigned("job", claimed.fence)?,
        crashes: unsigned("job", claimed.crashes)?,
        memory_bytes: unsigned("job", claimed.memory_bytes)?,
        initial_weights,
    })
}

/// Makes the job the owner's; one that can't be read is ended by the move instead, and is nobody's.
async fn take_or_end(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
    owner: &str,
    [from, to]: [JobStatus; 2],
) -> Result<Option<Claim>, StoreError> {
    let error = match take(write, tenant.clone(), id, owner).await {
        Err(error @ StoreError::Damaged { .. }) => error,
        taken => return taken.map(Some),
    };
    tracing::error!(job = %id, to = to.name(), %error, "a job that can't be read is ended");
    sqlx::query(
        "UPDATE jobs SET owner = NULL, error_code = 'internal', error_detail = $3 WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind("The server can't read this job as it has stored it; the fault is not yours. Its log says why.")
    .execute(&mut *write)
    .await?;
    move_job(write, tenant, id, from, to).await?;
    Ok(None)
}

/// The newest checkpoint but `newer`.
async fn checkpoint(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    job: JobId,
    newer: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let artifact: Option<String> = sqlx::query_scalar(
        "SELECT artifact FROM checkpoints WHERE tenant = $1 AND job = $2 ORDER BY number DESC LIMIT 1 OFFSET $3",
    )
    .bind(tenant.as_str())
    .bind(job.to_string())
    .bind(newer)
    .fetch_optional(&mut *connection)
    .await?;
    match artifact {
        Some(artifact) => Ok(Some(read_artifact(connection, tenant, &artifact).await?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::id::DatasetId;
    use crate::store::{Outcome, samples};

    async fn submit_many(store: &Store, dataset: DatasetId, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(samples::submit(store, &samples::tenant(), dataset).await.id);
        }
        ids
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn eight_workers_get_two_hundred_jobs_each_once_and_in_order() {
        let (_directory, store) = samples::open().await;
        let dataset = samples::dataset(&store, &samples::tenant(), b"a").await.id;
        let submitted = submit_many(&store, dataset, 200).await;
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut claimed = Vec::new();
                    while let Some(claim) = store.claim_next(&format!("worker {worker}"), u64::MAX).await.unwrap() {
                        claimed.push(claim.job.id);
                    }
                    claimed
                })
            })
            .collect();
        let mut all = BTreeSet::new();
        for worker in workers {
            let claimed = worker.await.unwrap();
            assert!(claimed.is_sorted(), "a worker got a job before an older one");
            for id in claimed {
                assert!(all.insert(id), "{id} was claimed twice");
            }
        }
        assert_eq!(all.into_iter().collect::<Vec<_>>(), submitted);
    }

    #[tokio::test]
    async fn the_queue_is_numbered_from_the_job_that_starts_next() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let dataset = samples::dataset(&store, &tenant, b"a").await.id;
        let ids = submit_many(&store, dataset, 3).await;
        let positions = async || {
            let mut positions = Vec::new();
            for id in &ids {
                positions.push(store.get_job(&tenant, *id).await.unwrap().unwrap().queue_position);
            }
            positions
        };
        assert_eq!(positions().await, [Some(1), Some(2), Some(3)]);
        let claim = samples::claim(&store).await;
        assert_eq!(claim.job.id, ids[0]);
        assert_eq!(positions().await, [None, Some(1), Some(2)]);
        store.request_cancel(&tenant, ids[1]).await.unwrap();
        assert_eq!(positions().await, [None, None, Some(1)]);
    }

    #[tokio::test]
    async fn a_claimed_job_runs_and_is_counted() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        assert_eq!(
            (claim.job.status, claim.job.attempt, claim.fence),
            (JobStatus::Running, 1, 1)
        );
        assert!(claim.job.started_at.is_some_and(|start| start >= claim.job.created_at));
        assert_eq!(claim.job.finished_at, None);
        assert_eq!(
            samples::told(&store, claim.job.id).await,
            ["status queued", "status running"]
        );
    }

    #[tokio::test]
    async fn the_head_of_the_queue_waits_until_there_is_room_for_it() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let dataset = samples::dataset(&store, &tenant, b"a").await.id;
        let mut large = samples::new_job(dataset);
        large.memory_bytes = 5_000;
        let large = samples::insert(&store, &tenant, large).await.id;
        samples::submit(&store, &tenant, dataset).await;
        assert!(store.claim_next("worker", 4_999).await.unwrap().is_none());
        let claim = store.claim_next("worker", 5_000).await.unwrap().unwrap();
        assert_eq!((claim.job.id, claim.memory_bytes), (large, 5_000));
    }

    #[tokio::test]
    async fn jobs_that_cannot_be_read_are_ended_and_the_queue_goes_on() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let cancelled = samples::running(&store).await;
        samples::checkpoint(&store, &cancelled, b"epoch 3").await;
        samples::finish(&store, &cancelled, Outcome::Paused).await;
        store.request_cancel(&tenant, cancelled.job.id).await.unwrap();
        let ids = submit_many(&store, cancelled.job.dataset, 2).await;
        for id in [cancelled.job.id, ids[0]] {
            samples::damage(&store, id).await;
        }
        assert!(store.claim_cancelling("worker").await.unwrap().is_none());
        assert_eq!(samples::claim(&store).await.job.id, ids[1]);
        for (id, end) in [(cancelled.job.id, "cancelled"), (ids[0], "failed")] {
            let row: (String, Option<String>, Option<String>) =
                sqlx::query_as("SELECT status, owner, error_code FROM jobs WHERE id = $1")
                    .bind(id.to_string())
                    .fetch_one(store.database().readers())
                    .await
                    .unwrap();
            assert_eq!(row, (end.to_owned(), None, Some("internal".to_owned())));
            assert_eq!(samples::told(&store, id).await.last().unwrap(), &format!("done {end}"));
        }
    }

    #[tokio::test]
    async fn an_empty_queue_gives_no_claim() {
        let (_directory, store) = samples::open().await;
        assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
        assert!(store.claim_cancelling("worker").await.unwrap().is_none());
    }
}
