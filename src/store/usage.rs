//! What a tenant has in the store.

use sqlx::SqliteConnection;

use super::column::unsigned;
use super::jobs::read_status;
use super::{Store, StoreError};
use crate::domain::job::JobStatus;
use crate::domain::tenant::TenantId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub datasets: u64,
    pub models: u64,
    /// Of the tables as they were uploaded, each counted although equal ones share a file, and of the models.
    pub storage_bytes: u64,
    pub sessions: u64,
    /// Of each status that any job has.
    pub jobs: Vec<(JobStatus, u64)>,
}

impl Store {
    pub async fn usage(&self, tenant: &TenantId) -> Result<Usage, StoreError> {
        const WHAT: &str = "usage";
        let mut snapshot = self.database().readers().begin().await?;
        let (datasets, models, sessions): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM datasets WHERE tenant = $1), (SELECT count(*) FROM models WHERE tenant = $1),
                (SELECT count(*) FROM sessions WHERE tenant = $1)",
        )
        .bind(tenant.as_str())
        .fetch_one(&mut *snapshot)
        .await?;
        let jobs: Vec<(String, i64)> =
            sqlx::query_as("SELECT status, count(*) FROM jobs WHERE tenant = $1 GROUP BY status")
                .bind(tenant.as_str())
                .fetch_all(&mut *snapshot)
                .await?;
        let jobs = jobs
            .iter()
            .map(|(status, count)| Ok((read_status(status)?, unsigned(WHAT, *count)?)));
        Ok(Usage {
            datasets: unsigned(WHAT, datasets)?,
            models: unsigned(WHAT, models)?,
            storage_bytes: storage_bytes(&mut snapshot, tenant).await?,
            sessions: unsigned(WHAT, sessions)?,
            jobs: jobs.collect::<Result<_, StoreError>>()?,
        })
    }

    /// Bytes of all tables and models of a tenant.
    pub async fn storage_bytes(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        storage_bytes(&mut *self.database().readers().acquire().await?, tenant).await
    }
}

pub(super) async fn storage_bytes(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<u64, StoreError> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT (SELECT coalesce(sum(size_bytes), 0) FROM datasets WHERE tenant = $1)
            + (SELECT coalesce(sum(size_bytes), 0) FROM models WHERE tenant = $1)",
    )
    .bind(tenant.as_str())
    .fetch_one(connection)
    .await?;
    unsigned("usage", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Outcome, samples};

    #[tokio::test]
    async fn what_a_tenant_has_is_counted_and_what_others_have_is_not() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let dataset = samples::dataset(&store, &tenant, b"seven b").await.id;
        samples::dataset(&store, &tenant, b"seven b").await;
        samples::dataset(&store, &TenantId::new("other"), b"not his").await;
        for _ in 0..3 {
            samples::submit(&store, &tenant, dataset).await;
        }
        let claim = samples::claim(&store).await;
        assert_eq!(claim.tenant, tenant);
        let mut usage = store.usage(&tenant).await.unwrap();
        usage.jobs.sort_by_key(|(status, _)| status.name());
        assert_eq!(
            usage,
            Usage {
                datasets: 2,
                models: 0,
                storage_bytes: 14,
                sessions: 0,
                jobs: vec![(JobStatus::Queued, 2), (JobStatus::Running, 1)],
            }
        );
        let other = store.usage(&TenantId::new("other")).await.unwrap();
        assert_eq!((other.datasets, other.storage_bytes, other.jobs), (1, 7, Vec::new()));

        let model = samples::model(&claim.job);
        let model_bytes = model.size_bytes();
        samples::finish(&store, &claim, Outcome::Succeeded { model }).await;
        let usage = store.usage(&tenant).await.unwrap();
        assert_eq!((usage.models, usage.storage_bytes), (1, 14 + model_bytes));
    }
}
