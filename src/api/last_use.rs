//! When each key was last used: stored at most once a minute, and while nobody waits for it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::domain::api_key::ApiKey;
use crate::domain::id::KeyId;
use crate::store::Store;

/// A request costs no write of its own that way, and to the minute is enough to find the keys that nobody needs.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

pub(super) struct LastUses {
    store: Store,
    /// The keys whose use is being stored: requests that come meanwhile need not store it too.
    under_way: Arc<Mutex<HashSet<KeyId>>>,
}

impl LastUses {
    pub(super) fn new(store: Store) -> Self {
        let under_way = Arc::default();
        Self { store, under_way }
    }

    /// Notes that the key, as the store just had it, lets somebody in.
    pub(super) fn note(&self, key: &ApiKey, now: Timestamp) {
        let is_noted = key.last_used_at.is_some_and(|noted| now.duration_since(noted) < EVERY);
        if is_noted || !lock(&self.under_way).insert(key.id) {
            return;
        }
        let (store, under_way) = (self.store.clone(), self.under_way.clone());
        let (tenant, id) = (key.tenant.clone(), key.id);
        tokio::spawn(async move {
            if let Err(error) = store.note_key_use(&tenant, id, now).await {
                tracing::debug!(%error, key = %id, "the use of a key could not be stored");
            }
            lock(&under_way).remove(&id);
        });
    }
}

fn lock(under_way: &Mutex<HashSet<KeyId>>) -> MutexGuard<'_, HashSet<KeyId>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}
