//! Jobs as clients see them, and their way into the queue.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::artifacts::{Staged, insert_last_chunk};
use super::column::{bigint, damaged, from_json, parsed, to_json, unsigned};
use super::events::append_event;
use super::moves::status_event;
use super::{Store, StoreError};
use crate::domain::event::EventKind;
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::{Job, JobError, JobStatus, Progress};
use crate::domain::job_spec::{JobSpec, ValidationSpec};
use crate::domain::page::{Page, PageRequest};
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

/// What became of a submitted job.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    Queued(Box<Job>),
    /// So many of the tenant's jobs wait already.
    QueueFull {
        waiting: u64,
    },
    /// Deleted since the job was checked.
    DatasetGone(DatasetId),
    /// Deleted since the job was checked.
    ModelGone(ModelId),
}

/// `SELECT` with the columns of a [`JobRow`]; the rest of the statement follows.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, status, dataset, model, spec, epoch, epochs, batches_per_epoch, metrics, attempt, ",
            "error_code, error_detail, created_at, started_at, finished_at, ",
            "CASE WHEN status = 'queued' THEN 1 + (",
            "SELECT count(*) FROM jobs AS ahead WHERE ahead.status = 'queued' AND ahead.id < jobs.id",
            ") END AS queue_position ",
            "FROM jobs ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: String,
    name: String,
    status: String,
    dataset: String,
    model: Option<String>,
    spec: String,
    epoch: i64,
    epochs: i64,
    batches_per_epoch: Option<i64>,
    metrics: String,
    attempt: i64,
    error_code: Option<String>,
    error_detail: Option<String>,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    queue_position: Option<i64>,
}

impl JobRow {
    fn read(self) -> Result<Job, StoreError> {
        const WHAT: &str = "job";
        let time = |text: Option<String>| text.map(|text| parsed::<Timestamp>(WHAT, &text)).transpose();
        let batches_per_epoch = self.batches_per_epoch.map(|batches| unsigned(WHAT, batches));
        let queue_position = self.queue_position.map(|position| unsigned(WHAT, position));
        Ok(Job {
            id: parsed(WHAT, &self.id)?,
            name: self.name,
            status: read_status(&self.status)?,
            dataset: parsed(WHAT, &self.dataset)?,
            model: self.model.map(|id| parsed(WHAT, &id)).transpose()?,
            spec: from_json(WHAT, &self.spec)?,
            progress: Progress {
                epoch: unsigned(WHAT, self.epoch)?,
                epochs: unsigned(WHAT, self.epochs)?,
                batches_per_epoch: batches_per_epoch.transpose()?,
                metrics: from_json(WHAT, &self.metrics)?,
            },
            queue_position: queue_position.transpose()?,
            attempt: unsigned(WHAT, self.attempt)?,
            error: self.error_code.map(|code| JobError {
                code,
                detail: self.error_detail.unwrap_or_default(),
            }),
            created_at: parsed(WHAT, &self.created_at)?,
            started_at: time(self.started_at)?,
            finished_at: time(self.finished_at)?,
        })
    }
}

pub(super) fn read_status(name: &str) -> Result<JobStatus, StoreError> {
    JobStatus::from_name(name).ok_or_else(|| damaged("job", format!("it has the status {name:?}")))
}

impl Store {
    /// Puts a job at the end of the queue, unless `max_waiting` jobs of its tenant are in it.
    pub async fn insert_job(&self, tenant: &TenantId, new: NewJob, max_waiting: u64) -> Result<Submission, StoreError> {
        let weights = match &new.initial_weights {
            Some(bytes) => Some(self.stage_artifact(tenant, bytes).await?),
            None => None,
        };
        let submission = self
            .insert_staged_job(tenant, &new, weights.as_ref(), max_waiting)
            .await;
        if !matches!(submission, Ok(Submission::Queued(_))) {
            self.discard_staged(tenant, weights.as_slice()).await?;
        }
        submission
    }

    async fn insert_staged_job(
        &self,
        tenant: &TenantId,
        new: &NewJob,
        initial_weights: Option<&Staged<'_>>,
        max_waiting: u64,
    ) -> Result<Submission, StoreError> {
        let mut write = self.database().begin().await?;
        if let Some(refusal) = refusal(&mut write, tenant, &new.spec, max_waiting).await? {
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
        let job = read_job(&mut write, tenant, new.id).await?;
        self.database().commit(write).await?;
        let job = job.ok_or_else(|| damaged("job", "it is missing from the transaction that made it"))?;
        Ok(Submission::Queued(Box::new(job)))
    }

    pub async fn get_job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut reader = self.database().reader().await?;
        read_job(&mut reader, tenant, id).await
    }

