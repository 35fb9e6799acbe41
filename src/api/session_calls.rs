//! The calls of a session that compute: forward, gradients, apply_gradients, train_on_batch.
//!
//! Those that change the session are numbered by `seq`: they apply in that order, and one sent again gets its first answer.
//! The same with arrays as bytes instead of text is in [`super::session_tensors`].

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderName;

use super::AppState;
use super::error::ApiError;
use super::extract::{Id, Json, Tenant};
use crate::domain::id::SessionId;
use crate::training::session::{
    Applied, ApplyGradientsRequest, Call, ForwardRequest, GradientsAnswer, GradientsRequest, Outputs, StepAnswer,
    TrainOnBatchAnswer, TrainOnBatchRequest,
};

/// Where an answer's time went, for browsers' tools and for who wants to know what is transport (W3C Server Timing).
pub(super) fn timing(applied: &Applied) -> [(HeaderName, String); 1] {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let times = format!(
        "compute;dur={:.3}, save;dur={:.3}",
        ms(applied.computed),
        ms(applied.saved)
    );
    [(HeaderName::from_static("server-timing"), times)]
}

/// Take rows through a session's network
///
/// Without `training` as a model predicts, and nothing changes. With it as a training step does: moving averages advance,
/// dropout drops.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/forward",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(
        content = ForwardRequest,
        description = "The rows.",
        example = json!({"x": [[0.5, -1.0], [1.5, 2.0]]}),
    ),
    responses(
        (status = 200, description = "The outputs, row by row.", body = Outputs, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The rows don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn forward_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Json(document, _memory): Json,
) -> Result<Response, ApiError> {
    let ForwardRequest { x, training, seq } = ForwardRequest::read(&document)?;
    if !training {
        return Ok(Answer(state.sessions.predict(&tenant, id, x).await?).into_response());
    }
    let applied = state.sessions.change(&tenant, id, seq, Call::Forward { x }).await?;
    Ok((timing(&applied), Answer(Outputs::try_from(applied.answer)?)).into_response())
}

/// Differentiate a session's loss
///
/// In training mode: moving averages advance, dropout drops; the weights stay. The loss is the mean over the rows, with
/// the kernels' penalties.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/gradients",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(
        content = GradientsRequest,
        description = "A batch.",
        example = json!({"x": [[0.5, -1.0], [1.5, 2.0]], "y": [[1.0], [0.0]], "seq": 1}),
    ),
    responses(
        (status = 200, description = "The loss and its gradients by every weight.", body = GradientsAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The batch doesn't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn differentiate_session(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Json(document, _memory): Json,
) -> Result<impl IntoResponse, ApiError> {
    let request = GradientsRequest::read(&document)?;
    let (seq, call) = (request.seq, request.into_call());
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    Ok((timing(&applied), Answer(GradientsAnswer::try_from(applied.answer)?)))
}

/// Apply gradients to a session's weights
///
/// One step of the optimizer, clipping and schedule included.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/apply_gradients",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(
        content = ApplyGradientsRequest,
        description = "The gradients.",
        example = json!({"gradients": [{"kernel": [[0.1], [-0.2]], "bias": [0.05]}], "seq": 2}),
    ),
    responses(
        (status = 200, description = "They are applied.", body = StepAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The gradients don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn apply_session_gradients(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Json(document, _memory): Json,
) -> Result<impl IntoResponse, ApiError> {
    let ApplyGradientsRequest { gradients, seq } = ApplyGradientsRequest::read(&document)?;
    let call = Call::ApplyGradients { gradients };
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    Ok((timing(&applied), Answer(StepAnswer::try_from(applied.answer)?)))
}

/// Train a session on a batch
///
/// Gradients and their application in one call, as many steps as wanted.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/train_on_batch",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(
        content = TrainOnBatchRequest,
        description = "A batch and how often to step.",
        example = json!({"x": [[0.5, -1.0], [1.5, 2.0]], "y": [[1.0], [0.0]], "steps": 10}),
    ),
    responses(
        (status = 200, description = "The loss of each step, before its update.", body = TrainOnBatchAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The batch doesn't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn train_session_on_batch(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Json(document, _memory): Json,
) -> Result<impl IntoResponse, ApiError> {
    let request = TrainOnBatchRequest::read(&document)?;
    let (seq, call) = (request.seq, request.into_call());
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    Ok((timing(&applied), Answer(TrainOnBatchAnswer::try_from(applied.answer)?)))
}
