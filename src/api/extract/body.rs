//! Reading a request's body without trusting what it says about its size.

use std::error::Error;

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

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

/// The whole body, as long as it stays within `limit` bytes.
pub(crate) async fn read_limited(body: Body, limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(broken)?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
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
