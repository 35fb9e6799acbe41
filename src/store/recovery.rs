//! What the start does with jobs that a crash left with a worker that is no more.

use sqlx::SqliteConnection;

use super::column::parsed;
use super::jobs::read_status;
use super::moves::{has_checkpoint, move_job};
use super::{Store, StoreError};
use crate::domain::id::JobId;
use crate::domain::job::JobStatus;
use crate::domain::tenant::TenantId;

/// A job that took part in so many crashes, without a new checkpoint in between, has caused the last of them, at which it
/// trained alone ([`super::jobs::kept_apart`]): it would cause a further one.
const MAX_CRASHES: i64 = 3;

#[derive(sqlx::FromRow)]
struct Orphan {
    tenant: String,
    id: String,
    status: String,
    crashes: i64,
}

impl Store {
    /// Moves every job that a worker had when the process ended: see the table in `domain/job.rs`.
    pub(super) async fn recover_jobs(&self) -> Result<(), StoreError> {
        let mut write = self.database().begin_freeing().await?;
        // Whoever had them is gone: this process has just got the directory.
        let orphans: Vec<Orphan> = sqlx::query_as(
            "UPDATE jobs SET owner = NULL, crashes = crashes + 1 WHERE owner IS NOT NULL
            RETURNING tenant, id, status, crashes",
        )
        .fetch_all(&mut *write)
        .await?;
        for orphan in orphans {
            recover(&mut write, &orphan).await?;
        }
        self.database().commit(write).await
    }
}

async fn recover(write: &mut SqliteConnection, orphan: &Orphan) -> Result<(), StoreError> {
    let tenant = TenantId::new(&orphan.tenant);
    let (id, from): (JobId, _) = (parsed("job", &orphan.id)?, read_status(&orphan.status)?);
    let hopeless = orphan.crashes >= MAX_CRASHES;
    let to = match from {
        JobStatus::Running if hopeless => JobStatus::Failed,
        JobStatus::Running => JobStatus::Queued,
        JobStatus::Cancelling if hopeless || !has_checkpoint(write, &tenant, id).await? => JobStatus::Cancelled,
        other => other,
    };
    tracing::info!(
        job = orphan.id,
        from = from.name(),
        to = to.name(),
        crashes = orphan.crashes,
        "a crash cut a job short"
    );
    if to == JobStatus::Failed {
        blame_crashes(write, &tenant, id).await?;
    }
    if to == from {
        Ok(())
    } else {
        move_job(write, &tenant, id, from, to).await
    }
}

