//! What the start does with jobs that a crash left with a worker that is no more.

use sqlx::SqliteConnection;

use super::column::parsed;
use super::jobs::read_status;
use super::moves::{has_checkpoint, move_job};
use super::{Store, StoreError};
use crate::domain::id::JobId;
use crate::domain::job::JobStatus;
use crate::domain::tenant::TenantId;

/// A job that took the process down so often, without a new checkpoint in between, will do so again.
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
        let mut write = self.database().begin().await?;
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
        a new checkpoint. Its memory may not suffice: try a smaller network, batch or table."
    );
    sqlx::query("UPDATE jobs SET error_code = 'crashed', error_detail = $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(detail)
        .execute(write)
        .await?;
    Ok(())
}
