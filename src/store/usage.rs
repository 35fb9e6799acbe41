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
    /// Of the tables as they were uploaded, each counted although equal ones share a file.
    pub dataset_bytes: u64,
    pub models: u64,
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
            dataset_bytes: dataset_bytes(&mut snapshot, tenant).await?,
            models: unsigned(WHAT, models)?,
            sessions: unsigned(WHAT, sessions)?,
            jobs: jobs.collect::<Result<_, StoreError>>()?,
        })
    }

    /// Bytes of all tables of a tenant.
    pub async fn dataset_bytes(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        dataset_bytes(&mut *self.database().readers().acquire().await?, tenant).await
    }
}

pub(super) async fn dataset_bytes(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<u64, StoreError> {
    let bytes: i64 = sqlx::query_scalar("SELECT coalesce(sum(size_bytes), 0) FROM datasets WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(connection)
        .await?;
    unsigned("usage", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

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
                dataset_bytes: 14,
                models: 0,
                sessions: 0,
                jobs: vec![(JobStatus::Queued, 2), (JobStatus::Running, 1)],
            }
        );
        let other = store.usage(&TenantId::new("other")).await.unwrap();
        assert_eq!((other.datasets, other.dataset_bytes, other.jobs), (1, 7, Vec::new()));
    }
}
