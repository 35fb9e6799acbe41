//! The document of the API (OpenAPI 3.1), made from the handlers, and what all operations have in common.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{OpenApi, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access;
use super::error::ProblemDetails;
use super::openapi_3_0::to_3_0;
use super::{
    AppState, datasets, events, history, jobs, keys, models, predictions, session_calls, session_tensors, sessions,
    system, upload, usage,
};

/// The document as it is served and committed.
pub(super) static DOCUMENT: LazyLock<String> = LazyLock::new(|| pretty(&document()));

/// The same for generators that know OpenAPI 3.0 only.
pub(super) static DOCUMENT_3_0: LazyLock<String> = LazyLock::new(|| pretty(&to_3_0(&document())));

#[derive(OpenApi)]
#[openapi(
    info(
        title = "trainyard",
        description = "Training as a service: upload a table, name a target, watch a network learn it, ask it for predictions.\n\n\
                       Errors are `application/problem+json` (RFC 9457) and list every fault with its place. Unknown fields and \
                       query parameters are refused. Times are RFC 3339 in UTC.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(ProblemDetails<'_>)),
    tags(
        (name = "datasets", description = "Tables to learn from."),
        (name = "jobs", description = "Trainings: what is trained on what, and how it goes."),
        (name = "models", description = "Trained networks and what they predict."),
        (name = "sessions", description = "fit() opened up: the client writes the training loop, the server differentiates."),
        (name = "keys", description = "Who may come in."),
        (name = "system", description = "The server itself."),
    ),
)]
struct Skeleton;

/// Bytes, in the document: a body of `Vec<u8>` would be an array of integers there.
pub(super) enum Binary {}

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        binary().into()
    }
}

impl ToSchema for Binary {}

pub(super) fn binary() -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format))
}

/// All documented routes.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Skeleton::openapi())
        .routes(routes!(datasets::list_datasets, upload::create_dataset))
        .routes(routes!(upload::upload_dataset_form))
        .routes(routes!(datasets::get_dataset, datasets::delete_dataset))
        .routes(routes!(datasets::list_dataset_rows))
        .routes(routes!(datasets::get_dataset_content))
        .routes(routes!(jobs::list_jobs, jobs::create_job))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::pause_job))
        .routes(routes!(jobs::resume_job))
        .routes(routes!(history::get_job_history))
        .routes(routes!(history::get_job_history_csv))
        .routes(routes!(history::get_job_history_svg))
        .routes(routes!(events::stream_job_events))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model, models::delete_model))
        .routes(routes!(models::get_model_summary))
        .routes(routes!(models::get_model_summary_text))
        .routes(routes!(models::get_model_weights))
        .routes(routes!(predictions::predict_instances))
        .routes(routes!(predictions::predict_csv))
        .routes(routes!(predictions::evaluate_model))
        .routes(routes!(sessions::create_session))
        .routes(routes!(sessions::get_session, sessions::delete_session))
        .routes(routes!(session_calls::forward_session))
        .routes(routes!(session_calls::differentiate_session))
        .routes(routes!(session_calls::apply_session_gradients))
        .routes(routes!(session_calls::train_session_on_batch))
        .routes(routes!(sessions::get_session_weights, sessions::put_session_weights))
        .routes(routes!(session_tensors::forward_session_tensors))
        .routes(routes!(session_tensors::differentiate_session_tensors))
        .routes(routes!(session_tensors::apply_session_gradients_tensors))
        .routes(routes!(session_tensors::train_session_on_tensors))
        .routes(routes!(
            session_tensors::get_session_weights_tensors,
            session_tensors::put_session_weights_tensors
        ))
        .routes(routes!(sessions::save_session))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::get_key, keys::revoke_key))
        .routes(routes!(usage::get_usage))
        .routes(routes!(system::get_liveness))
        .routes(routes!(system::get_readiness))
        .routes(routes!(system::get_metrics))
        .routes(routes!(system::get_document))
        .routes(routes!(system::get_document_3_0))
}

