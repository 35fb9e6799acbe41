//! What holds for every operation of the document alike.

use std::sync::LazyLock;

use serde_json::json;

use crate::client::{Call, Client, contract};
use crate::contract::Operation;
use crate::fixtures::{TRAINED_IRIS, Trained, client, id};
use crate::session_tensors::zeros;
use crate::trials;

trials![
    no_operation_ignores_a_query_parameter_it_does_not_know,
    no_operation_can_be_had_in_another_form_than_it_has,
];

/// The ids of one thing of each kind that is there.
pub(crate) struct Things {
    pub(crate) dataset: String,
    pub(crate) job: String,
    pub(crate) model: String,
    pub(crate) session: String,
    pub(crate) key: String,
}

impl Things {
    /// What came of training, and a session that goes on from it.
    pub(crate) fn of(client: &Client, trained: &Trained, key: &str) -> Self {
        let begun = client.post("/v1/sessions").json(&json!({"from_model": trained.model}));
        Self {
            dataset: id(&trained.dataset).to_owned(),
            job: id(&trained.job).to_owned(),
            model: trained.model.clone(),
            session: id(&begun.send().expect(201).json()).to_owned(),
            key: key.to_owned(),
        }
    }
}

/// Of the shared server, which is open and so has no key.
static SHARED: LazyLock<Things> =
    LazyLock::new(|| Things::of(client(), &TRAINED_IRIS, "key_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f"));

/// A call of the operation on something that is there.
fn call(operation: &Operation, query: &str) -> Call<'static> {
    call_on(client(), &SHARED, operation, query)
}

/// A call of the operation on one of the things.
pub(crate) fn call_on<'c>(client: &'c Client, things: &Things, operation: &Operation, query: &str) -> Call<'c> {
    let thing = match operation.path.split('/').nth(2) {
        Some("datasets") => &things.dataset,
        Some("jobs") => &things.job,
        Some("sessions") => &things.session,
        Some("keys") => &things.key,
        _ => &things.model,
    };
    let call = client.call(&operation.method, operation.path.replace("{id}", thing) + query);
    let content = contract().of(operation)["requestBody"]["content"].as_object();
    match content.and_then(|content| content.keys().next()).map(String::as_str) {
        None => call,
        Some("application/json") => call.json(&json!({})),
        Some("multipart/form-data") => call.body("multipart/form-data; boundary=line", "--line--\r\n"),
        Some(_) if operation.path.ends_with(".safetensors") => {
            let x = ("x", [1, 4]);
            let arrays = match operation.id.starts_with("forward") {
                true => zeros(&[x]),
                false => zeros(&[x, ("y", [1, 3])]),
            };
            call.body("application/octet-stream", arrays)
        }
        Some(_) => call.body("text/csv", "a,b\n1,2\n"),
    }
}

fn no_operation_ignores_a_query_parameter_it_does_not_know() {
    for operation in contract().operations() {
        let problem = call(operation, "?surprise=1").send().problem(400, "malformed-request");
        assert_eq!(problem["errors"][0]["pointer"], "surprise", "{}", operation.id);
    }
}

fn no_operation_can_be_had_in_another_form_than_it_has() {
    // Where there is nothing to give but a status, no form is refused.
    for operation in contract()
        .operations()
        .iter()
        .filter(|operation| operation.method == "GET")
    {
        call(operation, "")
            .header("accept", "application/vnd.ms-excel")
            .send()
            .problem(406, "not-acceptable");
    }
}
