//! What every request passes before any of its body is read, in this order.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Authenticator;
use super::contract::Contract;
use super::error::ApiError;
use super::origin::{self, AllowedHosts};
use crate::training::Runner;

/// All that may refuse a request.
pub(super) struct Entrance {
    pub(super) hosts: Arc<AllowedHosts>,
    pub(super) authenticator: Authenticator,
    pub(super) contract: Contract,
    /// Whose threads make way for what is let in.
    pub(super) runner: Runner,
}

impl Entrance {
    async fn admit(&self, request: &mut Request) -> Result<(), ApiError> {
        origin::check(request, &self.hosts)?;
        self.authenticator.authenticate(request).await?;
        self.contract.check(request)
    }

    /// The answer of what stands behind it, or the refusal.
    pub(super) async fn enter(&self, mut request: Request, next: Next) -> Response {
        match self.admit(&mut request).await {
            Ok(()) => {
                self.runner.note_request(Instant::now());
                next.run(request).await
            }
            Err(error) => error.into_response(),
        }
    }
}
