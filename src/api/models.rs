//! Models: list, get, delete, summary, weights. What they predict is in [`super::predictions`].

use std::io;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::blocking::in_turn;
use super::error::ApiError;
use super::extract::{Id, Query, Tenant};
use super::pagination::{List, PageQuery};
use super::whole::whole;
use super::written::written;
use crate::domain::id::{JobId, ModelId};
use crate::domain::model::Model;
use crate::domain::problem::{Kind, Problem};
use crate::nn::summary::Summary;
use crate::nn::weights::LayerWeights;
use crate::store::{Deletion, StoreError};

type ModelList = List<Model>;

/// The model in the path of a call that uses one. Who names the job that is to make it is told how far that is.
pub(super) struct TrainedModel(pub(super) ModelId);

impl FromRequestParts<AppState> for TrainedModel {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let not_found = match Id::<ModelId>::from_request_parts(parts, state).await {
            Ok(Id(id)) => return Ok(Self(id)),
            Err(not_found) => not_found,
        };
        let Ok(Id(id)) = Id::<JobId>::from_request_parts(parts, state).await else {
            return Err(not_found);
        };
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        match state.store.get_job(&tenant, id).await? {
            Some(job) if !job.status.is_final() => {
                let detail =
                    format!("{id} is a job that is not done, so that its model is not there yet: wait for it.");
                Err(ApiError::new(Kind::Conflict, detail))
            }
            Some(job) => match job.model {
                Some(model) => {
                    let detail = format!("There is no such model: {id} is a job; the model it made is {model}.");
                    Err(ApiError::new(Kind::NotFound, detail))
                }
                None => Err(not_found),
            },
            None => Err(not_found),
        }
    }
}

/// List models
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "models",
    params(PageQuery<ModelId>),
    responses((status = 200, description = "A page of the models, newest first.", body = ModelList)),
)]
pub(super) async fn list_models(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(page): Query<PageQuery<ModelId>>,
) -> Result<Json<ModelList>, ApiError> {
    let page = state.store.list_models(&tenant, page.into()).await?;
    Ok(Json(List::of(page, |model| model)))
}

/// Get a model
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = "models",
    params(("id" = ModelId, Path)),
    responses(
        (status = 200, description = "The model: what it takes, what it gives, and where it came from.", body = Model),
        (status = 404, description = "There is no such model."),
    ),
)]
pub(super) async fn get_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<ModelId>,
) -> Result<Json<Model>, ApiError> {
    let model = state.store.get_model(&tenant, id).await?;
    model.map(Json).ok_or_else(|| Problem::not_found("model").into())
}

/// Delete a model
///
/// The job that made it stays. While a job that continues it is not done, it can't be deleted.
#[utoipa::path(
    delete,
    path = "/v1/models/{id}",
    tag = "models",
    params(("id" = ModelId, Path)),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "There is no such model."),
        (status = 409, description = "A job that is not done continues it."),
    ),
)]
pub(super) async fn delete_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<ModelId>,
) -> Result<StatusCode, ApiError> {
    let deletion = whole(async move {
        let deletion = state.store.delete_model(&tenant, id).await?;
        if matches!(deletion, Deletion::Deleted) {
            state.serving.forget(&tenant, id);
        }
        Ok(deletion)
    });
    match deletion.await? {
        Deletion::Deleted => Ok(StatusCode::NO_CONTENT),
        Deletion::NotFound => Err(Problem::not_found("model").into()),
        Deletion::InUse(job) => {
            let detail =
                format!("The model is continued by {job}, which is not done; wait for it, or cancel it first.");
            Err(ApiError::new(Kind::Conflict, detail))
        }
    }
}

/// Summarize a model
#[utoipa::path(
    get,
    path = "/v1/models/{id}/summary",
    tag = "models",
    params(("id" = ModelId, Path)),
    responses(
        (status = 200, description = "Its layers, their output shapes and parameters.", body = Summary),
        (status = 404, description = "There is no such model."),
    ),
)]
pub(super) async fn get_model_summary(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<ModelId>,
) -> Result<Json<Summary>, ApiError> {
    Ok(Json(state.serving.get(&tenant, id).await?.summary()))
}

/// Summarize a model as text
///
/// The table that Keras prints.
#[utoipa::path(
    get,
    path = "/v1/models/{id}/summary.txt",
    tag = "models",
    params(("id" = ModelId, Path)),
    responses(
        (status = 200, description = "The table.", body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such model."),
    ),
)]
pub(super) async fn get_model_summary_text(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<ModelId>,
) -> Result<Response, ApiError> {
    let predictor = state.serving.get(&tenant, id).await?;
    let table = predictor.summary().to_table(&predictor.model().name);
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], table).into_response())
}

/// A network's weights.
#[derive(Serialize, ToSchema)]
pub(super) struct Weights {
    /// One object a layer, in their order: empty for a layer without weights. A job takes the same as `initial_weights`.
    pub(super) weights: Vec<LayerWeights>,
}

/// Weights of no more parameters are written where the request arrived, in about a millisecond; more wait for a turn on a
/// thread of its own, so that they don't hold up others, nor many of them fill the memory.
const QUICK_PARAMETERS: u64 = 10_000;

/// An answer with the weights of a network of so many parameters.
pub(super) async fn weights_answer(
    state: AppState,
    parameters: u64,
    weights: impl FnOnce() -> Vec<LayerWeights> + Send + 'static,
) -> Result<Response, ApiError> {
    if parameters <= QUICK_PARAMETERS {
        return Ok(Json(Weights { weights: weights() }).into_response());
    }
    let turn = state.table_readers.enter().await?;
    let body = in_turn(turn, move || {
        let weights = Weights { weights: weights() };
        written(&state.store, |out| {
            let done = serde_json::to_writer(out, &weights).map_err(io::Error::from);
            Ok(done.map_err(StoreError::from)?)
        })
    })
    .await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Get a model's weights
#[utoipa::path(
    get,
    path = "/v1/models/{id}/weights",
    tag = "models",
    params(("id" = ModelId, Path)),
    responses(
        (status = 200, description = "All its weights.", body = Weights),
        (status = 404, description = "There is no such model."),
        (status = 503, description = "As many calls for large weights wait as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn get_model_weights(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<ModelId>,
) -> Result<Response, ApiError> {
    let predictor = state.serving.get(&tenant, id).await?;
    let parameters = predictor.model().parameters.total;
    weights_answer(state, parameters, move || predictor.weights()).await
}
