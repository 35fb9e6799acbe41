use serde_json::{Value, json};

use super::reader::Reader;
use super::*;

fn read(document: &Value) -> Result<ModelSpec, Vec<Fault>> {
    let mut reader = Reader::default();
    let spec = ModelSpec::read(&mut reader, document, "/model");
    match reader.faults.is_empty() {
        true => Ok(spec.expect("no fault, no excuse")),
        false => Err(reader.faults),
    }
}

fn plan(document: &Value, target: Target) -> Result<Plan, Vec<Fault>> {
    read(document)?.plan("/model", 4, target)
}

/// Faults as `pointer: detail`.
fn faults(result: Result<Plan, Vec<Fault>>) -> Vec<String> {
    let faults = result.expect_err("it has faults");
    faults
        .into_iter()
        .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
        .collect()
}

fn dense(units: u64, activation: &str) -> Value {
    json!({"type": "dense", "units": units, "activation": activation})
}

#[test]
fn a_spec_is_stored_with_every_field_and_read_back_as_it_was() {
    let schedule = json!({"type": "cosine_decay", "decay_steps": 9});
    let document = json!({
        "layers": [dense(3, "silu"), "Batch_Normalization", {"type": "dropout", "rate": 0.5}, dense(2, "softmax")],
        "loss": "Categorical_Crossentropy",
        "optimizer": {"type": "Adagrad", "learning_rate": 0.5, "schedule": schedule},
        "metrics": ["ACCURACY", {"type": "top_k", "k": 2}],
    });
    let spec = read(&document).expect("a spec");
    let stored = serde_json::to_value(&spec).expect("JSON");
    assert_eq!(
        stored["layers"][0],
        json!({"type": "dense", "units": 3, "activation": "swish", "use_bias": true,
               "kernel_initializer": "glorot_uniform", "kernel_l1": 0.0, "kernel_l2": 0.0})
    );
    assert_eq!(
        stored["layers"][1],
        json!({"type": "batch_normalization", "momentum": 0.99, "epsilon": 0.001})
    );
    assert_eq!(
        stored["loss"],
        json!({"type": "categorical_crossentropy", "label_smoothing": 0.0})
    );
    assert_eq!(stored["optimizer"]["initial_accumulator_value"], 0.1);
    assert_eq!(stored["optimizer"]["clipnorm"], Value::Null);
    assert_eq!(stored["optimizer"]["schedule"]["alpha"], 0.0);
    assert_eq!(stored["metrics"], json!(["accuracy", {"type": "top_k", "k": 2}]));
    assert_eq!(
        serde_json::from_value::<ModelSpec>(stored).expect("the stored form"),
        spec
    );
}

#[test]
fn every_word_stands_alone_where_it_needs_no_field() {
    for name in OptimizerSpec::NAMES {
        assert!(read(&json!({"optimizer": name.to_uppercase()})).is_ok(), "{name}");
    }
    for name in LossSpec::NAMES {
        assert!(read(&json!({"loss": name})).is_ok(), "{name}");
    }
    for metric in MetricName::ALL {
        assert!(read(&json!({"metrics": [metric.name()]})).is_ok(), "{metric:?}");
    }
    for name in LayerSpec::NAMES {
        let needs = ["dense", "dropout", "activation"].contains(name);
        assert_eq!(read(&json!({"layers": [name]})).is_err(), needs, "{name}");
    }
}

#[test]
fn keras_names_of_a_loss_are_known_too() {
    let named = |name: &str| {
        read(&json!({"loss": name}))
            .expect("a loss")
            .loss
            .expect("it was given")
            .name()
    };
    assert_eq!(named("mean_squared_error"), "mse");
    assert_eq!(named("mean_absolute_error"), "mae");
    assert_eq!(named("logcosh"), "log_cosh");
}

#[test]
fn every_fault_of_a_spec_is_found_at_once() {
    let document = json!({
        "layers": [
            {"type": "dense", "units": 0, "activatoin": "relu"},
            {"type": "dense", "units": -1},
            {"type": "dense", "units": 1.5, "activation": "reul"},
            {"type": "dense", "units": "64"},
            {"type": "dense", "units": 2_147_483_648u64},
            {"type": "dens", "units": 1},
            {"units": 1},
            7,
            {"type": "dropout", "rate": 1},
            "dropout",
            {"type": "batch_normalization", "epsilon": 0, "momentum": 1},
        ],
        "loss": {"type": "huber", "delta": 0},
        "optimizer": {"type": "adam", "learning_rate": 1e308, "schedule": {"type": "cosine_decay", "decay_steps": 0}},
        "metrics": ["acuracy", "mae", "MAE"],
        "epochs": 3,
    });
    let found: Vec<String> = read(&document)
        .expect_err("faults")
        .into_iter()
        .map(|fault| fault.pointer)
        .collect();
    let expected = [
        "/epochs",
        "/layers/0/activatoin",
        "/layers/0/units",
        "/layers/1/units",
        "/layers/2/units",
        "/layers/2/activation",
        "/layers/3/units",
        "/layers/4/units",
        "/layers/5/type",
        "/layers/6/type",
        "/layers/7",
        "/layers/8/rate",
        "/layers/9/rate",
        "/layers/10/momentum",
        "/layers/10/epsilon",
        "/loss/delta",
        "/optimizer/learning_rate",
        "/optimizer/schedule/decay_steps",
        "/metrics/0",
        "/metrics/2",
    ];
    assert_eq!(found, expected.map(|pointer| format!("/model{pointer}")));
}

