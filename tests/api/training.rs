//! What the training options do, as seen in histories and models.

use serde_json::{Value, json};

use crate::fixtures::{
    HOUSING, TRAINED_HOUSING, TRAINED_IRIS, client, history, housing_job, id, iris_job, submit, train, upload, wait,
    weights_sha256, with,
};
use crate::trials;

trials![
    the_same_seed_gives_the_same_weights_and_another_seed_others,
    rows_without_a_target_are_left_out,
    a_split_is_measured_apart,
    a_dataset_can_be_the_validation,
    class_weights_change_the_training,
    a_sample_weight_column_is_no_feature_and_changes_the_training,
    a_weight_of_two_is_the_row_twice,
    early_stopping_brings_the_best_weights_back,
    a_loss_that_is_no_longer_finite_fails_the_job_and_keeps_the_last_finite_model,
];

fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
    let spec = |seed: u64| {
        with(
            &iris_job(id(&TRAINED_IRIS.dataset)),
            json!({"training": {"seed": seed}}),
        )
    };
    let again = train(client(), &spec(7));
    assert_eq!(weights_sha256(&again), weights_sha256(&TRAINED_IRIS.job));
    assert_eq!(history(&again), history(&TRAINED_IRIS.job));
    assert_ne!(
        weights_sha256(&train(client(), &spec(8))),
        weights_sha256(&TRAINED_IRIS.job)
    );
}

fn rows_without_a_target_are_left_out() {
    let holes = HOUSING.lines().enumerate().map(|(line, text)| match line {
        0 => text.to_owned(),
        _ if line % 2 == 0 => text.to_owned(),
        _ => format!("{},", text.rsplit_once(',').expect("a comma").0),
    });
    let kept: Vec<&str> = HOUSING
        .lines()
        .enumerate()
        .filter(|(line, _)| line % 2 == 0)
        .map(|(_, text)| text)
        .collect();
    let with_holes = upload(client(), "holes", holes.collect::<Vec<_>>().join("\n"));
    let without = upload(client(), "kept", kept.join("\n"));
    assert_eq!((&with_holes["rows"], &without["rows"]), (&json!(506), &json!(253)));
    let [a, b] = [with_holes, without].map(|dataset| train(client(), &housing_job(id(&dataset))));
    assert_eq!(a["progress"]["batches_per_epoch"], 8);
    assert_eq!(weights_sha256(&a), weights_sha256(&b));
}

fn a_split_is_measured_apart() {
    let spec = with(
        &iris_job(id(&TRAINED_IRIS.dataset)),
        json!({"training": {"validation": {"split": 0.2}}}),
    );
    let job = train(client(), &spec);
    assert_eq!(
        job["progress"]["batches_per_epoch"], 4,
        "120 rows of 150 are trained on, in batches of 32"
    );
    let history = history(&job);
    for name in ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"] {
        assert_eq!(history[name].as_array().map(Vec::len), Some(5), "{name}");
    }
    // 30 rows, 10 a class: an accuracy is a count of thirtieths.
    let accuracy = history["val_accuracy"][4].as_f64().unwrap() * 30.0;
    assert!((accuracy - accuracy.round()).abs() < 1e-4, "{accuracy}");
}

fn a_dataset_can_be_the_validation() {
    let dataset = id(&TRAINED_IRIS.dataset);
    let spec = with(
        &iris_job(dataset),
        json!({"training": {"validation": {"dataset": dataset}}}),
    );
    let job = train(client(), &spec);
    let evaluation = client().post(format!("/v1/models/{}/evaluate", job["model"].as_str().unwrap()));
    let evaluation = evaluation.json(&json!({"dataset": dataset})).send().expect(200).json();
    assert_eq!(history(&job)["val_loss"][4], evaluation["loss"]);
    assert_eq!(history(&job)["val_accuracy"][4], evaluation["metrics"]["accuracy"]);
    assert_eq!(
        weights_sha256(&job),
        weights_sha256(&TRAINED_IRIS.job),
        "measuring changes nothing"
    );
}

fn class_weights_change_the_training() {
    let weighted = |class_weight: Value| {
        let spec = with(
            &iris_job(id(&TRAINED_IRIS.dataset)),
            json!({"training": {"class_weight": class_weight}}),
        );
        weights_sha256(&train(client(), &spec))
    };
    let plain = weights_sha256(&TRAINED_IRIS.job);
    assert_eq!(weighted(json!({"setosa": 1.0})), plain);
    assert_ne!(weighted(json!({"setosa": 2.0})), plain);
}