    pub async fn list_jobs(
        &self,
        tenant: &TenantId,
        status: Option<JobStatus>,
        page: PageRequest<JobId>,
    ) -> Result<Page<Job, JobId>, StoreError> {
        let mut reader = self.database().reader().await?;
        let query = match status {
            Some(status) => sqlx::query_as(select_jobs!(
                "WHERE tenant = $1 AND id < $2 AND status = $4 ORDER BY id DESC LIMIT $3"
            ))
            .bind(tenant.as_str())
            .bind(page.before())
            .bind(page.rows_to_read())
            .bind(status.name()),
            None => sqlx::query_as(select_jobs!("WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3"))
                .bind(tenant.as_str())
                .bind(page.before())
                .bind(page.rows_to_read()),
        };
        let rows: Vec<JobRow> = query.fetch_all(&mut *reader).await?;
        let jobs = rows.into_iter().map(JobRow::read).collect::<Result<_, _>>()?;
        Ok(page.of(jobs, |job| job.id))
    }
}

pub(super) async fn read_job(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
) -> Result<Option<Job>, StoreError> {
    let row: Option<JobRow> = sqlx::query_as(select_jobs!("WHERE tenant = $1 AND id = $2"))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(JobRow::read).transpose()
}

/// Why the job can't be queued after all.
async fn refusal(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    spec: &JobSpec,
    max_waiting: u64,
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
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE tenant = $1 AND status = 'queued'")
        .bind(tenant.as_str())
        .fetch_one(write)
        .await?;
    let waiting = unsigned("queue", waiting)?;
    Ok((waiting >= max_waiting).then_some(Submission::QueueFull { waiting }))
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

/// A job that keeps a dataset from being deleted.
pub(super) async fn unfinished_job_on(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    dataset: DatasetId,
) -> Result<Option<JobId>, StoreError> {
    let job: Option<String> = sqlx::query_scalar(
        "SELECT id FROM jobs WHERE tenant = $1 AND (dataset = $2 OR validation_dataset = $2)
            AND status IN ('queued', 'running', 'paused', 'cancelling') LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(dataset.to_string())
    .fetch_optional(write)
    .await?;
    job.map(|id| parsed("job", &id)).transpose()
}

/// A job that keeps a model from being deleted.
pub(super) async fn unfinished_job_from(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    model: ModelId,
) -> Result<Option<JobId>, StoreError> {
    let job: Option<String> = sqlx::query_scalar(
        "SELECT id FROM jobs WHERE tenant = $1 AND continued_model = $2
            AND status IN ('queued', 'running', 'paused', 'cancelling') LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(model.to_string())
    .fetch_optional(write)
    .await?;
    job.map(|id| parsed("job", &id)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Deletion, Outcome, samples};

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
        let insert = async |new: NewJob, max_waiting| store.insert_job(&tenant, new, max_waiting).await.unwrap();
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
    async fn a_model_that_an_unfinished_job_continues_stays() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let tenant = claim.tenant.clone();
        let model = samples::model(&claim.job);
        let id = model.model.id;
        samples::finish(&store, &claim, Outcome::Succeeded { model }).await;
        let mut continuing = samples::new_job(claim.job.dataset);
        continuing.spec.continue_from = Some(id);
        let job = samples::insert(&store, &tenant, continuing).await.id;
        assert_eq!(store.delete_model(&tenant, id).await.unwrap(), Deletion::InUse(job));
        store.request_cancel(&tenant, job).await.unwrap();
        assert_eq!(store.delete_model(&tenant, id).await.unwrap(), Deletion::Deleted);
        assert_eq!(store.delete_model(&tenant, id).await.unwrap(), Deletion::NotFound);
        assert_eq!(store.model_parts(&tenant, id).await.unwrap(), None);
        assert_eq!(samples::stored_chunks(&store).await, 0);
    }

    #[tokio::test]
    async fn a_list_is_paged_newest_first_and_filtered_by_status() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let first = samples::running(&store).await.job;
        let second = samples::submit(&store, &tenant, first.dataset).await;
        let third = samples::submit(&store, &tenant, first.dataset).await;
        let ids = |page: &Page<Job, JobId>| page.items.iter().map(|job| job.id).collect::<Vec<_>>();
        let all = store.list_jobs(&tenant, None, samples::first_page(2)).await.unwrap();
        assert_eq!((ids(&all), all.next), (vec![third.id, second.id], Some(second.id)));
        let rest = PageRequest {
            limit: 2,
            after: all.next,
        };
        let rest = store.list_jobs(&tenant, None, rest).await.unwrap();
        assert_eq!((ids(&rest), rest.next), (vec![first.id], None));
        let queued = store
            .list_jobs(&tenant, Some(JobStatus::Queued), samples::first_page(1))
            .await
            .unwrap();
        assert_eq!((ids(&queued), queued.next), (vec![third.id], Some(third.id)));
        let paused = store
            .list_jobs(&tenant, Some(JobStatus::Paused), samples::first_page(1))
            .await
            .unwrap();
        assert_eq!((ids(&paused), paused.next), (vec![], None));
    }
}
