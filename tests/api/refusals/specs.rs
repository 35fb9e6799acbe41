//! Jobs that can't run, each with a pointer to what has to change.

use serde_json::{Value, json};

use super::Place::{At, Says};
use super::{Case, Place};
use crate::fixtures::{HOUSING, TRAINED_HOUSING, TRAINED_IRIS, client, housing_job, id, iris_job, upload, with};

pub(super) fn cases() -> Vec<Case> {
    [networks(), words(), training(), tables(), weights()]
        .into_iter()
        .flatten()
        .collect()
}

/// The iris job with one thing changed.
pub(super) fn iris(name: &'static str, changes: Value, places: impl Into<Vec<Place>>) -> Case {
    let call = move || {
        client()
            .post("/v1/jobs")
            .json(&with(&iris_job(id(&TRAINED_IRIS.dataset)), changes))
    };
    Case::new(name, 422, "invalid-spec", call).places(places)
}

fn housing(name: &'static str, changes: Value, places: impl Into<Vec<Place>>) -> Case {
    let call = move || {
        client()
            .post("/v1/jobs")
            .json(&with(&housing_job(id(&TRAINED_HOUSING.dataset)), changes))
    };
    Case::new(name, 422, "invalid-spec", call).places(places)
}

/// The first of two layers as given.
fn layer(name: &'static str, layer: Value, place: Place) -> Case {
    let layers = json!([layer, {"type": "dense", "units": 3, "activation": "softmax"}]);
    iris(name, json!({"model": {"layers": layers}}), [place])
}

fn networks() -> Vec<Case> {
    let units = |name, units: Value| {
        layer(
            name,
            json!({"type": "dense", "units": units}),
            At("/model/layers/0/units"),
        )
    };
    let last = |name, last: Value, place| iris(name, json!({"model": {"layers": [last]}}), [place]);
    vec![
        units("0 units", json!(0)),
        units("-1 units", json!(-1)),
        units("1.5 units", json!(1.5)),
        units("units in quotes", json!("64")),
        units("2^31 units", json!(1_u64 << 31)),
        layer("no units", json!({"type": "dense"}), At("/model/layers/0/units")),
        iris("no layers", json!({"model": {"layers": []}}), [At("/model/layers")]),
        iris(
            "10,001 layers",
            json!({"model": {"layers": vec![json!({"type": "dense", "units": 3}); 10_001]}}),
            [At("/model/layers")],
        ),
        iris(
            "layers as an object",
            json!({"model": {"layers": "dense"}}),
            [At("/model/layers")],
        ),
        layer(
            "a dropout of everything",
            json!({"type": "dropout", "rate": 1}),
            At("/model/layers/0/rate"),
        ),
        layer(
            "a dropout of less than nothing",
            json!({"type": "dropout", "rate": -0.1}),
            At("/model/layers/0/rate"),
        ),
        layer(
            "a momentum of 2",
            json!({"type": "batch_normalization", "momentum": 2}),
            At("/model/layers/0/momentum"),
        ),
        last(
            "a softmax of 4 for 3 classes",
            json!({"type": "dense", "units": 4, "activation": "softmax"}),
            At("/model/layers/0/units"),
        ),
        iris(
            "a loss of sigmoids over a softmax",
            json!({"model": {"loss": "binary_crossentropy"}}),
            [At("/model/layers/2/activation")],
        ),
        last(
            "classes without a softmax",
            json!({"type": "dense", "units": 3}),
            At("/model/layers/0/activation"),
        ),
        last(
            "one sigmoid for 3 classes",
            json!({"type": "dense", "units": 1, "activation": "sigmoid"}),
            At("/model/layers/0/units"),
        ),
        housing(
            "a measure of classes for numbers",
            json!({"model": {"metrics": ["accuracy"]}}),
            [At("/model/metrics/0")],
        ),
        housing(
            "two outputs for one number",
            json!({"model": {"layers": [{"type": "dense", "units": 2}]}}),
            [At("/model/layers/0/units")],
        ),
    ]
}

