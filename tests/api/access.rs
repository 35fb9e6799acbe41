//! Every operation of the document, tried without a key, with those that don't open it, and with another tenant's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{Client, contract};
use crate::contract::Operation;
use crate::fixtures::{IRIS, id, iris_job, upload};
use crate::operations::{Things, call_on};
use crate::trials;
use crate::yard::{YARD, create, create_in, secret};

trials![
    no_operation_is_there_without_a_valid_key,
    no_operation_does_more_than_its_role_allows,
    no_operation_finds_what_another_tenant_has,
    no_list_shows_what_another_tenant_has,
    what_there_is_is_told_to_nobody_without_a_key,
    nobody_is_asked_for_a_body_before_for_a_key,
];

/// A key of the right form that the server never made.
pub(crate) fn made_elsewhere() -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    create_in(folder.path(), &["--name", "x", "--role", "admin"])
}

/// A key that begins as `secret` does, and is well-formed to its checksum.
pub(crate) fn forged(secret: &str) -> String {
    let body = format!("{}{}", &secret[..15], "0".repeat(64));
    let checksum = Sha256::digest(&body)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    body + &checksum
}

/// What everybody may have; said here once more, so that nothing becomes open by a slip in the document.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/openapi.json", "/openapi-3.0.json"];

/// The role that the document says an operation needs; `None`: it is open.
fn role(operation: &Operation) -> Option<&'static str> {
    let role = contract().of(operation)["security"][0]["bearer"][0].as_str();
    assert_eq!(
        role.is_none(),
        OPEN.contains(&operation.path.as_str()),
        "{}",
        operation.id
    );
    assert_eq!(
        role == Some("admin"),
        operation.path.starts_with("/v1/keys") || operation.path == "/v1/usage",
        "{}",
        operation.id
    );
    role
}

/// The documented operations that need a key, with their roles.
fn closed() -> impl Iterator<Item = (&'static Operation, &'static str)> {
    contract()
        .operations()
        .iter()
        .filter_map(|operation| Some((operation, role(operation)?)))
}

fn no_operation_is_there_without_a_valid_key() {
    let yard = &*YARD;
    assert!(closed().count() > 35);
    let wrong = yard.open.with_key(&made_elsewhere());
    let key = create(&yard.admin, json!({"name": "forged", "role": "admin"}));
    let forged = yard.open.with_key(&forged(secret(&key)));
    let malformed = yard.open.with_key("ty_1234");
    for (operation, _) in closed() {
        for client in [&yard.open, &wrong, &forged, &malformed, &yard.revoked, &yard.expired] {
            let answer = call_on(client, &yard.things, operation, "").send();
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", operation.id);
            answer.problem(401, "unauthorized");
        }
    }
    for operation in contract()
        .operations()
        .iter()
        .filter(|operation| role(operation).is_none())
    {
        yard.open.get(&operation.path).send().expect(200);
    }
    for page in ["/", "/docs", "/docs/", "/docs/swagger-ui.css"] {
        yard.open.get(page).send_raw().expect(200);
    }
}

fn no_operation_does_more_than_its_role_allows() {
    let yard = &*YARD;
    let rank = |role: &str| {
        ["read", "write", "admin"]
            .iter()
            .position(|name| *name == role)
            .expect("a role")
    };
    for (operation, needed) in closed() {
        for (client, has) in [(&yard.read, "read"), (&yard.write, "write")] {
            if rank(has) < rank(needed) {
                let problem = call_on(client, &yard.things, operation, "")
                    .send()
                    .problem(403, "forbidden");
                let detail = problem["detail"].as_str().expect("a sentence");
                assert!(
                    detail.contains(&format!("is {has};")) && detail.contains(needed),
                    "{detail}"
                );
            } else {
                // Refused for what it is, not for whose it is.
                let status = call_on(client, &yard.things, operation, "?surprise=1").send().status;
                assert_eq!(status, 400, "{} with a {has} key", operation.id);
            }
        }
    }
    // What a reader is there for.
    let predict = yard.read.post(format!("/v1/models/{}/predict", yard.things.model));
    predict
        .json(&json!({"instances": [[6.3, 3.3, 6.0, 2.5]]}))
        .send()
        .expect(200);
}