#[test]
fn a_misspelt_name_gets_the_nearest_right_one() {
    let found = faults(plan(
        &json!({"layers": [{"type": "dens", "units": 1}]}),
        Target::Regression,
    ));
    assert_eq!(
        found,
        ["/model/layers/0/type: unknown layer \"dens\"; did you mean \"dense\"?"]
    );
}

#[test]
fn no_layers_and_ten_thousand_are_faults() {
    for count in [0, 10_001] {
        let found = faults(plan(
            &json!({"layers": vec![dense(1, "linear"); count]}),
            Target::Regression,
        ));
        assert_eq!(
            found,
            [format!("/model/layers: must have from 1 to 1000 layers, not {count}")]
        );
    }
    let found = faults(plan(
        &json!({"layers": [{"type": "dropout", "rate": 0.5}]}),
        Target::Columns(None),
    ));
    assert!(
        found[0].starts_with("/model/layers: must have at least one layer with weights"),
        "{found:?}"
    );
}

#[test]
fn what_is_left_out_suits_the_target() {
    let chosen = |target| {
        let plan = plan(&json!({}), target).expect("a plan");
        let LayerSpec::Dense(last) = plan.layers.last().expect("layers") else {
            panic!("no dense layer")
        };
        let metrics: Vec<&str> = plan.metrics.iter().map(|metric| metric.name()).collect();
        (
            plan.outputs,
            last.activation,
            plan.loss.name(),
            metrics,
            plan.optimizer.name(),
        )
    };
    let cross = "categorical_crossentropy";
    assert_eq!(
        chosen(Target::Regression),
        (1, Activation::Linear, "mse", vec!["mae"], "adam")
    );
    assert_eq!(
        chosen(Target::Classes(3)),
        (3, Activation::Softmax, cross, vec!["accuracy"], "adam")
    );
    assert_eq!(
        chosen(Target::Columns(Some(2))),
        (2, Activation::Linear, "mse", vec![], "adam")
    );
    let binary = plan(&json!({"loss": "binary_crossentropy"}), Target::Classes(2)).expect("a plan");
    assert_eq!(binary.outputs, 1);
    let sigmoid = plan(&json!({"layers": [dense(1, "sigmoid")]}), Target::Classes(2)).expect("a plan");
    assert_eq!(sigmoid.loss.name(), "binary_crossentropy");
}

#[test]
fn a_network_that_does_not_fit_its_target_is_told_why() {
    let cases = [
        (
            json!({"layers": [dense(4, "softmax")]}),
            Target::Classes(3),
            "/model/layers/0/units",
        ),
        (
            json!({"layers": [dense(3, "linear")]}),
            Target::Classes(3),
            "/model/layers/0/activation",
        ),
        (
            json!({"layers": [dense(3, "sigmoid")], "loss": "categorical_crossentropy"}),
            Target::Classes(3),
            "/model/layers/0/activation",
        ),
        (
            json!({"layers": [dense(1, "softmax")]}),
            Target::Classes(2),
            "/model/layers/0/units",
        ),
        (
            json!({"layers": [dense(2, "linear")]}),
            Target::Regression,
            "/model/layers/0/units",
        ),
        (
            json!({"loss": "categorical_crossentropy"}),
            Target::Regression,
            "/model/loss",
        ),
        (
            json!({"metrics": ["mae", "auc"]}),
            Target::Regression,
            "/model/metrics/1",
        ),
        (json!({}), Target::Classes(1), "/model"),
        (json!({}), Target::Columns(None), "/model/layers"),
        (
            json!({"layers": [dense(2, "linear")]}),
            Target::Columns(Some(3)),
            "/model/layers/0/units",
        ),
        (
            json!({"optimizer": {"type": "adam", "learning_rate": 0}}),
            Target::Regression,
            "/model/optimizer/learning_rate",
        ),
        (
            json!({"optimizer": {"type": "sgd", "clipnorm": 1, "clipvalue": 1}}),
            Target::Regression,
            "/model/optimizer",
        ),
    ];
    for (document, target, pointer) in cases {
        let found = faults(plan(&document, target));
        assert!(found[0].starts_with(&format!("{pointer}: ")), "{document}: {found:?}");
    }
}

#[test]
fn a_schedule_may_warm_up_from_nothing() {
    let schedule = json!({"type": "cosine_decay", "decay_steps": 9, "warmup_target": 0.1, "warmup_steps": 3});
    let document = json!({"optimizer": {"type": "sgd", "learning_rate": 0, "schedule": schedule}});
    assert!(plan(&document, Target::Regression).is_ok());
}

#[test]
fn a_plan_gives_its_spec_back_and_its_counts() {
    let document = json!({"layers": [dense(64, "swish"), "batch_normalization", dense(3, "softmax")]});
    let planned = plan(&document, Target::Classes(3)).expect("a plan");
    assert_eq!(
        planned.spec().plan("", 4, Target::Classes(3)).expect("the same plan"),
        planned
    );
    let counts = planned.parameters();
    assert_eq!((counts.total, counts.trainable, counts.non_trainable), (771, 643, 128));
    assert_eq!(
        planned.figure_names(true),
        ["loss", "accuracy", "val_loss", "val_accuracy"]
    );
}

#[test]
fn the_memory_of_an_absurd_network_is_estimated_without_any() {
    let planned = plan(
        &json!({"layers": vec![dense(65_536, "relu"); 999]}),
        Target::Columns(None),
    )
    .expect("a plan");
    assert!(planned.memory_bytes(u64::MAX, u64::MAX) > 1 << 70);
    let small = plan(&json!({}), Target::Regression).expect("a plan");
    assert!(
        small.memory_bytes(150, 32) < 2_000_000,
        "{}",
        small.memory_bytes(150, 32)
    );
}
