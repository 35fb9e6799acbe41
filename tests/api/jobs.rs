//! /v1/jobs: submit, look, wait, list.

use serde_json::{Value, json};

use crate::fixtures::{
    EndlessJob, IRIS, TRAINED_HOUSING, TRAINED_IRIS, client, history, id, iris_job, submit, train, upload, wait, with,
};
use crate::server::Server;
use crate::trials;

trials![
    a_job_is_accepted_with_its_place_and_every_default_filled_in,
    a_dataset_and_a_target_are_enough,
    a_cross_entropy_makes_a_number_target_a_classification,
    names_match_without_case_and_a_bare_string_stands_for_an_object,
    a_finished_job_says_what_became_of_it,
    a_dry_run_says_what_would_be_and_stores_nothing,
    waiting_ends_with_the_job_or_with_the_time,
    jobs_are_listed_newest_first_page_by_page_and_by_status,
    jobs_beyond_the_workers_wait_their_turn,
    a_job_survives_kill_9,
];

fn a_job_is_accepted_with_its_place_and_every_default_filled_in() {
    let dataset = &TRAINED_IRIS.dataset;
    let spec = json!({"dataset": id(dataset), "target": "품종", "training": {"epochs": 1}});
    let answer = client().post("/v1/jobs").json(&spec).send().expect(202);
    let job = answer.json();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/jobs/{}", id(&job)).as_str())
    );
    assert!(id(&job).starts_with("job_"));
    assert_eq!((&job["dataset"], &job["target"]), (&dataset["id"], &json!("품종")));
    let spec = &job["spec"];
    assert_eq!(
        spec["features"],
        json!(["꽃잎길이", "꽃잎폭", "꽃받침길이", "꽃받침폭"])
    );
    assert_eq!(spec["model"]["loss"]["type"], "categorical_crossentropy");
    assert_eq!(spec["model"]["optimizer"]["type"], "adam");
    assert_eq!(spec["model"]["optimizer"]["epsilon"], 1e-7);
    let last = spec["model"]["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["type"], &last["units"], &last["activation"]),
        (&json!("dense"), &json!(3), &json!("softmax"))
    );
    assert_eq!(last["kernel_initializer"], "glorot_uniform");
    let training = &spec["training"];
    assert_eq!(
        (&training["batch_size"], &training["shuffle"], &training["seed"]),
        (&json!(32), &json!(true), &json!(0))
    );
    assert_eq!(spec["preprocessing"]["numeric"], "standardize");
    wait(client(), &job);
}

