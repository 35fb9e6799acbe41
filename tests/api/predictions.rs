//! /v1/models/{id}/predict and /predict/csv.

use serde_json::{Map, Value, json};

use crate::client::Answer;
use crate::fixtures::{HOUSING, IRIS, TRAINED_HOUSING, TRAINED_IRIS, Trained, client, id, iris_job, upload};
use crate::server::Server;
use crate::trials;

trials![
    a_row_by_name_and_by_position_is_the_same_row,
    a_classification_answers_a_label_and_all_probabilities,
    a_regression_answers_a_value,
    an_explanation_can_be_redone_by_hand,
    an_explanation_of_a_regression_has_no_softmax,
    a_row_alone_equals_the_same_row_in_a_batch_bit_for_bit,
    a_missing_value_is_imputed,
    an_unseen_category_is_encoded_as_unknown_and_named_in_a_warning,
    csv_rows_come_back_with_the_prediction_added,
    csv_columns_are_found_by_name_in_any_dialect,
    a_formula_in_a_csv_cell_is_not_one_in_the_answer,
    more_predictions_than_may_wait_are_refused_and_small_ones_are_not,
];

pub(crate) fn predict(model: &str, body: Value) -> Value {
    let answer = client()
        .post(format!("/v1/models/{model}/predict"))
        .json(&body)
        .send()
        .expect(200)
        .json();
    assert_eq!(answer["model"], model);
    answer
}

/// The feature rows of a bundled table whose last column is the target.
pub(crate) fn rows(csv: &str) -> Vec<Vec<f64>> {
    let fields = |line: &str| -> Vec<f64> { line.split(',').map_while(|field| field.parse().ok()).collect() };
    csv.lines()
        .skip(1)
        .map(fields)
        .map(|row| row[..row.len().min(13)].to_vec())
        .collect()
}

fn numbers(array: &Value) -> Vec<f32> {
    array
        .as_array()
        .expect("an array")
        .iter()
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect()
}

fn a_row_by_name_and_by_position_is_the_same_row() {
    let row = json!([5.1, 3.5, 1.4, 0.2]);
    let named = json!({"꽃받침폭": 0.2, "꽃잎길이": 5.1, "꽃받침길이": 1.4, "꽃잎폭": 3.5});
    let answer = predict(&TRAINED_IRIS.model, json!({"instances": [row, named]}));
    assert_eq!(answer["predictions"][0], answer["predictions"][1]);
    assert_eq!(answer["warnings"], json!([]));
}

fn a_classification_answers_a_label_and_all_probabilities() {
    let answer = predict(&TRAINED_IRIS.model, json!({"instances": rows(IRIS)}));
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 150);
    for prediction in predictions {
        let probabilities = prediction["probabilities"].as_object().unwrap();
        let classes: Vec<&String> = probabilities.keys().collect();
        assert_eq!(classes, ["setosa", "versicolor", "virginica"]);
        let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{prediction}");
        let likeliest = probabilities
            .iter()
            .max_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap()))
            .unwrap();
        assert_eq!(&prediction["label"], likeliest.0);
    }
}

fn a_regression_answers_a_value() {
    let answer = predict(&TRAINED_HOUSING.model, json!({"instances": [rows(HOUSING)[0]]}));
    let prediction = answer["predictions"][0].as_object().unwrap();
    assert_eq!(prediction.keys().collect::<Vec<_>>(), ["value"]);
    assert!(prediction["value"].is_f64());
}

/// x·w + b as the server does it: one chain of fused multiply-adds from the bias on, in the order of the inputs.
fn dense(x: &[f32], layer: &Value) -> Vec<f32> {
    let kernel: Vec<Vec<f32>> = layer["kernel"].as_array().unwrap().iter().map(numbers).collect();
    let bias = numbers(&layer["bias"]).into_iter().enumerate();
    bias.map(|(o, bias)| x.iter().zip(&kernel).fold(bias, |sum, (x, row)| x.mul_add(row[o], sum)))
        .collect()
}

fn assert_near(what: &str, got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (a, b) in got.iter().zip(wanted) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(0.1), "{what}: {got:?} {wanted:?}");
    }
}

