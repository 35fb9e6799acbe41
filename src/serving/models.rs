//! The models of the store, ready to predict.

use std::sync::Arc;

use super::cache::Cache;
use super::evaluate::Evaluation;
use super::predictor::Predictor;
use crate::domain::id::{DatasetId, ModelId};
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;
use crate::store::Store;

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
        unimplemented!()
    }

    /// Drops a model that was deleted.
    pub fn forget(&self, tenant: &TenantId, id: ModelId) {
        self.cache.forget(tenant, id);
    }

    /// Measures a model on all rows of a dataset, on a blocking thread.
    pub async fn evaluate(&self, tenant: &TenantId, id: ModelId, dataset: DatasetId) -> Result<Evaluation, Problem> {
        unimplemented!()
    }
}