fn a_dataset_and_a_target_are_enough() {
    let spec = json!({"dataset": TRAINED_HOUSING.dataset["id"], "target": "medv"});
    let plan = client()
        .post("/v1/jobs?dry_run=true")
        .json(&spec)
        .send()
        .expect(200)
        .json();
    assert_eq!(plan["spec"]["model"]["loss"]["type"], "mse");
    let last = plan["spec"]["model"]["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["units"], &last["activation"]), (&json!(1), &json!("linear")));
    assert!(plan["classes"].is_null());
}

fn a_cross_entropy_makes_a_number_target_a_classification() {
    let dataset = upload(client(), "digits", "x,y\n0.5,10\n1.5,9\n2.5,10\n3.5,9\n4.5,100\n");
    let spec = json!({"dataset": id(&dataset), "target": "y", "model": {"loss": "categorical_crossentropy"}});
    let plan = client()
        .post("/v1/jobs?dry_run=true")
        .json(&spec)
        .send()
        .expect(200)
        .json();
    // Numbers sort by value.
    assert_eq!(plan["classes"], json!(["9", "10", "100"]));
}

fn names_match_without_case_and_a_bare_string_stands_for_an_object() {
    let model = |optimizer: Value, activation: &str| {
        let layers = json!([{"type": "dense", "units": 3, "activation": activation}]);
        let spec = with(
            &iris_job(id(&TRAINED_IRIS.dataset)),
            json!({"model": {"layers": layers}}),
        );
        let spec = with(&spec, json!({"model": {"optimizer": null}}));
        let spec = with(&spec, json!({"model": {"optimizer": optimizer}}));
        let call = client().post("/v1/jobs?dry_run=true").json(&spec).beyond_the_document();
        call.send().expect(200).json()["spec"]["model"].clone()
    };
    let plain = model(json!({"type": "adagrad"}), "softmax");
    assert_eq!(model(json!("Adagrad"), "SoftMax"), plain);
    assert_eq!(plain["optimizer"]["initial_accumulator_value"], 0.1);
}

fn a_finished_job_says_what_became_of_it() {
    let job = &TRAINED_IRIS.job;
    assert_eq!(
        (&job["status"], &job["done"], &job["attempt"]),
        (&json!("succeeded"), &json!(true), &json!(1))
    );
    assert!(job["error"].is_null() && job["queue_position"].is_null());
    let progress = &job["progress"];
    assert_eq!((&progress["epoch"], &progress["epochs"]), (&json!(5), &json!(5)));
    assert_eq!(progress["batches_per_epoch"], 5, "150 rows in batches of 32");
    let last = |name: &str| history(job)[name][4].clone();
    assert_eq!(
        (&progress["metrics"]["loss"], &progress["metrics"]["accuracy"]),
        (&last("loss"), &last("accuracy"))
    );
    let time = |name: &str| {
        job[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is a time"))
            .to_owned()
    };
    assert!(time("created_at") <= time("started_at") && time("started_at") <= time("finished_at"));
}

fn a_dry_run_says_what_would_be_and_stores_nothing() {
    let server = Server::start(&[]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let plan = client
        .post("/v1/jobs?dry_run=true")
        .json(&spec)
        .send()
        .expect(200)
        .json();
    assert_eq!(plan["classes"], json!(["setosa", "versicolor", "virginica"]));
    assert_eq!(
        plan["parameters"],
        json!({"total": 99, "trainable": 83, "non_trainable": 16})
    );
    assert_eq!(plan["summary"]["layers"].as_array().unwrap().len(), 3);
    assert!(plan["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!(client.get("/v1/jobs").send().expect(200).json()["data"], json!([]));
    let job = submit(client, &spec);
    assert_eq!(job["spec"], plan["spec"], "what a dry run tells is what runs");
}

fn waiting_ends_with_the_job_or_with_the_time() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset);
    let waited = client()
        .get(format!("/v1/jobs/{}?wait=0", job.id))
        .send()
        .expect(200)
        .json();
    assert_eq!(waited["done"], false);
    let waited = client()
        .get(format!("/v1/jobs/{}?wait=1", job.id))
        .send()
        .expect(200)
        .json();
    assert_eq!(waited["done"], false);
    job.cancel();
    let waited = client()
        .get(format!("/v1/jobs/{}?wait=60", job.id))
        .send()
        .expect(200)
        .json();
    assert_eq!(waited["status"], "cancelled");
}

fn jobs_are_listed_newest_first_page_by_page_and_by_status() {
    let server = Server::start(&[]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = with(&iris_job(id(&dataset)), json!({"training": {"epochs": 1}}));
    let mut made: Vec<String> = (0..3).map(|_| id(&train(client, &spec)).to_owned()).collect();
    let job = EndlessJob::submit(client, &dataset);
    assert_eq!(job.cancel()["status"], "cancelled");
    made.push(job.id.clone());
    let page = |query: &str| client.get(format!("/v1/jobs{query}")).send().expect(200).json();
    let ids = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|j| id(j).to_owned())
            .collect()
    };
    let newest_first: Vec<String> = made.iter().rev().cloned().collect();
    assert_eq!(ids(&page("")), newest_first);
    let first = page("?limit=3");
    let second = page(&format!("?limit=3&after={}", first["next"].as_str().expect("a cursor")));
    assert_eq!([ids(&first), ids(&second)].concat(), newest_first);
    assert!(second["next"].is_null());
    assert_eq!(ids(&page("?status=cancelled")), made[3..]);
    assert_eq!(ids(&page("?status=succeeded")), newest_first[1..]);
    assert_eq!(ids(&page("?status=running")), [""; 0]);
}

fn jobs_beyond_the_workers_wait_their_turn() {
    let server = Server::start(&["--workers", "1"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let running = EndlessJob::submit(client, &dataset).started();
    let [first, second] = [(); 2].map(|()| EndlessJob::submit(client, &dataset));
    assert_eq!(running.get()["queue_position"], Value::Null);
    assert_eq!(
        (&first.get()["queue_position"], &second.get()["queue_position"]),
        (&json!(1), &json!(2))
    );
    let cancelled = first.post("cancel").expect(200).json();
    assert_eq!(
        (&cancelled["status"], &cancelled["model"]),
        (&json!("cancelled"), &Value::Null)
    );
    assert_eq!(second.get()["queue_position"], 1);
    running.cancel();
    let second = second.started();
    assert_eq!(second.get()["status"], "running");
}

fn a_job_survives_kill_9() {
    let mut server = Server::start(&[]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let spec = with(&iris_job(id(&dataset)), json!({"training": {"epochs": 300}}));
    let job = submit(&server.client(), &spec);
    server.crash_and_restart();
    let job = wait(&server.client(), &job);
    assert_eq!(
        (&job["status"], &job["progress"]["epoch"]),
        (&json!("succeeded"), &json!(300))
    );
    let history = server
        .client()
        .get(format!("/v1/jobs/{}/history", id(&job)))
        .send()
        .expect(200)
        .json();
    let epochs: Vec<u64> = history["epoch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|epoch| epoch.as_u64().unwrap())
        .collect();
    assert_eq!(epochs, (1..=300).collect::<Vec<_>>(), "every epoch once");
}
