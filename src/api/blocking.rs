//! Work that takes long or touches files, kept off the threads that answer requests.

use tracing::Span;

use super::error::ApiError;
use super::gate::Turn;
use crate::domain::problem::Problem;

/// Runs `work` on a thread that may block. A panic in it is an internal problem, like any other.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(Problem::internal)?
}

/// The same for work whose turn it is.
pub(super) async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    blocking(move || {
        // Held to the end of the work, even when the client is gone before it.
        let _turn = turn;
        work()
    })
    .await
}
