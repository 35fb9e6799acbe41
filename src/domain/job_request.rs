//! What a client asks of a job, as written: read whole, with every fault in it. [`JobSpec`](super::job_spec::JobSpec) is
//! what comes of it.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use utoipa::ToSchema;

use super::id::{DatasetId, ModelId};
use super::job_spec::{EarlyStoppingSpec, TrainingSpec, ValidationDataset, ValidationSpec, ValidationSplit};
use crate::data::encoder::NumericScaling;
use crate::nn::spec::reader::{Reader, child};
use crate::nn::spec::{Fault, ModelSpec};
use crate::nn::weights::LayerWeights;

pub const MAX_EPOCHS: u64 = 1_000_000;
pub const MAX_BATCH_SIZE: u64 = 10_000_000;
pub const MAX_NAME_CHARS: usize = 200;

/// A job as its client wrote it: everything but dataset and target may be left out.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct JobRequest {
    /// Left out: the dataset's name and a number.
    #[schema(min_length = 1, max_length = 200, example = "iris")]
    pub name: Option<String>,
    pub dataset: DatasetId,
    /// The column to predict.
    #[schema(example = "품종")]
    pub target: String,
    /// The columns to predict from; left out: all but the target and the weights.
    #[schema(min_items = 1)]
    pub features: Option<Vec<String>>,
    pub model: Option<ModelSpec>,
    #[schema(value_type = Option<TrainingRequest>)]
    pub training: TrainingRequest,
    #[schema(rename = "preprocessing", value_type = Option<PreprocessingRequest>)]
    pub numeric: Option<NumericScaling>,
    /// The weights to begin with, one object a layer; left out: random ones.
    pub initial_weights: Option<Vec<LayerWeights>>,
    /// A model to go on from: its weights, preprocessing and optimizer state.
    pub continue_from: Option<ModelId>,
}

/// What is done to the columns before the network sees them.
#[derive(ToSchema)]
pub struct PreprocessingRequest {
    /// Left out: standardize.
    pub numeric: Option<NumericScaling>,
}

/// A job document that could not be read as a whole.
#[derive(Clone, Debug)]
pub struct FaultyRequest {
    pub faults: Vec<Fault>,
    /// What of it can still be held against the tables it names; `None` where dataset or target are at fault.
    pub rest: Option<Box<JobRequest>>,
}

/// The training options that were written; what is `None` takes a default, or what the continued model had.
#[derive(Clone, Debug, Default, PartialEq, ToSchema)]
pub struct TrainingRequest {
    /// Passes over the training rows; left out: 100.
    #[schema(minimum = 1, maximum = 1_000_000, example = 500)]
    pub epochs: Option<u32>,
    /// Rows a step; left out: 32.
    #[schema(minimum = 1, maximum = 10_000_000, example = 150)]
    pub batch_size: Option<u32>,
    /// Whether each epoch takes the rows in a new order; left out: true.
    pub shuffle: Option<bool>,
    /// Everything random follows from it; left out: 0.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991u64, example = 7)]
    pub seed: Option<u64>,
    pub validation: Option<ValidationSpec>,
    pub early_stopping: Option<EarlyStoppingSpec>,
    /// Class → factor on the loss of its rows; classes left out have 1.
    pub class_weight: Option<BTreeMap<String, f64>>,
    /// A number column with a factor on the loss of each row.
    pub sample_weight: Option<String>,
    /// Adds `inference_loss` to each epoch: the loss over the training rows in inference mode, after the epoch. It shows
    /// how dropout and BatchNormalization differ outside training.
    pub report_inference_loss: Option<bool>,
    /// Adds `gradient_norm`, the mean length of the batches' gradients, and `gradient_noise`, their spread, to each epoch:
    /// what the batch size does.
    pub report_gradient_noise: Option<bool>,
}

const JOB_FIELDS: &[&str] = &[
    "name",
    "dataset",
    "target",
    "features",
    "model",
    "training",
    "preprocessing",
    "initial_weights",
    "continue_from",
];
const TRAINING_FIELDS: &[&str] = &[
    "epochs",
    "batch_size",
    "shuffle",
    "seed",
    "validation",
    "early_stopping",
    "class_weight",
    "sample_weight",
    "report_inference_loss",
    "report_gradient_noise",
];

