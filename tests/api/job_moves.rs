//! /v1/jobs/{id}/cancel, /pause and /resume, and going on from a model.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::{
    EndlessJob, TRAINED_IRIS, client, history, id, iris_job, submit, train, wait, weights_sha256, with,
};
use crate::trials;

trials![
    a_cancelled_job_keeps_what_it_has_learned,
    a_finished_job_has_no_moves_left,
    a_paused_job_goes_on_where_it_was,
    a_resume_whose_client_hangs_up_is_a_resume_or_none,
    a_paused_job_can_be_cancelled,
    a_move_that_the_state_does_not_have_is_refused,
    an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one,
    a_continued_model_goes_on_with_weights_preprocessing_and_optimizer,
    a_continued_model_keeps_the_options_it_is_not_given,
    initial_weights_are_where_the_training_starts,
];

fn a_cancelled_job_keeps_what_it_has_learned() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset).started();
    let done = job.cancel();
    assert_eq!((&done["status"], &done["done"]), (&json!("cancelled"), &json!(true)));
    let model = done["model"].as_str().expect("an epoch was done, so there is a model");
    let model = client().get(format!("/v1/models/{model}")).send().expect(200).json();
    let epochs = done["progress"]["epoch"].as_u64().unwrap();
    assert_eq!(model["epochs"].as_u64(), Some(epochs));
    assert_eq!(history(&done)["epoch"].as_array().unwrap().len() as u64, epochs);
}

fn a_finished_job_has_no_moves_left() {
    for action in ["cancel", "pause", "resume"] {
        let target = format!("/v1/jobs/{}/{action}", id(&TRAINED_IRIS.job));
        let problem = client().post(target).send().problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("succeeded"), "{problem}");
    }
}

fn a_paused_job_goes_on_where_it_was() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset).started();
    let paused = job.post("pause").expect(200).json();
    assert_eq!((&paused["status"], &paused["done"]), (&json!("paused"), &json!(false)));
    let epoch = paused["progress"]["epoch"].as_u64().unwrap();
    assert_eq!(job.get()["progress"]["epoch"].as_u64(), Some(epoch), "nothing trains");
    let resumed = job.post("resume").expect(200).json();
    assert!(
        resumed["status"] == "queued" || resumed["status"] == "running",
        "{resumed}"
    );
    let mut events = client().get(format!("/v1/jobs/{}/events", job.id)).events();
    let later = |data: &str| serde_json::from_str::<Value>(data).unwrap()["epoch"].as_u64() > Some(epoch);
    assert!(events.any(|event| event.event == "epoch" && later(&event.data)));
    let done = job.cancel();
    let epochs: Vec<u64> = history(&done)["epoch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_u64().unwrap())
        .collect();
    assert_eq!(
        epochs,
        (1..=epochs.len() as u64).collect::<Vec<_>>(),
        "every epoch once"
    );
}

fn a_resume_whose_client_hangs_up_is_a_resume_or_none() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset).started();
    let authority = client().authority();
    let resume = format!("POST /v1/jobs/{}/resume HTTP/1.1\r\nhost: {authority}\r\n\r\n", job.id);
    for moment in 0..40 {
        job.post("pause").expect(200);
        let mut socket = TcpStream::connect(authority).unwrap();
        socket.write_all(resume.as_bytes()).unwrap();
        (0..moment % 4).for_each(|_| drop(job.get()));
        drop(socket);
        // It is paused still, or it was queued and a worker was told.
        job.post("resume");
        let deadline = Instant::now() + Duration::from_secs(20);
        while job.get()["status"] != "running" {
            assert!(Instant::now() < deadline, "{}", job.get());
        }
    }
}

fn a_paused_job_can_be_cancelled() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset).started();
    job.post("pause").expect(200);
    let done = job.cancel();
    assert_eq!(done["status"], "cancelled");
    assert!(done["model"].is_string(), "an epoch was done: {done}");
}

fn a_move_that_the_state_does_not_have_is_refused() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset).started();
    job.post("resume").problem(409, "conflict");
    job.post("pause").expect(200);
    job.post("pause").problem(409, "conflict");
}

