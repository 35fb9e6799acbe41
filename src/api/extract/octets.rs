//! A body of bytes that are read as a whole: safetensors.

use axum::extract::{FromRef, FromRequest, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::{BodyLimits, Memory};
use crate::api::error::ApiError;
use crate::domain::problem::Kind;

const TYPES: [&str; 2] = ["application/octet-stream", "application/vnd.safetensors"];

/// How much of bodies of arrays is taken.
#[derive(Clone)]
pub(crate) struct TensorBodies(pub(crate) BodyLimits);

/// The bytes of a request body, and their share of the memory for all.
#[derive(Debug)]
pub(crate) struct Octets(pub(crate) Vec<u8>, pub(crate) Memory);

impl<S: Sync> FromRequest<S> for Octets
where
    TensorBodies: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let TensorBodies(limits) = TensorBodies::from_ref(state);
        let (bytes, memory) = limits.read(&parts.headers, body).await?;
        Ok(Self(bytes, memory))
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
