//! Bounds how much is worked at once and how many wait for their turn; who finds all places taken is refused at once,
//! so that an overload makes refusals instead of a queue that nobody wants to wait in.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::domain::problem::{Kind, Problem};

/// Cloning it is cheap.
#[derive(Clone)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    /// For those whose turn it is and those who wait.
    places: Arc<Semaphore>,
}

/// The right to work, until it is dropped.
pub(super) struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: Option<OwnedSemaphorePermit>,
}

impl Gate {
    pub(super) fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once + waiting)),
        }
    }

    /// Whether who comes now is refused.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        match self.places.available_permits() {
            0 => Err(full()),
            _ => Ok(()),
        }
    }

    /// Waits for a turn, in the order of arrival. Errors: `unavailable` when as many wait as may.
    pub(super) async fn enter(&self) -> Result<Turn, ApiError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| full())?;
        Ok(Turn {
            _place: Some(place),
            ..self.turn().await?
        })
    }

    /// The same for those of whom there are never many, because something else already bounds them.
    pub(super) async fn turn(&self) -> Result<Turn, ApiError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(Problem::internal)?;
        Ok(Turn {
            _turn: turn,
            _place: None,
        })
    }
}

fn full() -> ApiError {
    ApiError::new(
        Kind::Unavailable,
        "The server has more to do than it can carry; send the request again when Retry-After is over.",
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn so_many_work_so_many_wait_and_the_next_is_refused_at_once() {
        let gate = Gate::new(1, 1);
        let working = gate.enter().await.unwrap();
        let mut waiting = Box::pin(gate.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(gate.check().is_err());
        assert!(gate.enter().now_or_never().unwrap().is_err());
        drop(working);
        let working = waiting.await.unwrap();
        assert!(gate.check().is_ok());
        // Who leaves while waiting gives up the place.
        let mut waiting = Box::pin(gate.enter());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert!(gate.check().is_ok());
        drop(working);
    }
}
