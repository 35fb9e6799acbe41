//! What each operation asks of its caller: one table, by which requests are admitted and the document is written.

use axum::extract::{MatchedPath, Request};
use http::Method;
use serde_json::{Map, Value, json};

use super::operations::Operations;
use crate::domain::api_key::Role;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, with or without a key.
    Open,
    /// Who has a key of this role or a higher one.
    Needs(Role),
}

use Access::{Needs, Open};

/// Every operation of the document. What is not here needs an admin key, which a test doesn't let happen.
///
/// `read` is for whoever looks or predicts, so it has the POSTs that compute from what is stored and change nothing. A
/// session's `forward` is not among them: in training mode it advances moving averages; as safetensors it has no such mode. A
/// dry run is the same operation as a job.
const TABLE: [(Access, &[&str]); 4] = [
    (
        Open,
        &["get_liveness", "get_readiness", "get_document", "get_document_3_0"],
    ),
    (
        Needs(Role::Read),
        &[
            "list_datasets",
            "get_dataset",
            "list_dataset_rows",
            "get_dataset_content",
            "list_jobs",
            "get_job",
            "get_job_history",
            "get_job_history_csv",
            "get_job_history_svg",
            "stream_job_events",
            "list_models",
            "get_model",
            "get_model_summary",
            "get_model_summary_text",
            "get_model_weights",
            "predict_instances",
            "predict_csv",
            "evaluate_model",
            "get_session",
            "get_session_weights",
            "get_session_weights_tensors",
            "forward_session_tensors",
            "get_metrics",
        ],
    ),
    (
        Needs(Role::Write),
        &[
            "create_dataset",
            "upload_dataset_form",
            "delete_dataset",
            "create_job",
            "cancel_job",
            "pause_job",
            "resume_job",
            "delete_model",
            "create_session",
            "delete_session",
            "forward_session",
            "differentiate_session",
            "apply_session_gradients",
            "train_session_on_batch",
            "put_session_weights",
            "differentiate_session_tensors",
            "apply_session_gradients_tensors",
            "train_session_on_tensors",
            "put_session_weights_tensors",
            "save_session",
        ],
    ),
    (
        Needs(Role::Admin),
        &["list_keys", "create_key", "get_key", "revoke_key", "get_usage"],
    ),
];

/// The pages that describe the API to people; they are not in the document.
const OPEN_PAGES: [&str; 4] = ["/", "/docs", "/docs/", "/docs/{*file}"];

fn access(operation_id: &str) -> Access {
    let row = TABLE.iter().find(|(_, operations)| operations.contains(&operation_id));
    row.map_or(Needs(Role::Admin), |(access, _)| *access)
}

/// The table by method and path, as requests come.
pub(super) struct AccessTable(Operations<Access>);

impl AccessTable {
    pub(super) fn of(document: &Value) -> Self {
        Self(Operations::of(document, |operation| {
            access(operation["operationId"].as_str().unwrap_or_default())
        }))
    }

    /// What a request must bring. One that no operation fits must bring a key before it is told so: nobody else has to
    /// learn what there is.
    pub(super) fn asked_of(&self, request: &Request) -> Access {
        let path = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        if matches!(*request.method(), Method::GET | Method::HEAD) && OPEN_PAGES.contains(&path) {
            return Open;
        }
        self.0.find(request).copied().unwrap_or(Needs(Role::Read))
    }
}

/// Writes the table into the document: how a key is sent, and for each operation the role and the refusals.
pub(super) fn describe(document: &mut Value) {
    document["components"]["securitySchemes"]["bearer"] = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ty_ and 84 hexadecimal digits",
        "description": "An API key, made with `trainyard keys create` or by an admin key at /v1/keys. A server on a loopback \
                        address asks for none until its first key is made.",
    });
}

/// The same for one operation.
pub(super) fn describe_operation(operation: &mut Map<String, Value>) {
    let access = access(operation["operationId"].as_str().unwrap_or_default());
    let mut answers = vec![(
        "403",
        "The key's role doesn't allow it, or a page of another site sent it.",
    )];
    match access {
        // An empty list: no scheme at all.
        Open => {
            answers = vec![("403", "A page of another site sent it.")];
            operation.insert("security".to_owned(), json!([]));
        }
        Needs(role) => {
            answers.insert(0, ("401", "No key was sent, or none that opens this server."));
            operation.insert("security".to_owned(), json!([{"bearer": [role.name()]}]));
        }
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        let answers = answers.into_iter();
        responses.extend(answers.map(|(status, description)| (status.to_owned(), json!({"description": description}))));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::openapi::document;

    fn operations() -> Vec<(String, String, Value)> {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(_, item)| item.as_object().unwrap());
        let operation = |(method, operation): (&String, &Value)| {
            let id = operation["operationId"].as_str().unwrap();
            (method.clone(), id.to_owned(), operation.clone())
        };
        operations.map(operation).collect()
    }

    #[test]
    fn the_table_has_every_operation_of_the_document_once() {
        let documented: BTreeSet<String> = operations().into_iter().map(|(_, id, _)| id).collect();
        let listed: Vec<&str> = TABLE.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        assert_eq!(listed.len(), documented.len());
        assert_eq!(BTreeSet::from_iter(listed.iter().map(|id| id.to_string())), documented);
    }

    #[test]
    fn what_changes_something_needs_more_than_a_read_key() {
        let harmless = [
            "predict_instances",
            "predict_csv",
            "evaluate_model",
            "forward_session_tensors",
        ];
        for (method, id, _) in operations() {
            if method != "get" && !harmless.contains(&id.as_str()) {
                assert!(matches!(access(&id), Needs(role) if role > Role::Read), "{id}");
            }
        }
    }

    #[test]
    fn the_document_says_who_may_call_what() {
        for (_, id, operation) in operations() {
            let refused = operation["responses"].get("401").is_some();
            match access(&id) {
                Open => assert!(!refused && operation["security"] == json!([]), "{id}"),
                Needs(role) => {
                    assert!(
                        refused && operation["security"] == json!([{"bearer": [role.name()]}]),
                        "{id}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_for_admins() {
        assert_eq!(access("drop_everything"), Needs(Role::Admin));
    }
}
