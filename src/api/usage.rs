//! What a tenant has, and how much it may have.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::error::ApiError;
use super::extract::Tenant;
use crate::domain::job::JobStatus;

/// What a tenant has, and beside it what it may have.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    datasets: u64,
    models: u64,
    /// Bytes of its tables as they were uploaded (equal ones count each) and of its models. A job's model is kept even when it
    /// takes more than there is; then uploads and jobs are refused until something is deleted.
    storage_bytes: Used,
    jobs: JobCounts,
    /// Jobs that wait: queued ones, and paused ones, whose places are kept.
    queued_jobs: Used,
    sessions: Used,
    event_streams: Used,
}

/// How much there is, and how much there may be.
#[derive(Serialize, ToSchema)]
struct Used {
    used: u64,
    limit: u64,
}

/// How many jobs have which status.
#[derive(Serialize, ToSchema)]
struct JobCounts {
    queued: u64,
    running: u64,
    paused: u64,
    cancelling: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

impl JobCounts {
    fn of(jobs: &[(JobStatus, u64)]) -> Self {
        let count = |wanted| {
            jobs.iter()
                .find(|(status, _)| *status == wanted)
                .map_or(0, |(_, count)| *count)
        };
        Self {
            queued: count(JobStatus::Queued),
            running: count(JobStatus::Running),
            paused: count(JobStatus::Paused),
            cancelling: count(JobStatus::Cancelling),
            succeeded: count(JobStatus::Succeeded),
            failed: count(JobStatus::Failed),
            cancelled: count(JobStatus::Cancelled),
        }
    }
}

/// Get the usage
///
/// Of the tenant of the key that asks: what it has, and the limits that it may come up against.
#[utoipa::path(
    get,
    path = "/v1/usage",
    tag = "system",
    responses((status = 200, description = "What there is, and what there may be.", body = Usage)),
)]
pub(super) async fn get_usage(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
) -> Result<Answer<Usage>, ApiError> {
    let stored = state.store.usage(&tenant).await?;
    let jobs = JobCounts::of(&stored.jobs);
    let used = |used, limit| Used { used, limit };
    let streams = state.event_streams.count(&tenant) as u64;
    Ok(Answer(Usage {
        datasets: stored.datasets,
        models: stored.models,
        storage_bytes: used(stored.storage_bytes, state.limits.tenant_storage_bytes),
        queued_jobs: used(jobs.queued + jobs.paused, state.runner.options().max_waiting),
        jobs,
        sessions: used(stored.sessions, state.sessions.options().max_sessions),
        event_streams: used(streams, state.limits.tenant_event_streams as u64),
    }))
}
