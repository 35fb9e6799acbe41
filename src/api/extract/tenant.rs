//! For whom a request acts.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::domain::tenant::TenantId;

/// The tenant whose rows a request may see; a server without keys has one.
#[derive(Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(TenantId::default()))
    }
}