fn an_explanation_can_be_redone_by_hand() {
    let all = rows(IRIS);
    let answer = predict(&TRAINED_IRIS.model, json!({"instances": [all[100]], "explain": true}));
    let explained = &answer["predictions"][0];
    let weights = client()
        .get(format!("/v1/models/{}/weights", TRAINED_IRIS.model))
        .send()
        .expect(200)
        .json()["weights"]
        .clone();
    // Standardised: less the mean, by the standard deviation, of the training rows.
    let standardized = |column: usize| {
        let values: Vec<f64> = all.iter().map(|row| row[column]).collect();
        let mean = values.iter().sum::<f64>() / 150.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 150.0;
        ((values[100] - mean) / variance.sqrt()) as f32
    };
    let inputs = numbers(&explained["inputs"]);
    assert_near("inputs", &inputs, &[0, 1, 2, 3].map(standardized));
    let outputs = |layer: usize| numbers(&explained["layers"][layer]["outputs"]);
    let swish: Vec<f32> = dense(&inputs, &weights[0])
        .into_iter()
        .map(|z| z / (1.0 + (-z).exp()))
        .collect();
    assert_near("dense and swish", &outputs(0), &swish);
    let weight = |name: &str| numbers(&weights[1][name]);
    let (gamma, beta, mean, variance) = (
        weight("gamma"),
        weight("beta"),
        weight("moving_mean"),
        weight("moving_variance"),
    );
    let swished = outputs(0);
    let normalized = swished
        .iter()
        .enumerate()
        .map(|(i, x)| gamma[i] * (x - mean[i]) / (variance[i] + 1e-3).sqrt() + beta[i]);
    assert_near("batch normalization", &outputs(1), &normalized.collect::<Vec<_>>());
    let logits = numbers(&explained["logits"]);
    assert_eq!(logits, dense(&outputs(1), &weights[2]), "bit for bit");
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials = numbers(&explained["exponentials"]);
    assert_near(
        "exponentials",
        &exponentials,
        &logits.iter().map(|logit| (logit - largest).exp()).collect::<Vec<_>>(),
    );
    let sum = explained["sum"].as_f64().unwrap() as f32;
    assert_near("sum", &[sum], &[exponentials.iter().sum()]);
    let probabilities: Vec<f32> = exponentials.iter().map(|e| e / sum).collect();
    assert_near("probabilities", &outputs(2), &probabilities);
    let answered: Vec<f32> = explained["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|p| p.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(answered, outputs(2));
}

fn an_explanation_of_a_regression_has_no_softmax() {
    let answer = predict(
        &TRAINED_HOUSING.model,
        json!({"instances": [rows(HOUSING)[0]], "explain": true}),
    );
    let explained = &answer["predictions"][0];
    assert_eq!(explained["inputs"].as_array().unwrap().len(), 13);
    assert_eq!(explained["layers"][1]["outputs"], json!([explained["value"]]));
    assert!(explained.get("logits").is_none() && explained.get("sum").is_none());
}

fn a_row_alone_equals_the_same_row_in_a_batch_bit_for_bit() {
    for (trained, csv, step) in [(&*TRAINED_IRIS, IRIS, 5), (&*TRAINED_HOUSING, HOUSING, 17)] {
        let all = rows(csv);
        let batch = predict(&trained.model, json!({"instances": all}));
        for index in (0..all.len()).step_by(step) {
            let alone = predict(&trained.model, json!({"instances": [all[index]]}));
            assert_eq!(alone["predictions"][0], batch["predictions"][index], "row {index}");
        }
        let padded: Vec<&Vec<f64>> = all.iter().take(7).chain(all.iter().rev().take(30)).collect();
        let other = predict(&trained.model, json!({"instances": padded}));
        assert_eq!(
            other["predictions"].as_array().unwrap()[..7],
            batch["predictions"].as_array().unwrap()[..7]
        );
    }
}

/// A model of a table with a number and a category, both with holes.
fn mixed() -> &'static Trained {
    static MIXED: std::sync::LazyLock<Trained> = std::sync::LazyLock::new(|| {
        let rows = (0..60).map(|i| match i % 6 {
            0 => format!("{i},red,{i}\n"),
            1 => format!("{i},,{i}\n"),
            2 => format!(",green,{i}\n"),
            _ => format!("{i},blue,{i}\n"),
        });
        let dataset = upload(
            client(),
            "mixed",
            format!("size,colour,price\n{}", rows.collect::<String>()),
        );
        let spec = json!({"dataset": id(&dataset), "target": "price", "training": {"epochs": 2}});
        Trained::new(client(), dataset, spec)
    });
    &MIXED
}

fn a_missing_value_is_imputed() {
    let absent = |value: Value| {
        let mut row = Map::new();
        row.insert("size".to_owned(), value);
        row.insert("colour".to_owned(), json!("red"));
        predict(&mixed().model, json!({"instances": [row]}))["predictions"][0]["value"].clone()
    };
    let imputed = absent(Value::Null);
    assert!(imputed.is_number());
    let kept: Vec<f64> = (0..60).filter(|i| i % 6 != 2).map(f64::from).collect();
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    assert_near(
        "the mean stands in",
        &[imputed.as_f64().unwrap() as f32],
        &[absent(json!(mean)).as_f64().unwrap() as f32],
    );
}

fn an_unseen_category_is_encoded_as_unknown_and_named_in_a_warning() {
    let answer = predict(
        &mixed().model,
        json!({"instances": [{"size": 1, "colour": "mauve"}, {"size": 1, "colour": "red"}], "explain": true}),
    );
    let inputs = numbers(&answer["predictions"][0]["inputs"]);
    assert!(inputs[1..].iter().all(|input| *input == 0.0), "all zeros: {inputs:?}");
    assert_eq!(
        numbers(&answer["predictions"][1]["inputs"])[1..].iter().sum::<f32>(),
        1.0
    );
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0]
            .as_str()
            .is_some_and(|warning| warning.contains("mauve") && warning.contains("colour"))
    );
}

