//! A job's way into the queue.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::artifacts::{Staged, insert_last_chunk};
use super::column::{bigint, to_json, unsigned};
use super::events::append_event;
use super::moves::{existing_job, status_event};
use super::usage::storage_bytes;
use super::{Keep, Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::event::EventKind;
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::{Job, JobStatus};
use crate::domain::job_spec::{JobSpec, ValidationSpec};
use crate::domain::tenant::TenantId;

/// A checked job on its way into the queue.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    pub name: String,
    pub spec: JobSpec,
    /// Sealed, for its worker alone.
    pub initial_weights: Option<Vec<u8>>,
    /// The most memory it will need, by estimate; [`Store::claim_next`] starts only what fits.
    pub memory_bytes: u64,
}

/// What a tenant may have.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Jobs that wait, paused ones too.
    pub waiting: u64,
    /// Bytes of its tables and models together.
    pub storage_bytes: u64,
}

/// What became of a submitted job.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    Queued(Box<Job>),
    /// So many of the tenant's jobs wait already.
    QueueFull {
        waiting: u64,
    },
    /// The tables and models of its tenant leave no room for another model.
    NoRoom {
        used_bytes: u64,
    },
    /// Deleted since the job was checked.
    DatasetGone(DatasetId),
    /// Deleted since the job was checked.
    ModelGone(ModelId),
}

impl Store {
    /// Puts a job at the end of the queue, if its tenant has room for it.
    pub async fn insert_job(
        &self,
        tenant: &TenantId,
        new: NewJob,
        room: Room,
        keep: Option<&Keep<Job>>,
    ) -> Result<Submission, StoreError> {
        let initial_weights: Vec<&[u8]> = new.initial_weights.as_deref().into_iter().collect();
        let staged = self.stage_artifacts(tenant, &initial_weights).await?;
        let inserted = self.insert_staged_job(tenant, &new, staged.first(), room, keep);
        let submission = inserted.await;
        if !matches!(submission, Ok(Submission::Queued(_))) {
            self.discard_staged(tenant, &staged).await;
        }
        submission
    }

    async fn insert_staged_job(
        &self,
        tenant: &TenantId,
        new: &NewJob,
        initial_weights: Option<&Staged<'_>>,
        room: Room,
        keep: Option<&Keep<Job>>,
    ) -> Result<Submission, StoreError> {
        let mut write = self.database().begin().await?;
        if let Some(refusal) = refusal(&mut write, tenant, &new.spec, room).await? {
            return Ok(refusal);
        }
        if let Some(staged) = initial_weights {
            insert_last_chunk(&mut write, tenant, staged).await?;
        }
        insert_row(
            &mut write,
            tenant,
            new,
            initial_weights.map(|staged| staged.id.as_str()),
        )
        .await?;
        let queued = status_event(JobStatus::Queued, 0);
        append_event(&mut write, tenant, new.id, EventKind::Status, &queued).await?;
        let job = existing_job(&mut write, tenant, new.id).await?;
        if let Some(keep) = keep {
            keep.insert(&mut write, &job).await?;
        }
        crash_point!("job-inserted");
        self.database().commit(write).await?;
        crash_point!("job-committed");
        Ok(Submission::Queued(Box::new(job)))
    }
}

/// Why the job can't be queued after all.
async fn refusal(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    spec: &JobSpec,
    room: Room,
) -> Result<Option<Submission>, StoreError> {
    for dataset in [Some(spec.dataset), validation_dataset(spec)].into_iter().flatten() {
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM datasets WHERE tenant = $1 AND id = $2)")
            .bind(tenant.as_str())
            .bind(dataset.to_string())
            .fetch_one(&mut *write)
            .await?;
        if !there {
            return Ok(Some(Submission::DatasetGone(dataset)));
        }
    }
    if let Some(model) = spec.continue_from {
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM models WHERE tenant = $1 AND id = $2)")
            .bind(tenant.as_str())
            .bind(model.to_string())
            .fetch_one(&mut *write)
            .await?;
        if !there {
            return Ok(Some(Submission::ModelGone(model)));
        }
    }
    // A paused job keeps its place: else it could not always be resumed.
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE tenant = $1 AND status IN ('queued', 'paused')")
            .bind(tenant.as_str())
            .fetch_one(&mut *write)
            .await?;
    let waiting = unsigned("queue", waiting)?;
    if waiting >= room.waiting {
        return Ok(Some(Submission::QueueFull { waiting }));
    }
    // How large its model will be shows when it is made.
    let used_bytes = storage_bytes(write, tenant).await?;
    Ok((used_bytes >= room.storage_bytes).then_some(Submission::NoRoom { used_bytes }))
}

fn validation_dataset(spec: &JobSpec) -> Option<DatasetId> {
    match &spec.training.validation {
        Some(ValidationSpec::Dataset(named)) => Some(named.dataset),
        _ => None,
    }
}

