//! Trained models.

use super::{Deletion, Store, StoreError};
use crate::domain::id::ModelId;
use crate::domain::model::{Model, ModelParts};
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

impl Store {
    pub async fn get_model(&self, tenant: &TenantId, id: ModelId) -> Result<Option<Model>, StoreError> {
        unimplemented!()
    }

    pub async fn list_models(
        &self,
        tenant: &TenantId,
        page: PageRequest<ModelId>,
    ) -> Result<Page<Model, ModelId>, StoreError> {
        unimplemented!()
    }

    /// Deletes a model that no unfinished job continues.
    pub async fn delete_model(&self, tenant: &TenantId, id: ModelId) -> Result<Deletion, StoreError> {
        unimplemented!()
    }

    /// The stored bytes of a model.
    pub async fn model_parts(&self, tenant: &TenantId, id: ModelId) -> Result<Option<ModelParts>, StoreError> {
        unimplemented!()
    }
}
