//! Weights, optimizer states and checkpoints: sealed bytes of any size, in chunks.
//!
//! All chunks but the last are committed ahead, one at a time, and mean nothing yet; the last one goes into the
//! transaction that writes the row that names the artifact. So a commit is whole or not at all, and the database's log
//! never holds more than a chunk more, however large a network is.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::tenant::TenantId;

const CHUNK_BYTES: usize = 8 << 20;

/// An artifact whose chunks but the last are stored.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    pub(super) id: String,
    last: &'a [u8],
    chunk: i64,
}

impl Store {
    /// Stores all chunks but the last of each artifact; all of them or, on an error, none.
    pub(super) async fn stage_artifacts<'a>(
        &self,
        tenant: &TenantId,
        artifacts: &[&'a [u8]],
    ) -> Result<Vec<Staged<'a>>, StoreError> {
        let bytes = artifacts.iter().map(|bytes| bytes.len()).sum();
        if bytes > 0 {
            self.database().check_room(bytes)?;
        }
        let begun = artifacts.iter().map(|bytes| Staged {
            id: Uuid::now_v7().simple().to_string(),
            last: bytes,
            chunk: 0,
        });
        let mut staged: Vec<Staged<'a>> = begun.collect();
        for artifact in &mut staged {
            if let Err(error) = self.insert_chunks_ahead(tenant, artifact).await {
                self.discard_staged(tenant, &staged).await;
                return Err(error);
            }
        }
        Ok(staged)
    }

    async fn insert_chunks_ahead(&self, tenant: &TenantId, staged: &mut Staged<'_>) -> Result<(), StoreError> {
        while staged.last.len() > CHUNK_BYTES {
            let (first, rest) = staged.last.split_at(CHUNK_BYTES);
            let mut write = self.database().begin().await?;
            insert_chunk(&mut write, tenant, &staged.id, staged.chunk, first).await?;
            self.database().commit(write).await?;
            (staged.last, staged.chunk) = (rest, staged.chunk + 1);
        }
        Ok(())
    }

    /// Forgets artifacts that were staged for a row that isn't written after all. What fails here, the next start does.
    pub(super) async fn discard_staged(&self, tenant: &TenantId, staged: &[Staged<'_>]) {
        if let Err(error) = self.delete_staged(tenant, staged).await {
            tracing::warn!(%error, "chunks that no row names stay until the next start");
        }
    }

    async fn delete_staged(&self, tenant: &TenantId, staged: &[Staged<'_>]) -> Result<(), StoreError> {
        if staged.iter().all(|staged| staged.chunk == 0) {
            return Ok(());
        }
        let mut write = self.database().begin_freeing().await?;
        for staged in staged {
            delete_artifact(&mut write, tenant, &staged.id).await?;
        }
        self.database().commit(write).await
    }

    /// Deletes what no row names: what a crash left between two chunks.
    pub(super) async fn sweep_artifacts(&self) -> Result<(), StoreError> {
        let mut write = self.database().begin_freeing().await?;
        let swept = sqlx::query(
            "DELETE FROM artifacts WHERE id NOT IN (
                SELECT weights FROM models
                UNION ALL SELECT optimizer_state FROM models
                UNION ALL SELECT artifact FROM checkpoints
                UNION ALL SELECT initial_weights FROM jobs WHERE initial_weights IS NOT NULL)",
        )
        .execute(&mut *write)
        .await?;
        self.database().commit(write).await?;
        if swept.rows_affected() > 0 {
            tracing::info!(
                chunks = swept.rows_affected(),
                "artifacts that no row names were removed"
            );
        }
        Ok(())
    }
}

/// Stores the last chunk, in the transaction of the row that names the artifact.
pub(super) async fn insert_last_chunk(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    staged: &Staged<'_>,
) -> Result<(), StoreError> {
    insert_chunk(write, tenant, &staged.id, staged.chunk, staged.last).await
}

async fn insert_chunk(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
    chunk: i64,
    bytes: &[u8],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO artifacts (tenant, id, chunk, bytes) VALUES ($1, $2, $3, $4)")
        .bind(tenant.as_str())
        .bind(id)
        .bind(chunk)
        .bind(bytes)
        .execute(write)
        .await?;
    Ok(())
}

