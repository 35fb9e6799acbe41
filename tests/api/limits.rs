//! What each limit on one request, table or job does when it is reached.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::client::Client;
use crate::fixtures::{HOUSING, IRIS, Trained, gzip, id, iris_job, keep, post, upload, with};
use crate::server::Server;
use crate::trials;

trials![
    a_request_over_a_limit_is_told_which,
    a_table_over_a_limit_is_told_which,
    a_network_or_training_over_a_limit_is_told_where,
    a_job_that_takes_too_much_arithmetic_is_refused,
];

struct Strict {
    client: Client,
    model: String,
}

/// A server that takes irises, and little more.
static STRICT: LazyLock<Strict> = LazyLock::new(|| {
    let limits = "--max-json-mib=1 --max-tensors-mib=1 --max-upload-mib=1 --max-predict-csv-mib=1 --max-rows=150 \
                  --max-columns=5 --max-field-kib=1 --max-layers=3 --max-units=16 --max-parameters=200 --max-epochs=20 \
                  --max-batch-size=64 --max-instances=2 --max-header-kib=1 --max-uri-kib=1";
    let server = Server::start(&limits.split_whitespace().collect::<Vec<_>>());
    let client = server.client();
    let dataset = upload(&client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let model = Trained::new(&client, dataset, spec).model;
    keep(server);
    Strict { client, model }
});

/// The faults of a refused document, by pointer.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("a list");
    errors.iter().filter_map(|fault| fault["pointer"].as_str()).collect()
}

fn a_request_over_a_limit_is_told_which() {
    let Strict { client, model } = &*STRICT;
    let large = "x".repeat((1 << 20) + 1);
    let row = json!([6.3, 3.3, 6.0, 2.5]);
    let predict = format!("/v1/models/{model}/predict");
    post(client, &predict, &json!({"instances": [row, row]})).expect(200);
    let problem = post(client, &predict, &json!({"instances": [row, row, row]})).problem(413, "body-too-large");
    let told = problem["detail"].as_str().expect("a sentence");
    assert!(told.contains("the 2 of one call"), "{told}");
    let header = client.get("/v1/jobs").header("x-note", &large[..1025]);
    header.send().problem(431, "headers-too-large");
    let uri = client.get(format!("/v1/jobs?after={}", &large[..1025]));
    uri.send().problem(414, "uri-too-long");
    let table = format!("a\n{large}");
    for (target, body, encoding) in [
        ("/v1/jobs", large.as_bytes(), None),
        ("/v1/datasets", table.as_bytes(), None),
        ("/v1/datasets", &gzip(table.as_bytes()), Some("gzip")),
        (&format!("{predict}/csv"), table.as_bytes(), None),
        (
            "/v1/sessions/ses_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f/gradients.safetensors",
            large.as_bytes(),
            None,
        ),
    ] {
        let content_type = match target {
            "/v1/jobs" => "application/json",
            _ if target.ends_with(".safetensors") => "application/octet-stream",
            _ => "text/csv",
        };
        // Its connection ends with an answer that came before the end of a body: each has its own.
        let client = client.anew();
        let call = client.post(target).body(content_type, body);
        let call = match encoding {
            Some(encoding) => call.header("content-encoding", encoding),
            None => call,
        };
        call.send().problem(413, "body-too-large");
    }
}

fn a_table_over_a_limit_is_told_which() {
    let client = &STRICT.client;
    let long = format!("a\n{}\n", "x".repeat(1025));
    let rows = format!("a\n{}", "1\n".repeat(151));
    for (table, told) in [(HOUSING, "columns"), (&rows, "rows"), (&long, "1024")] {
        let answer = client.post("/v1/datasets").body("text/csv", table).send();
        let problem = answer.problem(422, "invalid-dataset");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(told)),
            "{problem}"
        );
    }
}

fn a_network_or_training_over_a_limit_is_told_where() {
    let client = &STRICT.client;
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let dense = |units: u32| json!({"type": "dense", "units": units, "activation": "softmax"});
    let training = json!({"training": {"epochs": 21, "batch_size": 65}});
    let problem = post(client, "/v1/jobs", &with(&spec, training)).problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/training/epochs", "/training/batch_size"]);
    let deep = [dense(17), dense(2), dense(2), dense(3)];
    let problem = post(client, "/v1/jobs", &with(&spec, json!({"model": {"layers": deep}})));
    let problem = problem.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/model/layers", "/model/layers/0/units"]);
    let wide = json!({"model": {"layers": [dense(16), dense(8), dense(3)]}});
    post(client, "/v1/jobs", &with(&spec, wide)).problem(422, "job-too-large");

    let session = |layers: Value| {
        post(
            client,
            "/v1/sessions",
            &json!({"inputs": 2, "model": {"layers": layers, "loss": "mse"}}),
        )
    };
    let linear = |units: u32| json!({"type": "dense", "units": units});
    let problem = session(json!([linear(17)])).problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/model/layers/0/units"]);
    session(json!([linear(16), linear(16)])).problem(422, "job-too-large");
    session(json!([linear(16), linear(1)])).expect(201);
}

fn a_job_that_takes_too_much_arithmetic_is_refused() {
    let server = Server::start(&["--max-job-tera-operations", "1"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let dry_run = |epochs: u32| {
        post(
            client,
            "/v1/jobs?dry_run=true",
            &with(&spec, json!({"training": {"epochs": epochs}})),
        )
    };
    dry_run(1_000_000).expect(200);
    let wide = json!({"model": {"layers": [{"type": "dense", "units": 3000, "activation": "relu"}, {"type": "dense", "units": 3, "activation": "softmax"}]}, "training": {"epochs": 1_000_000}});
    post(client, "/v1/jobs", &with(&spec, wide)).problem(422, "job-too-large");
}
