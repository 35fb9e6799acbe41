//! What a model predicts: a few instances as JSON, a whole table as CSV, and how well it does on a dataset.

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, SchemaType,
};
use utoipa::{IntoParams, ToSchema};

use super::AppState;
use super::blocking::in_turn;
use super::error::ApiError;
use super::extract::body::{broken, declared_length, too_large};
use super::extract::{FromQuery, Json, JsonText, Query, QueryReader, Tenant, parse};
use super::limits::Limits;
use super::models::TrainedModel;
use super::openapi::Binary;
use super::upload::media_type::{is_gzip, table_type};
use super::upload::place;
use super::upload::receive::receive;
use super::written::{IN_MEMORY_BYTES, written};
use crate::data::source::{Format, SourceRequest};
use crate::domain::id::{DatasetId, ModelId};
use crate::domain::problem::{Kind, Problem};
use crate::nn::spec::Fault;
use crate::nn::spec::reader::Reader;
use crate::serving::{Detail, Evaluation, Predictions, Predictor};

/// A prediction whose body is no longer than this, and whose network then has no more multiplications than that, is
/// answered where it arrived, in well under a millisecond: hardly more than a refusal takes. A larger one waits for a
/// turn on a thread of its own, so that it doesn't hold up others.
const QUICK_BYTES: usize = 8 * 1024;
const QUICK_MULTIPLICATIONS: u64 = 5_000_000;

/// A body up to this size is read before it is known whether there is a turn for it: it may be one that needs none.
const CHEAP_BYTES: u64 = 256 * 1024;

/// What to predict.
#[derive(Debug, ToSchema)]
pub(super) struct PredictRequest {
    /// At most 10,000 objects by column name, or arrays in the order of the model's inputs; raw values, as in the dataset. A
    /// value that is missing is null.
    #[schema(schema_with = instances_schema)]
    instances: Vec<Value>,
    /// Whether each prediction comes with the arithmetic behind it.
    #[schema(value_type = Option<bool>, default = false)]
    explain: bool,
    /// Whether each prediction comes with what each column contributed to it.
    #[schema(value_type = Option<bool>, default = false)]
    attributions: bool,
    /// What else is wrong with the request, to be told together with the instances' own faults.
    #[schema(ignore)]
    faults: Vec<Fault>,
}

/// The values are of any type: generators make nothing usable of a choice between number, string and null.
fn instances_schema() -> Array {
    let value = || RefOr::<Schema>::from(ObjectBuilder::new().schema_type(SchemaType::AnyValue));
    let by_name = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(value())));
    let instance = OneOfBuilder::new()
        .item(by_name)
        .item(Schema::Array(Array::new(value())));
    ArrayBuilder::new().items(instance).min_items(Some(1)).build()
}

impl PredictRequest {
    /// Whether a request is surely answered quickly, before it is parsed. An instance takes at least two characters for each
    /// input; an explanation goes row by row, and is mostly written text; attributions take thousands of rows each.
    fn is_quick(text: &[u8], predictor: &Predictor) -> bool {
        let model = predictor.model();
        let instances = text.len() / (2 * model.inputs.len()).max(1);
        // A field's name may be hidden in escapes.
        let may_have = |name: &[u8]| {
            text.windows(name.len())
                .any(|window| window == name || window[0] == b'\\')
        };
        let quick = |cost: u64| {
            let cost = cost.saturating_mul(instances as u64);
            model.parameters.total.saturating_mul(cost) <= QUICK_MULTIPLICATIONS
        };
        text.len() <= QUICK_BYTES && quick(1) && !may_have(b"attributions") && (quick(20) || !may_have(b"explain"))
    }

    fn read(mut document: Value, limits: &Limits) -> Result<Self, ApiError> {
        let mut reader = Reader::default();
        let detail = read_predict_fields(&mut reader, &document);
        let instances = match document.get_mut("instances").map(Value::take) {
            Some(Value::Array(instances)) if !instances.is_empty() => instances,
            _ => return Err(Problem::faults(Kind::InvalidFeatures, "The request", reader.faults).into()),
        };
        if instances.len() > limits.instances {
            let detail = format!(
                "{} instances are more than the {} of one call; send them as a CSV to predict/csv.",
                instances.len(),
                limits.instances
            );
            return Err(ApiError::new(Kind::BodyTooLarge, detail));
        }
        Ok(Self {
            instances,
            explain: detail.explain,
            attributions: detail.attributions,
            faults: reader.faults,
        })
    }

    fn detail(&self) -> Detail {
        Detail {
            explain: self.explain,
            attributions: self.attributions,
        }
    }

    fn predict(self, predictor: &Predictor) -> Result<Predictions, Problem> {
        let predicted = predictor.predict(&self.instances, "/instances", self.detail());
        if self.faults.is_empty() {
            return predicted;
        }
        let mut faults = self.faults;
        faults.extend(predicted.err().into_iter().flat_map(|problem| problem.faults));
        Err(Problem::faults(Kind::InvalidFeatures, "The request", faults))
    }
}

