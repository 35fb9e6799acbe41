//! Trained models.

use sqlx::SqliteConnection;

use super::artifacts::{Staged, delete_artifact, insert_last_chunk, read_artifact};
use super::column::{bigint, from_json, parsed, to_json};
use super::jobs::unfinished_job_from;
use super::outcome::NewModel;
use super::usage::storage_bytes;
use super::{Deletion, Insertion, Keep, Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::id::ModelId;
use crate::domain::model::{Model, ModelParts};
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

impl Store {
    pub async fn get_model(&self, tenant: &TenantId, id: ModelId) -> Result<Option<Model>, StoreError> {
        let document: Option<String> = sqlx::query_scalar("SELECT document FROM models WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(self.database().readers())
            .await?;
        document.map(|document| from_json("model", &document)).transpose()
    }

    pub async fn list_models(
        &self,
        tenant: &TenantId,
        page: PageRequest<ModelId>,
    ) -> Result<Page<Model, ModelId>, StoreError> {
        let documents: Vec<String> =
            sqlx::query_scalar("SELECT document FROM models WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
                .bind(tenant.as_str())
                .bind(page.before())
                .bind(page.rows_to_read())
                .fetch_all(self.database().readers())
                .await?;
        let models = documents.iter().map(|document| from_json("model", document));
        Ok(page.of(models.collect::<Result<_, _>>()?, |model: &Model| model.id))
    }

    /// The models of that name, oldest first: their places are the versions of the name.
    pub async fn models_named(&self, tenant: &TenantId, name: &str) -> Result<Vec<ModelId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM models WHERE tenant = $1 AND name = $2 ORDER BY id")
            .bind(tenant.as_str())
            .bind(name)
            .fetch_all(self.database().readers())
            .await?;
        ids.iter().map(|id| parsed("model", id)).collect()
    }

    /// Stores a model that no job made, unless the tables and models of its tenant would come to more than `max_bytes`.
    pub async fn insert_model(
        &self,
        tenant: &TenantId,
        new: &NewModel,
        max_bytes: u64,
        keep: Option<&Keep<Model>>,
    ) -> Result<Insertion, StoreError> {
        let artifacts = [&new.parts.weights[..], &new.parts.optimizer_state[..]];
        let staged = self.stage_artifacts(tenant, &artifacts).await?;
        let stored = self.insert_staged_model(tenant, new, &staged, max_bytes, keep).await;
        if !matches!(stored, Ok(Insertion::Inserted)) {
            self.discard_staged(tenant, &staged).await;
        }
        stored
    }

    async fn insert_staged_model(
        &self,
        tenant: &TenantId,
        new: &NewModel,
        staged: &[Staged<'_>],
        max_bytes: u64,
        keep: Option<&Keep<Model>>,
    ) -> Result<Insertion, StoreError> {
        let mut write = self.database().begin().await?;
        let used_bytes = storage_bytes(&mut write, tenant).await?;
        if used_bytes.saturating_add(new.size_bytes()) > max_bytes {
            return Ok(Insertion::NoRoom { used_bytes });
        }
        insert_model(&mut write, tenant, new, &staged[0], &staged[1]).await?;
        if let Some(keep) = keep {
            keep.insert(&mut write, &new.model).await?;
        }
        crash_point!("model-inserted");
        self.database().commit(write).await?;
        crash_point!("model-committed");
        Ok(Insertion::Inserted)
    }

    /// Deletes a model that no unfinished job continues.
    pub async fn delete_model(&self, tenant: &TenantId, id: ModelId) -> Result<Deletion, StoreError> {
        let mut write = self.database().begin_freeing().await?;
        if let Some(job) = unfinished_job_from(&mut write, tenant, id).await? {
            return Ok(Deletion::InUse(job));
        }
        let artifacts: Option<(String, String)> =
            sqlx::query_as("DELETE FROM models WHERE tenant = $1 AND id = $2 RETURNING weights, optimizer_state")
                .bind(tenant.as_str())
                .bind(id.to_string())
                .fetch_optional(&mut *write)
                .await?;
        let Some((weights, optimizer_state)) = artifacts else {
            return Ok(Deletion::NotFound);
        };
        for artifact in [weights, optimizer_state] {
            delete_artifact(&mut write, tenant, &artifact).await?;
        }
        self.database().commit(write).await?;
        Ok(Deletion::Deleted)
    }

    /// The stored bytes of a model.
    pub async fn model_parts(&self, tenant: &TenantId, id: ModelId) -> Result<Option<ModelParts>, StoreError> {
        // One transaction: a model that is deleted meanwhile is seen whole or not at all.
        let mut read = self.database().begin_read().await?;
        let row: Option<(String, String, String)> =
            sqlx::query_as("SELECT encoder, weights, optimizer_state FROM models WHERE tenant = $1 AND id = $2")
                .bind(tenant.as_str())
                .bind(id.to_string())
                .fetch_optional(&mut *read)
                .await?;
        let Some((encoder, weights, optimizer_state)) = row else {
            return Ok(None);
        };
        Ok(Some(ModelParts {
            encoder,
            weights: read_artifact(&mut read, tenant, &weights).await?,
            optimizer_state: read_artifact(&mut read, tenant, &optimizer_state).await?,
        }))
    }
}

/// Stores a model whose artifacts (weights, optimizer state) are staged.
pub(super) async fn insert_model(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    new: &NewModel,
    weights: &Staged<'_>,
    optimizer_state: &Staged<'_>,
) -> Result<(), StoreError> {
    for staged in [weights, optimizer_state] {
        insert_last_chunk(write, tenant, staged).await?;
    }
    sqlx::query(
        "INSERT INTO models (tenant, id, name, document, encoder, weights, optimizer_state, created_at, size_bytes)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(tenant.as_str())
    .bind(new.model.id.to_string())
    .bind(&new.model.name)
    .bind(to_json(&new.model))
    .bind(&new.parts.encoder)
    .bind(&weights.id)
    .bind(&optimizer_state.id)
    .bind(new.model.created_at.to_string())
    .bind(bigint(new.size_bytes()))
    .execute(write)
    .await?;
    Ok(())
}
