//! Jobs: create, list, get, cancel, pause, resume. How one went is in [`super::history`] and [`super::events`].

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::AppState;
use super::error::ApiError;
use super::extract::{FromQuery, Id, Json, Query, QueryReader, Tenant};
use super::idempotency::{Idempotency, created};
use super::limits::Limits;
use super::pagination::{List, PageQuery};
use super::whole::whole;
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::{Job, JobError, JobStatus, Progress, WaitingFor};
use crate::domain::job_request::JobRequest;
use crate::domain::job_spec::JobSpec;
use crate::store::StoredAnswer;
use crate::training::{DryRun, Runner};

/// A training job.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobView {
    id: JobId,
    #[schema(example = "iris")]
    name: String,
    status: JobStatus,
    /// Whether nothing will change any more.
    done: bool,
    dataset: DatasetId,
    /// The column to predict.
    #[schema(example = "품종")]
    target: String,
    /// What came of it; null until it is done, and when it ended before its first epoch.
    #[schema(required = true)]
    model: Option<ModelId>,
    spec: JobSpec,
    progress: Progress,
    /// From 1 for the job that starts next; null when it isn't queued.
    #[schema(required = true)]
    queue_position: Option<u64>,
    /// Why it doesn't train yet; null when it isn't queued.
    #[schema(required = true)]
    waiting_for: Option<WaitingFor>,
    /// How often a worker has started it: more than once after a crash or a pause.
    attempt: u32,
    /// Why it failed; null unless it did.
    #[schema(required = true)]
    error: Option<JobError>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            name: job.name,
            status: job.status,
            done: job.status.is_final(),
            dataset: job.dataset,
            target: job.spec.target.clone(),
            model: job.model,
            spec: job.spec,
            progress: job.progress,
            queue_position: job.queue_position,
            waiting_for: job.queue_position.map(|position| match position {
                1 if job.kept_apart => WaitingFor::TrainingAlone,
                1 => WaitingFor::Worker,
                _ => WaitingFor::EarlierJobs,
            }),
            attempt: job.attempt,
            error: job.error,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

impl JobView {
    /// With what only the runner knows.
    fn of(job: Job, runner: &Runner) -> Self {
        let view = Self::from(job);
        match view.waiting_for {
            Some(WaitingFor::Worker) => Self {
                waiting_for: Some(runner.head_waits_for()),
                ..view
            },
            _ => view,
        }
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CreateJobQuery {
    /// Only check the job and say what it would be; nothing is stored.
    #[param(required = false, default = false)]
    dry_run: bool,
}

impl FromQuery for CreateJobQuery {
    const NAMES: &'static [&'static str] = &["dry_run"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            dry_run: query.boolean("dry_run").unwrap_or(false),
        }
    }
}

/// Create a job
///
/// Only dataset and target must be given; all else has a default that is chosen for the data. The job waits in the queue
/// until a worker is free. With `?dry_run=true` it is only checked, and the answer says what it would be.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    tag = "jobs",
    params(CreateJobQuery, Idempotency),
    request_body(
        content = JobRequest,
        description = "What to train on what, and how.",
        example = json!({
            "name": "iris",
            "dataset": "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f",
            "target": "품종",
            "model": {
                "layers": [
                    {"type": "dense", "units": 64, "activation": "swish"},
                    {"type": "batch_normalization"},
                    {"type": "dense", "units": 3, "activation": "softmax"}
                ],
                "loss": "categorical_crossentropy",
                "optimizer": {"type": "adam", "learning_rate": 0.001},
                "metrics": ["accuracy"]
            },
            "training": {"epochs": 50, "batch_size": 32, "seed": 7, "validation": {"split": 0.2}}
        }),
    ),
    responses(
        (status = 200, description = "With dry_run: what the job would be.", body = DryRun),
        (
            status = 202,
            description = "It is stored and will be trained, whatever happens to the server.",
            body = JobView,
            headers(("location" = String, description = "Where the job is.")),
        ),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The job can't be trained; errors has every fault."),
    ),
)]
pub(super) async fn create_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<CreateJobQuery>,
    idempotency: Idempotency,
    Json(document, _memory): Json,
) -> Result<Response, ApiError> {
    let request = match JobRequest::read(&document) {
        Ok(request) => request,
        Err(faulty) => return Err(state.runner.refuse(&tenant, faulty).await.into()),
    };
    if query.dry_run {
        return Ok(Answer(state.runner.dry_run(&tenant, request).await?).into_response());
    }
    let (store, owner) = (state.store.clone(), tenant.clone());
    let make = |keep| async move {
        let room = state.limits.tenant_storage_bytes;
        Ok(state.runner.submit(&owner, request, room, keep).await?)
    };
    idempotency
        .once(&store, &tenant, &document.to_string(), queued, make)
        .await
}