/// Notes every fault but those of the instances themselves, and returns what is wanted beside the predictions.
fn read_predict_fields(reader: &mut Reader, document: &Value) -> Detail {
    let Some(fields) = reader.object(document, "", &["instances", "explain", "attributions"]) else {
        return Detail::default();
    };
    let mut wants = |name| reader.optional(&fields, name, Reader::boolean).unwrap_or(false);
    let (explain, attributions) = (wants("explain"), wants("attributions"));
    let instances = reader.required(&fields, "instances", |reader, value, at| reader.array(value, at));
    if instances.is_some_and(|instances| instances.is_empty()) {
        reader.fault("/instances", "must have at least one instance");
    }
    Detail { explain, attributions }
}

/// Predict
///
/// For each instance its class with the probabilities of all classes, or its number. With `explain` each also carries what the
/// server computed on the way, so that a reader can redo it by hand; with `attributions` what each column contributed.
#[utoipa::path(
    post,
    path = "/v1/models/{id}/predict",
    tag = "models",
    params(("id" = ModelId, Path)),
    request_body(
        content = PredictRequest,
        description = "The instances.",
        example = json!({"instances": [{"꽃잎길이": 1.4, "꽃잎폭": 0.2, "꽃받침길이": 5.1, "꽃받침폭": 3.5}]}),
    ),
    responses(
        (status = 200, description = "A prediction an instance, in their order.", body = Predictions),
        (status = 404, description = "There is no such model."),
        (status = 409, description = "The id is a job's that has no model yet."),
        (status = 413, description = "The body is too large, or has too many instances."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "The instances don't fit the model; errors has every fault."),
        (status = 503, description = "As many predictions wait as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn predict_instances(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    TrainedModel(id): TrainedModel,
    request: Request,
) -> Result<Response, ApiError> {
    let predictor = state.serving.get(&tenant, id).await?;
    let is_cheap = declared_length(request.headers()).is_some_and(|length| length <= CHEAP_BYTES);
    if !is_cheap {
        state.predictions.check()?;
    }
    let JsonText(text, memory) = JsonText::from_request(request, &state).await?;
    let is_quick = PredictRequest::is_quick(&text, &predictor);
    let predictions = state.predictions.clone();
    let answer = move || {
        let _memory = memory;
        let request = PredictRequest::read(parse(&text)?, &state.limits)?;
        Ok(Answer(request.predict(&predictor)?).into_response())
    };
    match is_quick {
        true => answer(),
        false => in_turn(predictions.enter().await?, answer).await,
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PredictCsvQuery {
    /// How the text is encoded, instead of having it found out: utf-8, or euc-kr for CP949 and EUC-KR.
    #[param(example = "euc-kr")]
    encoding: Option<String>,
    /// What stands between the fields, instead of having it found out: a character, or comma, semicolon, tab or pipe.
    #[param(example = "semicolon")]
    delimiter: Option<String>,
}

impl FromQuery for PredictCsvQuery {
    const NAMES: &'static [&'static str] = &["encoding", "delimiter"];

    fn read(query: &mut QueryReader, _: &Limits) -> Self {
        Self {
            encoding: query.text("encoding"),
            delimiter: query.text("delimiter"),
        }
    }
}

/// Predict a CSV
///
/// A CSV with a header that names the model's inputs comes back with the prediction's columns added; other columns pass
/// through. It may be of any length: neither side is held in memory.
#[utoipa::path(
    post,
    path = "/v1/models/{id}/predict/csv",
    tag = "models",
    params(("id" = ModelId, Path), PredictCsvQuery),
    request_body(content = inline(Binary), content_type = "application/octet-stream", description = "The table; `text/csv` is as good."),
    responses(
        (status = 200, description = "The same rows and the prediction's columns.", body = String, content_type = "text/csv"),
        (status = 404, description = "There is no such model."),
        (status = 409, description = "The id is a job's that has no model yet."),
        (status = 413, description = "The body is too large, as it comes or once it is unpacked."),
        (status = 415, description = "The content-type is no CSV's, or the content-encoding isn't gzip."),
        (status = 422, description = "The content is no CSV, or doesn't fit the model; errors names line and column."),
        (status = 503, description = "As many tables are being sent as may; send it again when Retry-After is over."),
    ),
)]
pub(super) async fn predict_csv(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    TrainedModel(id): TrainedModel,
    Query(query): Query<PredictCsvQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let predictor = state.serving.get(&tenant, id).await?;
    let (table_type, gzip) = (table_type(&headers)?, is_gzip(&headers)?);
    if table_type.format == Some(Format::JsonLines) {
        return Err(ApiError::new(
            Kind::UnsupportedMediaType,
            "This call takes a CSV: content-type: text/csv.",
        ));
    }
    let limit = state.limits.prediction_csv_bytes;
    if declared_length(&headers).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let request = SourceRequest {
        format: Some(Format::Csv),
        encoding: query.encoding.or(table_type.encoding),
        delimiter: query.delimiter,
    };
    let _place = place(&state.predicted_tables)?;
    // The table is received whole before it is answered: many clients read nothing until they have sent everything, and
    // a fault in its last row is still a 422.
    let table = state.store.blobs().scratch(IN_MEMORY_BYTES);
    let chunks = body.into_data_stream();
    let table = receive(chunks, gzip, table, &state.limits, limit, broken).await?;
    let (store, limits) = (state.store.clone(), state.limits.clone());
    // It has its place: it isn't refused once it is received.
    let turn = state.table_readers.turn().await?;
    let predicted = in_turn(turn, move || {
        let table = table.read()?;
        written(&store, |out| {
            Ok(predictor.predict_csv(table, &request, &limits.table, out)?)
        })
    });
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], predicted.await?).into_response())
}

