//! For whom a request acts.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::api::error::ApiError;
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;

/// The tenant whose rows a request may see, as [`crate::api::auth`] found it to be.
#[derive(Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let tenant = parts.extensions.get::<TenantId>().cloned();
        // A handler that everybody may call has no tenant to act for.
        let tenant = tenant.ok_or_else(|| Problem::internal("the request was admitted without a tenant"));
        Ok(Self(tenant?))
    }
}