/// The document as a value.
pub(super) fn document() -> Value {
    let document = routes().into_openapi();
    let mut document = serde_json::to_value(document).expect("the document's types are plain data");
    access::describe(&mut document);
    for_each_operation(&mut document, access::describe_operation);
    for_each_operation(&mut document, add_problems);
    close_request_schemas(&mut document);
    add_links(&mut document);
    document
}

fn pretty(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("a value is always JSON");
    text.push('\n');
    text
}

fn for_each_operation(document: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = paths.flat_map(|path| path.as_object_mut()).flat_map(Map::values_mut);
    operations.filter_map(Value::as_object_mut).for_each(&mut change);
}

/// Every refusal and failure has the same body, and every operation has some that need no telling: a wrong query, an `accept`
/// that can't be met, a head that is too long.
fn add_problems(operation: &mut Map<String, Value>) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    let general = [
        ("4XX", "The request is refused; detail says what to change."),
        ("5XX", "The server failed, or has no room."),
    ];
    for (status, description) in general {
        responses.insert(status.to_owned(), json!({"description": description}));
    }
    for (_, response) in responses
        .iter_mut()
        .filter(|(status, _)| status.starts_with(['4', '5']))
    {
        response["content"] = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    }
}

/// Which answers bring the `{id}` of which paths: operation, status, where in the answer, the beginning of the paths.
const LINKS: [(&str, &str, &str, &str); 6] = [
    ("create_dataset", "201", "/id", "/v1/datasets/{id}"),
    ("upload_dataset_form", "201", "/id", "/v1/datasets/{id}"),
    ("create_job", "202", "/id", "/v1/jobs/{id}"),
    ("create_session", "201", "/id", "/v1/sessions/{id}"),
    ("create_key", "201", "/id", "/v1/keys/{id}"),
    ("list_models", "200", "/data/0/id", "/v1/models/{id}"),
];

/// Tells programs that explore the API how its operations follow each other.
fn add_links(document: &mut Value) {
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    for_each_operation(document, |operation| {
        let Some(link) = LINKS.iter().find(|(id, ..)| operation["operationId"] == *id) else {
            return;
        };
        let (_, status, place, prefix) = link;
        let targets = paths.iter().filter(|(path, _)| path.starts_with(prefix));
        let targets = targets.flat_map(|(_, path)| path.as_object().into_iter().flat_map(Map::values));
        let links = targets.filter_map(|target| {
            let id = target["operationId"].as_str()?;
            let parameters = json!({"id": format!("$response.body#{place}")});
            Some((id.to_owned(), json!({"operationId": id, "parameters": parameters})))
        });
        operation["responses"][status]["links"] = Value::Object(links.collect());
    });
}

/// Objects that clients send have no fields but those listed.
fn close_request_schemas(document: &mut Value) {
    let mut found = BTreeSet::new();
    for_each_operation(document, |operation| {
        if let Some(body) = operation.get("requestBody") {
            find_references(body, &mut found);
        }
    });
    let mut waiting: Vec<String> = found.iter().cloned().collect();
    while let Some(name) = waiting.pop() {
        let schema = &mut document["components"]["schemas"][&name];
        if schema["type"] == "object"
            && schema.get("properties").is_some()
            && schema.get("additionalProperties").is_none()
        {
            schema["additionalProperties"] = json!(false);
        }
        let mut next = BTreeSet::new();
        find_references(schema, &mut next);
        waiting.extend(next.into_iter().filter(|name| found.insert(name.clone())));
    }
}

