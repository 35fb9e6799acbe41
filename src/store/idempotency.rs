//! Answers to requests with an `Idempotency-Key`, kept for 24 hours, so that a request sent again is not done again.
//!
//! Keys whose first request is still under way live in memory only: they end with the request, however it ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::column::{from_json, to_json, unsigned};
use super::{Store, StoreError};
use crate::domain::tenant::TenantId;

const KEPT_S: i64 = 24 * 60 * 60;

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to do with a request that carries a key.
#[derive(Debug)]
pub enum Reply {
    /// Do it, and keep the answer with what it makes.
    Fresh(Reservation),
    /// The first request with this key is still under way.
    InFlight,
    /// The key was used for another request.
    Mismatch,
    /// Answer as before.
    Replay(StoredAnswer),
}

/// The key is taken while this lives; dropped without an answer, the key is free again.
#[derive(Debug)]
pub struct Reservation {
    store: Store,
    key: TenantKey,
    fingerprint: String,
}

type TenantKey = (TenantId, String);

/// The fingerprints of the requests under way.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<TenantKey, String>>);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantKey, String>> {
        // No code that holds it can stop halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Looks a key up, and takes it when it is free. `fingerprint`: a digest of the request's method, path and body.
    pub async fn reserve_key(&self, tenant: &TenantId, key: &str, fingerprint: &str) -> Result<Reply, StoreError> {
        if let Some(reply) = self.stored_reply(tenant, key, fingerprint).await? {
            return Ok(reply);
        }
        let reservation = match self.take_key(tenant, key, fingerprint) {
            Reply::Fresh(reservation) => reservation,
            taken => return Ok(taken),
        };
        // The request that had the key may have completed between the look and the taking.
        let stored = self.stored_reply(tenant, key, fingerprint).await?;
        Ok(stored.unwrap_or(Reply::Fresh(reservation)))
    }

    fn take_key(&self, tenant: &TenantId, key: &str, fingerprint: &str) -> Reply {
        let mut in_flight = self.0.in_flight.lock();
        let key = (tenant.clone(), key.to_owned());
        match in_flight.get(&key) {
            Some(other) if other != fingerprint => Reply::Mismatch,
            Some(_) => Reply::InFlight,
            None => {
                in_flight.insert(key.clone(), fingerprint.to_owned());
                Reply::Fresh(Reservation {
                    store: self.clone(),
                    key,
                    fingerprint: fingerprint.to_owned(),
                })
            }
        }
    }

    async fn stored_reply(&self, tenant: &TenantId, key: &str, fingerprint: &str) -> Result<Option<Reply>, StoreError> {
        let row: Option<(String, i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT fingerprint, status, headers, body FROM answers
            WHERE tenant = $1 AND key = $2 AND expires_at_s > $3",
        )
        .bind(tenant.as_str())
        .bind(key)
        .bind(Timestamp::now().as_second())
        .fetch_optional(self.database().readers())
        .await?;
        let Some((first, status, headers, body)) = row else {
            return Ok(None);
        };
        if first != fingerprint {
            return Ok(Some(Reply::Mismatch));
        }
        Ok(Some(Reply::Replay(StoredAnswer {
            status: unsigned("answer", status)?,
            headers: from_json("answer", &headers)?,
            body,
        })))
    }
}

/// Keeps the answer about a new `T` in the very transaction that makes it: whoever was cut off by a crash and asks again
/// gets the thing or has it made, but never a second one.
#[derive(Debug)]
pub struct Keep<T> {
    reservation: Reservation,
    answer: fn(&T) -> StoredAnswer,
}

impl Reservation {
    /// `answer`: what is answered about the thing.
    pub fn keep<T>(self, answer: fn(&T) -> StoredAnswer) -> Keep<T> {
        Keep {
            reservation: self,
            answer,
        }
    }
}

