//! What each column contributed to a prediction.

use serde_json::{Value, json};

use crate::fixtures::{HOUSING, IRIS, TRAINED_HOUSING, TRAINED_IRIS, client};
use crate::predictions::{predict, rows};
use crate::trials;

trials![
    attributions_add_up_to_the_difference_from_a_row_of_missing_values,
    attributions_of_too_many_instances_are_refused,
];

fn attributions_add_up_to_the_difference_from_a_row_of_missing_values() {
    let iris: Vec<Vec<f64>> = rows(IRIS).into_iter().step_by(30).collect();
    let housing: Vec<Vec<f64>> = rows(HOUSING).into_iter().step_by(100).collect();
    for (model, instances) in [(&TRAINED_IRIS.model, iris), (&TRAINED_HOUSING.model, housing)] {
        let columns = instances[0].len();
        let answer = predict(model, json!({"instances": instances, "attributions": true}));
        let missing = predict(model, json!({"instances": [vec![Value::Null; columns]]}));
        let missing = &missing["predictions"][0];
        for prediction in answer["predictions"].as_array().unwrap() {
            let of = |prediction: &Value, label: &Value| match label.as_str() {
                Some(label) => prediction["probabilities"][label].as_f64().unwrap(),
                None => prediction["value"].as_f64().unwrap(),
            };
            let attributions = &prediction["attributions"];
            let figure = |name: &str| attributions[name].as_f64().unwrap();
            let (value, baseline) = (figure("value"), figure("baseline"));
            assert!(
                (value - of(prediction, &prediction["label"])).abs() < 1e-5 * value.abs(),
                "{prediction}"
            );
            assert!(
                (baseline - of(missing, &prediction["label"])).abs() < 1e-5 * baseline.abs(),
                "{prediction}"
            );
            let shares = attributions["columns"].as_object().unwrap();
            assert_eq!(shares.len(), columns);
            let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
            assert!(
                (sum - (value - baseline)).abs() <= 0.01 * (value - baseline).abs(),
                "{prediction}"
            );
        }
    }
    let plain = predict(&TRAINED_IRIS.model, json!({"instances": [rows(IRIS)[0]]}));
    assert_eq!(plain["predictions"][0].get("attributions"), None);
}

fn attributions_of_too_many_instances_are_refused() {
    let instances = vec![rows(HOUSING)[0].clone(); 9_000];
    let call = client().post(format!("/v1/models/{}/predict", TRAINED_HOUSING.model));
    let call = call.json(&json!({"instances": instances, "attributions": true}));
    let problem = call.send().problem(422, "job-too-large");
    assert!(
        problem["detail"].as_str().unwrap().contains("send at most"),
        "{problem}"
    );
}
