//! Requests that are right but for the state of what they name.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Case;
use crate::client::{Answer, Call};
use crate::fixtures::{EndlessJob, IRIS, TRAINED_IRIS, client, id, iris_job, upload, with};

/// A job that is not done and trains no more, and its dataset.
struct Waiting {
    dataset: Value,
    job: EndlessJob<'static>,
}

static WAITING: LazyLock<Waiting> = LazyLock::new(|| {
    let dataset = upload(client(), "waited-for", IRIS);
    let job = EndlessJob::submit(client(), &dataset).started();
    job.post("pause").expect(200);
    Waiting { dataset, job }
});

pub(super) fn cases() -> Vec<Case> {
    let finished = |action: &'static str| move || client().post(format!("/v1/jobs/{}/{action}", id(&TRAINED_IRIS.job)));
    let conflict = |name, call| Case::new(name, 409, "conflict", call);
    let not_there_yet = |call: &'static str, body: fn(Call<'static>) -> Call<'static>| {
        move || body(client().post(format!("/v1/models/{}/{call}", WAITING.job.id)))
    };
    let rows = |call: Call<'static>| call.json(&json!({"instances": [[5.1, 3.5, 1.4, 0.2]]}));
    vec![
        Case::new("cancelling a finished job", 409, "conflict", finished("cancel")),
        Case::new("pausing a finished job", 409, "conflict", finished("pause")),
        Case::new("resuming a finished job", 409, "conflict", finished("resume")),
        conflict("deleting a dataset that a job needs", || {
            client().delete(format!("/v1/datasets/{}", id(&WAITING.dataset)))
        }),
        Case::new(
            "predicting with a model that is not there yet",
            409,
            "conflict",
            not_there_yet("predict", rows),
        ),
        Case::new(
            "predicting a csv with a model that is not there yet",
            409,
            "conflict",
            not_there_yet("predict/csv", |call| call.body("text/csv", IRIS)),
        ),
        Case::new(
            "evaluating a model that is not there yet",
            409,
            "conflict",
            not_there_yet("evaluate", |call| call.json(&json!({"dataset": id(&WAITING.dataset)}))),
        ),
        Case::new("predicting with the job of a model", 404, "not-found", move || {
            rows(client().post(format!("/v1/models/{}/predict", id(&TRAINED_IRIS.job))))
        }),
        Case::answered("an idempotency key in flight", 409, "conflict", key_in_flight),
        Case::answered(
            "an idempotency key of another request",
            422,
            "idempotency-mismatch",
            || {
                let spec = with(&iris_job(id(&TRAINED_IRIS.dataset)), json!({"training": {"epochs": 1}}));
                let post = |spec: &Value| {
                    client()
                        .post("/v1/jobs")
                        .header("idempotency-key", "taken")
                        .json(spec)
                        .send()
                };
                post(&spec).expect(202);
                post(&with(&spec, json!({"training": {"epochs": 2}})))
            },
        ),
        Case::new("an empty idempotency key", 400, "malformed-request", || {
            client()
                .post("/v1/sessions")
                .header("idempotency-key", "")
                .json(&json!({}))
        }),
        Case::new("an idempotency key of 256 characters", 400, "malformed-request", || {
            client()
                .post("/v1/sessions")
                .header("idempotency-key", &"x".repeat(256))
                .json(&json!({}))
        }),
    ]
}

/// Equal uploads at once, until one of them comes while another is being read.
fn key_in_flight() -> Answer {
    let table = "a,b\n".to_owned() + &"1,2\n".repeat(200_000);
    for attempt in 0..20 {
        let key = format!("in flight {attempt}");
        let upload = || {
            client()
                .post("/v1/datasets")
                .header("idempotency-key", &key)
                .body("text/csv", &*table)
                .send()
        };
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let uploads = Vec::from_iter((0..4).map(|_| scope.spawn(upload)));
            uploads
                .into_iter()
                .map(|upload| upload.join().expect("an answer"))
                .collect()
        });
        if let Some(refused) = answers.into_iter().find(|answer| answer.status >= 400) {
            return refused;
        }
    }
    panic!("of 20 times 4 uploads at once none came while another was under way")
}