fn predict_csv(trained: &Trained, body: impl Into<Vec<u8>>) -> Vec<Vec<String>> {
    predict_table(trained, body, b',')
}

/// The answer is delimited as the question was.
fn predict_table(trained: &Trained, body: impl Into<Vec<u8>>, delimiter: u8) -> Vec<Vec<String>> {
    let call = client()
        .post(format!("/v1/models/{}/predict/csv", trained.model))
        .body("text/csv", body);
    let answer = call.send().expect(200);
    assert!(
        answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/csv"))
    );
    let text = answer.text();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .from_reader(text.as_bytes());
    reader
        .records()
        .map(|record| record.expect("a record").iter().map(str::to_owned).collect())
        .collect()
}

fn csv_rows_come_back_with_the_prediction_added() {
    let records = predict_csv(&TRAINED_IRIS, IRIS);
    assert_eq!(records.len(), 151);
    let predictions = predict(&TRAINED_IRIS.model, json!({"instances": rows(IRIS)}));
    for (record, line) in records.iter().zip(IRIS.lines()) {
        assert_eq!(record[..5], line.split(',').collect::<Vec<_>>());
    }
    for (record, prediction) in records[1..].iter().zip(predictions["predictions"].as_array().unwrap()) {
        assert_eq!(prediction["label"], record[5].as_str());
        let probabilities: Vec<f32> = record[6..].iter().map(|p| p.parse().expect("a probability")).collect();
        let wanted: Vec<f32> = prediction["probabilities"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(probabilities, wanted);
    }
    let records = predict_csv(&TRAINED_HOUSING, HOUSING);
    assert_eq!((records.len(), records[0].len()), (507, 15));
    let value =
        predict(&TRAINED_HOUSING.model, json!({"instances": [rows(HOUSING)[505]]}))["predictions"][0]["value"].clone();
    assert_eq!(records[506][14].parse::<f32>().unwrap(), value.as_f64().unwrap() as f32);
}

fn csv_columns_are_found_by_name_in_any_dialect() {
    // Other order, another column between, no target, semicolons, CRLF, CP949.
    let reordered: String = IRIS
        .lines()
        .map(|line| {
            let f: Vec<&str> = line.split(',').collect();
            format!("{};note;{};{};{}\r\n", f[3], f[0], f[2], f[1])
        })
        .collect();
    let (bytes, _, _) = encoding_rs::EUC_KR.encode(&reordered);
    let records = predict_table(&TRAINED_IRIS, bytes.into_owned(), b';');
    let plain = predict_csv(&TRAINED_IRIS, IRIS);
    for (a, b) in records.iter().zip(&plain).skip(1) {
        assert_eq!(a[5..], b[5..]);
    }
    assert_eq!(records.len(), plain.len());
}

fn a_formula_in_a_csv_cell_is_not_one_in_the_answer() {
    let csv = format!("{}\n5.1,3.5,1.4,0.2,=cmd|' /C calc'!A0\n", IRIS.lines().next().unwrap());
    let records = predict_csv(&TRAINED_IRIS, csv);
    assert!(
        !records[1][4].starts_with('=') && records[1][4].contains("=cmd"),
        "{:?}",
        records[1]
    );
}

fn more_predictions_than_may_wait_are_refused_and_small_ones_are_not() {
    let server = Server::start(&["--max-waiting-predictions", "1"]);
    let client = server.client();
    let dataset = upload(&client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let target = format!("/v1/models/{}/predict", Trained::new(&client, dataset, spec).model);
    let large = json!({"instances": vec![[5.1, 3.5, 1.4, 0.2]; 10_000]}).to_string();
    // So large that it is refused before it is read.
    let huge = format!("{large}{}", " ".repeat(1 << 20));
    let predict = |body: &str| client.post(&*target).body("application/json", body).send();
    let small = r#"{"instances": [[5.1, 3.5, 1.4, 0.2]]}"#;
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let bodies = (0..40).map(|sender| if sender % 2 == 0 { &large } else { &huge });
        let senders: Vec<_> = bodies.map(|body| scope.spawn(|| predict(body))).collect();
        for _ in 0..10 {
            predict(small).expect(200);
        }
        senders
            .into_iter()
            .map(|sender| sender.join().expect("an answer"))
            .collect()
    });
    let (answered, refused): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert!(
        !answered.is_empty() && !refused.is_empty(),
        "{} answered",
        answered.len()
    );
    for refusal in refused {
        assert_eq!(refusal.header("retry-after"), Some("5"));
        refusal.problem(503, "unavailable");
    }
    predict(&huge).expect(200);
}
