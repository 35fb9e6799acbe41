//! Instances that a model can't predict from.

use serde_json::{Value, json};

use super::Case;
use super::Place::{At, Line, Says};
use crate::fixtures::{TRAINED_IRIS, client};

pub(super) fn cases() -> Vec<Case> {
    [instances(), documents(), csv()].into_iter().flatten().collect()
}

fn predict(body: Value) -> crate::client::Call<'static> {
    client()
        .post(format!("/v1/models/{}/predict", TRAINED_IRIS.model))
        .json(&body)
}

fn instances() -> Vec<Case> {
    let one = |name, instance: Value, place| {
        let call = move || predict(json!({"instances": [[5.1, 3.5, 1.4, 0.2], instance]}));
        Case::new(name, 422, "invalid-features", call).places([place])
    };
    let named = |changes: Value| {
        crate::fixtures::with(
            &json!({"꽃잎길이": 5.1, "꽃잎폭": 3.5, "꽃받침길이": 1.4, "꽃받침폭": 0.2}),
            changes,
        )
    };
    vec![
        one(
            "a misspelt column",
            json!({"꽃잎길": 5.1, "꽃잎폭": 3.5, "꽃받침길이": 1.4, "꽃받침폭": 0.2}),
            Says("/instances/1/꽃잎길", "꽃잎길이"),
        ),
        one("a column too many", named(json!({"향기": 1})), At("/instances/1/향기")),
        one(
            "a column missing",
            json!({"꽃잎길이": 5.1, "꽃잎폭": 3.5, "꽃받침길이": 1.4}),
            At("/instances/1/꽃받침폭"),
        ),
        one(
            "three values for four columns",
            json!([5.1, 3.5, 1.4]),
            At("/instances/1"),
        ),
        one(
            "five values for four columns",
            json!([5.1, 3.5, 1.4, 0.2, 0.0]),
            At("/instances/1"),
        ),
        one(
            "text where a number belongs",
            json!([5.1, "long", 1.4, 0.2]),
            At("/instances/1/1"),
        ),
        one(
            "text by name",
            named(json!({"꽃잎폭": "long"})),
            At("/instances/1/꽃잎폭"),
        ),
        one(
            "a truth where a number belongs",
            json!([true, 3.5, 1.4, 0.2]),
            At("/instances/1/0"),
        ),
        one(
            "an array where a number belongs",
            json!([[5.1], 3.5, 1.4, 0.2]),
            At("/instances/1/0"),
        ),
        one("1e308", json!([1e308, 3.5, 1.4, 0.2]), At("/instances/1/0")),
        one("a number as an instance", json!(5.1), At("/instances/1")),
        one("null as an instance", json!(null), At("/instances/1")),
    ]
}

fn documents() -> Vec<Case> {
    vec![
        Case::new("no rows", 422, "invalid-features", || predict(json!({"instances": []}))).places([At("/instances")]),
        Case::new("no instances", 422, "invalid-features", || predict(json!({}))).places([At("/instances")]),
        Case::new("instances as a word", 422, "invalid-features", || {
            predict(json!({"instances": "all"}))
        })
        .places([At("/instances")]),
        Case::new("an unknown field", 422, "invalid-features", || {
            predict(json!({"instances": [[5.1, 3.5, 1.4, 0.2]], "explane": true}))
        })
        .places([Says("/explane", "explain")]),
        Case::new(
            "faults outside and inside the instances",
            422,
            "invalid-features",
            || predict(json!({"instances": [[5.1, 3.5, 1.4, "x"], [1.0]], "explain": 1})),
        )
        .places([At("/explain"), At("/instances/0/3"), At("/instances/1")]),
        Case::new("explaining perhaps", 422, "invalid-features", || {
            predict(json!({"instances": [[5.1, 3.5, 1.4, 0.2]], "explain": 1}))
        })
        .places([At("/explain")]),
    ]
}

fn csv() -> Vec<Case> {
    let table = |name, kind, body: &'static str| {
        Case::new(name, 422, kind, move || {
            client()
                .post(format!("/v1/models/{}/predict/csv", TRAINED_IRIS.model))
                .body("text/csv", body)
        })
    };
    vec![
        table(
            "a csv without a column",
            "invalid-features",
            "꽃잎길이,꽃잎폭,꽃받침길이\n1,2,3\n",
        ),
        table(
            "a csv with text where a number belongs",
            "invalid-features",
            "꽃잎길이,꽃잎폭,꽃받침길이,꽃받침폭\n1,2,3,4\n1,x,3,4\n",
        )
        .places([Line(3, 2)]),
        table(
            "a csv with a ragged row",
            "invalid-dataset",
            "꽃잎길이,꽃잎폭,꽃받침길이,꽃받침폭\n1,2,3,4\n1,2,3\n",
        ),
        table("a csv without a row", "invalid-dataset", ""),
    ]
}