impl<T> Keep<T> {
    pub(super) async fn insert(&self, write: &mut SqliteConnection, thing: &T) -> Result<(), StoreError> {
        let now_s = Timestamp::now().as_second();
        let answer = (self.answer)(thing);
        let Reservation {
            key: (tenant, key),
            fingerprint,
            ..
        } = &self.reservation;
        sqlx::query("DELETE FROM answers WHERE expires_at_s <= $1")
            .bind(now_s)
            .execute(&mut *write)
            .await?;
        sqlx::query(
            "INSERT INTO answers (tenant, key, fingerprint, status, headers, body, expires_at_s)
            VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(tenant.as_str())
        .bind(key)
        .bind(fingerprint)
        .bind(i64::from(answer.status))
        .bind(to_json(&answer.headers))
        .bind(answer.body)
        .bind(now_s + KEPT_S)
        .execute(write)
        .await?;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.store.0.in_flight.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn answer() -> StoredAnswer {
        StoredAnswer {
            status: 202,
            headers: vec![("location".to_owned(), "/v1/jobs/job_1".to_owned())],
            body: b"{}".to_vec(),
        }
    }

    /// Keeps the answer, as a creating transaction does.
    async fn complete(reservation: Reservation) {
        let store = reservation.store.clone();
        let keep = reservation.keep(|()| answer());
        let mut write = store.database().begin().await.unwrap();
        keep.insert(&mut write, &()).await.unwrap();
        store.database().commit(write).await.unwrap();
    }

    async fn reserve(store: &Store, key: &str, fingerprint: &str) -> Reply {
        store.reserve_key(&samples::tenant(), key, fingerprint).await.unwrap()
    }

    async fn fresh(store: &Store, key: &str, fingerprint: &str) -> Reservation {
        match reserve(store, key, fingerprint).await {
            Reply::Fresh(reservation) => reservation,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_completed_request_is_answered_again_even_after_a_crash() {
        let (directory, store) = samples::open().await;
        complete(fresh(&store, "key", "a").await).await;
        let store = samples::crash(&directory, store).await;
        assert!(matches!(reserve(&store, "key", "a").await, Reply::Replay(given) if given == answer()));
        assert!(matches!(reserve(&store, "key", "b").await, Reply::Mismatch));
        assert!(matches!(reserve(&store, "other key", "a").await, Reply::Fresh(_)));
        let other = store.reserve_key(&TenantId::new("other"), "key", "b").await.unwrap();
        assert!(matches!(other, Reply::Fresh(_)));
    }

    #[tokio::test]
    async fn a_request_under_way_keeps_its_key_and_an_abandoned_one_frees_it() {
        let (_directory, store) = samples::open().await;
        let first = fresh(&store, "key", "a").await;
        assert!(matches!(reserve(&store, "key", "a").await, Reply::InFlight));
        assert!(matches!(reserve(&store, "key", "b").await, Reply::Mismatch));
        drop(first);
        drop(fresh(&store, "key", "b").await);
    }

    #[tokio::test]
    async fn of_a_hundred_equal_requests_at_once_one_is_done() {
        let (_directory, store) = samples::open().await;
        let one = async || match reserve(&store, "key", "a").await {
            Reply::Fresh(reservation) => {
                tokio::task::yield_now().await;
                complete(reservation).await;
                1
            }
            Reply::InFlight | Reply::Replay(_) => 0,
            Reply::Mismatch => panic!("the requests are equal"),
        };
        let done = futures_util::future::join_all((0..100).map(|_| one())).await;
        assert_eq!(done.into_iter().sum::<i32>(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_that_comes_just_as_the_first_completes_is_not_done_again() {
        let (_directory, store) = samples::open().await;
        for round in 0..200 {
            let key = format!("key {round}");
            let first = fresh(&store, &key, "a").await;
            let (asking, asked) = (store.clone(), key.clone());
            let second = tokio::spawn(async move {
                loop {
                    match reserve(&asking, &asked, "a").await {
                        Reply::InFlight => {}
                        reply => return matches!(reply, Reply::Replay(_)),
                    }
                }
            });
            complete(first).await;
            assert!(second.await.unwrap(), "{key} was given to both");
        }
    }

    #[tokio::test]
    async fn an_answer_expires() {
        let (_directory, store) = samples::open().await;
        complete(fresh(&store, "key", "a").await).await;
        let mut write = store.database().begin().await.unwrap();
        let age = sqlx::query("UPDATE answers SET expires_at_s = expires_at_s - $1").bind(KEPT_S);
        age.execute(&mut *write).await.unwrap();
        store.database().commit(write).await.unwrap();
        complete(fresh(&store, "key", "b").await).await;
        assert!(matches!(reserve(&store, "key", "b").await, Reply::Replay(_)));
    }
}