async fn insert_row(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    new: &NewJob,
    initial_weights: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO jobs (tenant, id, name, status, dataset, validation_dataset, continued_model, spec,
            initial_weights, memory_bytes, epoch, epochs, metrics, last_event, fence, attempt, crashes, created_at)
        VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, 0, $10, '{}', 0, 0, 0, 0, $11)",
    )
    .bind(tenant.as_str())
    .bind(new.id.to_string())
    .bind(&new.name)
    .bind(new.spec.dataset.to_string())
    .bind(validation_dataset(&new.spec).map(|id| id.to_string()))
    .bind(new.spec.continue_from.map(|id| id.to_string()))
    .bind(to_json(&new.spec))
    .bind(initial_weights)
    .bind(bigint(new.memory_bytes))
    .bind(i64::from(new.spec.training.epochs))
    .bind(Timestamp::now().to_string())
    .execute(write)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Insertion, Move, Outcome, samples};

    #[tokio::test]
    async fn a_submitted_job_is_queued_with_its_spec() {
        let (directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let dataset = samples::dataset(&store, &tenant, b"a").await.id;
        let new = samples::new_job(dataset);
        let job = samples::insert(&store, &tenant, new.clone()).await;
        assert_eq!((job.id, &job.name, &job.spec), (new.id, &new.name, &new.spec));
        assert_eq!(
            (job.status, job.queue_position, job.attempt),
            (JobStatus::Queued, Some(1), 0)
        );
        assert_eq!((job.progress.epoch, job.progress.epochs, job.model), (0, 5, None));
        let store = samples::crash(&directory, store).await;
        assert_eq!(store.get_job(&tenant, job.id).await.unwrap(), Some(job));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_deleted_table_or_model_refuse_a_job() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, dataset) = (claim.tenant.clone(), claim.job.dataset);
        let insert = async |new: NewJob, waiting| {
            let storage_bytes = u64::MAX;
            let room = Room { waiting, storage_bytes };
            store.insert_job(&tenant, new, room, None).await.unwrap()
        };
        assert_eq!(
            insert(samples::new_job(dataset), 0).await,
            Submission::QueueFull { waiting: 0 }
        );
        samples::submit(&store, &tenant, dataset).await;
        assert_eq!(
            insert(samples::new_job(dataset), 1).await,
            Submission::QueueFull { waiting: 1 }
        );
        let gone = DatasetId::generate();
        assert_eq!(insert(samples::new_job(gone), 9).await, Submission::DatasetGone(gone));
        let mut continuing = samples::new_job(dataset);
        let gone = ModelId::generate();
        continuing.spec.continue_from = Some(gone);
        continuing.initial_weights = Some(vec![0; 20 << 20]);
        assert_eq!(insert(continuing, 9).await, Submission::ModelGone(gone));
        assert_eq!(samples::stored_chunks(&store).await, 0);
    }

    #[tokio::test]
    async fn a_paused_job_keeps_its_place_in_a_full_queue() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, dataset) = (claim.tenant.clone(), claim.job.dataset);
        samples::finish(&store, &claim, Outcome::Paused).await;
        let room = Room {
            waiting: 1,
            ..samples::ROOM
        };
        let refused = store.insert_job(&tenant, samples::new_job(dataset), room, None).await;
        assert_eq!(refused.unwrap(), Submission::QueueFull { waiting: 1 });
        let resumed = store.request_resume(&tenant, claim.job.id).await.unwrap();
        assert!(matches!(resumed, Move::Done(job) if job.status == JobStatus::Queued));
    }

    #[tokio::test]
    async fn a_model_that_takes_more_room_than_there_is_is_kept_and_the_next_job_refused() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, dataset) = (claim.tenant.clone(), claim.job.dataset);
        let storage_bytes = store.storage_bytes(&tenant).await.unwrap() + 1;
        let room = Room {
            storage_bytes,
            ..samples::ROOM
        };
        let insert = async || {
            let inserted = store.insert_job(&tenant, samples::new_job(dataset), room, None);
            inserted.await.unwrap()
        };
        assert!(matches!(insert().await, Submission::Queued(_)));
        let model = samples::model(&claim.job);
        let (id, again) = (model.model.id, model.clone());
        samples::finish(&store, &claim, Outcome::Succeeded { model }).await;
        assert!(store.get_model(&tenant, id).await.unwrap().is_some());
        let used_bytes = store.storage_bytes(&tenant).await.unwrap();
        assert_eq!(insert().await, Submission::NoRoom { used_bytes });
        let saved = store.insert_model(&tenant, &again, storage_bytes, None).await;
        assert_eq!(saved.unwrap(), Insertion::NoRoom { used_bytes });
        store.delete_model(&tenant, id).await.unwrap();
        assert!(matches!(insert().await, Submission::Queued(_)));
    }
}
