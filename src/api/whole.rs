//! Changes are made whole, whatever becomes of the connection that they were asked for over.

use tracing::Instrument;

use super::error::ApiError;
use crate::domain::problem::Problem;

/// Runs to the end in a task of its own. A handler whose client hangs up is dropped wherever it waits: what is committed
/// then would stay unsaid to whom it concerns, as a job that is queued and that no worker is woken for.
pub(super) async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(change.in_current_span())
        .await
        .map_err(Problem::internal)?
}