fn no_operation_finds_what_another_tenant_has() {
    let yard = &*YARD;
    let rows = json!({"x": [[0.1, 0.2, 0.3, 0.4]], "y": [[1, 0, 0]]});
    let mut tried = 0;
    for (operation, _) in closed().filter(|(operation, _)| operation.path.contains("{id}")) {
        let call = call_on(&yard.stranger, &yard.things, operation, "");
        // What would be right for its owner.
        let body = match operation.id.as_str() {
            "predict_instances" => json!({"instances": [[6.3, 3.3, 6.0, 2.5]]}),
            "evaluate_model" => json!({"dataset": yard.things.dataset}),
            "forward_session" => json!({"x": rows["x"]}),
            "differentiate_session" | "train_session_on_batch" => rows.clone(),
            "apply_session_gradients" => json!({"gradients": [{}]}),
            "put_session_weights" => json!({"weights": [{}]}),
            _ => Value::Null,
        };
        let call = if body.is_null() { call } else { call.json(&body) };
        let problem = call.send().problem(404, "not-found");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.starts_with("There is no such")),
            "{problem}"
        );
        tried += 1;
    }
    assert!(tried > 25);
    // Ids inside of documents name nothing either.
    let Things { dataset, model, .. } = &yard.things;
    let post = |target: &str, body: Value| yard.stranger.post(target).json(&body).send();
    post("/v1/jobs", iris_job(dataset)).problem(422, "invalid-spec");
    post("/v1/sessions", json!({"from_model": model})).problem(422, "invalid-spec");
    let own = upload(&yard.stranger, "iris", IRIS);
    post(
        "/v1/jobs",
        json!({"dataset": id(&own), "target": "품종", "continue_from": model}),
    )
    .problem(422, "invalid-spec");
    yard.stranger
        .delete(format!("/v1/datasets/{}", id(&own)))
        .send()
        .expect(204);
    // All of it is still there for its owner.
    for path in [format!("/v1/datasets/{dataset}"), format!("/v1/models/{model}")] {
        yard.read.get(path).send().expect(200);
    }
    yard.read
        .get(format!("/v1/sessions/{}", yard.things.session))
        .send()
        .expect(200);
}

fn no_list_shows_what_another_tenant_has() {
    let yard = &*YARD;
    for kind in ["datasets", "jobs", "models", "keys"] {
        let list = |client: &Client| client.get(format!("/v1/{kind}?limit=200")).send().expect(200).json();
        let (own, foreign) = (list(&yard.admin), list(&yard.stranger));
        let ids = |list: &Value| -> Vec<String> {
            list["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|thing| id(thing).to_owned())
                .collect()
        };
        let own = ids(&own);
        assert!(!own.is_empty(), "{kind}");
        assert!(ids(&foreign).iter().all(|id| !own.contains(id)), "{kind}");
    }
}

fn what_there_is_is_told_to_nobody_without_a_key() {
    let yard = &*YARD;
    for (method, path) in [
        ("GET", "/nowhere"),
        ("PATCH", "/v1/jobs"),
        ("OPTIONS", "/v1/jobs"),
        ("HEAD", "/v1/jobs"),
    ] {
        yard.open.call(method, path).send_raw().expect(401);
    }
    yard.read.get("/nowhere").send().problem(404, "not-found");
    yard.read
        .call("PATCH", "/v1/jobs")
        .send()
        .problem(405, "method-not-allowed");
}

fn nobody_is_asked_for_a_body_before_for_a_key() {
    let yard = &*YARD;
    for (target, kind) in [("/v1/datasets", "text/csv"), ("/v1/jobs", "application/json")] {
        let mut socket = TcpStream::connect(yard.open.authority()).expect("it listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000000\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).expect("it reads");
        let mut answer = [0; 12];
        socket
            .read_exact(&mut answer)
            .expect("an answer although no body was sent");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 401");
    }
}
