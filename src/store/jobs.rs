//! Jobs as clients see them.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::column::{damaged, from_json, parsed, unsigned};
use super::{Store, StoreError};
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::{Job, JobError, JobStatus, Progress};
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

/// Whether a job may not train beside those that workers have: it or one of them was there at two crashes in a row. One
/// more fails a job ([`super::recovery`]), and must be its own.
macro_rules! kept_apart {
    () => {
        "EXISTS (SELECT 1 FROM jobs AS busy WHERE busy.status IN ('running', 'cancelling') AND busy.owner IS NOT NULL
            AND (busy.crashes >= 2 OR jobs.crashes >= 2))"
    };
}
pub(super) use kept_apart;

/// `SELECT` with the columns of a [`JobRow`]; the rest of the statement follows.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, status, dataset, model, spec, epoch, epochs, batches_per_epoch, metrics, attempt, ",
            "error_code, error_detail, created_at, started_at, finished_at, ",
            "CASE WHEN status = 'queued' THEN 1 + (",
            "SELECT count(*) FROM jobs AS ahead WHERE ahead.status = 'queued' ",
            "AND (ahead.crashes < 2, ahead.id) < (jobs.crashes < 2, jobs.id)",
            ") END AS queue_position, status = 'queued' AND ",
            kept_apart!(),
            " AS kept_apart ",
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
    kept_apart: bool,
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
            kept_apart: self.kept_apart,
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
    pub async fn get_job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut reader = self.database().reader().await?;
        read_job(&mut reader, tenant, id).await
    }

    /// A job whose row can't be read is left out: its tenant's others are still to be seen.
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
        let rows = rows.into_iter().map(|row| Ok((parsed("job", &row.id)?, row)));
        let page = page.of(rows.collect::<Result<_, StoreError>>()?, |(id, _)| *id);
        let readable = |(id, row): (JobId, JobRow)| {
            row.read()
                .inspect_err(|error| tracing::error!(job = %id, %error, "a list leaves out a job that can't be read"))
                .ok()
        };
        Ok(Page {
            items: page.items.into_iter().filter_map(readable).collect(),
            next: page.next,
        })
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
    async fn a_list_leaves_out_a_job_that_cannot_be_read_and_goes_on_behind_it() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let first = samples::running(&store).await.job;
        let damaged = samples::submit(&store, &tenant, first.dataset).await.id;
        let last = samples::submit(&store, &tenant, first.dataset).await.id;
        samples::damage(&store, damaged).await;
        let page = store.list_jobs(&tenant, None, samples::first_page(2)).await.unwrap();
        let ids: Vec<JobId> = page.items.iter().map(|job| job.id).collect();
        assert_eq!((ids, page.next), (vec![last], Some(damaged)));
        let rest = PageRequest {
            limit: 2,
            after: page.next,
        };
        let rest = store.list_jobs(&tenant, None, rest).await.unwrap();
        assert_eq!(rest.items.iter().map(|job| job.id).collect::<Vec<_>>(), [first.id]);
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
