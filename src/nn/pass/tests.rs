use std::ops::Range;

use super::*;
use crate::nn::kernel::with_helpers;
use crate::nn::rng::{Purpose, Random};
use crate::nn::spec::{ModelSpec, Target};

const ROWS: usize = 11;

/// Loss, gradients, outputs and moving averages of eleven rows, some without weight, in shares of at most so many.
fn in_shares_of(most: usize, layers: &str) -> [Vec<f64>; 4] {
    let spec = format!(r#"{{"layers": {layers}, "loss": "categorical_crossentropy"}}"#);
    let spec: ModelSpec = serde_json::from_str(&spec).unwrap();
    let plan = spec.plan("", 4, Target::Classes(3)).unwrap();
    let mut network = Network::initialize(&plan, 3);
    let random = Random::new(0, Purpose::Dropout, 0, 0);
    let batch = Batch {
        rows: ROWS,
        weighted: true,
        random: &random,
        fill: |rows: Range<usize>, room: Room<'_, f64>| {
            for (place, row) in rows.enumerate() {
                (0..4).for_each(|i| room.x[place * 4 + i] = ((row * 4 + i) as f64).sin());
                (0..3).for_each(|o| room.y[place * 3 + o] = f64::from(u8::from(row % 3 == o)));
                room.weights[place] = if row % 4 == 1 { 0.0 } else { 1.0 + row as f64 / 7.0 };
            }
        },
    };
    let operations = network.scored(&plan.loss).to_vec();
    let mut pass = Pass::in_shares(&network, &operations, ROWS, most);
    // What the first run leaves must not show in the second.
    pass.run(&mut network, &plan.loss, &batch).unwrap();
    let loss = pass.run(&mut network, &plan.loss, &batch).unwrap();
    let (gradients, outputs) = (pass.gradients().to_vec(), pass.outputs(ROWS).to_vec());
    [vec![loss], gradients, outputs, network.moving.to_vec()]
}

#[test]
fn shares_of_any_size_come_to_the_same_numbers() {
    let swish = r#"{"type": "dense", "units": 7, "activation": "swish"}"#;
    let softmax = r#"{"type": "dense", "units": 3, "activation": "softmax"}"#;
    let norm = r#"{"type": "batch_normalization"}"#;
    for layers in [
        format!(r#"[{swish}, {{"type": "layer_normalization"}}, {softmax}]"#),
        format!("[{swish}, {norm}, {softmax}]"),
        format!("[{norm}, {swish}, {norm}, {norm}, {swish}, {softmax}]"),
        format!(
            r#"[{swish}, {{"type": "dense", "units": 3}}, {norm}, {{"type": "activation", "activation": "softmax"}}]"#
        ),
    ] {
        let wanted = in_shares_of(ROWS, &layers);
        for most in 1..ROWS {
            let found = in_shares_of(most, &layers);
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                let error = (found - wanted).abs();
                assert!(error < 1e-12, "{found} for {wanted} in shares of {most}, {layers}");
            }
        }
    }
}

#[test]
fn a_batch_has_the_same_bits_in_any_pass() {
    let spec = r#"{"layers": [{"type": "dense", "units": 3}, "batch_normalization", {"type": "dense", "units": 1}], "loss": "mse"}"#;
    let spec: ModelSpec = serde_json::from_str(spec).unwrap();
    let plan = spec.plan("", 2, Target::Regression).unwrap();
    let random = Random::new(0, Purpose::Dropout, 0, 0);
    let batch = Batch {
        rows: 1100,
        weighted: false,
        random: &random,
        fill: |rows: Range<usize>, room: Room<'_, f32>| {
            let of = |k: usize| ((rows.start * 2 + k) as f32).sin();
            (0..room.x.len()).for_each(|k| room.x[k] = of(k));
            (0..room.y.len()).for_each(|k| room.y[k] = of(2 * k));
        },
    };
    let gradients = |largest: usize| {
        let mut network = Network::initialize(&plan, 3);
        let mut pass = Pass::new(&network, &plan.loss, largest);
        pass.run(&mut network, &plan.loss, &batch);
        pass.gradients().to_vec()
    };
    assert_eq!(gradients(1100), gradients(4000));
}

