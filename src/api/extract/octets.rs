//! A body of bytes that are read as a whole: safetensors.

use axum::extract::{FromRef, FromRequest, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::body::{BodyLimits, Memory, refuse_packed};
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
    refuse_packed(headers)?;
    let fits = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
        TYPES.contains(&value.as_str())
    };
    match headers.get(CONTENT_TYPE).filter(|value| !fits(value)) {
        None => Ok(()),
        Some(value) => Err(ApiError::new(
            Kind::UnsupportedMediaType,
            format!(
                "The body must be safetensors, sent with the header content-type: application/octet-stream, not {value:?}."
            ),
        )),
    }
}
