//! Things that are costly to load, kept in memory: each loaded once however many ask for it at the same time, the
//! least recently used dropped when together they take too much room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::domain::id::ModelId;
use crate::domain::tenant::TenantId;

pub(super) struct Cache<V> {
    capacity_bytes: u64,
    shelf: Mutex<Shelf<V>>,
}

struct Shelf<V> {
    places: HashMap<ModelId, Place<V>>,
    held_bytes: u64,
    /// Counts the uses, to tell which place was used last.
    uses: u64,
}

struct Place<V> {
    tenant: TenantId,
    cell: Arc<OnceCell<V>>,
    /// 0 until it is loaded.
    bytes: u64,
    last_use: u64,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let shelf = Shelf {
            places: HashMap::new(),
            held_bytes: 0,
            uses: 0,
        };
        Self {
            capacity_bytes,
            shelf: Mutex::new(shelf),
        }
    }

    /// The value, loaded by `load` (which also gives its size) unless it is here or being loaded already.
    pub(super) async fn get<E>(
        &self,
        tenant: &TenantId,
        id: ModelId,
        load: impl AsyncFnOnce() -> Result<(V, u64), E>,
    ) -> Result<V, E> {
        let Some(cell) = self.shelf().cell(tenant, id) else {
            // Another tenant's: the store decides, and nothing is shared.
            return load().await.map(|(value, _)| value);
        };
        if let Some(value) = cell.get() {
            return Ok(value.clone());
        }
        let mut bytes = 0;
        let loaded = cell
            .get_or_try_init(async || load().await.map(|(value, size)| (bytes = size, value).1))
            .await;
        let outcome = loaded.cloned();
        let mut shelf = self.shelf();
        match outcome {
            Ok(_) if bytes > 0 => shelf.settle(id, &cell, bytes, self.capacity_bytes),
            Ok(_) => {}
            Err(_) => shelf.drop_unloaded(id, &cell),
        }
        outcome
    }

    pub(super) fn forget(&self, tenant: &TenantId, id: ModelId) {
        let mut shelf = self.shelf();
        if shelf.places.get(&id).is_some_and(|place| place.tenant == *tenant) {
            shelf.remove(id);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<V>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Shelf<V> {
    /// The place of an id, made if there is none; `None` when it is another tenant's.
    fn cell(&mut self, tenant: &TenantId, id: ModelId) -> Option<Arc<OnceCell<V>>> {
        self.uses += 1;
        let place = self.places.entry(id).or_insert_with(|| Place {
            tenant: tenant.clone(),
            cell: Arc::default(),
            bytes: 0,
            last_use: 0,
        });
        place.last_use = self.uses;
        (place.tenant == *tenant).then(|| place.cell.clone())
    }

    /// Books the room of a value that was just loaded, and makes room for it.
    fn settle(&mut self, id: ModelId, cell: &Arc<OnceCell<V>>, bytes: u64, capacity_bytes: u64) {
        let Some(place) = self.places.get_mut(&id).filter(|place| Arc::ptr_eq(&place.cell, cell)) else {
            return; // forgotten while it was loaded
        };
        place.bytes = bytes;
        self.held_bytes += bytes;
        while self.held_bytes > capacity_bytes {
            let others = self
                .places
                .iter()
                .filter(|(other, place)| **other != id && place.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, place)| place.last_use).map(|(id, _)| *id) else {
                return; // larger than the whole cache: it stays until another one is wanted
            };
            self.remove(oldest);
        }
    }

    fn drop_unloaded(&mut self, id: ModelId, cell: &Arc<OnceCell<V>>) {
        let ours = |place: &Place<V>| Arc::ptr_eq(&place.cell, cell) && !place.cell.initialized();
        if self.places.get(&id).is_some_and(ours) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: ModelId) {
        if let Some(place) = self.places.remove(&id) {
            self.held_bytes -= place.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Loads(AtomicU32);

    impl Loads {
        fn new() -> Self {
            Self(AtomicU32::new(0))
        }

        async fn load(&self, bytes: u64) -> Result<(u32, u64), &'static str> {
            tokio::task::yield_now().await;
            Ok((self.0.fetch_add(1, Ordering::Relaxed), bytes))
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_load() {
        let (cache, loads) = (Cache::new(100), Loads::new());
        let (tenant, id) = (TenantId::default(), ModelId::generate());
        let asks = (0..20).map(|_| cache.get(&tenant, id, async || loads.load(10).await));
        let answers = futures_util::future::join_all(asks).await;
        assert!(answers.iter().all(|answer| *answer == Ok(0)));
    }

    #[tokio::test]
    async fn the_least_recently_used_leaves_when_room_is_short() {
        let (cache, loads) = (Cache::new(100), Loads::new());
        let tenant = TenantId::default();
        let [a, b, c] = std::array::from_fn(|_| ModelId::generate());
        let get = async |id| cache.get(&tenant, id, async || loads.load(40).await).await.unwrap();
        assert_eq!((get(a).await, get(b).await, get(a).await), (0, 1, 0));
        assert_eq!(get(c).await, 2); // b leaves
        assert_eq!((get(a).await, get(c).await), (0, 2));
        assert_eq!(get(b).await, 3);
        assert_eq!(cache.shelf().held_bytes, 80);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_cache_is_served_and_then_makes_way() {
        let (cache, loads) = (Cache::new(100), Loads::new());
        let tenant = TenantId::default();
        let [large, small] = std::array::from_fn(|_| ModelId::generate());
        assert_eq!(cache.get(&tenant, large, async || loads.load(500).await).await, Ok(0));
        assert_eq!(cache.get(&tenant, small, async || loads.load(10).await).await, Ok(1));
        assert_eq!(cache.shelf().held_bytes, 10);
    }

    #[tokio::test]
    async fn a_failed_load_is_told_and_tried_again_by_the_next_who_asks() {
        let (cache, loads) = (Cache::new(100), Loads::new());
        let (tenant, id) = (TenantId::default(), ModelId::generate());
        assert_eq!(cache.get(&tenant, id, async || Err("none")).await, Err("none"));
        assert!(cache.shelf().places.is_empty());
        assert_eq!(cache.get(&tenant, id, async || loads.load(10).await).await, Ok(0));
    }

    #[tokio::test]
    async fn a_forgotten_one_is_loaded_anew_and_another_tenant_can_neither_see_nor_forget_it() {
        let (cache, loads) = (Cache::new(100), Loads::new());
        let (tenant, id) = (TenantId::default(), ModelId::generate());
        let stranger = TenantId::new("stranger");
        assert_eq!(cache.get(&tenant, id, async || loads.load(10).await).await, Ok(0));
        assert_eq!(
            cache.get(&stranger, id, async || Err("no such model")).await,
            Err("no such model")
        );
        cache.forget(&stranger, id);
        assert_eq!(cache.get(&tenant, id, async || loads.load(10).await).await, Ok(0));
        cache.forget(&tenant, id);
        assert_eq!(cache.get(&tenant, id, async || loads.load(10).await).await, Ok(1));
    }
}
