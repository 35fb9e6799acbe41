//! A body of bytes that are read as a whole: safetensors.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequest, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::{declared_length, read_limited, too_large};
use crate::api::error::ApiError;
use crate::api::limits::Limits;
use crate::domain::problem::Kind;

const TYPES: [&str; 2] = ["application/octet-stream", "application/vnd.safetensors"];

/// The bytes of a request body, up to the limit for arrays.
#[derive(Debug)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl<S: Sync> FromRequest<S> for Octets
where
    Arc<Limits>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let limit = Arc::<Limits>::from_ref(state).tensor_body_bytes;
        if declared_length(&parts.headers).is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        Ok(Self(read_limited(body, limit).await?))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |detail: String| Err(ApiError::new(Kind::UnsupportedMediaType, detail));
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        return unsupported(format!(
            "The body must be sent without a content-encoding, not with {encoding:?}."
        ));
    }
    match headers.get(CONTENT_TYPE) {
        Some(value)
            if !value
                .to_str()
                .is_ok_and(|value| TYPES.contains(&value.to_ascii_lowercase().as_str())) =>
        {
            unsupported(format!(
                "The body must be safetensors, sent with the header content-type: application/octet-stream, not {value:?}."
            ))
        }
        _ => Ok(()),
    }
}
