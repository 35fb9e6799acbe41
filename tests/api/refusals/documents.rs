//! Job documents as a whole: what is no job at all, and all faults of one at once.

use serde_json::{Value, json};

use super::Place::{At, Says};
use super::specs::iris;
use super::{Case, Place};
use crate::fixtures::client;

pub(super) fn cases() -> Vec<Case> {
    let whole = |name, document: Value, places: Vec<Place>| {
        Case::new(name, 422, "invalid-spec", move || {
            client().post("/v1/jobs").json(&document)
        })
        .places(places)
    };
    vec![
        whole("an empty object", json!({}), vec![At("/dataset"), At("/target")]),
        whole("an array", json!([]), vec![At("")]),
        whole("a number", json!(1), vec![At("")]),
        whole("null", json!(null), vec![At("")]),
        whole(
            "a model that is a word",
            json!({"dataset": "ds_x", "target": "y", "model": "big"}),
            vec![At("/dataset"), At("/model")],
        ),
        iris("an empty name", json!({"name": ""}), [At("/name")]),
        iris(
            "a name of 1,000 characters",
            json!({"name": "x".repeat(1000)}),
            [At("/name")],
        ),
        iris(
            "every fault at once",
            json!({"model": {"layers": [{"type": "dense", "units": 0, "activation": "swich"}], "optimizer": {"learning_rate": -1}}, "training": {"epochs": 0, "sed": 1}}),
            [
                At("/model/layers/0/units"),
                Says("/model/layers/0/activation", "swish"),
                At("/model/optimizer/learning_rate"),
                At("/training/epochs"),
                Says("/training/sed", "seed"),
            ],
        ),
        iris(
            "what reading, fitting and the table show, at once",
            json!({
                "target": "품중", "features": ["꽃잎길이", "꽃잎넓이"],
                "model": {"optimizer": {"type": "sgd", "learning_rate": 0, "clipnorm": 1, "clipvalue": 1}},
                "training": {"epochs": 0},
            }),
            [
                At("/model/optimizer/learning_rate"),
                At("/model/optimizer"),
                At("/training/epochs"),
                At("/target"),
                At("/features/1"),
            ],
        ),
    ]
}