/// The gradients of rows of which some have no weight, or of those alone that have.
fn of_weighted_rows(weighted: &[bool], layers: &str, only_these: bool) -> Vec<f64> {
    let spec = format!(r#"{{"layers": {layers}, "loss": "mse"}}"#);
    let spec: ModelSpec = serde_json::from_str(&spec).unwrap();
    let plan = spec.plan("", 5, Target::Columns(Some(2))).unwrap();
    let mut network = Network::initialize(&plan, 3);
    let random = Random::new(0, Purpose::Dropout, 0, 0);
    let rows = &(0..weighted.len())
        .filter(|&row| weighted[row] || !only_these)
        .collect::<Vec<usize>>();
    let batch = |weight: fn(bool) -> bool| Batch {
        rows: rows.len(),
        weighted: true,
        random: &random,
        fill: move |places: Range<usize>, room: Room<'_, f64>| {
            for (place, &row) in rows[places].iter().enumerate() {
                (0..5).for_each(|i| room.x[place * 5 + i] = ((row * 5 + i) as f64).sin());
                (0..2).for_each(|o| room.y[place * 2 + o] = ((row * 2 + o) as f64).cos());
                room.weights[place] = f64::from(u8::from(weight(weighted[row])));
            }
        },
    };
    let mut pass = Pass::new(&network, &plan.loss, rows.len());
    // Leaves numbers everywhere that the second run must not find.
    pass.run(&mut network, &plan.loss, &batch(|_| true)).unwrap();
    pass.run(&mut network, &plan.loss, &batch(|weighted| weighted)).unwrap();
    pass.gradients().to_vec()
}

#[test]
fn rows_without_a_gradient_change_nothing() {
    let dense = r#"{"type": "dense", "units": 2}"#;
    let hidden = r#"{"type": "dense", "units": 70, "activation": "gelu"}"#;
    let deep = format!(
        r#"[{{"type": "activation", "activation": "tanh"}}, {hidden}, {{"type": "layer_normalization"}}, {hidden}, {dense}]"#
    );
    let patterns: [fn(usize) -> bool; 5] = [
        |row| row % 2 == 0,
        |row| row < 64,
        |row| row >= 64,
        |row| row % 8 != 3,
        |row| row == 77,
    ];
    for layers in [&deep, &format!("[{dense}]")] {
        for weighted in patterns {
            let weighted: Vec<bool> = (0..128).map(weighted).collect();
            let kept = weighted.iter().filter(|&&weighted| weighted).count() as f64;
            let all = of_weighted_rows(&weighted, layers, false);
            let only = of_weighted_rows(&weighted, layers, true);
            assert!(only.iter().any(|g| *g != 0.0));
            for (all, only) in all.iter().zip(only) {
                // Means over another number of rows: the quotient is exact where it is a power of two.
                let (wanted, error) = (only * (kept / 128.0), if kept == 112.0 { 1e-12 } else { 0.0 });
                assert!(
                    (all - wanted).abs() <= error,
                    "{all} for {wanted}, {kept} rows of {layers}"
                );
            }
        }
        let none = of_weighted_rows(&[false; 128], layers, false);
        assert!(none.iter().all(|g| *g == 0.0));
    }
}

/// Every gradient is a sum over the rows of the loss, so those of both halves of the rows come to that of all.
#[test]
fn gradients_of_both_halves_of_the_rows_come_to_those_of_all() {
    let dropout = r#"[{"type": "dense", "units": 40, "activation": "softmax"}, {"type": "dropout", "rate": 0.5}, {"type": "dense", "units": 2}]"#;
    // Here each row's gradient depends on the rows without one.
    let normalized =
        r#"[{"type": "dense", "units": 4}, {"type": "batch_normalization"}, {"type": "dense", "units": 2}]"#;
    for layers in [dropout, normalized] {
        let gradients = |weighted: &[bool]| of_weighted_rows(weighted, layers, false);
        let half: Vec<bool> = (0..128).map(|row| row % 3 == 0).collect();
        let others: Vec<bool> = half.iter().map(|weighted| !weighted).collect();
        let (half, others, all) = (gradients(&half), gradients(&others), gradients(&[true; 128]));
        for ((half, others), all) in half.iter().zip(others).zip(all) {
            assert!(
                (half + others - all).abs() < 1e-12,
                "{half} and {others} for {all} of {layers}"
            );
        }
    }
}

