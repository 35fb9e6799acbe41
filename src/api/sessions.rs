//! Sessions: begin, look, save, end; their weights. The calls that compute are in [`super::session_calls`].

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use utoipa::IntoParams;

use super::AppState;
use super::error::ApiError;
use super::extract::{FromQuery, Id, Json, Query, QueryReader, Tenant};
use super::idempotency::{Idempotency, created};
use super::limits::Limits;
use super::models::{Weights, weights_answer};
use super::session_calls::timing;
use crate::domain::id::SessionId;
use crate::domain::job_request::MAX_NAME_CHARS;
use crate::domain::model::Model;
use crate::domain::session::Session;
use crate::store::StoredAnswer;
use crate::training::session::{Call, NewSession, SetWeightsRequest, StepAnswer};

/// Begin a session
///
/// From a network as it is written in a job, or from a trained model. The client writes the training loop; the server
/// differentiates. A session that nobody calls is deleted at `expires_at`; each call puts that off.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    tag = "sessions",
    params(Idempotency),
    request_body(
        content = NewSession,
        description = "What to begin with.",
        example = json!({
            "inputs": 13,
            "model": {
                "layers": [
                    {"type": "dense", "units": 64, "activation": "swish"},
                    {"type": "dense", "units": 64, "activation": "swish"},
                    {"type": "dense", "units": 1}
                ],
                "loss": "mse",
                "optimizer": "adam"
            },
            "seed": 7
        }),
    ),
    responses(
        (
            status = 201,
            description = "It is stored, and survives a restart.",
            body = Session,
            headers(("location" = String, description = "Where the session is.")),
        ),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The session can't begin; errors has every fault."),
        (status = 429, description = "There are as many sessions as there may be."),
    ),
)]
pub(super) async fn create_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    idempotency: Idempotency,
    Json(document, _memory): Json,
) -> Result<Response, ApiError> {
    let new = NewSession::read(&document)?;
    let (store, owner) = (state.store.clone(), tenant.clone());
    let make = |keep| async move { Ok(state.sessions.create(&owner, new, keep).await?) };
    idempotency
        .once(&store, &tenant, &document.to_string(), begun, make)
        .await
}

fn begun(session: &Session) -> StoredAnswer {
    created(StatusCode::CREATED, format!("/v1/sessions/{}", session.id), session)
}

/// Get a session
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    responses(
        (status = 200, description = "The session, and the number of its last call.", body = Session),
        (status = 404, description = "There is no such session."),
    ),
)]
pub(super) async fn get_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
) -> Result<Answer<Session>, ApiError> {
    Ok(Answer(state.sessions.get(&tenant, id).await?))
}

/// End a session
///
/// Its network is gone, unless it was saved as a model.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such session."),
    ),
)]
pub(super) async fn delete_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
) -> Result<StatusCode, ApiError> {
    state.sessions.delete(&tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a session's weights
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}/weights",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    responses(
        (status = 200, description = "One object a layer, in the shape of initial_weights.", body = Weights),
        (status = 404, description = "There is no such session."),
    ),
)]
pub(super) async fn get_session_weights(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
) -> Result<Response, ApiError> {
    let weights = state.sessions.weights(&tenant, id).await?;
    let tensors = weights.iter().flat_map(|layer| &layer.0);
    let parameters = tensors.map(|(_, tensor)| tensor.data.len() as u64).sum();
    weights_answer(state, parameters, || weights).await
}

/// Set a session's weights
///
/// The optimizer's state stays as it is.
#[utoipa::path(
    put,
    path = "/v1/sessions/{id}/weights",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(
        content = SetWeightsRequest,
        description = "All weights.",
        example = json!({"weights": [{"kernel": [[0.5], [-0.5]], "bias": [0.0]}], "seq": 1}),
    ),
    responses(
        (status = 200, description = "They are set.", body = StepAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The weights don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn put_session_weights(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Json(document, _memory): Json,
) -> Result<impl IntoResponse, ApiError> {
    let SetWeightsRequest { weights, seq } = SetWeightsRequest::read(&document)?;
    let call = Call::SetWeights { weights };
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    Ok((timing(&applied), Answer(StepAnswer::try_from(applied.answer)?)))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SaveQuery {
    /// Name of the model; left out: that of the model the session began from, or `session`.
    #[param(min_length = 1, max_length = 200)]
    name: Option<String>,
}

impl FromQuery for SaveQuery {
    const NAMES: &'static [&'static str] = &["name"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            name: query.name("name", MAX_NAME_CHARS),
        }
    }
}

/// Save a session as a model
///
/// The session goes on. A session that began from a model keeps its columns, preprocessing and classes; else the columns
/// are named x1, x2, … and the classes by their numbers from 0.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/save",
    tag = "sessions",
    params(("id" = SessionId, Path), SaveQuery, Idempotency),
    responses(
        (
            status = 201,
            description = "The model, as any other.",
            body = Model,
            headers(("location" = String, description = "Where the model is.")),
        ),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "Its outputs are neither classes nor one number."),
    ),
)]
pub(super) async fn save_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Query(query): Query<SaveQuery>,
    idempotency: Idempotency,
) -> Result<Response, ApiError> {
    let (store, owner) = (state.store.clone(), tenant.clone());
    let make = |keep| async move {
        let room = state.limits.tenant_storage_bytes;
        Ok(state.sessions.save(&owner, id, query.name, room, keep).await?)
    };
    idempotency.once(&store, &tenant, "", saved, make).await
}

fn saved(model: &Model) -> StoredAnswer {
    created(StatusCode::CREATED, format!("/v1/models/{}", model.id), model)
}