fn an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one() {
    let dataset = id(&TRAINED_IRIS.dataset);
    let spec = with(
        &iris_job(dataset),
        json!({"training": {"epochs": 400, "validation": {"split": 0.2}}}),
    );
    let uninterrupted = train(client(), &spec);
    let job = submit(client(), &spec);
    let mut pauses = 0;
    let mut events = client().get(format!("/v1/jobs/{}/events", id(&job))).events();
    while events.any(|event| event.event == "epoch") && pauses < 3 {
        // It may be done by now, which is a conflict.
        if client().post(format!("/v1/jobs/{}/pause", id(&job))).send().status == 200 {
            client()
                .post(format!("/v1/jobs/{}/resume", id(&job)))
                .send()
                .expect(200);
        }
        pauses += 1;
    }
    let interrupted = wait(client(), &job);
    assert_eq!(interrupted["status"], "succeeded");
    assert_eq!(weights_sha256(&interrupted), weights_sha256(&uninterrupted));
    assert_eq!(history(&interrupted), history(&uninterrupted));
}

fn a_continued_model_goes_on_with_weights_preprocessing_and_optimizer() {
    let dataset = id(&TRAINED_IRIS.dataset);
    let model = json!({"layers": [{"type": "dense", "units": 16, "activation": "relu"}, {"type": "dense", "units": 3, "activation": "softmax"}]});
    // Whole batches in the order of the table: nothing is random but the first weights.
    let fit =
        |epochs: u64| json!({"model": model, "training": {"epochs": epochs, "batch_size": 150, "shuffle": false}});
    let straight = train(client(), &with(&iris_job(dataset), fit(50)));
    let first = train(client(), &with(&iris_job(dataset), fit(30)));
    let spec =
        json!({"dataset": dataset, "target": "품종", "continue_from": first["model"], "training": {"epochs": 20}});
    let second = train(client(), &spec);
    assert_ne!(second["model"], first["model"], "it is a new model");
    assert_eq!(second["progress"]["epoch"], 20);
    assert_eq!(
        weights_sha256(&second),
        weights_sha256(&straight),
        "30 epochs and then 20 are 50"
    );
    let losses = |job: &Value| history(job)["loss"].as_array().unwrap().clone();
    assert_eq!([losses(&first), losses(&second)].concat(), losses(&straight));
    let model = client()
        .get(format!("/v1/models/{}", second["model"].as_str().unwrap()))
        .send()
        .expect(200)
        .json();
    assert_eq!(model["epochs"], 50);
}

fn a_continued_model_keeps_the_options_it_is_not_given() {
    let spec = json!({"dataset": TRAINED_IRIS.dataset["id"], "target": "품종", "continue_from": TRAINED_IRIS.model});
    let plan = client()
        .post("/v1/jobs?dry_run=true")
        .json(&spec)
        .send()
        .expect(200)
        .json();
    let (was, is) = (&TRAINED_IRIS.job["spec"], &plan["spec"]);
    assert_eq!(
        (&is["model"], &is["features"], &is["preprocessing"]),
        (&was["model"], &was["features"], &was["preprocessing"])
    );
    assert_eq!(is["continue_from"], TRAINED_IRIS.model.as_str());
}

fn initial_weights_are_where_the_training_starts() {
    let weights = client()
        .get(format!("/v1/models/{}/weights", TRAINED_IRIS.model))
        .send()
        .expect(200)
        .json()["weights"]
        .clone();
    let spec = with(
        &iris_job(id(&TRAINED_IRIS.dataset)),
        json!({
            "initial_weights": weights,
            "model": {"optimizer": {"type": "sgd", "learning_rate": 1e-30}},
            "training": {"epochs": 1},
        }),
    );
    let spec = with(
        &spec,
        json!({"model": {"layers": TRAINED_IRIS.job["spec"]["model"]["layers"]}}),
    );
    let job = train(client(), &spec);
    assert_eq!(job["spec"]["initial_weights"], true);
    let after = client()
        .get(format!("/v1/models/{}/weights", job["model"].as_str().unwrap()))
        .send()
        .expect(200)
        .json();
    for layer in [0, 2] {
        assert_eq!(after["weights"][layer], weights[layer], "a rate of 1e-30 moves nothing");
    }
    for unmoved in ["gamma", "beta"] {
        assert_eq!(after["weights"][1][unmoved], weights[1][unmoved]);
    }
    assert_ne!(
        after["weights"][1]["moving_mean"], weights[1]["moving_mean"],
        "training mode moves the averages"
    );
}