fn queued(job: &Job) -> StoredAnswer {
    let location = format!("/v1/jobs/{}", job.id);
    created(StatusCode::ACCEPTED, location, &JobView::from(job.clone()))
}

/// Which jobs of the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StatusQuery {
    /// Only jobs with this status.
    status: Option<JobStatus>,
}

pub(super) struct ListJobsQuery {
    page: PageQuery<JobId>,
    filter: StatusQuery,
}

impl FromQuery for ListJobsQuery {
    const NAMES: &'static [&'static str] = &["status", "limit", "after"];

    fn read(query: &mut QueryReader, limits: &Limits) -> Self {
        let names = JobStatus::ALL.map(|status| (status.name(), status));
        Self {
            filter: StatusQuery {
                status: query.one_of("status", &names),
            },
            page: PageQuery::read(query, limits),
        }
    }
}

type JobList = List<JobView>;

/// List jobs
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    params(StatusQuery, PageQuery<JobId>),
    responses((status = 200, description = "A page of the jobs, newest first.", body = JobList)),
)]
pub(super) async fn list_jobs(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<ListJobsQuery>,
) -> Result<Answer<JobList>, ApiError> {
    let page = state.store.list_jobs(&tenant, query.filter.status, query.page.into());
    Ok(Answer(List::of(page.await?, |job| JobView::of(job, &state.runner))))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Answer when the job is done, but after so many seconds at the latest.
    #[param(required = false, minimum = 0, maximum = 60, default = 0)]
    wait: u64,
}

impl FromQuery for WaitQuery {
    const NAMES: &'static [&'static str] = &["wait"];

    fn read(query: &mut QueryReader, limits: &Limits) -> Self {
        Self {
            wait: query.integer("wait", 0..=limits.wait_max.as_secs()).unwrap_or(0),
        }
    }
}

/// Get a job
///
/// With `?wait=30` the answer comes when the job is done, or after 30 seconds as it is then.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = JobId, Path), WaitQuery),
    responses(
        (status = 200, description = "The job and how far it is.", body = JobView),
        (status = 404, description = "There is no such job."),
    ),
)]
pub(super) async fn get_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
    Query(query): Query<WaitQuery>,
) -> Result<Answer<JobView>, ApiError> {
    let at_most = Duration::from_secs(query.wait);
    let job = state.runner.wait(&tenant, id, at_most).await?;
    Ok(Answer(JobView::of(job, &state.runner)))
}

/// Cancel a job
///
/// A job that waits is cancelled at once, one that trains within a second; what it has learned by then stays as its model.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "The job, cancelled or about to be.", body = JobView),
        (status = 404, description = "There is no such job."),
        (status = 409, description = "It is done already."),
    ),
)]
pub(super) async fn cancel_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Answer<JobView>, ApiError> {
    whole(async move {
        let job = state.runner.cancel(&tenant, id).await?;
        Ok(Answer(JobView::of(job, &state.runner)))
    })
    .await
}

/// Pause a job
///
/// It keeps what it has learned and its place in the queue, and gives its worker to the next job, until it is resumed.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/pause",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "The job, paused.", body = JobView),
        (status = 404, description = "There is no such job."),
        (status = 409, description = "It isn't running."),
    ),
)]
pub(super) async fn pause_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Answer<JobView>, ApiError> {
    let job = state.runner.pause(&tenant, id).await?;
    Ok(Answer(JobView::of(job, &state.runner)))
}

/// Resume a job
///
/// It goes on where it was, to the bit as if it had never been paused.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/resume",
    tag = "jobs",
    params(("id" = JobId, Path)),
    responses(
        (status = 200, description = "The job, in the queue again.", body = JobView),
        (status = 404, description = "There is no such job."),
        (status = 409, description = "It isn't paused."),
    ),
)]
pub(super) async fn resume_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<JobId>,
) -> Result<Answer<JobView>, ApiError> {
    whole(async move {
        let job = state.runner.resume(&tenant, id).await?;
        Ok(Answer(JobView::of(job, &state.runner)))
    })
    .await
}
