//! What holds for every operation of the document alike.

use std::sync::LazyLock;

use serde_json::json;

use crate::client::{Call, contract};
use crate::contract::Operation;
use crate::fixtures::{TRAINED_IRIS, client, id};
use crate::trials;

trials![
    no_operation_ignores_a_query_parameter_it_does_not_know,
    no_operation_can_be_had_in_another_form_than_it_has,
];

static SESSION: LazyLock<String> = LazyLock::new(|| {
    let begun = client()
        .post("/v1/sessions")
        .json(&json!({"from_model": TRAINED_IRIS.model}));
    id(&begun.send().expect(201).json()).to_owned()
});

/// A call of the operation on something that is there.
fn call(operation: &Operation, query: &str) -> Call<'static> {
    let thing = match operation.path.split('/').nth(2) {
        Some("datasets") => id(&TRAINED_IRIS.dataset),
        Some("jobs") => id(&TRAINED_IRIS.job),
        Some("sessions") => &SESSION,
        _ => &TRAINED_IRIS.model,
    };
    let call = client().call(&operation.method, operation.path.replace("{id}", thing) + query);
    let content = contract().of(operation)["requestBody"]["content"].as_object();
    match content.and_then(|content| content.keys().next()).map(String::as_str) {
        None => call,
        Some("application/json") => call.json(&json!({})),
        Some("multipart/form-data") => call.body("multipart/form-data; boundary=line", "--line--\r\n"),
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
