//! Uploading a table: streamed to the disk, read through once, stored, and only then acknowledged.

pub(super) mod media_type;
pub(super) mod receive;

use std::fs::File;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::response::Response;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use jiff::{Timestamp, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use self::media_type::{TableType, is_gzip, table_type};
use self::receive::receive;
use super::AppState;
use super::blocking::{blocking, in_turn};
use super::error::ApiError;
use super::extract::body::{broken, declared_length, is_too_slow, too_large};
use super::extract::{FromQuery, Query, QueryReader, Tenant};
use super::idempotency::{Idempotency, created};
use super::limits::Limits;
use super::openapi::{Binary, binary};
use crate::data::profile::profile;
use crate::data::source::SourceRequest;
use crate::domain::dataset::Dataset;
use crate::domain::id::DatasetId;
use crate::domain::job_request::MAX_NAME_CHARS;
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::nn::spec::Fault;
use crate::store::{Insertion, Keep, StagedBlob, StoredAnswer};

/// What a client says about the table it uploads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// What to call it; it need not be unique.
    #[param(min_length = 1, max_length = 200, example = "iris")]
    name: Option<String>,
    /// How its text is encoded, instead of having it found out: utf-8, or euc-kr for CP949 and EUC-KR.
    #[param(example = "euc-kr")]
    encoding: Option<String>,
    /// What stands between the fields of a CSV, instead of having it found out: a character, or comma, semicolon, tab or pipe.
    #[param(example = "semicolon")]
    delimiter: Option<String>,
}

impl FromQuery for UploadQuery {
    const NAMES: &'static [&'static str] = &["name", "encoding", "delimiter"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            name: query.name("name", MAX_NAME_CHARS),
            encoding: query.text("encoding"),
            delimiter: query.text("delimiter"),
        }
    }
}

/// Upload a dataset
///
/// The body is the table itself: CSV with a header, or JSON lines. A `content-type` of `text/csv` or `application/jsonl`
/// (or `application/x-ndjson`) names the format; with `application/octet-stream`, or none, it is found out from the content,
/// as are encoding and delimiter. The body may be packed: `content-encoding: gzip`.
#[utoipa::path(
    post,
    path = "/v1/datasets",
    tag = "datasets",
    params(UploadQuery, Idempotency),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The table."),
    responses(
        (
            status = 201,
            description = "It is stored, and stays even if the machine loses power now.",
            body = Dataset,
            headers(("location" = String, description = "Where the dataset is.")),
        ),
        (status = 413, description = "The body is too large, as it comes or once it is unpacked."),
        (status = 415, description = "The content-type is no table's, or the content-encoding isn't gzip."),
        (status = 422, description = "The content is no table; errors names line and column."),
    ),
)]
pub(super) async fn create_dataset(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<UploadQuery>,
    idempotency: Idempotency,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = Upload::begin(state, tenant, &headers).await?;
    let table_type = table_type(&headers)?;
    let content = upload
        .receive(body.into_data_stream(), is_gzip(&headers)?, broken)
        .await?;
    upload.store(content, query, table_type, idempotency).await
}

/// A table in a form. Stands for it in the document only: the part is streamed.
pub(super) enum UploadForm {}

impl PartialSchema for UploadForm {
    fn schema() -> RefOr<Schema> {
        let file = binary().description(Some("The table: CSV with a header, or JSON lines."));
        ObjectBuilder::new().property("file", file).required("file").into()
    }
}

impl ToSchema for UploadForm {}

/// Upload a dataset from a form
///
/// The same as `multipart/form-data`, for browsers and `curl -F file=@iris.csv`. Without `?name=` it is called as the file is.
#[utoipa::path(
    post,
    path = "/v1/datasets/form",
    tag = "datasets",
    params(UploadQuery, Idempotency),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (
            status = 201,
            description = "It is stored, and stays even if the machine loses power now.",
            body = Dataset,
            headers(("location" = String, description = "Where the dataset is.")),
        ),
        (status = 413, description = "The file is too large."),
        (status = 415, description = "The body is no form."),
        (status = 422, description = "The form has no part file, or more than it, or its content is no table."),
    ),
)]
pub(super) async fn upload_dataset_form(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(mut query): Query<UploadQuery>,
    idempotency: Idempotency,
    request: Request,
) -> Result<Response, ApiError> {
    let upload = Upload::begin(state, tenant, request.headers()).await?;
    if is_gzip(request.headers())? {
        let detail = "A form comes unpacked; its part file may be packed, with a content-encoding of its own.";
        return Err(ApiError::new(Kind::UnsupportedMediaType, detail));
    }
    let mut form = read_form(request).await?;
    let mut file = None;
    while let Some(part) = form.next_field().await.map_err(broken_form)? {
        if part.name() != Some("file") || file.is_some() {
            return Err(wrong_form(part.name().unwrap_or_default()));
        }
        let name = part.file_name().and_then(dataset_name);
        query.name = query.name.take().or(name);
        // Browsers name types as their desktop does (Excel's for a CSV), so an unknown one tells nothing.
        let table_type = table_type(part.headers()).unwrap_or_default();
        let gzip = is_gzip(part.headers())?;
        file = Some((upload.receive(part, gzip, broken_form).await?, table_type));
    }
    let (content, table_type) = file.ok_or_else(|| wrong_form("file"))?;
    upload.store(content, query, table_type, idempotency).await
}