impl JobRequest {
    /// Reads a job document; on failure every fault in it, those of the network included.
    pub fn read(document: &Value) -> Result<Self, FaultyRequest> {
        let mut reader = Reader::default();
        let request = Self::read_fields(&mut reader, document);
        let faults = reader.faults;
        match request {
            Some(request) if faults.is_empty() => Ok(request),
            request => Err(FaultyRequest {
                rest: request.map(|request| Box::new(request.without_dependents(&faults))),
                faults,
            }),
        }
    }

    /// The request without what can't be judged while other parts of it are unknown.
    fn without_dependents(mut self, faults: &[Fault]) -> Self {
        let faulty = |at: &str| faults.iter().any(|fault| fault.pointer.starts_with(at));
        if faulty("/model") {
            self.model = None;
            self.initial_weights = None;
            self.training.class_weight = None;
        }
        if faulty("/model") || faulty("/training") {
            self.training.early_stopping = None;
        }
        self
    }

    fn read_fields(reader: &mut Reader, document: &Value) -> Option<Self> {
        let fields = reader.object(document, "", JOB_FIELDS)?;
        let name = reader.optional(&fields, "name", read_name);
        let dataset = reader.required(&fields, "dataset", Reader::parsed);
        let target = reader.required(&fields, "target", |r, v, at| r.string(v, at).map(str::to_owned));
        let features = reader.optional(&fields, "features", read_features);
        let model = reader.optional(&fields, "model", ModelSpec::read);
        let training = reader
            .optional(&fields, "training", TrainingRequest::read)
            .unwrap_or_default();
        let numeric = reader.optional(&fields, "preprocessing", |r, v, at| {
            let fields = r.object(v, at, &["numeric"])?;
            r.optional(&fields, "numeric", |r, v, at| {
                r.name(v, at, "scaling", NumericScaling::NAMES)
            })
        });
        let initial_weights = reader.optional(&fields, "initial_weights", LayerWeights::read_all);
        let continue_from = reader.optional(&fields, "continue_from", Reader::parsed);
        Some(Self {
            name,
            dataset: dataset?,
            target: target?,
            features,
            model,
            training,
            numeric,
            initial_weights,
            continue_from,
        })
    }
}

impl TrainingRequest {
    /// The written options, and `base` where nothing was written.
    pub fn or(self, base: &TrainingSpec) -> TrainingSpec {
        TrainingSpec {
            epochs: self.epochs.unwrap_or(base.epochs),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            shuffle: self.shuffle.unwrap_or(base.shuffle),
            seed: self.seed.unwrap_or(base.seed),
            validation: self.validation.or_else(|| base.validation.clone()),
            early_stopping: self.early_stopping.or_else(|| base.early_stopping.clone()),
            class_weight: self.class_weight.or_else(|| base.class_weight.clone()),
            sample_weight: self.sample_weight.or_else(|| base.sample_weight.clone()),
            report_inference_loss: self.report_inference_loss.unwrap_or(base.report_inference_loss),
            report_gradient_noise: self.report_gradient_noise.unwrap_or(base.report_gradient_noise),
        }
    }

    fn read(reader: &mut Reader, value: &Value, at: &str) -> Option<Self> {
        let fields = reader.object(value, at, TRAINING_FIELDS)?;
        let whole = |max| move |r: &mut Reader, v: &Value, at: &str| r.integer(v, at, 1..=max).map(|n| n as u32);
        Some(Self {
            epochs: reader.optional(&fields, "epochs", whole(MAX_EPOCHS)),
            batch_size: reader.optional(&fields, "batch_size", whole(MAX_BATCH_SIZE)),
            shuffle: reader.optional(&fields, "shuffle", Reader::boolean),
            // 2^53 − 1: every JSON client keeps it exactly.
            seed: reader.optional(&fields, "seed", |r, v, at| r.integer(v, at, 0..=(1 << 53) - 1)),
            validation: reader.optional(&fields, "validation", read_validation),
            early_stopping: reader.optional(&fields, "early_stopping", |r, v, at| {
                read_early_stopping(r, v, at, fields.has("validation"))
            }),
            class_weight: reader.optional(&fields, "class_weight", read_class_weight),
            sample_weight: reader.optional(&fields, "sample_weight", |r, v, at| r.string(v, at).map(str::to_owned)),
            report_inference_loss: reader.optional(&fields, "report_inference_loss", Reader::boolean),
            report_gradient_noise: reader.optional(&fields, "report_gradient_noise", Reader::boolean),
        })
    }
}

