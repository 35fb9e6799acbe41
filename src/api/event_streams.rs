//! Which event streams are open: so many of each tenant, so many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::ApiError;
use super::limits::Limits;
use crate::domain::problem::Kind;
use crate::domain::tenant::TenantId;

/// Cloning it is cheap.
#[derive(Clone)]
pub(super) struct EventStreams(Arc<Shared>);

struct Shared {
    most_of_tenant: usize,
    most: usize,
    /// Tenants without any are not in it.
    open: Mutex<HashMap<TenantId, usize>>,
}

/// A stream's place, free again when dropped.
pub(super) struct Place {
    streams: EventStreams,
    tenant: TenantId,
}

impl EventStreams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Shared {
            most_of_tenant: limits.tenant_event_streams,
            most: limits.event_streams,
            open: Mutex::default(),
        }))
    }

    /// Errors: `too-many-requests` where all places are taken.
    pub(super) fn take(&self, tenant: &TenantId) -> Result<Place, ApiError> {
        let mut open = self.open();
        if open.values().sum::<usize>() >= self.0.most {
            let detail = "The server has as many event streams open as it may; try again later.";
            return Err(ApiError::new(Kind::TooManyRequests, detail));
        }
        let own = open.get(tenant).copied().unwrap_or(0);
        if own >= self.0.most_of_tenant {
            let detail = format!("You have {own} event streams open, which is the limit: close one.");
            return Err(ApiError::new(Kind::TooManyRequests, detail));
        }
        open.insert(tenant.clone(), own + 1);
        Ok(Place {
            streams: self.clone(),
            tenant: tenant.clone(),
        })
    }

    /// How many of a tenant are open.
    pub(super) fn count(&self, tenant: &TenantId) -> usize {
        self.open().get(tenant).copied().unwrap_or(0)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_with_all_its_streams_leaves_those_of_others_as_long_as_there_are_any() {
        let streams = EventStreams::new(&Limits {
            tenant_event_streams: 2,
            event_streams: 3,
            ..Limits::default()
        });
        let [a, b] = ["a", "b"].map(TenantId::new);
        let first = streams.take(&a).ok().unwrap();
        let _second = streams.take(&a).ok().unwrap();
        assert!(streams.take(&a).is_err());
        let third = streams.take(&b).ok().unwrap();
        assert!(streams.take(&b).is_err());
        assert_eq!([&a, &b].map(|tenant| streams.count(tenant)), [2, 1]);
        drop(third);
        assert!(streams.take(&a).is_err());
        drop(first);
        assert!(streams.take(&a).is_ok());
        assert_eq!(streams.open().len(), 1);
    }
}
