//! The HTTP API, one file a resource. axum is known here and nowhere else.

mod connection;
mod error;
mod extract;
mod limits;
mod pace;
mod request;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

pub use self::limits::Limits;
pub use self::serve::serve;
use crate::serving::Serving;
use crate::store::Store;
use crate::training::Runner;

/// What handlers work with; cloning it is cheap.
#[derive(Clone)]
pub struct AppState {
    store: Store,
    runner: Runner,
    serving: Serving,
    limits: Arc<Limits>,
    /// Cancelled when the server is to stop: it isn't ready any more, and event streams end.
    stop: CancellationToken,
}

impl AppState {
    pub fn new(store: Store, runner: Runner, serving: Serving, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            store,
            runner,
            serving,
            limits: Arc::new(limits),
            stop,
        }
    }
}

impl FromRef<AppState> for Arc<Limits> {
    fn from_ref(state: &AppState) -> Self {
        state.limits.clone()
    }
}

/// The whole API as one service.
pub fn router(state: AppState) -> Router {
    Router::new().with_state(state)
}

/// The OpenAPI document as `openapi/openapi.json` holds it and `/openapi.json` serves it.
pub fn document_json() -> String {
    String::new()
}
