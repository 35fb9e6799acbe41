//! For whom a request acts.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::api::auth::Caller;
use crate::api::error::ApiError;
use crate::domain::tenant::TenantId;

/// The tenant whose rows a request may see: that of its caller.
#[derive(Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Caller::from_request_parts(parts, state).await?.tenant))
    }
}