/// The names of the schemas that a part of the document refers to.
fn find_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            found.extend(
                reference
                    .and_then(|path| path.strip_prefix("#/components/schemas/"))
                    .map(str::to_owned),
            );
            fields.values().for_each(|field| find_references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| find_references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Vec<Map<String, Value>> {
        let mut operations = Vec::new();
        for_each_operation(&mut document(), |operation| operations.push(operation.clone()));
        operations
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_a_summary() {
        let mut ids = BTreeSet::new();
        for operation in operations() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let (verb, noun) = id.split_once('_').unwrap();
            assert!(!verb.is_empty() && !noun.is_empty(), "{id}");
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{id}"
            );
            assert!(ids.insert(id.clone()), "{id} twice");
        }
        assert!(ids.len() >= 30);
    }

    #[test]
    fn generators_get_what_they_can_work_with() {
        for operation in operations() {
            let id = &operation["operationId"];
            let body = operation
                .get("requestBody")
                .map(|body| body["content"].as_object().unwrap().len());
            assert!(body.is_none_or(|types| types == 1), "{id}");
            let bytes = operation
                .get("requestBody")
                .and_then(|body| body["content"].get("application/octet-stream"));
            assert!(
                bytes.is_none_or(|body| body["schema"] == json!({"type": "string", "format": "binary"})),
                "{id}"
            );
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.contains_key("default"), "{id}");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{id}");
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{id} {status}"
                );
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for document in [document(), to_3_0(&document())] {
            let mut found = BTreeSet::new();
            find_references(&document, &mut found);
            for name in found {
                assert!(document["components"]["schemas"][&name].is_object(), "{name}");
            }
        }
    }

    #[test]
    fn the_parameters_in_the_document_are_those_that_are_read() {
        use crate::api::extract::FromQuery;
        use crate::domain::id::DatasetId;
        type Page = crate::api::pagination::PageQuery<DatasetId>;
        let read: &[(&str, &[&str])] = &[
            ("list_datasets", Page::NAMES),
            ("create_dataset", upload::UploadQuery::NAMES),
            ("upload_dataset_form", upload::UploadQuery::NAMES),
            ("list_dataset_rows", datasets::RowsQuery::NAMES),
            ("list_jobs", jobs::ListJobsQuery::NAMES),
            ("create_job", jobs::CreateJobQuery::NAMES),
            ("get_job", jobs::WaitQuery::NAMES),
            ("list_keys", Page::NAMES),
            ("list_models", Page::NAMES),
            ("predict_csv", predictions::PredictCsvQuery::NAMES),
            ("differentiate_session_tensors", session_tensors::SeqQuery::NAMES),
            ("apply_session_gradients_tensors", session_tensors::SeqQuery::NAMES),
            ("train_session_on_tensors", session_tensors::TrainQuery::NAMES),
            ("put_session_weights_tensors", session_tensors::SeqQuery::NAMES),
            ("save_session", sessions::SaveQuery::NAMES),
        ];
        for operation in operations() {
            let id = operation["operationId"].as_str().unwrap();
            let parameters = operation
                .get("parameters")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let parameters = parameters.filter(|parameter| parameter["in"] == "query");
            let documented: Vec<&str> = parameters
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let read = read
                .iter()
                .find(|(known, _)| *known == id)
                .map_or(&[][..], |(_, names)| names);
            assert_eq!(documented, read, "{id}");
        }
    }

    #[test]
    fn what_clients_send_has_no_unknown_fields() {
        let schemas = &document()["components"]["schemas"];
        for name in [
            "JobRequest",
            "TrainingRequest",
            "ModelSpec",
            "DenseSpec",
            "AdamSpec",
            "PredictRequest",
            "EvaluateRequest",
        ] {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
        }
        assert!(schemas["Dataset"].get("additionalProperties").is_none());
    }

    #[test]
    fn the_older_document_has_no_newer_words() {
        fn check(value: &Value, path: &str) {
            if let Value::Object(fields) = value {
                let newer = fields.get("type").is_some_and(Value::is_array) || fields.contains_key("propertyNames");
                assert!(
                    !newer && !fields.get("exclusiveMinimum").is_some_and(Value::is_number),
                    "{path}: {value}"
                );
                assert!(!fields.contains_key("$ref") || fields.len() == 1, "{path}: {value}");
            }
            match value {
                Value::Object(fields) => fields
                    .iter()
                    .for_each(|(name, field)| check(field, &format!("{path}/{name}"))),
                Value::Array(items) => items.iter().for_each(|item| check(item, path)),
                _ => {}
            }
        }
        check(&to_3_0(&document()), "");
    }
}