/// The first columns of housing with a weight column, and the medv of one row in two at weight `second`.
fn weighted_housing(second: &str) -> String {
    let rows = HOUSING.lines().enumerate().map(|(line, text)| match line {
        0 => format!("{text},weight"),
        _ if line % 2 == 0 => format!("{text},{second}"),
        _ => format!("{text},1"),
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn a_sample_weight_column_is_no_feature_and_changes_the_training() {
    let train_with = |second: &str| {
        let dataset = upload(client(), "weighted", weighted_housing(second));
        train(
            client(),
            &with(
                &housing_job(id(&dataset)),
                json!({"training": {"sample_weight": "weight"}}),
            ),
        )
    };
    let [plain, weighted] = ["1", "0.25"].map(train_with);
    assert_eq!(plain["spec"]["features"], TRAINED_HOUSING.job["spec"]["features"]);
    assert_eq!(weights_sha256(&plain), weights_sha256(&TRAINED_HOUSING.job));
    assert_ne!(weights_sha256(&weighted), weights_sha256(&plain));
}

/// With weights that sum to the number of rows, a batch of all rows at weight 0 or 2 is the loss of the doubled half.
fn a_weight_of_two_is_the_row_twice() {
    let rows: Vec<&str> = HOUSING.lines().collect();
    let weighted: Vec<String> = (0..rows.len())
        .map(|line| match line {
            0 => format!("{},weight", rows[0]),
            _ => format!("{},{}", rows[line], if line % 2 == 0 { 2 } else { 0 }),
        })
        .collect();
    let doubled = std::iter::once(rows[0]).chain(rows[1..].iter().skip(1).step_by(2).flat_map(|row| [*row, *row]));
    let batch = json!({"training": {"batch_size": 506, "epochs": 3}, "preprocessing": {"numeric": "none"}});
    let losses = |csv: String, changes: Value| {
        let dataset = upload(client(), "twice", csv);
        let job = train(
            client(),
            &with(&with(&housing_job(id(&dataset)), batch.clone()), changes),
        );
        history(&job)["loss"]
            .as_array()
            .unwrap()
            .iter()
            .map(|loss| loss.as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let by_weight = losses(weighted.join("\n"), json!({"training": {"sample_weight": "weight"}}));
    let by_row = losses(doubled.collect::<Vec<_>>().join("\n"), json!({}));
    for (a, b) in by_weight.iter().zip(&by_row) {
        assert!((a - b).abs() / b < 1e-4, "{by_weight:?} {by_row:?}");
    }
}

fn early_stopping_brings_the_best_weights_back() {
    let dataset = id(&TRAINED_IRIS.dataset);
    let stopping = json!({"monitor": "val_loss", "patience": 2, "restore_best": true});
    let spec = with(
        &iris_job(dataset),
        // At this rate the loss on the held-out rows soon stops falling.
        json!({"model": {"optimizer": {"learning_rate": 1.0}}, "training":
            {"epochs": 500, "early_stopping": stopping, "validation": {"dataset": dataset}}}),
    );
    let job = train(client(), &spec);
    let epochs = job["progress"]["epoch"].as_u64().unwrap();
    assert!(epochs < 500, "it stopped early");
    let history = history(&job);
    let losses: Vec<f64> = history["val_loss"]
        .as_array()
        .unwrap()
        .iter()
        .map(|loss| loss.as_f64().unwrap())
        .collect();
    assert_eq!(losses.len() as u64, epochs);
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(
        losses.iter().position(|loss| *loss == best),
        Some(losses.len() - 3),
        "patience was 2: {losses:?}"
    );
    let evaluation = client().post(format!("/v1/models/{}/evaluate", job["model"].as_str().unwrap()));
    let evaluation = evaluation.json(&json!({"dataset": dataset})).send().expect(200).json();
    assert_eq!(
        evaluation["loss"].as_f64(),
        Some(best),
        "the model has the weights of its best epoch"
    );
}

fn a_loss_that_is_no_longer_finite_fails_the_job_and_keeps_the_last_finite_model() {
    let spec = with(
        &housing_job(id(&TRAINED_HOUSING.dataset)),
        json!({"model": {"optimizer": {"type": "sgd", "learning_rate": 10.0}}, "preprocessing": {"numeric": "none"}, "training": {"epochs": 100}}),
    );
    let job = wait(client(), &submit(client(), &spec));
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("diverged"))
    );
    let detail = job["error"]["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("learning rate") && detail.contains("weights from before the first epoch"),
        "{detail}"
    );
    let model = job["model"].as_str().expect("the last finite checkpoint is its model");
    let weights = client().get(format!("/v1/models/{model}/weights")).send().expect(200);
    assert!(!weights.text().contains("null"), "every weight is finite");
}
