//! Requests that are wrong before anyone asks what they mean.

use serde_json::json;

use super::Case;
use crate::client::Call;
use crate::fixtures::{IRIS, TRAINED_IRIS, client, gzip, id, iris_job, with};

pub(super) fn cases() -> Vec<Case> {
    [
        malformed_json(),
        malformed_queries(),
        unknown_things(),
        protocol(),
        too_large(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn post_job(body: impl Into<Vec<u8>>) -> Call<'static> {
    client().post("/v1/jobs").body("application/json", body)
}

fn malformed_json() -> Vec<Case> {
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("an empty body", b"".to_vec()),
        ("truncated", b"{\"dataset\": \"ds_".to_vec()),
        ("trailing bytes", b"{} {}".to_vec()),
        ("depth 129", ["[".repeat(129), "]".repeat(129)].concat().into_bytes()),
        ("a duplicate key", b"{\"name\": \"a\", \"name\": \"b\"}".to_vec()),
        (
            "a duplicate key inside",
            b"{\"training\": {\"seed\": 1, \"seed\": 2}}".to_vec(),
        ),
        ("invalid UTF-8", b"{\"name\": \"\xff\"}".to_vec()),
        ("a bare NaN", b"{\"name\": NaN}".to_vec()),
        ("1e999", b"{\"name\": 1e999}".to_vec()),
        ("a lone surrogate", br#"{"name": "\ud800"}"#.to_vec()),
        ("a leading zero", b"{\"name\": 01}".to_vec()),
        ("a byte-order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("a control character in a string", b"{\"name\": \"a\x01\"}".to_vec()),
    ];
    let case = |(name, body): (&'static str, Vec<u8>)| Case::new(name, 400, "malformed-json", || post_job(body));
    bodies.into_iter().map(case).collect()
}

fn malformed_queries() -> Vec<Case> {
    let targets = [
        ("a bad cursor", "/v1/jobs?after=yesterday"),
        (
            "a cursor of another kind",
            "/v1/jobs?after=ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f",
        ),
        ("broken percent-encoding", "/v1/jobs?after=%zz"),
        ("percent-encoding of no UTF-8", "/v1/jobs?status=%ff"),
        ("a repeated limit", "/v1/jobs?limit=1&limit=2"),
        ("limit 0", "/v1/datasets?limit=0"),
        ("limit 201", "/v1/models?limit=201"),
        ("limit -1", "/v1/models?limit=-1"),
        ("limit ten", "/v1/datasets?limit=ten"),
        ("limit 1e30", "/v1/datasets?limit=1000000000000000000000000000000"),
        ("an unknown parameter", "/v1/jobs?stat=running"),
        ("an unknown status", "/v1/jobs?status=zombie"),
    ];
    let get = |(name, target): (&'static str, &'static str)| {
        Case::new(name, 400, "malformed-request", move || client().get(target))
    };
    let dataset =
        |query: &'static str| move || client().get(format!("/v1/datasets/{}/rows?{query}", id(&TRAINED_IRIS.dataset)));
    let job = |query: &'static str| move || client().get(format!("/v1/jobs/{}?{query}", id(&TRAINED_IRIS.job)));
    let more = vec![
        Case::new("offset -1", 400, "malformed-request", dataset("offset=-1")),
        Case::new("offset x", 400, "malformed-request", dataset("offset=x")),
        Case::new(
            "a preview of a million",
            400,
            "malformed-request",
            dataset("limit=1000000"),
        ),
        Case::new("wait forever", 400, "malformed-request", job("wait=86400")),
        Case::new("wait soon", 400, "malformed-request", job("wait=soon")),
        Case::new("a dry run perhaps", 400, "malformed-request", || {
            client().post("/v1/jobs?dry_run=perhaps").json(&json!({}))
        }),
        Case::new("a name of 10,000 characters", 400, "malformed-request", || {
            client()
                .post(format!("/v1/datasets?name={}", "x".repeat(1000)))
                .body("text/csv", IRIS)
        }),
        Case::new("an unknown encoding", 422, "invalid-dataset", || {
            client().post("/v1/datasets?encoding=klingon").body("text/csv", IRIS)
        }),
        Case::new("a delimiter of two characters", 422, "invalid-dataset", || {
            client().post("/v1/datasets?delimiter=ab").body("text/csv", IRIS)
        }),
        Case::new("an event number that is none", 400, "malformed-request", || {
            client()
                .get(format!("/v1/jobs/{}/events", id(&TRAINED_IRIS.job)))
                .header("last-event-id", "minus one")
        }),
    ];
    targets.into_iter().map(get).chain(more).collect()
}

fn unknown_things() -> Vec<Case> {
    const NONE: &str = "01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    let unknown = |name: &'static str, target: String| Case::new(name, 404, "not-found", || client().get(target));
    let post = |name: &'static str, target: String| {
        Case::new(name, 404, "not-found", || client().post(target).json(&json!({})))
    };
    vec![
        unknown("no such path", "/v1/nothing".to_owned()),
        unknown("no such version", "/v9/jobs".to_owned()),
        unknown("a trailing slash", "/v1/jobs/".to_owned()),
        unknown("no such dataset", format!("/v1/datasets/ds_{NONE}")),
        unknown("rows of no dataset", format!("/v1/datasets/ds_{NONE}/rows")),
        unknown("content of no dataset", format!("/v1/datasets/ds_{NONE}/content")),
        unknown("no such job", format!("/v1/jobs/job_{NONE}")),
        unknown("history of no job", format!("/v1/jobs/job_{NONE}/history")),
        unknown("csv of no job", format!("/v1/jobs/job_{NONE}/history.csv")),
        unknown("curve of no job", format!("/v1/jobs/job_{NONE}/history.svg")),
        unknown("events of no job", format!("/v1/jobs/job_{NONE}/events")),
        unknown("no such model", format!("/v1/models/mdl_{NONE}")),
        unknown("summary of no model", format!("/v1/models/mdl_{NONE}/summary")),
        unknown("summary text of no model", format!("/v1/models/mdl_{NONE}/summary.txt")),
        unknown("weights of no model", format!("/v1/models/mdl_{NONE}/weights")),
        post("cancelling no job", format!("/v1/jobs/job_{NONE}/cancel")),
        post("pausing no job", format!("/v1/jobs/job_{NONE}/pause")),
        post("resuming no job", format!("/v1/jobs/job_{NONE}/resume")),
        Case::new("deleting no dataset", 404, "not-found", || {
            client().delete(format!("/v1/datasets/ds_{NONE}"))
        }),
        Case::new("deleting no model", 404, "not-found", || {
            client().delete(format!("/v1/models/mdl_{NONE}"))
        }),
        Case::new("predicting with no model", 404, "not-found", || {
            client()
                .post(format!("/v1/models/mdl_{NONE}/predict"))
                .json(&json!({"instances": [[1.0]]}))
        }),
        Case::new("predicting a csv with no model", 404, "not-found", || {
            client()
                .post(format!("/v1/models/mdl_{NONE}/predict/csv"))
                .body("text/csv", IRIS)
        }),
        Case::new("evaluating no model", 404, "not-found", || {
            client()
                .post(format!("/v1/models/mdl_{NONE}/evaluate"))
                .json(&json!({"dataset": TRAINED_IRIS.dataset["id"]}))
        }),
        unknown("an id of another kind", format!("/v1/models/job_{NONE}")),
        unknown("an id in capitals", format!("/v1/jobs/job_{}", NONE.to_uppercase())),
        unknown("an id of 300 characters", format!("/v1/jobs/job_{}", "0".repeat(300))),
        unknown("an id that climbs", "/v1/datasets/..%2f..%2fetc%2fpasswd".to_owned()),
        unknown("an id of no UTF-8", "/v1/datasets/%ff%fe".to_owned()),
        unknown("an id with a NUL", "/v1/datasets/ds_%00".to_owned()),
    ]
}

fn protocol() -> Vec<Case> {
    let json_as = |content_type: &'static str| move || client().post("/v1/jobs").body(content_type, "{}");
    let table_as = |content_type: &'static str| move || client().post("/v1/datasets").body(content_type, IRIS);
    let encoded = |target: &'static str, content_type: &'static str, encoding: &'static str| {
        move || {
            client()
                .post(target)
                .body(content_type, "{}")
                .header("content-encoding", encoding)
        }
    };
    vec![
        Case::new("a method that is not there", 405, "method-not-allowed", || {
            client().call("PATCH", "/v1/jobs")
        }),
        Case::new("deleting the list", 405, "method-not-allowed", || {
            client().delete("/v1/datasets")
        }),
        Case::new("putting a predict", 405, "method-not-allowed", || {
            client().call("PUT", format!("/v1/models/{}/predict", TRAINED_IRIS.model))
        }),
        Case::new("an answer nobody can give", 406, "not-acceptable", || {
            client().get("/v1/jobs").header("accept", "application/vnd.ms-excel")
        }),
        Case::new(
            "json as plain text",
            415,
            "unsupported-media-type",
            json_as("text/plain"),
        ),
        Case::new(
            "json as a form",
            415,
            "unsupported-media-type",
            json_as("application/x-www-form-urlencoded"),
        ),
        Case::new(
            "json in another charset",
            415,
            "unsupported-media-type",
            json_as("application/json; charset=euc-kr"),
        ),
        Case::new(
            "json that is compressed",
            415,
            "unsupported-media-type",
            encoded("/v1/jobs", "application/json", "gzip"),
        ),
        Case::new(
            "a pickle",
            415,
            "unsupported-media-type",
            table_as("application/x-pickle"),
        ),
        Case::new(
            "a table as an image",
            415,
            "unsupported-media-type",
            table_as("image/png"),
        ),
        Case::new(
            "a table in zstd",
            415,
            "unsupported-media-type",
            encoded("/v1/datasets", "text/csv", "zstd"),
        ),
        Case::new("a form that is none", 415, "unsupported-media-type", || {
            client().post("/v1/datasets/form").body("text/csv", IRIS)
        }),
        Case::new("a pickle to predict", 415, "unsupported-media-type", || {
            client()
                .post(format!("/v1/models/{}/predict/csv", TRAINED_IRIS.model))
                .body("application/x-pickle", IRIS)
        }),
        Case::new("json as plain text to predict", 415, "unsupported-media-type", || {
            client()
                .post(format!("/v1/models/{}/predict", TRAINED_IRIS.model))
                .body("text/plain", "{}")
        }),
        Case::new("json as plain text to evaluate", 415, "unsupported-media-type", || {
            client()
                .post(format!("/v1/models/{}/evaluate", TRAINED_IRIS.model))
                .body("text/plain", "{}")
        }),
        Case::new("a path of 9,000 characters", 414, "uri-too-long", || {
            client().get(format!("/v1/jobs?after={}", "x".repeat(9000)))
        }),
        Case::new("40 KiB of headers", 431, "headers-too-large", || {
            client().get("/v1/jobs").header("x-ballast", &"x".repeat(40 << 10))
        }),
    ]
}

fn too_large() -> Vec<Case> {
    let predict = |body: String| {
        move || {
            client()
                .post(format!("/v1/models/{}/predict", TRAINED_IRIS.model))
                .body("application/json", body)
        }
    };
    let rows = vec!["[1,2,3,4]"; 10_001].join(",");
    vec![
        Case::new(
            "10,001 rows to predict",
            413,
            "body-too-large",
            predict(format!("{{\"instances\": [{rows}]}}")),
        ),
        Case::new("a spec of 33 MiB", 413, "body-too-large", || {
            post_job(format!("{}{{}}", " ".repeat(33 << 20)))
        }),
        Case::new("33 MiB to evaluate", 413, "body-too-large", || {
            let body = " ".repeat(33 << 20);
            client()
                .post(format!("/v1/models/{}/evaluate", TRAINED_IRIS.model))
                .body("application/json", body)
        }),
        Case::new("a bomb of 128 MiB in 130 KB", 413, "body-too-large", || {
            client()
                .post("/v1/datasets")
                .body("text/csv", gzip(&vec![b'0'; 128 << 20]))
                .header("content-encoding", "gzip")
        }),
        Case::new("a gzip that is none", 400, "malformed-request", || {
            client()
                .post("/v1/datasets")
                .body("text/csv", IRIS)
                .header("content-encoding", "gzip")
        }),
        Case::new("a gzip that ends early", 400, "malformed-request", || {
            let whole = gzip(IRIS.as_bytes());
            let half = whole[..whole.len() / 2].to_vec();
            client()
                .post("/v1/datasets")
                .body("text/csv", half)
                .header("content-encoding", "gzip")
        }),
        Case::new(
            "a job that needs more memory than there is",
            422,
            "job-too-large",
            || {
                let layers = json!([{"type": "dense", "units": 65536}, {"type": "dense", "units": 65536}, {"type": "dense", "units": 3, "activation": "softmax"}]);
                client().post("/v1/jobs").json(&with(
                    &iris_job(id(&TRAINED_IRIS.dataset)),
                    json!({"model": {"layers": layers}}),
                ))
            },
        ),
    ]
}
