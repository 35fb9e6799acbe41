//! The models of the store, ready to predict.

use std::sync::Arc;

use super::cache::Cache;
use super::evaluate::Evaluation;
use super::predictor::Predictor;
use crate::domain::id::{DatasetId, ModelId};
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;
use crate::store::{Store, aside};

/// The models in memory; cloning it is cheap.
#[derive(Clone)]
pub struct Serving {
    store: Store,
    cache: Arc<Cache<Arc<Predictor>>>,
}

impl Serving {
    /// At most about `capacity_bytes` of weights stay in memory between requests.
    pub fn new(store: Store, capacity_bytes: u64) -> Self {
        Self {
            store,
            cache: Arc::new(Cache::new(capacity_bytes)),
        }
    }

    /// The model, ready to predict; loaded once however many ask for it at the same time.
    pub async fn get(&self, tenant: &TenantId, id: ModelId) -> Result<Arc<Predictor>, Problem> {
        self.cache.get(tenant, id, async || self.load(tenant, id).await).await
    }

    async fn load(&self, tenant: &TenantId, id: ModelId) -> Result<(Arc<Predictor>, u64), Problem> {
        let parts = self.store.model_parts(tenant, id).await?;
        let (Some(model), Some(parts)) = (self.store.get_model(tenant, id).await?, parts) else {
            return Err(Problem::not_found("model"));
        };
        let size = parts.encoder.len() + parts.weights.len();
        let loaded = aside(size, move || Predictor::load(model, &parts)).await?;
        let predictor = loaded.map_err(Problem::internal)?;
        let size_bytes = predictor.size_bytes();
        Ok((Arc::new(predictor), size_bytes))
    }

    /// Drops a model that was deleted.
    pub fn forget(&self, tenant: &TenantId, id: ModelId) {
        self.cache.forget(tenant, id);
    }

    /// What measures a model on all rows of a dataset; to be called on a thread that may block.
    pub async fn evaluation(
        &self,
        tenant: &TenantId,
        id: ModelId,
        dataset: DatasetId,
    ) -> Result<impl FnOnce() -> Result<Evaluation, Problem> + Send + 'static, Problem> {
        let predictor = self.get(tenant, id).await?;
        let dataset = self
            .store
            .get_dataset(tenant, dataset)
            .await?
            .ok_or_else(|| Problem::not_found("dataset"))?;
        let store = self.store.clone();
        Ok(move || {
            let content = store.blobs().open(&dataset.sha256)?;
            predictor.evaluate(&dataset, content)
        })
    }
}
