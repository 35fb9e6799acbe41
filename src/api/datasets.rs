//! Datasets: list, get, delete, preview, and the uploaded bytes back. Uploading is in [`super::upload`].

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use serde::Serialize;
use serde_json::Value;
use tokio_util::io::ReaderStream;
use utoipa::openapi::schema::{Array, ObjectBuilder, SchemaType};
use utoipa::{IntoParams, ToSchema};

use super::AppState;
use super::blocking::{blocking, in_turn};
use super::error::ApiError;
use super::extract::{FromQuery, Id, Query, QueryReader, Tenant};
use super::limits::Limits;
use super::openapi::Binary;
use super::pagination::{List, PageQuery};
use crate::data::source::Format;
use crate::data::table;
use crate::domain::dataset::Dataset;
use crate::domain::id::DatasetId;
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::store::Deletion;

type DatasetList = List<Dataset>;

/// List datasets
#[utoipa::path(
    get,
    path = "/v1/datasets",
    tag = "datasets",
    params(PageQuery<DatasetId>),
    responses((status = 200, description = "A page of the datasets, newest first.", body = DatasetList)),
)]
pub(super) async fn list_datasets(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(page): Query<PageQuery<DatasetId>>,
) -> Result<Json<DatasetList>, ApiError> {
    let page = state.store.list_datasets(&tenant, page.into()).await?;
    Ok(Json(List::of(page, |dataset| dataset)))
}

/// Get a dataset
#[utoipa::path(
    get,
    path = "/v1/datasets/{id}",
    tag = "datasets",
    params(("id" = DatasetId, Path)),
    responses(
        (status = 200, description = "The dataset and what was found in its columns.", body = Dataset),
        (status = 404, description = "There is no such dataset."),
    ),
)]
pub(super) async fn get_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<DatasetId>,
) -> Result<Json<Dataset>, ApiError> {
    find(&state, &tenant, id).await.map(Json)
}

/// Delete a dataset
///
/// Models that were trained on it stay. While a job that needs it is not done, it can't be deleted.
#[utoipa::path(
    delete,
    path = "/v1/datasets/{id}",
    tag = "datasets",
    params(("id" = DatasetId, Path)),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "There is no such dataset."),
        (status = 409, description = "A job that is not done needs it."),
    ),
)]
pub(super) async fn delete_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<DatasetId>,
) -> Result<StatusCode, ApiError> {
    match state.store.delete_dataset(&tenant, id).await? {
        Deletion::Deleted => Ok(StatusCode::NO_CONTENT),
        Deletion::NotFound => Err(Problem::not_found("dataset").into()),
        Deletion::InUse(job) => {
            let detail = format!("The dataset is needed by {job}, which is not done; wait for it, or cancel it first.");
            Err(ApiError::new(Kind::Conflict, detail))
        }
    }
}

/// Which rows of a preview.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RowsQuery {
    /// Rows to skip.
    #[param(required = false, minimum = 0, maximum = 9_007_199_254_740_991u64, default = 0)]
    offset: u64,
    /// The most rows to answer with.
    #[param(required = false, minimum = 1, maximum = 1000, default = 20)]
    limit: u32,
}

impl FromQuery for RowsQuery {
    const NAMES: &'static [&'static str] = &["offset", "limit"];

    fn read(query: &mut QueryReader, limits: &Limits) -> Self {
        let limit = query.integer("limit", 1..=limits.preview_max.into());
        Self {
            offset: query.integer("offset", 0..=(1 << 53) - 1).unwrap_or(0),
            limit: limit.map_or(limits.preview_default, |limit| limit as u32),
        }
    }
}

/// Some rows of a table.
#[derive(Serialize, ToSchema)]
pub(super) struct Rows {
    /// The names of the columns.
    #[schema(example = json!(["꽃잎길이", "품종"]))]
    columns: Vec<String>,
    /// Each row's values in the order of the columns: numbers, texts, and null for what is missing.
    #[schema(schema_with = rows_schema, example = json!([[1.4, "setosa"], [null, "virginica"]]))]
    rows: Vec<Vec<Value>>,
}

/// The values are of any type: generators make nothing usable of a choice between number, string and null.
fn rows_schema() -> Array {
    Array::new(Array::new(ObjectBuilder::new().schema_type(SchemaType::AnyValue)))
}

/// Preview rows
///
/// The values as training sees them: typed, decoded, what is missing as null.
#[utoipa::path(
    get,
    path = "/v1/datasets/{id}/rows",
    tag = "datasets",
    params(("id" = DatasetId, Path), RowsQuery),
    responses(
        (status = 200, description = "The rows from offset on; none beyond the last.", body = Rows),
        (status = 404, description = "There is no such dataset."),
    ),
)]
pub(super) async fn list_dataset_rows(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<DatasetId>,
    Query(query): Query<RowsQuery>,
) -> Result<Json<Rows>, ApiError> {
    let dataset = find(&state, &tenant, id).await?;
    let columns = dataset.columns.iter().map(|column| column.name().to_owned()).collect();
    let turn = state.table_readers.enter().await?;
    let rows = in_turn(turn, move || {
        let content = state.store.blobs().open(&dataset.sha256)?;
        let limit = query.limit as usize;
        Ok(table::preview(
            content,
            &dataset.source,
            &dataset.columns,
            query.offset,
            limit,
        )?)
    });
    Ok(Json(Rows {
        columns,
        rows: rows.await?,
    }))
}

/// Download a dataset
///
/// Byte for byte what was uploaded (after gunzip when it came compressed).
#[utoipa::path(
    get,
    path = "/v1/datasets/{id}/content",
    tag = "datasets",
    params(("id" = DatasetId, Path)),
    responses(
        (
            status = 200,
            description = "The bytes that were uploaded.",
            content((inline(Binary) = "text/csv"), (inline(Binary) = "application/jsonl")),
        ),
        (status = 404, description = "There is no such dataset."),
    ),
)]
pub(super) async fn get_dataset_content(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Id(id): Id<DatasetId>,
) -> Result<Response, ApiError> {
    let dataset = find(&state, &tenant, id).await?;
    let (media_type, extension) = match dataset.source.format {
        Format::Csv => ("text/csv", "csv"),
        Format::JsonLines => ("application/jsonl", "jsonl"),
    };
    let headers = [
        (
            CONTENT_TYPE,
            format!("{media_type}; charset={}", dataset.source.encoding),
        ),
        (CONTENT_LENGTH, dataset.size_bytes.to_string()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.{extension}\""),
        ),
    ];
    let content = blocking(move || Ok(state.store.blobs().open(&dataset.sha256)?)).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(
        tokio::fs::File::from_std(content),
        64 * 1024,
    ));
    Ok((headers, body).into_response())
}

async fn find(state: &AppState, tenant: &TenantId, id: DatasetId) -> Result<Dataset, ApiError> {
    let dataset = state.store.get_dataset(tenant, id).await?;
    dataset.ok_or_else(|| Problem::not_found("dataset").into())
}