fn words() -> Vec<Case> {
    vec![
        layer(
            "a misspelt field",
            json!({"type": "dense", "unitz": 3}),
            Says("/model/layers/0/unitz", "units"),
        ),
        layer(
            "a misspelt layer",
            json!({"type": "dens", "units": 3}),
            Says("/model/layers/0/type", "dense"),
        ),
        layer(
            "a misspelt activation",
            json!({"type": "dense", "units": 3, "activation": "swich"}),
            Says("/model/layers/0/activation", "swish"),
        ),
        iris(
            "a misspelt optimizer",
            json!({"model": {"optimizer": {"type": "adm"}}}),
            [Says("/model/optimizer/type", "adam")],
        ),
        iris(
            "a misspelt bare optimizer",
            json!({"model": {"optimizer": "adagrd"}}),
            [Says("/model/optimizer", "adagrad")],
        ),
        iris(
            "a misspelt loss",
            json!({"model": {"loss": "categorical_crosentropy"}}),
            [Says("/model/loss", "categorical_crossentropy")],
        ),
        iris(
            "a misspelt metric",
            json!({"model": {"metrics": ["acuracy"]}}),
            [Says("/model/metrics/0", "accuracy")],
        ),
        iris(
            "a misspelt scaling",
            json!({"preprocessing": {"numeric": "standardise"}}),
            [Says("/preprocessing/numeric", "standardize")],
        ),
        iris(
            "a misspelt option",
            json!({"training": {"epoch": 3}}),
            [Says("/training/epoch", "epochs")],
        ),
        iris(
            "a misspelt part",
            json!({"trainning": {}}),
            [Says("/trainning", "training")],
        ),
        iris("a field with a slash", json!({"a/b~c": 1}), [At("/a~1b~0c")]),
        iris(
            "an optimizer's field at another",
            json!({"model": {"optimizer": {"type": "adam", "momentum": 0.9}}}),
            [At("/model/optimizer/momentum")],
        ),
    ]
}

fn training() -> Vec<Case> {
    let option = |name, option: &'static str, value: Value, pointer| {
        iris(name, json!({"training": {option: value}}), [At(pointer)])
    };
    let rate = |name, rate: f64| {
        iris(
            name,
            json!({"model": {"optimizer": {"learning_rate": rate}}}),
            [At("/model/optimizer/learning_rate")],
        )
    };
    vec![
        rate("learning rate 0", 0.0),
        rate("learning rate -1", -1.0),
        rate("learning rate 1e308", 1e308),
        option("batch 0", "batch_size", json!(0), "/training/batch_size"),
        option("batch 1.5", "batch_size", json!(1.5), "/training/batch_size"),
        option("epochs 0", "epochs", json!(0), "/training/epochs"),
        option("epochs 1e9", "epochs", json!(1_000_000_000), "/training/epochs"),
        option("epochs true", "epochs", json!(true), "/training/epochs"),
        option("seed -1", "seed", json!(-1), "/training/seed"),
        option("seed 2^53", "seed", json!(1_u64 << 53), "/training/seed"),
        option("shuffle yes", "shuffle", json!("yes"), "/training/shuffle"),
        option(
            "a split of 0",
            "validation",
            json!({"split": 0}),
            "/training/validation/split",
        ),
        option(
            "a split of 1",
            "validation",
            json!({"split": 1}),
            "/training/validation/split",
        ),
        option(
            "a split that leaves no row to measure",
            "validation",
            json!({"split": 1e-9}),
            "/training/validation/split",
        ),
        option(
            "a split and a dataset",
            "validation",
            json!({"split": 0.2, "dataset": "ds_x"}),
            "/training/validation",
        ),
        option(
            "a validation without anything",
            "validation",
            json!({}),
            "/training/validation",
        ),
        option(
            "a patience of -1",
            "early_stopping",
            json!({"monitor": "loss", "patience": -1}),
            "/training/early_stopping/patience",
        ),
        option(
            "a figure that is not measured",
            "early_stopping",
            json!({"monitor": "val_loss"}),
            "/training/early_stopping/monitor",
        ),
        option(
            "a weight for no class",
            "class_weight",
            json!({"rose": 2.0}),
            "/training/class_weight/rose",
        ),
        option(
            "a negative class weight",
            "class_weight",
            json!({"setosa": -2.0}),
            "/training/class_weight/setosa",
        ),
        option(
            "a weight column that is not there",
            "sample_weight",
            json!("weight"),
            "/training/sample_weight",
        ),
        option(
            "a weight column of words",
            "sample_weight",
            json!("품종"),
            "/training/sample_weight",
        ),
        housing(
            "class weights for numbers",
            json!({"training": {"class_weight": {"a": 1.0}}}),
            [At("/training/class_weight")],
        ),
    ]
}

