//! Whether the server lives and is ready, the document of the API, and pages to read it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::Config;

use super::AppState;
use super::error::ApiError;
use super::openapi::{DOCUMENT, DOCUMENT_3_0};
use super::request::nothing_here;
use crate::domain::problem::{Kind, Problem};

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: HealthStatus,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HealthStatus {
    Ok,
}

/// Check that the server lives
#[utoipa::path(
    get,
    path = "/livez",
    tag = "system",
    responses((status = 200, description = "It answers.", body = Health)),
)]
pub(super) async fn get_liveness() -> Json<Health> {
    Json(Health {
        status: HealthStatus::Ok,
    })
}

/// Check that the server is ready
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "system",
    responses(
        (status = 200, description = "It takes requests.", body = Health),
        (status = 503, description = "It stops: send requests elsewhere."),
    ),
)]
pub(super) async fn get_readiness(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    match state.stop.is_cancelled() {
        true => Err(ApiError::new(
            Kind::Unavailable,
            "The server stops; send requests elsewhere.",
        )),
        false => Ok(Json(Health {
            status: HealthStatus::Ok,
        })),
    }
}

/// Get metrics
///
/// How often which call was answered how and how fast, in the text format that Prometheus reads.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "system",
    responses((status = 200, description = "The counters.", body = String, content_type = "text/plain")),
)]
pub(super) async fn get_metrics(State(state): State<AppState>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.to_text(),
    )
        .into_response()
}

/// Get the API's document
///
/// OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "system",
    responses((status = 200, description = "The document.", body = serde_json::Map<String, serde_json::Value>)),
)]
pub(super) async fn get_document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Get the API's document for older generators
///
/// OpenAPI 3.0, derived from the other.
#[utoipa::path(
    get,
    path = "/openapi-3.0.json",
    tag = "system",
    responses((status = 200, description = "The document.", body = serde_json::Map<String, serde_json::Value>)),
)]
pub(super) async fn get_document_3_0() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT_3_0.as_str()).into_response()
}

pub(super) async fn redirect_to_docs() -> Redirect {
    Redirect::temporary("/docs/")
}

/// What the reference page may do: run its own scripts, style itself, ask this server, show its own pictures.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The start of the reference page, and its files.
pub(super) async fn get_docs(uri: Uri) -> Result<Response, ApiError> {
    docs_file(uri.path().trim_start_matches("/docs/"))
}

fn docs_file(path: &str) -> Result<Response, ApiError> {
    // The validator would send the document to a server of others.
    let config = Config::from("/openapi.json").validator_url("none");
    match utoipa_swagger_ui::serve(path, Arc::new(config)) {
        Ok(Some(file)) => {
            let headers: [(HeaderName, String); 3] = [
                (CONTENT_TYPE, file.content_type),
                (CONTENT_SECURITY_POLICY, DOCS_POLICY.to_owned()),
                (CACHE_CONTROL, "no-cache".to_owned()),
            ];
            Ok((headers, file.bytes.into_owned()).into_response())
        }
        Ok(None) => Err(nothing_here()),
        Err(error) => Err(Problem::internal(error.to_string()).into()),
    }
}