fn read_name(reader: &mut Reader, value: &Value, at: &str) -> Option<String> {
    let name = reader.string(value, at)?;
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        reader.fault(at, format!("must have from 1 to {MAX_NAME_CHARS} characters"));
        return None;
    }
    Some(name.to_owned())
}

fn read_features(reader: &mut Reader, value: &Value, at: &str) -> Option<Vec<String>> {
    let items = reader.array(value, at)?;
    if items.is_empty() {
        reader.fault(
            at,
            "must name at least one column; leave it out to use all columns but the target",
        );
        return None;
    }
    let mut known = HashSet::new();
    let names: Vec<Option<String>> = items
        .iter()
        .map(|(item, at)| {
            let name = reader.string(item, at)?;
            if !known.insert(name) {
                reader.fault(at, format!("names the column {name:?} a second time"));
            }
            Some(name.to_owned())
        })
        .collect();
    names.into_iter().collect()
}

fn read_validation(reader: &mut Reader, value: &Value, at: &str) -> Option<ValidationSpec> {
    let fields = reader.object(value, at, &["split", "dataset"])?;
    if fields.has("split") == fields.has("dataset") {
        reader.fault(
            at,
            "must have either split, a share of the rows, or dataset, the id of another table",
        );
        return None;
    }
    let wanted = "a number between 0 and 1, both excluded";
    let split = reader.optional(&fields, "split", |r, v, at| {
        r.number(v, at, wanted, |x| x > 0.0 && x < 1.0)
    });
    let dataset = reader.optional(&fields, "dataset", Reader::parsed);
    let split = split.map(|split| ValidationSpec::Split(ValidationSplit { split }));
    split.or(dataset.map(|dataset| ValidationSpec::Dataset(ValidationDataset { dataset })))
}

/// Without a validation there is only the training's own loss to watch.
fn read_early_stopping(reader: &mut Reader, value: &Value, at: &str, validates: bool) -> Option<EarlyStoppingSpec> {
    let fields = reader.object(value, at, &["monitor", "patience", "min_delta", "restore_best"])?;
    let monitor = reader.optional(&fields, "monitor", |r, v, at| r.string(v, at).map(str::to_owned));
    let patience = reader.optional(&fields, "patience", |r, v, at| r.integer(v, at, 0..=MAX_EPOCHS));
    let min_delta = reader.optional(&fields, "min_delta", |r, v, at| {
        r.number(v, at, "a number from 0", |x| x >= 0.0)
    });
    let restore_best = reader.optional(&fields, "restore_best", Reader::boolean);
    Some(EarlyStoppingSpec {
        monitor: monitor.unwrap_or_else(|| if validates { "val_loss" } else { "loss" }.to_owned()),
        patience: patience.unwrap_or(0) as u32,
        min_delta: min_delta.unwrap_or(0.0),
        restore_best: restore_best.unwrap_or(false),
    })
}

fn read_class_weight(reader: &mut Reader, value: &Value, at: &str) -> Option<BTreeMap<String, f64>> {
    let Some(map) = value.as_object() else {
        reader.fault(at, "must be an object of class names and factors");
        return None;
    };
    let mut read = |(class, factor): (&String, &Value)| {
        let at = child(at, class);
        let factor = reader.number(factor, &at, "a number from 0 to 1e6", |x| (0.0..=1e6).contains(&x));
        Some((class.clone(), factor?))
    };
    let weights: Vec<Option<(String, f64)>> = map.iter().map(&mut read).collect();
    weights.into_iter().collect()
}
