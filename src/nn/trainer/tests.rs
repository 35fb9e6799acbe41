use ndarray::Array2;

use super::*;
use crate::nn::kernel::at_every_level;
use crate::nn::spec::{ModelSpec, Target};

const INPUTS: usize = 5;
const ROWS: usize = 420;

fn samples(rows: usize) -> Samples<f32> {
    Samples {
        x: Array2::from_shape_fn((rows, INPUTS), |(row, i)| ((row * 7 + i) as f32).sin()),
        y: Array2::from_shape_fn((rows, 1), |(row, _)| (row as f32 / 9.0).cos()),
        weights: None,
    }
}

/// Two epochs of two batches each, all that can be measured after each of them.
fn start(spec: &str) -> (Plan, FitOptions, Trainer<f32>) {
    let spec: ModelSpec = serde_json::from_str(spec).unwrap();
    let plan = spec.plan("", INPUTS, Target::Regression).unwrap();
    let options = FitOptions {
        epochs: 2,
        batch_size: 300,
        seed: 3,
        report_inference_loss: true,
        report_gradient_noise: true,
        ..FitOptions::default()
    };
    let network = Network::initialize(&plan, 3);
    let trainer = Trainer::new(
        plan.clone(),
        network,
        None,
        samples(ROWS),
        Some(samples(600)),
        options.clone(),
    );
    (plan, options, trainer)
}

/// Steps until one is none; the reports of the epochs, and that step.
fn run(trainer: &mut Trainer<f32>) -> (Vec<EpochReport>, Step) {
    let mut reports = Vec::new();
    loop {
        match trainer.step() {
            Step::Batch => {}
            Step::Epoch(report) => reports.push(report),
            none => return (reports, none),
        }
    }
}

/// Stops at every so-many-th place where a step looks whether it is to, and goes on from the checkpoint; returns how many
/// there are.
fn stop_at_every(so_many: usize, spec: &str) -> usize {
    let (_, _, mut whole) = start(spec);
    let (all, done) = run(&mut whole);
    let wanted = whole.finish().network.weights();
    for look in (1..).step_by(so_many) {
        let (plan, options, mut trainer) = start(spec);
        trainer.heed(Stop::at_look(look));
        let (before, end) = run(&mut trainer);
        if end == done {
            return look - 1;
        }
        assert_eq!((end, trainer.step()), (Step::Stopped, Step::Stopped), "look {look}");
        let checkpoint = trainer.checkpoint();
        let mut resumed = Trainer::resume(plan, samples(ROWS), Some(samples(600)), options, checkpoint).unwrap();
        let (after, end) = run(&mut resumed);
        assert_eq!(end, done, "look {look}");
        assert_eq!([before, after].concat(), all, "look {look}");
        assert_eq!(resumed.finish().network.weights(), wanted, "look {look}");
    }
    unreachable!("some look is the last")
}

#[test]
fn a_step_that_is_given_up_anywhere_leaves_no_trace() {
    let in_shares = r#"{"layers": [{"type": "dense", "units": 16, "activation": "swish"},
        {"type": "dropout", "rate": 0.2}, {"type": "dense", "units": 1}], "loss": "mse"}"#;
    let side_by_side = r#"{"layers": [{"type": "dense", "units": 16}, {"type": "batch_normalization"},
        {"type": "activation", "activation": "swish"}, {"type": "dense", "units": 1}], "loss": "mse"}"#;
    // So many weights that they change while the gradients are still worked out.
    let at_once = r#"{"layers": [{"type": "dense", "units": 128, "activation": "relu"}, {"type": "batch_normalization"},
        {"type": "dense", "units": 2064}, {"type": "dense", "units": 1}], "loss": "mse"}"#;
    for (spec, so_many, places) in [(in_shares, 1, 40), (side_by_side, 1, 30), (at_once, 121, 40)] {
        let found = stop_at_every(so_many, spec);
        assert!(found >= places, "only {found} looks in {spec}");
    }
}

#[test]
fn weights_that_the_last_update_made_infinite_are_a_divergence() {
    let (plan, options, _) = start(
        r#"{"layers": [{"type": "dense", "units": 1}], "loss": "mae", "optimizer": {"type": "sgd", "learning_rate": 1000}}"#,
    );
    let options = FitOptions {
        epochs: 1,
        batch_size: 4,
        report_gradient_noise: false,
        ..options
    };
    let mut train = samples(4);
    train.x.mapv_inplace(|x| x.abs() * 1e37);
    let network = Network::initialize(&plan, 3);
    let mut trainer = Trainer::new(plan, network, None, train, None, options);
    let (reports, done) = run(&mut trainer);
    assert!(reports[0].figures[0].1.is_finite());
    assert!(
        matches!(done, Step::Done(StopReason::Diverged { epoch: 1 })),
        "{done:?}"
    );
    assert!(trainer.finish().network.is_finite());
}

/// A hash (FNV-1a) of the weights that 12 epochs of a network leave, on numbers that need no library.
fn hash_of_trained(layers: &str) -> u64 {
    let spec = format!(r#"{{"layers": {layers}, "optimizer": "adam"}}"#);
    let spec: ModelSpec = serde_json::from_str(&spec).unwrap();
    let plan = spec.plan("", INPUTS, Target::Regression).unwrap();
    let number = |k: usize| (k * 7919 % 1009) as f32 / 500.0 - 1.0;
    let samples = Samples {
        x: Array2::from_shape_fn((ROWS, INPUTS), |(row, i)| number(row * INPUTS + i)),
        y: Array2::from_shape_fn((ROWS, 1), |(row, _)| number(row * 13)),
        weights: Some((0..ROWS).map(|row| (row % 3) as f32).collect()),
    };
    let options = FitOptions {
        epochs: 12,
        batch_size: 300,
        seed: 3,
        ..FitOptions::default()
    };
    let network = Network::initialize(&plan, 3);
    let mut trainer = Trainer::new(plan, network, None, samples, None, options);
    run(&mut trainer);
    let network = trainer.finish().network;
    let bytes = network
        .trainable
        .iter()
        .chain(network.moving.iter())
        .flat_map(|w| w.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A checkpoint of other arithmetic is passed over by its version. So if this fails and is meant to, raise `NUMERICS_VERSION`
/// with the new hashes.
#[test]
fn the_bits_are_those_of_this_version_of_the_numerics() {
    let hidden = |activation: &str| format!(r#"{{"type": "dense", "units": 70, "activation": "{activation}"}}"#);
    let curves = [
        "leaky_relu",
        "elu",
        "gelu",
        "swish",
        "mish",
        "sigmoid",
        "tanh",
        "softplus",
        "softmax",
    ];
    let curves = curves.map(hidden).join(", ");
    let output = r#"{"type": "dense", "units": 1}"#;
    let relu = hidden("relu");
    let rows = format!(
        r#"[{relu}, {relu}, {{"type": "layer_normalization"}}, {{"type": "dropout", "rate": 0.3}}, {curves}, {output}]"#
    );
    let batch = format!(r#"[{relu}, {{"type": "batch_normalization"}}, {curves}, {output}]"#);
    let hashes = [0x2d0811646f944a46, 0x69904e29f0a0f663];
    at_every_level(|level| {
        let found = [&rows, &batch].map(|layers| hash_of_trained(layers));
        assert_eq!(found, hashes, "{found:#x?} at {level:?}");
    });
}
