//! The rows of uploaded tables.

use super::{Deletion, StagedBlob, Store, StoreError};
use crate::domain::dataset::Dataset;
use crate::domain::id::DatasetId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

impl Store {
    /// Gives the content its place and stores the row that names it; durable when this returns.
    pub async fn insert_dataset(
        &self,
        tenant: &TenantId,
        dataset: &Dataset,
        content: StagedBlob,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub async fn get_dataset(&self, tenant: &TenantId, id: DatasetId) -> Result<Option<Dataset>, StoreError> {
        unimplemented!()
    }

    pub async fn list_datasets(
        &self,
        tenant: &TenantId,
        page: PageRequest<DatasetId>,
    ) -> Result<Page<Dataset, DatasetId>, StoreError> {
        unimplemented!()
    }

    /// Deletes a dataset that no unfinished job needs, and its content with the last dataset that has it.
    pub async fn delete_dataset(&self, tenant: &TenantId, id: DatasetId) -> Result<Deletion, StoreError> {
        unimplemented!()
    }
}