async fn read_form(mut request: Request) -> Result<Multipart, ApiError> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"));
    // Its parts are counted as they are received, after unpacking.
    DefaultBodyLimit::disable().apply(&mut request);
    Multipart::from_request(request, &()).await.map_err(|_| match is_form {
        true => ApiError::new(
            Kind::MalformedRequest,
            "The content-type multipart/form-data must name its boundary.",
        ),
        false => ApiError::new(
            Kind::UnsupportedMediaType,
            "This call takes a form: multipart/form-data with a part file.",
        ),
    })
}

fn broken_form(error: axum::extract::multipart::MultipartError) -> ApiError {
    if is_too_slow(&error) {
        return broken(axum::Error::new(error));
    }
    ApiError::new(
        Kind::MalformedRequest,
        "The form is not well-formed multipart/form-data, or broke off; send it again.",
    )
}

fn wrong_form(part: &str) -> ApiError {
    let fault = Fault::new(format!("/{part}"), "the form has one part, file, and nothing else");
    Problem::faults(Kind::InvalidDataset, "The form", vec![fault]).into()
}

/// The file's name without its ending, as a dataset may be called.
fn dataset_name(file_name: &str) -> Option<String> {
    let stem = file_name.rsplit(['/', '\\']).next()?;
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let name: String = stem.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    (!name.is_empty()).then_some(name)
}

/// One of the places for tables that are being received, each of which takes a buffer and perhaps a file.
pub(super) fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    places.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(
            Kind::Unavailable,
            "Too many tables are being sent; try again in a moment.",
        )
    })
}

/// An upload under way.
struct Upload {
    state: AppState,
    tenant: TenantId,
    _slot: OwnedSemaphorePermit,
}

impl Upload {
    async fn begin(state: AppState, tenant: TenantId, headers: &HeaderMap) -> Result<Self, ApiError> {
        let limit = state.limits.upload_bytes;
        if declared_length(headers).is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        // Whoever has no room at all is told before the body is sent; how large the table is, is known when it is read.
        let room = state.limits.tenant_storage_bytes;
        let used = state.store.storage_bytes(&tenant).await?;
        if used >= room {
            return Err(Problem::no_room(used, room).into());
        }
        let slot = place(&state.uploads)?;
        Ok(Self {
            state,
            tenant,
            _slot: slot,
        })
    }

    async fn receive<E>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
        gzip: bool,
        broken: impl Fn(E) -> ApiError,
    ) -> Result<StagedBlob, ApiError> {
        let (store, limits) = (self.state.store.clone(), &self.state.limits);
        let writer = blocking(move || Ok(store.blobs().begin()?)).await?;
        let writer = receive(chunks, gzip, writer, limits, limits.upload_bytes, broken).await?;
        blocking(move || Ok(writer.finish()?)).await
    }

    /// Reads the table through, stores it and answers.
    async fn store(
        self,
        content: StagedBlob,
        query: UploadQuery,
        table_type: TableType,
        idempotency: Idempotency,
    ) -> Result<Response, ApiError> {
        let Self { state, tenant, _slot } = self;
        let fingerprint = content.sha256().to_owned();
        let (store, owner) = (state.store.clone(), tenant.clone());
        let make = |keep: Option<Keep<Dataset>>| async move {
            let _slot = _slot;
            let (dataset, content) = describe(&state, content, query, table_type).await?;
            let room = state.limits.tenant_storage_bytes;
            let inserted = state
                .store
                .insert_dataset(&owner, &dataset, content, room, keep.as_ref());
            match inserted.await? {
                Insertion::Inserted => Ok(dataset),
                Insertion::NoRoom { used_bytes } => Err(Problem::no_room(used_bytes, room).into()),
            }
        };
        idempotency.once(&store, &tenant, &fingerprint, uploaded, make).await
    }
}

fn uploaded(dataset: &Dataset) -> StoredAnswer {
    created(StatusCode::CREATED, format!("/v1/datasets/{}", dataset.id), dataset)
}

/// What is in the table.
async fn describe(
    state: &AppState,
    content: StagedBlob,
    query: UploadQuery,
    table_type: TableType,
) -> Result<(Dataset, StagedBlob), ApiError> {
    let request = SourceRequest {
        format: table_type.format,
        encoding: query.encoding.or(table_type.encoding),
        delimiter: query.delimiter,
    };
    // An upload has its place among the uploads: it isn't refused once it is received.
    let turn = state.table_readers.turn().await?;
    let limits = state.limits.clone();
    let (found, content) = in_turn(turn, move || {
        let file = File::open(content.path()).map_err(Problem::internal)?;
        Ok((profile(file, &request, &limits.table)?, content))
    })
    .await?;
    let id = DatasetId::generate();
    let dataset = Dataset {
        name: query.name.unwrap_or_else(|| default_name(id)),
        rows: found.rows,
        size_bytes: content.size_bytes(),
        sha256: content.sha256().to_owned(),
        created_at: Timestamp::now().round(Unit::Millisecond).map_err(Problem::internal)?,
        source: found.source,
        columns: found.columns,
        id,
    };
    Ok((dataset, content))
}

fn default_name(id: DatasetId) -> String {
    let id = id.to_string();
    format!("dataset-{}", &id[id.len() - 6..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_called_as_its_file_is() {
        assert_eq!(dataset_name("붓꽃.csv").as_deref(), Some("붓꽃"));
        assert_eq!(dataset_name("C:\\data\\iris.2024.csv").as_deref(), Some("iris.2024"));
        assert_eq!(dataset_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(dataset_name("a\nb.csv").as_deref(), Some("ab"));
        assert_eq!([".csv", "", "/"].map(dataset_name), [None, None, None]);
    }
}
