//! What trained models answer.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use trainyard::data::profile::Limits;
use trainyard::data::source::SourceRequest;
use trainyard::domain::problem::Kind;
use trainyard::serving::{Detail, Explanation, Prediction, Predictor};

use crate::yard::{Yard, housing, iris, iris_cp949};

/// A network without BatchNormalization, so that a hand calculation is short.
async fn irises(yard: &Yard) -> Arc<Predictor> {
    let dataset = yard.upload(iris()).await.id;
    let job = yard
        .train(&json!({
            "dataset": dataset,
            "target": "품종",
            "model": {"layers": [
                {"type": "dense", "units": 8, "activation": "relu"},
                {"type": "dense", "units": 3, "activation": "softmax"},
            ]},
            "training": {"epochs": 20},
        }))
        .await;
    yard.serving.get(&yard.tenant, job.model.unwrap()).await.unwrap()
}

fn explanation(predictor: &Predictor, instance: Value) -> (Explanation, Vec<f32>) {
    let answer = predictor
        .predict(
            &[instance],
            "/instances",
            Detail {
                explain: true,
                ..Detail::default()
            },
        )
        .unwrap();
    match answer.predictions.into_iter().next().unwrap() {
        Prediction::Class(class) => (class.explanation, class.probabilities.values().to_vec()),
        Prediction::Value(value) => (value.explanation, vec![value.value]),
    }
}

/// `bias + x·kernel` as the server states it: for each output one chain of fused multiply-adds from the bias on, in the
/// order of the inputs.
fn dense(x: &[f32], layer: &Value) -> Vec<f32> {
    let numbers = |value: &Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
    let kernel: Vec<Vec<f32>> = layer["kernel"].as_array().unwrap().iter().map(numbers).collect();
    let chain = |(output, bias): (usize, f32)| x.iter().zip(&kernel).fold(bias, |z, (x, w)| x.mul_add(w[output], z));
    numbers(&layer["bias"]).into_iter().enumerate().map(chain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explained_prediction_is_what_a_hand_calculation_from_the_weights_gives_to_the_bit() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let predictor = irises(&yard).await;
    let weights = serde_json::to_value(predictor.weights()).unwrap();
    let (explained, probabilities) = explanation(&predictor, json!([6.1, 2.8, 4.7, 1.2]));

    let inputs = explained.inputs.unwrap();
    let hidden: Vec<f32> = dense(&inputs, &weights[0]).into_iter().map(|z| z.max(0.0)).collect();
    let logits = dense(&hidden, &weights[1]);
    let layers = explained.layers.unwrap();
    assert_eq!((layers[0].layer.as_str(), &layers[0].outputs), ("dense", &hidden));
    assert_eq!(explained.logits.unwrap(), logits);
    let (exponentials, sum) = (explained.exponentials.unwrap(), explained.sum.unwrap());
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    for (exponential, logit) in exponentials.iter().zip(&logits) {
        assert!((exponential - (logit - largest).exp()).abs() < 1e-6);
    }
    assert!((sum - exponentials.iter().sum::<f32>()).abs() < 1e-6);
    let divided: Vec<f32> = exponentials.iter().map(|exponential| exponential / sum).collect();
    assert_eq!((&layers[1].outputs, &probabilities), (&divided, &divided));
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_alone_gets_the_very_numbers_that_it_gets_among_others_explained_or_not() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(housing()).await.id;
    let job = yard
        .train(&json!({"dataset": dataset, "target": "medv", "training": {"epochs": 2}}))
        .await;
    let predictor = yard.serving.get(&yard.tenant, job.model.unwrap()).await.unwrap();
    let row = |n: usize| {
        (0..13)
            .map(|column| json!((n * 31 + column * 17) as f64 % 23.7))
            .collect::<Value>()
    };
    let rows: Vec<Value> = (0..700).map(row).collect();
    let together = predictor
        .predict(&rows, "/instances", Detail::default())
        .unwrap()
        .predictions;
    for (row, among_others) in rows.iter().zip(&together) {
        let alone = predictor
            .predict(std::slice::from_ref(row), "/instances", Detail::default())
            .unwrap()
            .predictions;
        assert_eq!(&alone[0], among_others);
    }
    let (explained, value) = explanation(&predictor, rows[5].clone());
    assert_eq!(explained.layers.unwrap().last().unwrap().outputs, value);
    assert!(matches!(&together[5], Prediction::Value(among_others) if among_others.value == value[0]));
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_comes_back_with_the_prediction_s_columns_whatever_its_dialect() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let predictor = irises(&yard).await;
    let mut utf_8 = Vec::new();
    predictor
        .predict_csv(iris(), &SourceRequest::default(), &Limits::default(), &mut utf_8)
        .unwrap();
    let mut cp949 = Vec::new();
    predictor
        .predict_csv(iris_cp949(), &SourceRequest::default(), &Limits::default(), &mut cp949)
        .unwrap();
    assert_eq!(utf_8, cp949);
    let text = String::from_utf8(utf_8).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 151);
    let header = "꽃잎길이,꽃잎폭,꽃받침길이,꽃받침폭,품종,predicted_품종,probability_setosa,probability_versicolor,probability_virginica";
    assert_eq!(lines[0], header);
    let Prediction::Class(first) = &predictor
        .predict(&[json!([5.1, 3.5, 1.4, 0.2])], "", Detail::default())
        .unwrap()
        .predictions[0]
    else {
        panic!("irises have classes");
    };
    let [a, b, c] = first.probabilities.values().try_into().unwrap();
    let [a, b, c]: [f32; 3] = [a, b, c];
    assert_eq!(
        lines[1],
        format!("5.1,3.5,1.4,0.2,setosa,{},{a:?},{b:?},{c:?}", first.label.as_str())
    );

    let semicolons = "품종;꽃받침폭;꽃받침길이;꽃잎폭;꽃잎길이\n=cmd;0,2;1;1;1\n";
    let fault = predictor
        .predict_csv(
            semicolons.as_bytes(),
            &SourceRequest::default(),
            &Limits::default(),
            Vec::new(),
        )
        .unwrap_err();
    assert_eq!(fault.kind, Kind::InvalidFeatures);
    assert_eq!(fault.place.map(|place| (place.line, place.column)), Some((2, 2)));
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_do_not_fit_are_refused_with_every_fault() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let predictor = irises(&yard).await;
    let instances = [
        json!([1, 2, 3]),
        json!({"꽃잎길이": "long", "꽃잎폭": 1, "꽃받침길이": 1, "꽃받침폭": 1e308}),
        json!([3e38, 3e38, 3e38, 3e38]),
    ];
    let problem = predictor
        .predict(&instances[..2], "/instances", Detail::default())
        .unwrap_err();
    assert_eq!(problem.kind, Kind::InvalidFeatures);
    let pointers: Vec<&str> = problem.faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["/instances/0", "/instances/1/꽃잎길이", "/instances/1/꽃받침폭"]
    );
    let overflow = predictor
        .predict(&instances[2..], "/instances", Detail::default())
        .unwrap_err();
    assert_eq!(overflow.kind, Kind::InvalidFeatures);
    let none = predictor.predict(&[], "/instances", Detail::default()).unwrap_err();
    assert_eq!(none.faults[0].pointer, "/instances");
    yard.stop().await;
}
