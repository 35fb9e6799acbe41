//! Reading a request's body without trusting what it says about its size.

use std::error::Error;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::error::ApiError;
use crate::api::pace::TooSlow;
use crate::domain::problem::Kind;

/// What the client said the body would be long; hyper has already refused a length that is no number.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) fn too_large(limit: u64) -> ApiError {
    ApiError::new(
        Kind::BodyTooLarge,
        format!("The body is larger than the {limit} bytes this call takes."),
    )
}

/// A body's share of the memory that all bodies have together, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    all_kib: Arc<Semaphore>,
    share: Option<OwnedSemaphorePermit>,
}

impl Memory {
    fn of(all_kib: Arc<Semaphore>) -> Self {
        Self { all_kib, share: None }
    }

    /// Makes the share one of at least so many bytes. It grows as bytes arrive: who only announces them takes nothing from others.
    fn hold(&mut self, bytes: usize) -> Result<(), ApiError> {
        let held_kib = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing_kib = bytes.div_ceil(1024).saturating_sub(held_kib);
        if missing_kib == 0 {
            return Ok(());
        }
        let more = u32::try_from(missing_kib).map_err(|_| no_memory())?;
        let more = self
            .all_kib
            .clone()
            .try_acquire_many_owned(more)
            .map_err(|_| no_memory())?;
        match &mut self.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// How much of bodies of one kind is taken. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct BodyLimits {
    /// Of one body.
    most_bytes: u64,
    /// All bodies together.
    memory_kib: Arc<Semaphore>,
}

impl BodyLimits {
    pub(crate) fn new(most_bytes: u64, memory_bytes: u64) -> Self {
        let memory_kib = Arc::new(Semaphore::new((memory_bytes / 1024) as usize));
        Self { most_bytes, memory_kib }
    }

    /// The whole body and its share of the memory for all.
    pub(crate) async fn read(self, headers: &HeaderMap, body: Body) -> Result<(Vec<u8>, Memory), ApiError> {
        if declared_length(headers).is_some_and(|length| length > self.most_bytes) {
            return Err(too_large(self.most_bytes));
        }
        let mut memory = Memory::of(self.memory_kib);
        let bytes = read_limited(body, self.most_bytes, &mut memory).await?;
        Ok((bytes, memory))
    }
}

fn no_memory() -> ApiError {
    ApiError::new(
        Kind::Unavailable,
        "The requests under way take all the memory there is for them; send this one again when Retry-After is over.",
    )
}

/// The whole body, as long as it stays within `limit` bytes and within the memory for all.
async fn read_limited(body: Body, limit: u64, memory: &mut Memory) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(broken)?;
        let length = bytes.len() + chunk.len();
        if length as u64 > limit {
            return Err(too_large(limit));
        }
        memory.hold(length)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Refuses a body with a content-encoding, of a call that takes none.
pub(super) fn refuse_packed(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        None => Ok(()),
        Some(encoding) => Err(ApiError::new(
            Kind::UnsupportedMediaType,
            format!("The body must be sent without a content-encoding, not with {encoding:?}."),
        )),
    }
}

/// Why a body could not be read to its end: it came too slowly, or it broke off.
pub(crate) fn broken(error: axum::Error) -> ApiError {
    if is_too_slow(&error) {
        return ApiError::new(
            Kind::RequestTimeout,
            "The body came too slowly; send it again without long pauses.",
        );
    }
    ApiError::new(
        Kind::MalformedRequest,
        "The body broke off before its end; send it again.",
    )
}

/// Whether [`TooSlow`] is what stands behind an error.
pub(crate) fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    error.is::<TooSlow>() || error.source().is_some_and(is_too_slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_together_take_no_more_memory_than_there_is_and_give_it_back() {
        let all = Arc::new(Semaphore::new(3));
        let read = async |bytes: usize| {
            let mut memory = Memory::of(all.clone());
            let read = read_limited(Body::from(vec![0; bytes]), 10_000, &mut memory).await;
            read.map(|bytes| (bytes.len(), memory))
        };
        let (length, first) = read(2000).await.unwrap();
        assert_eq!((length, all.available_permits()), (2000, 1));
        assert!(read(1025).await.is_err());
        assert!(read(1024).await.is_ok());
        drop(first);
        assert_eq!(read(3072).await.unwrap().0, 3072);
    }

    #[tokio::test]
    async fn a_share_grows_with_what_has_arrived() {
        let all = Arc::new(Semaphore::new(3));
        let mut memory = Memory::of(all.clone());
        let chunks = futures_util::stream::iter([500, 500, 500].map(|bytes| Ok::<_, std::io::Error>(vec![0; bytes])));
        read_limited(Body::from_stream(chunks), 10_000, &mut memory)
            .await
            .unwrap();
        assert_eq!(all.available_permits(), 1);
    }
}
