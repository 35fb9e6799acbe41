//! /v1/models: what was trained, its summary and weights, how well it does.

use serde_json::{Value, json};

use crate::client::Answer;
use crate::fixtures::{
    EndlessJob, HOUSING, IRIS, TRAINED_HOUSING, TRAINED_IRIS, client, housing_job, id, iris_job, submit, train, upload,
    wait, with,
};
use crate::server::Server;
use crate::trials;

trials![
    a_model_says_what_it_takes_and_where_it_came_from,
    models_are_listed_newest_first_page_by_page,
    the_tutorials_first_summary_has_the_tutorials_numbers,
    the_tutorials_second_summary_has_the_tutorials_numbers,
    weights_have_the_shapes_of_keras,
    an_evaluation_counts_its_confusions,
    an_evaluation_of_a_regression_has_no_confusions,
    an_evaluation_reads_the_same_table_in_any_dialect,
    a_deleted_model_is_gone,
    a_model_that_a_job_goes_on_from_stays,
    a_model_outlives_its_dataset_and_a_restart,
];

fn get(model: &str, part: &str) -> Answer {
    client().get(format!("/v1/models/{model}{part}")).send()
}

fn evaluate(model: &str, dataset: &str) -> Value {
    let call = client().post(format!("/v1/models/{model}/evaluate"));
    call.json(&json!({"dataset": dataset})).send().expect(200).json()
}

fn a_model_says_what_it_takes_and_where_it_came_from() {
    let trained = &*TRAINED_IRIS;
    let model = get(&trained.model, "").expect(200).json();
    assert!(id(&model).starts_with("mdl_"));
    assert_eq!(model["task"], "classification");
    assert_eq!(model["classes"], json!(["setosa", "versicolor", "virginica"]));
    let names: Vec<&str> = model["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|input| input["name"].as_str())
        .collect();
    assert_eq!(names, ["꽃잎길이", "꽃잎폭", "꽃받침길이", "꽃받침폭"]);
    assert_eq!(
        model["parameters"],
        json!({"total": 99, "trainable": 83, "non_trainable": 16})
    );
    assert_eq!(
        (&model["job"], &model["dataset"]),
        (&trained.job["id"], &trained.dataset["id"])
    );
    assert_eq!(model["metrics"]["loss"], trained.job["progress"]["metrics"]["loss"]);
    assert!(model["weights_sha256"].as_str().is_some_and(|hash| hash.len() == 64));
    let regression = get(&TRAINED_HOUSING.model, "").expect(200).json();
    assert_eq!(
        (&regression["task"], &regression["classes"]),
        (&json!("regression"), &Value::Null)
    );
}

fn models_are_listed_newest_first_page_by_page() {
    let server = Server::start(&[]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = with(&iris_job(id(&dataset)), json!({"training": {"epochs": 1}}));
    let mut made: Vec<Value> = (0..3).map(|_| train(client, &spec)["model"].clone()).collect();
    made.reverse();
    let page = |query: &str| client.get(format!("/v1/models{query}")).send().expect(200).json();
    let ids = |page: &Value| -> Vec<Value> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["id"].clone())
            .collect()
    };
    assert_eq!(ids(&page("")), made);
    let first = page("?limit=2");
    let second = page(&format!("?limit=2&after={}", first["next"].as_str().expect("a cursor")));
    assert_eq!([ids(&first), ids(&second)].concat(), made);
    assert!(second["next"].is_null());
}

fn dense(units: u64, activation: &str) -> Value {
    json!({"type": "dense", "units": units, "activation": activation})
}

/// Trains one epoch of these layers and gives the model's summary, as data and as text.
fn summary(job: &Value, layers: Value) -> (Value, String) {
    let job = train(
        client(),
        &with(job, json!({"model": {"layers": layers}, "training": {"epochs": 1}})),
    );
    let model = job["model"].as_str().unwrap();
    let text = get(model, "/summary.txt").expect(200);
    assert!(
        text.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    (get(model, "/summary").expect(200).json(), text.text())
}

fn parameters(summary: &Value) -> Vec<u64> {
    summary["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["parameters"].as_u64().unwrap())
        .collect()
}

fn the_tutorials_first_summary_has_the_tutorials_numbers() {
    let layers = json!([dense(64, "swish"), dense(64, "swish"), dense(1, "linear")]);
    let (summary, text) = summary(&housing_job(id(&TRAINED_HOUSING.dataset)), layers);
    assert_eq!(parameters(&summary), [896, 4160, 65]);
    let table = "\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 64)             │           896 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 64)             │         4,160 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_2 (Dense)                 │ (None, 1)              │            65 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 5,121 (20.00 KB)
 Trainable params: 5,121 (20.00 KB)
 Non-trainable params: 0 (0.00 B)
";
    assert!(
        text.starts_with("Model: \"") && text.trim_end().ends_with(table.trim_end()),
        "{text}"
    );
}

fn the_tutorials_second_summary_has_the_tutorials_numbers() {
    let normalization = json!({"type": "batch_normalization"});
    let layers = json!([
        dense(64, "swish"),
        normalization,
        dense(64, "swish"),
        normalization,
        dense(3, "softmax")
    ]);
    let (summary, text) = summary(&iris_job(id(&TRAINED_IRIS.dataset)), layers);
    assert_eq!(parameters(&summary), [320, 256, 4160, 256, 195]);
    let totals = "\
 Total params: 5,187 (20.26 KB)
 Trainable params: 4,931 (19.26 KB)
 Non-trainable params: 256 (1.00 KB)";
    assert!(text.trim_end().ends_with(totals), "{text}");
    assert!(
        text.contains("│ batch_normalization             │ (None, 64)             │           256 │"),
        "{text}"
    );
}

fn shape(array: &Value) -> Vec<usize> {
    match array.as_array() {
        None => Vec::new(),
        Some(items) => std::iter::once(items.len())
            .chain(items.first().map(shape).unwrap_or_default())
            .collect(),
    }
}

fn weights_have_the_shapes_of_keras() {
    let weights = get(&TRAINED_IRIS.model, "/weights").expect(200).json()["weights"].clone();
    let shapes = |layer: usize| -> Vec<(String, Vec<usize>)> {
        weights[layer]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, array)| (name.clone(), shape(array)))
            .collect()
    };
    assert_eq!(
        shapes(0),
        [("kernel".to_owned(), vec![4, 8]), ("bias".to_owned(), vec![8])]
    );
    let vectors = ["gamma", "beta", "moving_mean", "moving_variance"].map(|name| (name.to_owned(), vec![8]));
    assert_eq!(shapes(1), vectors);
    assert_eq!(
        shapes(2),
        [("kernel".to_owned(), vec![8, 3]), ("bias".to_owned(), vec![3])]
    );
}