fn tables() -> Vec<Case> {
    let of = |name, csv: &'static str, place| {
        let call = move || {
            client()
                .post("/v1/jobs")
                .json(&json!({"dataset": id(&upload(client(), "bad", csv)), "target": "y"}))
        };
        Case::new(name, 422, "invalid-spec", call).places([place])
    };
    vec![
        of("a target with one class", "x,y\n1,a\n2,a\n", At("/target")),
        of("a target without a value", "x,y\n1,\n2,\n", At("/target")),
        of("no column but the target", "y\n1\n2\n", At("/dataset")),
        iris("a target that is not there", json!({"target": "종"}), [At("/target")]),
        iris(
            "a feature that is not there",
            json!({"features": ["꽃잎길이", "향기"]}),
            [At("/features/1")],
        ),
        iris(
            "the target as a feature",
            json!({"features": ["꽃잎길이", "품종"]}),
            [At("/features/1")],
        ),
        iris(
            "a feature twice",
            json!({"features": ["꽃잎길이", "꽃잎길이"]}),
            [At("/features/1")],
        ),
        iris("no features", json!({"features": []}), [At("/features")]),
        iris(
            "a dataset that is not there",
            json!({"dataset": "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f"}),
            [At("/dataset")],
        ),
        iris(
            "a dataset that is no id",
            json!({"dataset": "../etc/passwd"}),
            [At("/dataset")],
        ),
        iris(
            "a validation dataset that is not there",
            json!({"training": {"validation": {"dataset": "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f"}}}),
            [At("/training/validation/dataset")],
        ),
        Case::new("a validation dataset without the columns", 422, "invalid-spec", || {
            let other = upload(client(), "other", HOUSING);
            client().post("/v1/jobs").json(&with(
                &iris_job(id(&TRAINED_IRIS.dataset)),
                json!({"training": {"validation": {"dataset": id(&other)}}}),
            ))
        })
        .places([At("/training/validation/dataset")]),
        Case::new(
            "evaluating on a table without the columns",
            422,
            "invalid-features",
            || {
                client()
                    .post(format!("/v1/models/{}/evaluate", TRAINED_IRIS.model))
                    .json(&json!({"dataset": TRAINED_HOUSING.dataset["id"]}))
            },
        ),
        Case::new("evaluating on no table", 404, "not-found", || {
            client()
                .post(format!("/v1/models/{}/evaluate", TRAINED_IRIS.model))
                .json(&json!({"dataset": "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f"}))
        }),
    ]
}

fn weights() -> Vec<Case> {
    let model = json!({"layers": [{"type": "dense", "units": 3, "activation": "softmax"}]});
    let given = move |name, weights: Value, pointer| {
        iris(name, json!({"model": model, "initial_weights": weights}), [At(pointer)])
    };
    let kernel = |number: f64| json!([{"kernel": vec![vec![number; 3]; 4], "bias": [0, 0, 0]}]);
    vec![
        given("weights for no layer", json!([]), "/initial_weights"),
        given("weights for two layers", json!([{}, {}]), "/initial_weights"),
        given("weights without a bias", json!([{"kernel": vec![vec![0.0; 3]; 4]}]), "/initial_weights/0/bias"),
        given("weights that a layer has not", json!([{"kernel": vec![vec![0.0; 3]; 4], "bias": [0, 0, 0], "gamma": [1]}]), "/initial_weights/0/gamma"),
        given("weights of another shape", json!([{"kernel": vec![vec![0.0; 3]; 5], "bias": [0, 0, 0]}]), "/initial_weights/0/kernel"),
        given("ragged weights", json!([{"kernel": [[0, 0, 0], [0, 0], [0, 0, 0], [0, 0, 0]], "bias": [0, 0, 0]}]), "/initial_weights/0/kernel/1"),
        given("weights of 1e308", kernel(1e308), "/initial_weights/0/kernel/0/0"),
        given("weights of words", json!([{"kernel": "random", "bias": [0, 0, 0]}]), "/initial_weights/0/kernel"),
        iris("going on from nothing", json!({"continue_from": "mdl_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f"}), [At("/continue_from")]),
        Case::new("going on with other features", 422, "invalid-spec", || {
            client().post("/v1/jobs").json(&json!({"dataset": TRAINED_IRIS.dataset["id"], "target": "품종", "features": ["꽃잎길이"], "continue_from": TRAINED_IRIS.model}))
        })
        .places([At("/features")]),
        Case::new("going on with another network", 422, "invalid-spec", || {
            client().post("/v1/jobs").json(&with(&iris_job(id(&TRAINED_IRIS.dataset)), json!({"continue_from": TRAINED_IRIS.model, "model": {"layers": [{"type": "dense", "units": 3, "activation": "softmax"}]}})))
        })
        .places([At("/model")]),
    ]
}