#[test]
fn dropout_drops_other_inputs_in_other_shares() {
    let spec = r#"{"layers": [{"type": "dropout", "rate": 0.5}, {"type": "dense", "units": 1}], "loss": "mse"}"#;
    let spec: ModelSpec = serde_json::from_str(spec).unwrap();
    let plan = spec.plan("", 40, Target::Regression).unwrap();
    let mut network = Network::initialize(&plan, 3);
    let random = Random::new(0, Purpose::Dropout, 0, 0);
    let batch = Batch {
        rows: 2,
        weighted: false,
        random: &random,
        fill: |_: Range<usize>, room: Room<'_, f64>| room.x.fill(1.0),
    };
    let operations = network.scored(&plan.loss).to_vec();
    let mut pass = Pass::in_shares(&network, &operations, 2, 1);
    pass.run(&mut network, &plan.loss, &batch);
    assert_ne!(pass.outputs(2)[0], pass.outputs(2)[1]);
}

/// The trained weights and the optimizer's state after three batches of a network 512-528-16.
fn trained(
    optimizer: &str,
    rows: usize,
    width: usize,
    normalized: bool,
    threads: usize,
    at_once: bool,
) -> (Vec<f32>, OptimizerState<f32>) {
    let spec = serde_json::json!({
        "layers": [{"type": "dense", "units": width, "activation": "relu"}, {"type": "batch_normalization"},
            {"type": "dense", "units": width}, {"type": "dense", "units": 3, "use_bias": false}],
        "loss": "mse", "optimizer": optimizer,
    });
    let mut spec: ModelSpec = serde_json::from_value(spec).unwrap();
    if !normalized {
        spec.layers.as_mut().unwrap().remove(1);
    }
    let plan = spec.plan("", 512, Target::Columns(Some(3))).unwrap();
    let mut network = Network::initialize(&plan, 3);
    let mut state = plan.optimizer.start(&network);
    let mut pass = Pass::new(&network, &plan.loss, rows);
    let random = Random::new(0, Purpose::Dropout, 0, 0);
    let batch = Batch {
        rows,
        weighted: true,
        random: &random,
        fill: |rows: Range<usize>, room: Room<'_, f32>| {
            let first = rows.start;
            (0..room.weights.len()).for_each(|row| room.weights[row] = f32::from(u8::from((first + row) % 5 > 1)));
            (0..room.x.len()).for_each(|k| room.x[k] = ((first * 512 + k) as f32).sin());
            (0..room.y.len()).for_each(|k| room.y[k] = ((first * 3 + k) as f32).cos());
        },
    };
    with_helpers(threads - 1, |team| {
        pass.set_team(team.clone());
        for _ in 0..3 {
            if at_once {
                pass.train(&mut network, &plan.loss, &batch, (&plan.optimizer, &mut state));
            } else {
                pass.run(&mut network, &plan.loss, &batch);
                plan.optimizer.apply(&mut network, pass.gradients(), &mut state, team);
            }
        }
    });
    (network.trainable.to_vec(), state)
}

#[test]
fn weights_that_change_at_once_change_as_after_the_whole_pass() {
    for (rows, width, normalized) in [
        (40, 528, true),
        (40, 16, true),
        (300, 16, false),
        (300, 16, true),
        (300, 528, true),
    ] {
        for optimizer in ["sgd", "adam", "nadam", "adamw"] {
            let after = trained(optimizer, rows, width, normalized, 1, false);
            for threads in [1, 3] {
                let found = trained(optimizer, rows, width, normalized, threads, true);
                let bits = |weights: &[f32]| weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
                assert!(
                    bits(&found.0) == bits(&after.0),
                    "{optimizer}, {rows} rows, {width} units, {threads} threads"
                );
                assert!(
                    found.1 == after.1,
                    "the state of {optimizer}, {rows} rows, {width} units, {threads} threads"
                );
            }
        }
    }
}