async fn blame_crashes(write: &mut SqliteConnection, tenant: &TenantId, id: JobId) -> Result<(), StoreError> {
    let detail = format!(
        "The server went down {MAX_CRASHES} times in a row while it trained this job, each time before it could store \
        a new checkpoint, and the last time it trained no other. Unless somebody ended the server, its memory may not suffice: try a smaller \
        network, batch or table."
    );
    sqlx::query("UPDATE jobs SET error_code = 'crashed', error_detail = $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(detail)
        .execute(write)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[tokio::test]
    async fn after_a_crash_a_running_job_is_queued_and_goes_on_from_its_checkpoint() {
        let (directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, id) = (claim.tenant.clone(), claim.job.id);
        samples::checkpoint(&store, &claim, b"state").await;
        let store = samples::crash(&directory, store).await;
        let job = store.get_job(&tenant, id).await.unwrap().unwrap();
        assert_eq!(
            (job.status, job.attempt, job.queue_position),
            (JobStatus::Queued, 1, Some(1))
        );
        let claim = samples::claim(&store).await;
        assert_eq!((claim.job.id, claim.job.attempt, claim.fence), (id, 2, 2));
        assert_eq!(claim.checkpoint.as_deref(), Some(&b"state"[..]));
        let told = samples::told(&store, id).await;
        assert_eq!(
            told,
            ["status queued", "status running", "status queued", "status running"]
        );
    }

    #[tokio::test]
    async fn the_third_crash_in_a_row_fails_the_job() {
        let (directory, mut store) = samples::open().await;
        let (tenant, id) = {
            let claim = samples::running(&store).await;
            (claim.tenant, claim.job.id)
        };
        for crash in 1..=3 {
            store = samples::crash(&directory, store).await;
            let job = store.get_job(&tenant, id).await.unwrap().unwrap();
            if crash < 3 {
                assert_eq!(job.status, JobStatus::Queued, "crash {crash}");
                samples::claim(&store).await;
            } else {
                assert_eq!(job.status, JobStatus::Failed);
                let error = job.error.unwrap();
                assert_eq!(error.code, "crashed");
                assert!(error.detail.contains("3 times"), "{}", error.detail);
                assert_eq!(samples::told(&store, id).await.last().unwrap(), "done failed");
            }
        }
        assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn after_two_crashes_a_job_trains_alone_and_the_third_fails_nobody_else() {
        let (directory, mut store) = samples::open().await;
        let deadly = samples::running(&store).await.job;
        let neighbour = samples::submit(&store, &samples::tenant(), deadly.dataset).await.id;
        let late = samples::submit(&store, &samples::tenant(), deadly.dataset).await.id;
        assert_eq!(samples::claim(&store).await.job.id, neighbour);
        store = samples::crash(&directory, store).await;
        assert_eq!(samples::claim(&store).await.job.id, deadly.id);
        assert_eq!(
            samples::claim(&store).await.job.id,
            neighbour,
            "one crash is no suspicion"
        );
        store = samples::crash(&directory, store).await;
        assert_eq!(samples::claim(&store).await.job.id, deadly.id);
        let kept_apart = async |store: &Store, id| {
            let job = store.get_job(&samples::tenant(), id).await.unwrap().unwrap();
            (job.queue_position, job.kept_apart)
        };
        assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
        assert_eq!(kept_apart(&store, neighbour).await, (Some(1), true));
        assert_eq!(kept_apart(&store, late).await, (Some(2), true));

        let store = samples::crash(&directory, store).await;
        let failed = store.get_job(&samples::tenant(), deadly.id).await.unwrap().unwrap();
        assert_eq!(
            (failed.status, failed.error.unwrap().code.as_str()),
            (JobStatus::Failed, "crashed")
        );
        assert_eq!(kept_apart(&store, neighbour).await, (Some(1), false));
        let claim = samples::claim(&store).await;
        assert_eq!((claim.job.id, claim.crashes), (neighbour, 2));
        assert!(
            store.claim_next("worker", u64::MAX).await.unwrap().is_none(),
            "it too is suspected"
        );
        samples::checkpoint(&store, &claim, b"state").await;
        assert_eq!(samples::claim(&store).await.job.id, late, "no longer");
    }

    #[tokio::test]
    async fn a_suspect_waits_for_those_that_train_and_for_models_that_are_made() {
        let (directory, mut store) = samples::open().await;
        let mut claim = samples::running(&store).await;
        for _ in 0..2 {
            store = samples::crash(&directory, store).await;
            claim = samples::claim(&store).await;
        }
        assert!(!store.suspect_waits().await.unwrap(), "it trains");
        let suspect = samples::finish(&store, &claim, crate::store::Outcome::Paused).await;
        samples::submit(&store, &samples::tenant(), suspect.dataset).await;
        let other = samples::claim(&store).await;
        assert!(!store.suspect_waits().await.unwrap(), "it is paused");
        store.request_resume(&samples::tenant(), suspect.id).await.unwrap();
        assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
        assert!(store.suspect_waits().await.unwrap());
        samples::checkpoint(&store, &other, b"state").await;
        samples::finish(&store, &other, crate::store::Outcome::Paused).await;
        store.request_cancel(&samples::tenant(), other.job.id).await.unwrap();
        let cancelling = store.claim_cancelling("worker").await.unwrap().unwrap();
        assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
        samples::finish(&store, &cancelling, crate::store::Outcome::Cancelled { model: None }).await;
        assert_eq!(samples::claim(&store).await.job.id, suspect.id);
    }

    #[tokio::test]
    async fn a_suspect_is_first_in_the_queue_and_keeps_no_cancelled_job_waiting() {
        let (directory, mut store) = samples::open().await;
        let other = samples::running(&store).await;
        samples::checkpoint(&store, &other, b"state").await;
        let other = samples::finish(&store, &other, crate::store::Outcome::Paused).await;
        let suspect = samples::submit(&store, &samples::tenant(), other.dataset).await.id;
        for _ in 0..2 {
            samples::claim(&store).await;
            store = samples::crash(&directory, store).await;
        }
        store.request_resume(&samples::tenant(), other.id).await.unwrap();
        let position = async |id| {
            let job = store.get_job(&samples::tenant(), id).await.unwrap().unwrap();
            job.queue_position
        };
        assert_eq!((position(suspect).await, position(other.id).await), (Some(1), Some(2)));
        assert_eq!(samples::claim(&store).await.job.id, suspect);
        store.request_cancel(&samples::tenant(), other.id).await.unwrap();
        let cancelling = store.claim_cancelling("worker").await.unwrap().unwrap();
        assert_eq!(cancelling.job.id, other.id);
    }

    #[tokio::test]
    async fn crashes_count_anew_from_every_new_checkpoint() {
        let (directory, mut store) = samples::open().await;
        let mut claim = samples::running(&store).await;
        for round in 0..10_u8 {
            samples::checkpoint(&store, &claim, &[round]).await;
            store = samples::crash(&directory, store).await;
            claim = samples::claim(&store).await;
            assert_eq!(claim.checkpoint, Some(vec![round]));
            store = samples::crash(&directory, store).await;
            claim = samples::claim(&store).await;
        }
        assert_eq!(claim.job.attempt, 21);
    }

    #[tokio::test]
    async fn a_start_without_a_crash_counts_none() {
        let (directory, mut store) = samples::open().await;
        let claim = samples::running(&store).await;
        samples::finish(&store, &claim, crate::store::Outcome::Released).await;
        for _ in 0..5 {
            store = samples::crash(&directory, store).await;
        }
        assert_eq!(samples::claim(&store).await.job.attempt, 2);
        let store = samples::crash(&directory, store).await;
        assert_eq!(samples::claim(&store).await.job.attempt, 3, "one crash fails no job");
    }

    #[tokio::test]
    async fn a_crash_while_cancelling_ends_the_job_unless_a_model_can_be_made() {
        for state in [None, Some(b"state")] {
            let (directory, store) = samples::open().await;
            let claim = samples::running(&store).await;
            if let Some(state) = state {
                samples::checkpoint(&store, &claim, state).await;
            }
            store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
            let store = samples::crash(&directory, store).await;
            let job = store.get_job(&claim.tenant, claim.job.id).await.unwrap().unwrap();
            let left = store.claim_cancelling("worker").await.unwrap();
            match state {
                None => assert_eq!((job.status, left.is_some()), (JobStatus::Cancelled, false)),
                Some(_) => assert_eq!((job.status, left.is_some()), (JobStatus::Cancelling, true)),
            }
        }
    }

    #[tokio::test]
    async fn a_job_whose_model_cannot_be_made_is_cancelled_after_the_third_crash() {
        let (directory, mut store) = samples::open().await;
        let claim = samples::running(&store).await;
        samples::checkpoint(&store, &claim, b"deadly").await;
        store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
        for _ in 0..2 {
            store = samples::crash(&directory, store).await;
            store.claim_cancelling("worker").await.unwrap().unwrap();
        }
        store = samples::crash(&directory, store).await;
        let job = store.get_job(&claim.tenant, claim.job.id).await.unwrap().unwrap();
        assert_eq!((job.status, job.model), (JobStatus::Cancelled, None));
    }

    #[tokio::test]
    async fn a_paused_job_survives_any_number_of_starts() {
        let (directory, mut store) = samples::open().await;
        let claim = samples::running(&store).await;
        samples::finish(&store, &claim, crate::store::Outcome::Paused).await;
        let paused = store.get_job(&claim.tenant, claim.job.id).await.unwrap();
        for _ in 0..4 {
            store = samples::crash(&directory, store).await;
            assert_eq!(store.get_job(&claim.tenant, claim.job.id).await.unwrap(), paused);
        }
    }
}