/// What to measure a model on.
#[derive(Debug, ToSchema)]
pub(super) struct EvaluateRequest {
    /// A table with the model's inputs and its target.
    dataset: DatasetId,
}

impl EvaluateRequest {
    fn read(document: &Value) -> Result<Self, ApiError> {
        let mut reader = Reader::default();
        let fields = reader.object(document, "", &["dataset"]);
        let dataset = fields.and_then(|fields| {
            let text = reader.required(&fields, "dataset", |reader, value, at| reader.string(value, at))?;
            text.parse()
                .map_err(|error: crate::domain::id::InvalidId| reader.fault("/dataset", error.to_string()))
                .ok()
        });
        match dataset {
            Some(dataset) if reader.faults.is_empty() => Ok(Self { dataset }),
            _ => Err(Problem::faults(Kind::InvalidSpec, "The request", reader.faults).into()),
        }
    }
}

/// Evaluate a model
///
/// Its loss and metrics on a dataset, and for a classification which class was taken for which.
#[utoipa::path(
    post,
    path = "/v1/models/{id}/evaluate",
    tag = "models",
    params(("id" = ModelId, Path)),
    request_body(content = EvaluateRequest, description = "The dataset."),
    responses(
        (status = 200, description = "The figures.", body = Evaluation),
        (status = 404, description = "There is no such model."),
        (status = 409, description = "The id is a job's that has no model yet."),
        (status = 413, description = "The body is too large."),
        (status = 415, description = "The body is not sent as JSON."),
        (status = 422, description = "There is no such dataset, or it doesn't fit the model."),
    ),
)]
pub(super) async fn evaluate_model(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    TrainedModel(id): TrainedModel,
    Json(document, _memory): Json,
) -> Result<Answer<Evaluation>, ApiError> {
    let request = EvaluateRequest::read(&document)?;
    let evaluation = state.serving.evaluation(&tenant, id, request.dataset).await?;
    let turn = state.table_readers.enter().await?;
    Ok(Answer(in_turn(turn, move || Ok(evaluation()?)).await?))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::json;

    use super::*;

    fn refused(document: Value) -> u16 {
        let limits = Limits {
            instances: 2,
            ..Limits::default()
        };
        let refused = PredictRequest::read(document, &limits).unwrap_err();
        refused.into_response().status().as_u16()
    }

    #[test]
    fn a_prediction_needs_some_instances_but_not_too_many() {
        let request = PredictRequest::read(json!({"instances": [[1], {"a": 2}]}), &Limits::default()).unwrap();
        assert_eq!((request.instances.len(), request.explain), (2, false));
        assert_eq!(refused(json!({"instances": []})), 422);
        assert_eq!(refused(json!({"instances": [[1], [2], [3]]})), 413);
        assert_eq!(refused(json!({"instances": {"a": 1}})), 422);
        // Told together with the faults of the instances.
        let faulty = PredictRequest::read(json!({"instances": [[1]], "explain": "yes"}), &Limits::default()).unwrap();
        assert_eq!(faulty.faults[0].pointer, "/explain");
        assert_eq!(refused(json!({"instance": [[1]]})), 422);
        assert_eq!(refused(json!([])), 422);
    }

    #[test]
    fn an_evaluation_names_a_dataset() {
        let id = DatasetId::generate();
        assert_eq!(EvaluateRequest::read(&json!({"dataset": id})).unwrap().dataset, id);
        for wrong in [
            json!({}),
            json!({"dataset": "x"}),
            json!({"dataset": 1}),
            json!({"dataset": id, "rows": 1}),
            json!(id),
        ] {
            assert!(EvaluateRequest::read(&wrong).is_err(), "{wrong}");
        }
    }
}