fn an_evaluation_counts_its_confusions() {
    let evaluation = evaluate(&TRAINED_IRIS.model, id(&TRAINED_IRIS.dataset));
    assert_eq!(evaluation["rows"], 150);
    let confusion = &evaluation["confusion_matrix"];
    assert_eq!(confusion["classes"], json!(["setosa", "versicolor", "virginica"]));
    let matrix: Vec<Vec<u64>> = serde_json::from_value(confusion["matrix"].clone()).unwrap();
    assert!(
        matrix.iter().all(|row| row.iter().sum::<u64>() == 50),
        "each class has 50 rows: {matrix:?}"
    );
    let right: u64 = (0..3).map(|class| matrix[class][class]).sum();
    let accuracy = evaluation["metrics"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - right as f64 / 150.0).abs() < 1e-6, "{accuracy} {matrix:?}");
}

fn an_evaluation_of_a_regression_has_no_confusions() {
    let evaluation = evaluate(&TRAINED_HOUSING.model, id(&TRAINED_HOUSING.dataset));
    assert_eq!(
        (&evaluation["rows"], &evaluation["confusion_matrix"]),
        (&json!(506), &Value::Null)
    );
    assert!(evaluation["loss"].as_f64().is_some_and(|loss| loss > 0.0));
}

fn an_evaluation_reads_the_same_table_in_any_dialect() {
    let other = upload(client(), "semicolons", HOUSING.replace(',', ";").replace('\n', "\r\n"));
    let [a, b] = [id(&TRAINED_HOUSING.dataset), id(&other)].map(|dataset| evaluate(&TRAINED_HOUSING.model, dataset));
    assert_eq!((&a["loss"], &a["metrics"]), (&b["loss"], &b["metrics"]));
}

fn a_deleted_model_is_gone() {
    let job = train(
        client(),
        &with(&iris_job(id(&TRAINED_IRIS.dataset)), json!({"training": {"epochs": 1}})),
    );
    let model = job["model"].as_str().unwrap();
    let predict = |status: u16| {
        let call = client().post(format!("/v1/models/{model}/predict"));
        call.json(&json!({"instances": [[5.1, 3.5, 1.4, 0.2]]}))
            .send()
            .expect(status)
    };
    predict(200);
    client().delete(format!("/v1/models/{model}")).send().expect(204);
    predict(404);
    for part in ["", "/summary", "/summary.txt", "/weights"] {
        get(model, part).problem(404, "not-found");
    }
    client()
        .delete(format!("/v1/models/{model}"))
        .send()
        .problem(404, "not-found");
    client().get(format!("/v1/jobs/{}", id(&job))).send().expect(200);
}

fn a_model_that_a_job_goes_on_from_stays() {
    let server = Server::start(&["--workers", "1"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let model = train(client, &iris_job(id(&dataset)))["model"].clone();
    let busy = EndlessJob::submit(client, &dataset).started();
    let spec = json!({"dataset": id(&dataset), "target": "품종", "continue_from": model, "training": {"epochs": 1}});
    let waiting = submit(client, &spec);
    let target = format!("/v1/models/{}", model.as_str().expect("a model"));
    let problem = client.delete(&target).send().problem(409, "conflict");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(id(&waiting))),
        "{problem}"
    );
    busy.cancel();
    assert_eq!(wait(client, &waiting)["status"], "succeeded");
    client.delete(&target).send().expect(204);
}

fn a_model_outlives_its_dataset_and_a_restart() {
    let mut server = Server::start(&[]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let job = train(&server.client(), &iris_job(id(&dataset)));
    server
        .client()
        .delete(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .expect(204);
    let target = format!("/v1/models/{}/predict", job["model"].as_str().unwrap());
    let instances = json!({"instances": [[5.1, 3.5, 1.4, 0.2]]});
    let before = server.client().post(&target).json(&instances).send().expect(200).json();
    server.crash_and_restart();
    assert_eq!(
        server.client().post(&target).json(&instances).send().expect(200).json(),
        before
    );
}
