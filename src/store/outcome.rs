//! How a worker lets go of its job.

use sqlx::SqliteConnection;

use super::artifacts::Staged;
use super::claim::Claim;
use super::column::to_json;
use super::models::insert_model;
use super::moves::{existing_job, has_checkpoint, move_job};
use super::progress::{ProgressUpdate, held, write_progress};
use super::{Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::job::{Job, JobError, JobStatus};
use crate::domain::model::{Model, ModelParts};

/// A model on its way into the store.
#[derive(Clone, Debug)]
pub struct NewModel {
    pub model: Model,
    pub parts: ModelParts,
}

impl NewModel {
    /// What it takes of its tenant's room.
    pub(super) fn size_bytes(&self) -> u64 {
        let document = to_json(&self.model);
        let texts = document.len() + self.parts.encoder.len();
        (texts + self.parts.weights.len() + self.parts.optimizer_state.len()) as u64
    }
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

impl Outcome {
    fn model(&self) -> Option<&NewModel> {
        match self {
            Self::Succeeded { model } => Some(model),
            Self::Failed { model, .. } | Self::Cancelled { model } => model.as_ref(),
            Self::Paused | Self::Released => None,
        }
    }
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
    /// Stores the last news, the model and the outcome in one commit. The model is stored whatever room its tenant has: the
    /// job was taken, and its work isn't lost. What is sent next is refused instead.
    pub async fn finish(
        &self,
        claim: &Claim,
        last: ProgressUpdate<'_>,
        outcome: Outcome,
    ) -> Result<Settled, StoreError> {
        let mut artifacts: Vec<&[u8]> = last.checkpoint.into_iter().collect();
        if let Some(NewModel { parts, .. }) = outcome.model() {
            artifacts.extend([&parts.weights[..], &parts.optimizer_state[..]]);
        }
        let staged = self.stage_artifacts(&claim.tenant, &artifacts).await?;
        let settled = self.finish_staged(claim, last, &outcome, &staged).await;
        if !matches!(settled, Ok(Settled::Stored(_))) {
            self.discard_staged(&claim.tenant, &staged).await;
        }
        settled
    }

    /// `staged`: the checkpoint if there is one, then the model's weights and optimizer state if there is one.
    async fn finish_staged(
        &self,
        claim: &Claim,
        last: ProgressUpdate<'_>,
        outcome: &Outcome,
        staged: &[Staged<'_>],
    ) -> Result<Settled, StoreError> {
        // A job that ends with nothing to keep frees what it took.
        let mut write = match staged {
            [] => self.database().begin_freeing().await?,
            _ => self.database().begin().await?,
        };
        let Some(held) = held(&mut write, claim).await? else {
            return Ok(Settled::Lost);
        };
        let (checkpoint, model) = staged.split_at(usize::from(last.checkpoint.is_some()));
        write_progress(&mut write, claim, held, last, checkpoint.first()).await?;
        if let (Some(new), [weights, optimizer_state]) = (outcome.model(), model) {
            insert_model(&mut write, &claim.tenant, new, weights, optimizer_state).await?;
        }
        let (tenant, id) = (&claim.tenant, claim.job.id);
        let resumable = has_checkpoint(&mut write, tenant, id).await?;
        let next = next_status(held.status, outcome, resumable);
        let model = outcome.model().map(|new| new.model.id.to_string());
        let error = match outcome {
            Outcome::Failed { error, .. } if next == JobStatus::Failed => Some(error),
            _ => None,
        };
        let_go(&mut write, claim, model, error).await?;
        if next != held.status {
            move_job(&mut write, tenant, id, held.status, next).await?;
        }
        let job = existing_job(&mut write, tenant, id).await?;
        crash_point!("outcome-written");
        self.database().commit(write).await?;
        crash_point!("outcome-committed");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn error() -> JobError {
        JobError {
            code: "diverged".to_owned(),
            detail: "The loss is no longer finite; lower the learning rate.".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_job_ends_with_its_last_epochs_and_its_model() {
        let (directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, id) = (claim.tenant.clone(), claim.job.id);
        let new = samples::model(&claim.job);
        let last = ProgressUpdate {
            epochs: &samples::epochs(1..=2),
            ..ProgressUpdate::default()
        };
        let outcome = Outcome::Succeeded { model: new.clone() };
        let Settled::Stored(job) = store.finish(&claim, last, outcome).await.unwrap() else {
            panic!("lost")
        };
        assert_eq!(
            (job.status, job.model, job.error.as_ref()),
            (JobStatus::Succeeded, Some(new.model.id), None)
        );
        let told = samples::told(&store, id).await;
        assert_eq!(
            told,
            [
                "status queued",
                "status running",
                "epoch 1",
                "epoch 2",
                "done succeeded"
            ]
        );

        let store = samples::crash(&directory, store).await;
        assert_eq!(store.get_job(&tenant, id).await.unwrap(), Some(*job));
        assert_eq!(
            store.get_model(&tenant, new.model.id).await.unwrap(),
            Some(new.model.clone())
        );
        assert_eq!(store.model_parts(&tenant, new.model.id).await.unwrap(), Some(new.parts));
        assert_eq!(
            store.models_named(&tenant, &new.model.name).await.unwrap(),
            [new.model.id]
        );
        let listed = store.list_models(&tenant, samples::first_page(9)).await.unwrap();
        assert_eq!((listed.items, listed.next), (vec![new.model], None));
    }

    #[tokio::test]
    async fn a_failed_job_says_why_and_keeps_its_last_good_model() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let model = samples::model(&claim.job);
        let id = model.model.id;
        let outcome = Outcome::Failed {
            error: error(),
            model: Some(model),
        };
        let job = samples::finish(&store, &claim, outcome).await;
        assert_eq!(
            (job.status, job.model, job.error),
            (JobStatus::Failed, Some(id), Some(error()))
        );
        let events = store.events_after(&claim.tenant, claim.job.id, 2, 9).await.unwrap();
        assert_eq!(events[0].data["error"]["code"], "diverged");
        assert_eq!(events[0].data["model"], id.to_string());
    }

    #[tokio::test]
    async fn a_stale_worker_cannot_finish_a_job() {
        let (directory, store) = samples::open().await;
        let stale = samples::running(&store).await;
        let store = samples::crash(&directory, store).await;
        let claim = samples::claim(&store).await;
        let mut model = samples::model(&stale.job);
        model.parts.weights = vec![1; 20 << 20];
        let last = ProgressUpdate {
            epochs: &samples::epochs(1..=9),
            ..ProgressUpdate::default()
        };
        let settled = store.finish(&stale, last, Outcome::Succeeded { model }).await.unwrap();
        assert_eq!(settled, Settled::Lost);
        assert_eq!(
            store.get_job(&claim.tenant, claim.job.id).await.unwrap(),
            Some(claim.job)
        );
        assert_eq!(
            store
                .list_models(&claim.tenant, samples::first_page(9))
                .await
                .unwrap()
                .items,
            []
        );
        assert_eq!(samples::stored_chunks(&store).await, 0);
    }

    #[tokio::test]
    async fn a_job_that_was_cancelled_ends_cancelled_whatever_its_worker_says() {
        let outcomes: [fn(&Job) -> Outcome; 5] = [
            |job| Outcome::Succeeded {
                model: samples::model(job),
            },
            |job| Outcome::Cancelled {
                model: Some(samples::model(job)),
            },
            |_| Outcome::Failed {
                error: error(),
                model: None,
            },
            |_| Outcome::Paused,
            |_| Outcome::Released,
        ];
        for outcome in outcomes {
            let (_directory, store) = samples::open().await;
            let claim = samples::running(&store).await;
            store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
            let outcome = outcome(&claim.job);
            let modelled = matches!(outcome, Outcome::Succeeded { .. } | Outcome::Cancelled { .. });
            let job = samples::finish(&store, &claim, outcome).await;
            assert_eq!(
                (job.status, job.error, job.model.is_some()),
                (JobStatus::Cancelled, None, modelled)
            );
        }
    }

    #[tokio::test]
    async fn a_job_that_was_cancelled_while_it_paused_is_left_for_its_model_to_be_made() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        store.request_cancel(&claim.tenant, claim.job.id).await.unwrap();
        let last = ProgressUpdate {
            checkpoint: Some(b"state"),
            ..ProgressUpdate::default()
        };
        let Settled::Stored(job) = store.finish(&claim, last, Outcome::Paused).await.unwrap() else {
            panic!("lost")
        };
        assert_eq!(job.status, JobStatus::Cancelling);
        let claim = store.claim_cancelling("worker").await.unwrap().unwrap();
        assert_eq!(
            (claim.job.id, claim.checkpoint.as_deref()),
            (job.id, Some(&b"state"[..]))
        );
    }

    #[tokio::test]
    async fn a_worker_cannot_cancel_a_job_that_nobody_cancelled() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let outcome = Outcome::Cancelled { model: None };
        let refused = store.finish(&claim, ProgressUpdate::default(), outcome).await;
        assert!(matches!(refused, Err(StoreError::NoSuchMove { .. })), "{refused:?}");
        assert_eq!(
            store.get_job(&claim.tenant, claim.job.id).await.unwrap(),
            Some(claim.job)
        );
    }

    #[tokio::test]
    async fn a_paused_or_released_job_goes_on_from_its_last_checkpoint() {
        for outcome in [Outcome::Paused, Outcome::Released] {
            let (directory, store) = samples::open().await;
            let claim = samples::running(&store).await;
            let (tenant, id) = (claim.tenant.clone(), claim.job.id);
            let last = ProgressUpdate {
                epochs: &samples::epochs(1..=2),
                checkpoint: Some(b"after 2"),
                ..ProgressUpdate::default()
            };
            store.finish(&claim, last, outcome).await.unwrap();
            let store = samples::crash(&directory, store).await;
            if store.get_job(&tenant, id).await.unwrap().unwrap().status == JobStatus::Paused {
                assert!(store.claim_next("worker", u64::MAX).await.unwrap().is_none());
                store.request_resume(&tenant, id).await.unwrap();
            }
            let claim = samples::claim(&store).await;
            assert_eq!((claim.job.id, claim.job.attempt, claim.job.progress.epoch), (id, 2, 2));
            assert_eq!(claim.checkpoint.as_deref(), Some(&b"after 2"[..]));
        }
    }
}
