//! What is done with bytes from outside: nothing of it may panic, hang, or take memory out of proportion. The fuzz targets
//! and tests/fuzzing.rs share it. Each returns whether the bytes were taken for what they should be.

use std::io::Cursor;

use ndarray::Array2;
use serde_json::{Value, json};
use trainyard::api::parse_json;
use trainyard::data::profile::{Limits, profile};
use trainyard::data::source::{Format, SourceRequest};
use trainyard::data::table::{Table, preview};
use trainyard::domain::artifact::{self, Kind};
use trainyard::domain::job_request::JobRequest;
use trainyard::formats::safetensors::{Tensors, by_name, write};
use trainyard::nn::network::Network;
use trainyard::nn::spec::reader::Reader;
use trainyard::nn::spec::{ModelSpec, Plan, Target};
use trainyard::nn::trainer::{Checkpoint, FitOptions, Samples, Trainer};

pub(crate) fn csv(bytes: &[u8]) -> bool {
    table(bytes, Format::Csv)
}

pub(crate) fn json_lines(bytes: &[u8]) -> bool {
    table(bytes, Format::JsonLines)
}

fn table(bytes: &[u8], format: Format) -> bool {
    let request = SourceRequest {
        format: Some(format),
        ..SourceRequest::default()
    };
    let Ok(found) = profile(Cursor::new(bytes), &request, &Limits::default()) else {
        return false;
    };
    let read = || Cursor::new(bytes);
    let shown = preview(read(), &found.source, &found.columns, 0, 20).expect("what was profiled reads again");
    assert_eq!(shown.len() as u64, found.rows.min(20));
    let names = Vec::from_iter(found.columns.iter().map(|column| column.name()));
    Table::read(read(), &found.source, &found.columns, &names).expect("what was profiled reads again");
    true
}

pub(crate) fn specs(bytes: &[u8]) -> bool {
    let Ok(document) = parse_json(bytes) else { return false };
    let request = match JobRequest::read(&document) {
        Ok(request) => request,
        Err(faulty) => {
            assert!(!faulty.faults.is_empty());
            return false;
        }
    };
    for target in [Target::Regression, Target::Classes(3), Target::Columns(None)] {
        let plan = request
            .model
            .as_ref()
            .and_then(|model| model.plan("/model", 4, target).ok());
        if let Some(plan) = plan {
            let sizes = (
                plan.memory_bytes(u64::MAX, u64::MAX),
                plan.multiply_adds(u64::MAX),
                plan.parameters(),
            );
            std::hint::black_box(sizes);
            let spec = plan.spec();
            let again = serde_json::to_value(&spec).expect("a spec is JSON");
            let again: ModelSpec = serde_json::from_value(again).expect("what a plan says of itself is a spec");
            assert_eq!(again.plan("/model", 4, target).expect("and a plan").spec(), spec);
        }
    }
    true
}

pub(crate) fn safetensors(bytes: &[u8]) -> bool {
    let Ok(mut read) = Tensors::read(bytes) else {
        return false;
    };
    let layers = read.layers(4);
    let faults = read.finish(&["x", "y"]);
    let mut again = Tensors::read(&write(by_name(&layers))).expect("what was written reads");
    assert_eq!(again.layers(4), layers);
    faults.is_empty()
}

/// A network with every kind of state: moving averages, and an optimizer with two moments.
pub(crate) fn plan() -> Plan {
    let model = json!({"layers": [
        {"type": "dense", "units": 3, "activation": "relu"}, "batch_normalization", {"type": "dense", "units": 1}
    ]});
    let spec = ModelSpec::read(&mut Reader::default(), &model, "").expect("a spec");
    spec.plan("", 2, Target::Columns(None)).expect("a plan")
}

pub(crate) fn training() -> Trainer<f32> {
    let network = Network::initialize(&plan(), 7);
    Trainer::new(plan(), network, None, samples(), None, options())
}

fn samples() -> Samples<f32> {
    Samples {
        x: Array2::from_shape_fn((7, 2), |(row, column)| (row as f32) - (column as f32)),
        y: Array2::from_shape_fn((7, 1), |(row, _)| row as f32),
        weights: None,
    }
}

fn options() -> FitOptions {
    FitOptions {
        epochs: 10,
        batch_size: 3,
        ..FitOptions::default()
    }
}

const HEADER: &[u8] = b"trainyard checkpoint 1\n";
const CHECKSUM_BYTES: usize = 32;

/// As it is stored, and behind its checksum, which nearly no change gets past.
pub(crate) fn checkpoints(bytes: &[u8]) -> bool {
    let opened = artifact::open::<Checkpoint<f32>>(Kind::Checkpoint, bytes);
    let content = bytes.strip_prefix(HEADER).unwrap_or(bytes);
    let content = &content[..content.len().saturating_sub(CHECKSUM_BYTES)];
    if let Ok(checkpoint) = postcard::from_bytes::<Checkpoint<f32>>(content) {
        let _ = checkpoint.clone().into_trained(&plan());
        if let Ok(mut trainer) = Trainer::resume(plan(), samples(), None, options(), checkpoint) {
            trainer.step();
        }
    }
    opened.is_ok_and(|checkpoint| checkpoint.into_trained(&plan()).is_ok())
}

/// A spec with every part that a client may write.
pub(crate) fn whole_spec() -> Value {
    json!({
        "name": "iris", "dataset": "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f", "target": "품종", "features": ["꽃잎길이"],
        "model": {
            "layers": [
                {"type": "dense", "units": 64, "activation": "swish", "kernel_l2": 0.001, "kernel_initializer": "he_normal"},
                {"type": "batch_normalization", "momentum": 0.9}, {"type": "layer_normalization"}, {"type": "dropout", "rate": 0.5},
                {"type": "dense", "units": 3, "activation": "softmax"}
            ],
            "loss": {"type": "categorical_crossentropy", "label_smoothing": 0.1},
            "optimizer": {"type": "adam", "learning_rate": 0.001, "clipnorm": 1.0, "schedule": {"type": "cosine_decay", "decay_steps": 100}},
            "metrics": ["accuracy"]
        },
        "training": {
            "epochs": 500, "batch_size": 150, "shuffle": true, "seed": 7, "validation": {"split": 0.2},
            "early_stopping": {"monitor": "val_loss", "patience": 20, "restore_best": true}, "class_weight": {"setosa": 2.0}
        },
        "preprocessing": {"numeric": "standardize"},
        "initial_weights": [{"kernel": [[1, 2], [3, 4]], "bias": [0, 0.5]}, {}]
    })
}
