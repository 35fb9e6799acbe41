//! One session in memory, used by one call at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::{OwnedMappedMutexGuard, OwnedMutexGuard, Semaphore};

use super::state::{Setting, State};
use crate::domain::problem::{Kind, Problem};
use crate::domain::session::SessionOrigin;
use crate::domain::tenant::TenantId;

/// Calls of one session that may wait for the one under way: its client writes a loop, and a loop has one call after
/// the other.
pub(super) const MAX_WAITING: usize = 64;

pub(super) struct OpenSession {
    pub(super) tenant: TenantId,
    pub(super) origin: SessionOrigin,
    pub(super) setting: Setting,
    /// `None` once it was deleted.
    state: Arc<tokio::sync::Mutex<Option<State>>>,
    places: Semaphore,
    used_at: Mutex<SystemTime>,
}

/// A session that the call under way has to itself.
pub(super) type HeldState = OwnedMappedMutexGuard<Option<State>, State>;

impl OpenSession {
    /// A session that is about to be used.
    pub(super) fn new(tenant: TenantId, origin: SessionOrigin, setting: Setting, state: State) -> Self {
        Self {
            tenant,
            origin,
            setting,
            state: Arc::new(tokio::sync::Mutex::new(Some(state))),
            places: Semaphore::new(MAX_WAITING),
            used_at: Mutex::new(SystemTime::now()),
        }
    }

    pub(super) fn of(self: Arc<Self>, tenant: &TenantId) -> Result<Arc<Self>, Problem> {
        match self.tenant == *tenant {
            true => Ok(self),
            false => Err(Problem::not_found("session")),
        }
    }

    /// The session's state, when the calls before have left it.
    ///
    /// Errors: `unavailable` where as many calls wait for it as may; `not-found` once the session was deleted.
    pub(super) async fn state(&self) -> Result<HeldState, Problem> {
        let place = self.places.try_acquire().map_err(|_| {
            let detail = format!(
                "{MAX_WAITING} calls of this session wait already; send this one again when Retry-After is over."
            );
            Problem::new(Kind::Unavailable, detail)
        })?;
        let state = self.state.clone().lock_owned().await;
        drop(place);
        OwnedMutexGuard::try_map(state, Option::as_mut).map_err(|_| Problem::not_found("session"))
    }

    /// Runs `delete` after the call under way, which writes its state; then there is no state any more.
    pub(super) async fn end(&self, delete: impl AsyncFnOnce() -> Result<(), Problem>) -> Result<(), Problem> {
        let mut state = self.state.clone().lock_owned().await;
        delete().await?;
        *state = None;
        Ok(())
    }

    pub(super) fn used_at(&self) -> SystemTime {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_used_at(&self, time: SystemTime) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// About what it takes in memory: weights, slots, kept answers.
    pub(super) fn size_bytes(&self) -> u64 {
        const AROUND: u64 = 100_000;
        AROUND + 4 * 5 * self.setting.plan.parameters().total
    }
}
