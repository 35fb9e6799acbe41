//! /v1/jobs/{id}/history, as JSON, as CSV and drawn.

use serde_json::Value;

use crate::fixtures::{EndlessJob, TRAINED_HOUSING, TRAINED_IRIS, client, id};
use crate::trials;

trials![
    the_history_has_a_column_for_each_figure,
    the_csv_has_the_same_figures,
    the_curve_is_drawn_without_anything_from_elsewhere,
    a_job_without_an_epoch_has_an_empty_history,
];

fn columns(history: &Value) -> Vec<String> {
    history
        .as_object()
        .expect("an object of columns")
        .keys()
        .cloned()
        .collect()
}

fn the_history_has_a_column_for_each_figure() {
    let history = client()
        .get(format!("/v1/jobs/{}/history", id(&TRAINED_IRIS.job)))
        .send()
        .expect(200)
        .json();
    assert_eq!(columns(&history), ["epoch", "loss", "accuracy"]);
    assert_eq!(history["epoch"], serde_json::json!([1, 2, 3, 4, 5]));
    let losses: Vec<f64> = history["loss"]
        .as_array()
        .unwrap()
        .iter()
        .map(|loss| loss.as_f64().unwrap())
        .collect();
    assert!(losses[4] < losses[0], "it learns: {losses:?}");
    let history = client()
        .get(format!("/v1/jobs/{}/history", id(&TRAINED_HOUSING.job)))
        .send()
        .expect(200)
        .json();
    assert_eq!(columns(&history)[..2], ["epoch", "loss"]);
}

fn the_csv_has_the_same_figures() {
    let target = format!("/v1/jobs/{}/history", id(&TRAINED_IRIS.job));
    let history = client().get(&target).send().expect(200).json();
    let answer = client().get(format!("{target}.csv")).send().expect(200);
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/csv"))
    );
    let csv = answer.text();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("epoch,loss,accuracy"));
    for (row, line) in lines.clone().enumerate() {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().expect("a number")).collect();
        let wanted = ["epoch", "loss", "accuracy"].map(|name| history[name][row].as_f64().unwrap());
        assert_eq!(fields, wanted);
    }
    assert_eq!(lines.count(), 5);
}

fn the_curve_is_drawn_without_anything_from_elsewhere() {
    let answer = client()
        .get(format!("/v1/jobs/{}/history.svg", id(&TRAINED_IRIS.job)))
        .send()
        .expect(200);
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("image/svg+xml"))
    );
    let svg = answer.text();
    assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"), "{svg:.200}");
    assert!(svg.contains("loss"), "it names its curves");
    assert!(!svg.contains("NaN") && !svg.contains("<script") && !svg.contains("href="));
}

fn a_job_without_an_epoch_has_an_empty_history() {
    let server = crate::server::Server::start(&["--workers", "1"]);
    let client = &server.client();
    let dataset = crate::fixtures::upload(client, "iris", crate::fixtures::IRIS);
    let _busy = EndlessJob::submit(client, &dataset).started();
    let waiting = EndlessJob::submit(client, &dataset);
    let target = format!("/v1/jobs/{}/history", waiting.id);
    assert_eq!(
        client.get(&target).send().expect(200).json()["epoch"],
        serde_json::json!([])
    );
    assert_eq!(
        client
            .get(format!("{target}.csv"))
            .send()
            .expect(200)
            .text()
            .lines()
            .count(),
        1
    );
    client.get(format!("{target}.svg")).send().expect(200);
}