pub(super) async fn delete_artifact(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM artifacts WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id)
        .execute(write)
        .await?;
    Ok(())
}

/// The whole artifact, put together from its chunks.
pub(super) async fn read_artifact(
    read: &mut SqliteConnection,
    tenant: &TenantId,
    id: &str,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    for chunk in 0_i64.. {
        let query = sqlx::query_scalar("SELECT bytes FROM artifacts WHERE tenant = $1 AND id = $2 AND chunk = $3");
        let query = query.bind(tenant.as_str()).bind(id).bind(chunk);
        let Some(next): Option<Vec<u8>> = query.fetch_optional(&mut *read).await? else {
            break;
        };
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| (i * 31 / 7) as u8).collect()
    }

    #[tokio::test]
    async fn an_artifact_of_any_size_comes_back_whole() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let sizes = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES];
        for (size, chunks) in sizes.into_iter().zip([1, 1, 1, 1, 2, 2]) {
            let written = bytes(size);
            let before = samples::stored_chunks(&store).await;
            let staged = &store.stage_artifacts(&tenant, &[&written]).await.unwrap()[0];
            let mut write = store.database().begin().await.unwrap();
            insert_last_chunk(&mut write, &tenant, staged).await.unwrap();
            write.commit().await.unwrap();
            assert_eq!(samples::stored_chunks(&store).await, before + chunks, "{size} bytes");
            let mut reader = store.database().reader().await.unwrap();
            assert!(
                read_artifact(&mut reader, &tenant, &staged.id).await.unwrap() == written,
                "{size} bytes"
            );
        }
    }

    #[tokio::test]
    async fn chunks_that_no_row_came_to_name_are_discarded_or_swept() {
        let (directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let written = bytes(2 * CHUNK_BYTES + 1);
        let staged = store.stage_artifacts(&tenant, &[b"small", &written]).await.unwrap();
        assert_eq!(samples::stored_chunks(&store).await, 2);
        store.discard_staged(&tenant, &staged).await;
        assert_eq!(samples::stored_chunks(&store).await, 0);

        store.stage_artifacts(&tenant, &[&written]).await.unwrap();
        let store = samples::crash(&directory, store).await;
        assert_eq!(samples::stored_chunks(&store).await, 0);
    }

    #[tokio::test]
    async fn a_disk_that_fills_up_meanwhile_keeps_no_chunk() {
        let (_directory, store) = samples::open().await;
        let mut writer = store.database().writer().await.unwrap();
        // Room for one chunk and a half.
        let limit = sqlx::query("PRAGMA max_page_count = 3000");
        limit.execute(&mut *writer).await.unwrap();
        drop(writer);
        let written = bytes(2 * CHUNK_BYTES + 1);
        let refused = store.stage_artifacts(&samples::tenant(), &[b"small", &written]).await;
        assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}");
        assert_eq!(samples::stored_chunks(&store).await, 0);
    }

    #[tokio::test]
    async fn a_start_keeps_every_artifact_that_a_row_names() {
        let (directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let model = samples::model(&claim.job);
        let id = model.model.id;
        samples::finish(
            &store,
            &claim,
            crate::store::Outcome::Succeeded { model: model.clone() },
        )
        .await;
        let mut queued = samples::new_job(claim.job.dataset);
        queued.initial_weights = Some(b"first".to_vec());
        samples::insert(&store, &claim.tenant, queued).await;
        let claim = samples::claim(&store).await;
        samples::checkpoint(&store, &claim, b"older").await;
        samples::checkpoint(&store, &claim, b"newer").await;

        let store = samples::crash(&directory, store).await;
        assert_eq!(store.model_parts(&claim.tenant, id).await.unwrap(), Some(model.parts));
        let claim = samples::claim(&store).await;
        assert_eq!(claim.initial_weights.as_deref(), Some(&b"first"[..]));
        assert_eq!(claim.checkpoint.as_deref(), Some(&b"newer"[..]));
        assert_eq!(
            store.earlier_checkpoint(&claim).await.unwrap().as_deref(),
            Some(&b"older"[..])
        );
    }
}
