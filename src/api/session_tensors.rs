//! The calls of a session with arrays as safetensors, in and out: for loops that text would slow down.
//!
//! What goes with the arrays stands in the query; what comes with them are arrays without axes. Answers without arrays are JSON.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use utoipa::IntoParams;

use super::AppState;
use super::error::ApiError;
use super::extract::{FromQuery, Id, Octets, Query, QueryReader, Tenant};
use super::limits::Limits;
use super::openapi::Binary;
use super::session_calls::timing;
use crate::domain::id::SessionId;
use crate::formats::safetensors::{Array, by_name, write};
use crate::training::session::tensors::{FIGURES, read_batch, read_gradients, read_rows, read_weights};
use crate::training::session::{Call, GradientsAnswer, MAX_STEPS, MAX_WHOLE, Outputs, StepAnswer, TrainOnBatchAnswer};

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SeqQuery {
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    seq: Option<u64>,
}

impl FromQuery for SeqQuery {
    const NAMES: &'static [&'static str] = &["seq"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            seq: query.integer("seq", 1..=MAX_WHOLE),
        }
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TrainQuery {
    /// Steps with this batch; left out, one.
    #[param(minimum = 1, maximum = 1_000_000)]
    steps: Option<u64>,
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    seq: Option<u64>,
}

impl FromQuery for TrainQuery {
    const NAMES: &'static [&'static str] = &["steps", "seq"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            steps: query.integer("steps", 1..=MAX_STEPS),
            seq: query.integer("seq", 1..=MAX_WHOLE),
        }
    }
}

fn safetensors<'a>(arrays: impl IntoIterator<Item = (String, Array<'a>)>) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], write(arrays)).into_response()
}

/// Take rows through a session's network, as safetensors
///
/// The array `x` (n, inputs) gives `y` (n, outputs), as a model predicts: nothing changes.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/forward.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The array x."),
    responses(
        (status = 200, description = "The array y.", body = inline(Binary), content_type = "application/octet-stream"),
        (status = 404, description = "There is no such session."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The content-type is another."),
        (status = 422, description = "The rows don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn forward_session_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Octets(body, _memory): Octets,
) -> Result<Response, ApiError> {
    let x = read_rows(&body)?;
    let Outputs { y } = state.sessions.predict(&tenant, id, x).await?;
    Ok(safetensors([("y".to_owned(), Array::Tensor(&y))]))
}

/// Differentiate a session's loss, as safetensors
///
/// The arrays `x` (n, inputs) and `y` (n, outputs) give ∂loss/∂w of each weight that is trained, named as 0.kernel and
/// 0.bias are, beside `loss`, `gradient_norm` and `seq` in F64. apply_gradients.safetensors takes it as it is.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/gradients.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path), SeqQuery),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The arrays x and y."),
    responses(
        (status = 200, description = "The gradients and the loss.", body = inline(Binary), content_type = "application/octet-stream", headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The content-type is another."),
        (status = 422, description = "The batch doesn't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn differentiate_session_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Query(SeqQuery { seq }): Query<SeqQuery>,
    Octets(body, _memory): Octets,
) -> Result<impl IntoResponse, ApiError> {
    let call = Call::Gradients(read_batch(&body)?);
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    let timing = timing(&applied);
    let answer = GradientsAnswer::try_from(applied.answer)?;
    let figures = [answer.loss, answer.gradient_norm, answer.seq as f64].map(Array::Scalar);
    let figures = FIGURES.map(str::to_owned).into_iter().zip(figures);
    Ok((timing, safetensors(by_name(&answer.gradients).chain(figures))))
}

/// Apply gradients to a session's weights, as safetensors
///
/// One step of the optimizer with gradients named as 0.kernel and 0.bias are.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/apply_gradients.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path), SeqQuery),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The gradients."),
    responses(
        (status = 200, description = "They are applied.", body = StepAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The content-type is another."),
        (status = 422, description = "The gradients don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn apply_session_gradients_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Query(SeqQuery { seq }): Query<SeqQuery>,
    Octets(body, _memory): Octets,
) -> Result<impl IntoResponse, ApiError> {
    let call = read_gradients(&body, state.sessions.layers(&tenant, id).await?)?;
    let applied = state.sessions.change(&tenant, id, seq, call).await?;
    Ok((timing(&applied), Answer(StepAnswer::try_from(applied.answer)?)))
}

/// Train a session on a batch, as safetensors
///
/// Gradients and their application in one call, as many steps as wanted, with the arrays `x` and `y`.
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/train_on_batch.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path), TrainQuery),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The arrays x and y."),
    responses(
        (status = 200, description = "The loss of each step, before its update.", body = TrainOnBatchAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The content-type is another."),
        (status = 422, description = "The batch doesn't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn train_session_on_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Query(TrainQuery { steps, seq }): Query<TrainQuery>,
    Octets(body, _memory): Octets,
) -> Result<impl IntoResponse, ApiError> {
    let (batch, steps) = (read_batch(&body)?, steps.unwrap_or(1) as u32);
    let applied = state
        .sessions
        .change(&tenant, id, seq, Call::TrainOnBatch { batch, steps })
        .await?;
    Ok((timing(&applied), Answer(TrainOnBatchAnswer::try_from(applied.answer)?)))
}

/// Get a session's weights, as safetensors
///
/// Named by layer and array, such as 0.kernel.
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}/weights.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path)),
    responses(
        (status = 200, description = "All weights.", body = inline(Binary), content_type = "application/octet-stream"),
        (status = 404, description = "There is no such session."),
    ),
)]
pub(super) async fn get_session_weights_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
) -> Result<Response, ApiError> {
    let weights = state.sessions.weights(&tenant, id).await?;
    Ok(safetensors(by_name(&weights)))
}

/// Set a session's weights, as safetensors
///
/// All weights, named by layer and array, such as 0.kernel. The optimizer's state stays as it is.
#[utoipa::path(
    put,
    path = "/v1/sessions/{id}/weights.safetensors",
    tag = "sessions",
    params(("id" = SessionId, Path), SeqQuery),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "All weights."),
    responses(
        (status = 200, description = "They are set.", body = StepAnswer, headers(("server-timing" = String, description = "What computing and saving took."))),
        (status = 404, description = "There is no such session."),
        (status = 409, description = "The call is out of turn; detail names the number it waits for."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The content-type is another."),
        (status = 422, description = "The weights don't fit the network; errors has every fault."),
    ),
)]
pub(super) async fn put_session_weights_tensors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<SessionId>,
    Query(SeqQuery { seq }): Query<SeqQuery>,
    Octets(body, _memory): Octets,
) -> Result<impl IntoResponse, ApiError> {
    let weights = read_weights(&body, state.sessions.layers(&tenant, id).await?)?;
    let applied = state
        .sessions
        .change(&tenant, id, seq, Call::SetWeights { weights })
        .await?;
    Ok((timing(&applied), Answer(StepAnswer::try_from(applied.answer)?)))
}
