//! Keras 3's own trajectories, followed over HTTP: same first weights in, same figures out.
//!
//! The references were computed in float64; the bars are for 32-bit floats, relative to max(|reference|, 0.1).

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::fixtures::{client, id, train, upload, with};

const CASES: [(&str, &str); 12] = [
    (
        "boston_gelu_adagrad",
        include_str!("../keras-parity/boston_gelu_adagrad.json"),
    ),
    (
        "boston_l2_huber_adamw",
        include_str!("../keras-parity/boston_l2_huber_adamw.json"),
    ),
    (
        "boston_mae_softplus_cosine",
        include_str!("../keras-parity/boston_mae_softplus_cosine.json"),
    ),
    (
        "boston_swish_adam",
        include_str!("../keras-parity/boston_swish_adam.json"),
    ),
    (
        "breast_sigmoid_bce_rmsprop",
        include_str!("../keras-parity/breast_sigmoid_bce_rmsprop.json"),
    ),
    (
        "iris_elu_nesterov",
        include_str!("../keras-parity/iris_elu_nesterov.json"),
    ),
    (
        "iris_label_smoothing_leaky",
        include_str!("../keras-parity/iris_label_smoothing_leaky.json"),
    ),
    (
        "iris_layernorm_selu_clipnorm",
        include_str!("../keras-parity/iris_layernorm_selu_clipnorm.json"),
    ),
    ("iris_relu_sgd", include_str!("../keras-parity/iris_relu_sgd.json")),
    (
        "iris_softmax_adam",
        include_str!("../keras-parity/iris_softmax_adam.json"),
    ),
    (
        "iris_swish_bn_softmax_adam",
        include_str!("../keras-parity/iris_swish_bn_softmax_adam.json"),
    ),
    (
        "iris_tanh_momentum",
        include_str!("../keras-parity/iris_tanh_momentum.json"),
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |(name, text): (&'static str, &'static str)| {
        Trial::test(format!("keras_parity::{name}"), move || {
            follows_keras(&serde_json::from_str(text)?);
            Ok(())
        })
    };
    let first_batch = |(name, text): (&'static str, &'static str)| {
        Trial::test(
            format!("keras_parity::{name}_differentiates_its_first_batch"),
            move || {
                differentiates_as_keras(&serde_json::from_str(text)?);
                Ok(())
            },
        )
    };
    CASES
        .into_iter()
        .map(trial)
        .chain(CASES.into_iter().map(first_batch))
        .collect()
}

fn follows_keras(case: &Value) {
    let dataset = upload(client(), "keras", table(case));
    let spec = json!({
        "dataset": id(&dataset), "target": "y", "model": case["spec"],
        "training": {"epochs": case["epochs"], "batch_size": case["batch_size"], "shuffle": false},
        "preprocessing": {"numeric": "none"}, "initial_weights": case["initial_weights"],
    });
    let job = train(client(), &spec);
    let model = job["model"].as_str().expect("a model");
    let get = |target: String| client().get(target).send().expect(200).json();
    let history = get(format!("/v1/jobs/{}/history", id(&job)));
    for (figure, reference) in case["history"].as_object().expect("columns") {
        assert_near(&format!("history of {figure}"), &history[figure], reference, 1e-5);
    }
    let weights = get(format!("/v1/models/{model}/weights"))["weights"].clone();
    for (layer, reference) in case["final_weights"].as_array().expect("layers").iter().enumerate() {
        for (name, reference) in reference.as_object().expect("weights by name") {
            assert_near(
                &format!("{name} of layer {layer}"),
                &weights[layer][name],
                reference,
                2e-4,
            );
        }
    }
    let post = |action: &str, body: Value| {
        client()
            .post(format!("/v1/models/{model}/{action}"))
            .json(&body)
            .send()
            .expect(200)
            .json()
    };
    // The references are the first rows'.
    let rows = case["predictions"].as_array().expect("rows").len();
    let instances = &case["x"].as_array().expect("rows")[..rows];
    let predictions = post("predict", json!({"instances": instances}))["predictions"].clone();
    assert_near(
        "predictions",
        &outputs(&predictions, &case["predictions"]),
        &case["predictions"],
        1e-5,
    );
    let evaluation = post("evaluate", json!({"dataset": id(&dataset)}));
    let measured = with(&evaluation["metrics"], json!({"loss": evaluation["loss"]}));
    for (figure, reference) in case["evaluate"].as_object().expect("figures") {
        assert_near(&format!("evaluated {figure}"), &measured[figure], reference, 1e-5);
    }
}

fn differentiates_as_keras(case: &Value) {
    let x = case["x"].as_array().expect("rows");
    let begin = json!({
        "inputs": x[0].as_array().expect("a row").len(),
        "model": case["spec"],
        "initial_weights": case["initial_weights"],
    });
    let session = client().post("/v1/sessions").json(&begin).send().expect(201).json();
    let rows = case["batch_size"].as_u64().expect("a number") as usize;
    let first = |rows_of: &Value| json!(rows_of.as_array().expect("rows")[..rows]);
    let batch = json!({"x": first(&case["x"]), "y": first(&case["y"]), "seq": 1});
    let differentiate = client().post(format!("/v1/sessions/{}/gradients", id(&session)));
    let answer = differentiate.json(&batch).send().expect(200).json();
    let reference = &case["first_batch"];
    assert_near("loss", &answer["loss"], &reference["loss"], 1e-5);
    let mut squares = 0.0;
    for (layer, reference) in reference["gradients"].as_array().expect("layers").iter().enumerate() {
        for (name, reference) in reference.as_object().expect("arrays by name") {
            let (found, wanted) = (numbers(&answer["gradients"][layer][name]), numbers(reference));
            // The bar is relative to the array's largest number.
            let largest = wanted.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
            assert_eq!(found.len(), wanted.len(), "{name} of layer {layer}");
            for (found, wanted) in found.iter().zip(&wanted) {
                let error = (found - wanted).abs();
                assert!(
                    error <= 1e-5 * largest,
                    "{name} of layer {layer}: {found} instead of {wanted}"
                );
                squares += found * found;
            }
        }
    }
    let norm = answer["gradient_norm"].as_f64().expect("a number");
    assert!(
        (norm - squares.sqrt()).abs() < 1e-5 * norm,
        "{norm} for {}",
        squares.sqrt()
    );
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

/// The case's arrays as a CSV; one-hot rows become the number of their class.
fn table(case: &Value) -> String {
    let x = case["x"].as_array().expect("rows");
    let header: Vec<String> = (0..x[0].as_array().expect("a row").len())
        .map(|column| format!("x{column:02}"))
        .collect();
    let mut csv = format!("{},y\n", header.join(","));
    for (x, y) in x.iter().zip(case["y"].as_array().expect("rows")) {
        let y = y.as_array().expect("a row");
        let target = match y.as_slice() {
            [only] => only.clone(),
            one_hot => json!(one_hot.iter().position(|class| *class == 1.0).expect("a class")),
        };
        let row: Vec<String> = x
            .as_array()
            .expect("a row")
            .iter()
            .chain([&target])
            .map(Value::to_string)
            .collect();
        csv.push_str(&(row.join(",") + "\n"));
    }
    csv
}

/// What the network put out, from the answers made of it.
fn outputs(predictions: &Value, reference: &Value) -> Value {
    let is_one_sigmoid = reference[0].as_array().expect("a row").len() == 1;
    let row = |prediction: &Value| match prediction["probabilities"].as_object() {
        None => json!([prediction["value"]]),
        Some(classes) if is_one_sigmoid => json!([classes.values().next_back()]),
        Some(classes) => classes.values().cloned().collect(),
    };
    predictions.as_array().expect("predictions").iter().map(row).collect()
}

fn assert_near(what: &str, got: &Value, reference: &Value, bar: f64) {
    if let Some(references) = reference.as_array() {
        let got = got
            .as_array()
            .unwrap_or_else(|| panic!("{what} should be an array, not {got}"));
        assert_eq!(got.len(), references.len(), "{what}");
        return got
            .iter()
            .zip(references)
            .for_each(|(got, reference)| assert_near(what, got, reference, bar));
    }
    let (number, reference) = (got.as_f64(), reference.as_f64().expect("a number"));
    let error = number.map(|number| (number - reference).abs() / reference.abs().max(0.1));
    assert!(
        error.is_some_and(|error| error <= bar),
        "{what}: {got} instead of {reference}"
    );
}
