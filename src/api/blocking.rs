//! Work that takes long or touches files, kept off the threads that answer requests.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Span;

use super::error::ApiError;
use crate::domain::problem::Problem;

/// Runs `work` on a thread that may block. A panic in it is an internal problem, like any other.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(Problem::internal)?
}

/// The same for work that reads a whole table: as many at once as there are `readers`, which each keep a core busy.
pub(super) async fn reading<T: Send + 'static>(
    readers: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let reader = readers.clone().acquire_owned().await.map_err(Problem::internal)?;
    blocking(move || {
        // Held to the end of the work, even when the client is gone before it.
        let _reader = reader;
        work()
    })
    .await
}
