//! API keys: make, list, get, revoke. What they open is decided in [`super::auth`] and [`super::access`].

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::error::ApiError;
use super::extract::{Id, Json, Query, Tenant};
use super::idempotency::IDEMPOTENCY_KEY;
use super::pagination::{List, PageQuery};
use super::whole::whole;
use crate::domain::api_key::ApiKey;
use crate::domain::id::KeyId;
use crate::domain::key_request::KeyRequest;
use crate::domain::problem::{Kind, Problem};

type ApiKeyList = List<ApiKey>;

/// A key that was just made, with its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct NewApiKey {
    #[serde(flatten)]
    key: ApiKey,
    /// The key itself, for `Authorization: Bearer`. It is shown this once and not stored.
    #[schema(
        pattern = "^ty_[0-9a-f]{84}$",
        example = "ty_3f9c0a1b2d4e0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f000000000"
    )]
    secret: String,
}

/// Make an API key
///
/// For the tenant of the key that asks; one for another tenant is made on the server's machine, with `trainyard keys
/// create`. The answer is the only one that has the secret. It takes no Idempotency-Key, since the secret would have to be
/// stored for a second answer: when an answer is lost, revoke that key and make another.
///
/// A server on a loopback address is open to all until its first key is made, and from then on to nobody without a key.
#[utoipa::path(
    post,
    path = "/v1/keys",
    tag = "keys",
    request_body(
        content = KeyRequest,
        description = "What it is for and what it may do.",
        example = json!({"name": "ci", "role": "write", "expires_in_s": 7776000}),
    ),
    responses(
        (
            status = 201,
            description = "It opens from now on.",
            body = NewApiKey,
            headers(("location" = String, description = "Where the key is.")),
        ),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "There can't be such a key; errors has every fault."),
    ),
)]
pub(super) async fn create_key(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    headers: HeaderMap,
    Json(document, _): Json,
) -> Result<Response, ApiError> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        let detail = "This call takes no Idempotency-Key: a second answer could only have the secret if it were stored. Send \
                      it without, and revoke the key of an answer that was lost.";
        return Err(ApiError::new(Kind::MalformedRequest, detail));
    }
    let now = Timestamp::now();
    let request = KeyRequest::read(&document, now)?;
    let expires_at = request.expiry(now);
    let issued = ApiKey::issue(tenant, request.name, request.role, expires_at);
    let (key, token) = issued.map_err(Problem::internal)?;
    let make = async move {
        state.store.insert_key(&key, &token.hash()).await?;
        tracing::info!(key = %key.id, tenant = %key.tenant, role = key.role.name(), "made a key");
        let secret = token.expose().to_owned();
        let location = [(LOCATION, format!("/v1/keys/{}", key.id))];
        Ok((StatusCode::CREATED, location, Answer(NewApiKey { key, secret })).into_response())
    };
    // A client that hangs up must not leave a server open whose first key is stored.
    whole(make).await
}

/// List API keys
///
/// Those of the tenant of the key that asks, revoked and expired ones too.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "keys",
    params(PageQuery<KeyId>),
    responses((status = 200, description = "A page of the keys, newest first.", body = ApiKeyList)),
)]
pub(super) async fn list_keys(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(page): Query<PageQuery<KeyId>>,
) -> Result<Answer<ApiKeyList>, ApiError> {
    let page = state.store.list_keys(&tenant, page.into()).await?;
    Ok(Answer(List::of(page, |key| key)))
}

/// Get an API key
///
/// What it is for, what it may do and when it was last used; its secret is shown only where it is made.
#[utoipa::path(
    get,
    path = "/v1/keys/{id}",
    tag = "keys",
    params(("id" = KeyId, Path)),
    responses(
        (status = 200, description = "The key.", body = ApiKey),
        (status = 404, description = "There is no such key."),
    ),
)]
pub(super) async fn get_key(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<KeyId>,
) -> Result<Answer<ApiKey>, ApiError> {
    let key = state.store.get_key(&tenant, id).await?;
    Ok(Answer(key.ok_or_else(|| Problem::not_found("key"))?))
}

/// Revoke an API key
///
/// From this answer on it opens nothing any more. It stays in the list. Without any valid admin key left, new ones are made on
/// the server's machine, with `trainyard keys create`.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    tag = "keys",
    params(("id" = KeyId, Path)),
    responses(
        (status = 204, description = "It is revoked, or was before."),
        (status = 404, description = "There is no such key."),
    ),
)]
pub(super) async fn revoke_key(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<KeyId>,
) -> Result<StatusCode, ApiError> {
    let revoked = state.store.revoke_key(&tenant, id).await?;
    let key = revoked.ok_or_else(|| Problem::not_found("key"))?;
    tracing::info!(key = %key.id, tenant = %key.tenant, "revoked a key");
    Ok(StatusCode::NO_CONTENT)
}
