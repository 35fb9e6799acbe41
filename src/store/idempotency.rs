//! Answers to requests with an `Idempotency-Key`, kept for 24 hours, so that a request sent again is not done again.

use super::{Store, StoreError};
use crate::domain::tenant::TenantId;

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to do with a request that carries a key.
pub enum Reply {
    /// Do it, and then complete the reservation.
    Fresh(Reservation),
    /// The first request with this key is still under way.
    InFlight,
    /// The key was used for another request.
    Mismatch,
    /// Answer as before.
    Replay(StoredAnswer),
}

/// The key is taken while this lives; dropped without an answer, the key is free again.
pub struct Reservation {}

impl Store {
    /// Looks a key up, and takes it when it is free. `fingerprint`: a digest of the request's method, path and body.
    pub async fn reserve_key(&self, tenant: &TenantId, key: &str, fingerprint: &str) -> Result<Reply, StoreError> {
        unimplemented!()
    }
}

impl Reservation {
    /// Keeps the answer for those who send the request again.
    pub async fn complete(self, answer: StoredAnswer) -> Result<(), StoreError> {
        unimplemented!()
    }
}
