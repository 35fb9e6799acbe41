//! What a worker tells while it trains: epochs and checkpoints, each pair of them in one commit.

use sqlx::SqliteConnection;

use super::artifacts::{Staged, delete_artifact, insert_last_chunk};
use super::claim::Claim;
use super::column::{bigint, unsigned};
use super::events::{append_epochs, metrics_json};
use super::jobs::read_status;
use super::{Store, StoreError};
use crate::crash_point::crash_point;
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
        let staged = self
            .stage_artifacts(&claim.tenant, update.checkpoint.as_slice())
            .await?;
        let recorded = self.record_staged(claim, update, staged.first()).await;
        if !matches!(recorded, Ok(Hold::Mine(_))) {
            self.discard_staged(&claim.tenant, &staged).await;
        }
        recorded
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
        if checkpoint.is_some() {
            crash_point!("checkpoint-written");
        }
        self.database().commit(write).await?;
        if checkpoint.is_some() {
            crash_point!("checkpoint-committed");
        }
        crash_point!("epochs-committed");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Outcome, samples};

    fn update(epochs: &[EpochRow]) -> ProgressUpdate<'_> {
        ProgressUpdate {
            epochs,
            ..ProgressUpdate::default()
        }
    }

    #[tokio::test]
    async fn epochs_become_history_events_and_progress() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, id) = (claim.tenant.clone(), claim.job.id);
        let rows = samples::epochs(1..=3);
        let news = ProgressUpdate {
            batches_per_epoch: Some(16),
            ..update(&rows)
        };
        assert_eq!(
            store.record_progress(&claim, news).await.unwrap(),
            Hold::Mine(JobStatus::Running)
        );
        let job = store.get_job(&tenant, id).await.unwrap().unwrap();
        assert_eq!((job.progress.epoch, job.progress.batches_per_epoch), (3, Some(16)));
        let metrics = serde_json::to_string(&job.progress.metrics).unwrap();
        assert_eq!(metrics, r#"{"loss":0.3333333333333333,"accuracy":null}"#);
        assert_eq!(store.history(&tenant, id, 0, 9).await.unwrap(), rows);
        let told = samples::told(&store, id).await;
        assert_eq!(
            told,
            ["status queued", "status running", "epoch 1", "epoch 2", "epoch 3"]
        );
    }

    #[tokio::test]
    async fn an_epoch_that_is_trained_again_is_told_once() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        for span in [1..=4, 3..=6, 2..=5, 6..=7] {
            store
                .record_progress(&claim, update(&samples::epochs(span)))
                .await
                .unwrap();
        }
        let history = store.history(&claim.tenant, claim.job.id, 0, 99).await.unwrap();
        assert_eq!(history, samples::epochs(1..=7));
        assert_eq!(samples::told(&store, claim.job.id).await.len(), 2 + 7);
        let job = store.get_job(&claim.tenant, claim.job.id).await.unwrap().unwrap();
        assert_eq!(job.progress.epoch, 7);
    }

    #[tokio::test]
    async fn epochs_with_a_gap_are_refused_whole() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        for gap in [vec![2], vec![1, 3], vec![1, 2, 2]] {
            let refused = store
                .record_progress(&claim, update(&samples::epochs(gap.clone())))
                .await;
            assert!(
                matches!(refused, Err(StoreError::EpochOutOfOrder { .. })),
                "{gap:?}: {refused:?}"
            );
        }
        assert_eq!(store.history(&claim.tenant, claim.job.id, 0, 9).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_worker_that_lost_its_job_changes_nothing_and_is_told_so() {
        let (directory, store) = samples::open().await;
        let stale = samples::running(&store).await;
        let store = samples::crash(&directory, store).await;
        let rows = samples::epochs(1..=2);
        let large = vec![7; 20 << 20];
        let news = ProgressUpdate {
            checkpoint: Some(&large),
            ..update(&rows)
        };
        assert_eq!(
            store.record_progress(&stale, news).await.unwrap(),
            Hold::Lost,
            "nobody has it"
        );
        let claim = samples::claim(&store).await;
        assert_eq!((claim.job.id, claim.fence), (stale.job.id, stale.fence + 1));
        assert_eq!(claim.owner, stale.owner);
        assert_eq!(
            store.record_progress(&stale, news).await.unwrap(),
            Hold::Lost,
            "a later claim has it"
        );
        let other = Claim {
            owner: "other".to_owned(),
            ..claim.clone()
        };
        assert_eq!(
            store.record_progress(&other, news).await.unwrap(),
            Hold::Lost,
            "another worker has it"
        );
        let foreign = Claim {
            tenant: TenantId::new("other"),
            ..claim.clone()
        };
        assert_eq!(
            store.record_progress(&foreign, news).await.unwrap(),
            Hold::Lost,
            "another tenant has it"
        );
        assert_eq!(
            store.get_job(&claim.tenant, claim.job.id).await.unwrap(),
            Some(claim.job.clone())
        );
        assert_eq!(samples::stored_chunks(&store).await, 0);
        samples::finish(
            &store,
            &claim,
            Outcome::Succeeded {
                model: samples::model(&claim.job),
            },
        )
        .await;
        assert_eq!(
            store.record_progress(&claim, news).await.unwrap(),
            Hold::Lost,
            "it is done"
        );
    }

    #[tokio::test]
    async fn a_worker_learns_from_its_next_write_that_it_is_to_stop() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
        let hold = store
            .record_progress(&claim, update(&samples::epochs(1..=1)))
            .await
            .unwrap();
        assert_eq!(hold, Hold::Mine(JobStatus::Cancelling));
        assert_eq!(store.history(&claim.tenant, claim.job.id, 0, 9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_newest_two_checkpoints_are_kept_and_none_of_a_finished_job() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        assert_eq!(store.earlier_checkpoint(&claim).await.unwrap(), None);
        for state in [&b"one"[..], b"two", b"three"] {
            samples::checkpoint(&store, &claim, state).await;
        }
        assert_eq!(samples::stored_chunks(&store).await, 2);
        assert_eq!(
            store.earlier_checkpoint(&claim).await.unwrap().as_deref(),
            Some(&b"two"[..])
        );
        samples::finish(&store, &claim, Outcome::Paused).await;
        store.request_resume(&claim.tenant, claim.job.id).await.unwrap();
        let claim = samples::claim(&store).await;
        assert_eq!(claim.checkpoint.as_deref(), Some(&b"three"[..]));
        samples::finish(
            &store,
            &claim,
            Outcome::Succeeded {
                model: samples::model(&claim.job),
            },
        )
        .await;
        assert_eq!(
            samples::stored_chunks(&store).await,
            2,
            "the model's weights and optimizer state"
        );
    }
}
