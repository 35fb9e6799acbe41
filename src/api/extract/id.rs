//! The id in a path. Whatever is not an id names nothing: 404, without a look at the disk or the database.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::api::error::ApiError;
use crate::domain::id::{DatasetId, InvalidId, JobId, KeyId, ModelId, SessionId};
use crate::domain::problem::Problem;

/// An id that can stand in a path, and what a person calls the thing it names.
pub(crate) trait PathId: FromStr<Err = InvalidId> {
    const NOUN: &'static str;
}

impl PathId for DatasetId {
    const NOUN: &'static str = "dataset";
}

impl PathId for JobId {
    const NOUN: &'static str = "job";
}

impl PathId for ModelId {
    const NOUN: &'static str = "model";
}

impl PathId for SessionId {
    const NOUN: &'static str = "session";
}

impl PathId for KeyId {
    const NOUN: &'static str = "key";
}

/// The `{id}` of the path.
#[derive(Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<T: PathId, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Text that is no UTF-8 after percent-decoding is no id either.
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let text = params
            .as_ref()
            .and_then(|params| params.iter().find(|(name, _)| *name == "id"));
        let id = text.and_then(|(_, text)| text.parse().ok());
        id.map(Self).ok_or_else(|| Problem::not_found(T::NOUN).into())
    }
}
