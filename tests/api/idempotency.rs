//! The Idempotency-Key: a request sent again, or a hundred times at once, makes one thing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::Answer;
use crate::fixtures::{IRIS, TRAINED_IRIS, client, id, iris_job, upload, with};
use crate::server::Server;
use crate::trials;

trials![
    a_request_sent_again_gets_the_first_answer_and_makes_nothing,
    a_key_is_for_one_request_only,
    a_refused_request_leaves_its_key_free,
    a_hundred_equal_requests_at_once_make_one_job,
    a_key_outlives_a_restart,
];

fn post_job(spec: &Value, key: &str) -> Answer {
    let call = client().post("/v1/jobs").header("idempotency-key", key);
    call.json(spec).send()
}

fn spec() -> Value {
    with(&iris_job(id(&TRAINED_IRIS.dataset)), json!({"training": {"epochs": 1}}))
}

fn a_request_sent_again_gets_the_first_answer_and_makes_nothing() {
    let first = post_job(&spec(), "again").expect(202);
    let again = post_job(&spec(), "again").expect(202);
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("location"), first.header("location"));
    let put = || {
        let call = client()
            .post("/v1/datasets?name=once")
            .header("idempotency-key", "again too");
        call.body("text/csv", IRIS).send().expect(201).json()
    };
    assert_eq!(put(), put());
}

fn a_key_is_for_one_request_only() {
    post_job(&spec(), "one").expect(202);
    let other = with(&spec(), json!({"training": {"epochs": 2}}));
    post_job(&other, "one").problem(422, "idempotency-mismatch");
    let elsewhere = client().post("/v1/jobs?dry_run=false").header("idempotency-key", "one");
    elsewhere.json(&spec()).send().problem(422, "idempotency-mismatch");
}

fn a_refused_request_leaves_its_key_free() {
    let wrong = with(&spec(), json!({"training": {"epochs": 0}}));
    post_job(&wrong, "free").problem(422, "invalid-spec");
    post_job(&spec(), "free").expect(202);
}

fn a_hundred_equal_requests_at_once_make_one_job() {
    let spec = with(&spec(), json!({"name": "a hundred at once"}));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..100).map(|_| scope.spawn(|| post_job(&spec, "hundred"))).collect();
        senders
            .into_iter()
            .map(|sender| sender.join().expect("an answer"))
            .collect()
    });
    let mut made = BTreeSet::new();
    for answer in answers {
        match answer.status {
            202 => drop(made.insert(id(&answer.json()).to_owned())),
            // The first of them is still under way.
            _ => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                answer.problem(409, "conflict");
            }
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    let jobs = client().get("/v1/jobs?limit=200").send().expect(200).json();
    let jobs = jobs["data"].as_array().expect("jobs");
    assert_eq!(jobs.iter().filter(|job| job["name"] == "a hundred at once").count(), 1);
}

fn a_key_outlives_a_restart() {
    let mut server = Server::start(&["--workers", "1"]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let spec = with(&iris_job(id(&dataset)), json!({"training": {"epochs": 1}}));
    let post = |server: &Server| {
        let client = server.client();
        let call = client.post("/v1/jobs").header("idempotency-key", "outlives");
        call.json(&spec).send().expect(202).json()
    };
    let first = post(&server);
    server.crash_and_restart();
    assert_eq!(post(&server), first);
}
