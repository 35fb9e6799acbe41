//! What clients write to sessions, read whole: on failure every fault, with its pointer.

use serde_json::Value;
use utoipa::ToSchema;

use super::call::{Batch, Call};
use super::requests::{FromModel, NewNetwork, NewSession, refused};
use crate::domain::problem::{Kind, Problem};
use crate::nn::spec::reader::{Fields, Reader};
use crate::nn::spec::{Fault, ModelSpec};
use crate::nn::weights::{LayerWeights, Tensor};

/// 2^53 − 1: every JSON client keeps it exactly.
pub const MAX_WHOLE: u64 = (1 << 53) - 1;
const MAX_INPUTS: u64 = 65_536;
pub const MAX_STEPS: u64 = 1_000_000;

/// Rows to be taken through the network.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct ForwardRequest {
    /// (n, inputs)
    pub x: Tensor,
    /// Whether moving averages advance and dropout drops; then the call changes the session and may be numbered.
    #[schema(required = false, default = false)]
    pub training: bool,
    /// The number of the call: 1 for the session's first that changes it.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    pub seq: Option<u64>,
}

/// Rows with their targets.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct GradientsRequest {
    /// (n, inputs)
    pub x: Tensor,
    /// (n, outputs): one-hot rows for classes, 0 or 1 for one output of two classes, else numbers.
    pub y: Tensor,
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    pub seq: Option<u64>,
}

/// Gradients, as `gradients` gives them or changed by the client.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct ApplyGradientsRequest {
    /// One object a layer with ∂loss/∂w of each array that is trained.
    pub gradients: Vec<LayerWeights>,
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    pub seq: Option<u64>,
}

/// A batch to train on.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct TrainOnBatchRequest {
    /// (n, inputs)
    pub x: Tensor,
    /// (n, outputs): one-hot rows for classes, 0 or 1 for one output of two classes, else numbers.
    pub y: Tensor,
    /// Steps with this batch.
    #[schema(required = false, minimum = 1, maximum = 1_000_000, default = 1)]
    pub steps: u32,
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    pub seq: Option<u64>,
}

/// New weights for the network; the optimizer's state stays.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct SetWeightsRequest {
    /// One object a layer, in the shape of `/weights`.
    pub weights: Vec<LayerWeights>,
    /// The number of the call: 1 for the session's first that changes it; left out, it is the next.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    pub seq: Option<u64>,
}

impl NewSession {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        const FIELDS: &[&str] = &["inputs", "model", "seed", "initial_weights", "from_model"];
        read(document, FIELDS, refused, |reader, fields| {
            let seed = reader.optional(fields, "seed", |r, v, at| r.integer(v, at, 0..=MAX_WHOLE));
            let seed = seed.unwrap_or(0);
            if fields.has("from_model") {
                for other in ["inputs", "model", "initial_weights"] {
                    if fields.has(other) {
                        reader.fault(
                            fields.pointer_to(other),
                            "is what from_model brings; give one or the other",
                        );
                    }
                }
                let from_model = reader.required(fields, "from_model", Reader::parsed)?;
                return Some(Self::Model(FromModel { from_model, seed }));
            }
            let inputs = reader.required(fields, "inputs", |r, v, at| r.integer(v, at, 1..=MAX_INPUTS));
            let model = reader.required(fields, "model", ModelSpec::read);
            let initial_weights = reader.optional(fields, "initial_weights", LayerWeights::read_all);
            Some(Self::Network(NewNetwork {
                inputs: inputs? as usize,
                model: Box::new(model?),
                seed,
                initial_weights,
            }))
        })
    }
}

impl ForwardRequest {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        read(document, &["x", "training", "seq"], inapplicable, |reader, fields| {
            let x = reader.required(fields, "x", Tensor::read);
            let training = reader.optional(fields, "training", Reader::boolean).unwrap_or(false);
            let seq = read_seq(reader, fields);
            if seq.is_some() && !training {
                reader.fault(
                    "/seq",
                    "numbers calls that change the session; without training this one doesn't",
                );
            }
            Some(Self { x: x?, training, seq })
        })
    }
}

impl GradientsRequest {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        read(document, &["x", "y", "seq"], inapplicable, |reader, fields| {
            let (x, y) = (
                reader.required(fields, "x", Tensor::read),
                reader.required(fields, "y", Tensor::read),
            );
            let seq = read_seq(reader, fields);
            Some(Self { x: x?, y: y?, seq })
        })
    }

    pub fn into_call(self) -> Call {
        Call::Gradients(Batch { x: self.x, y: self.y })
    }
}

impl ApplyGradientsRequest {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        read(document, &["gradients", "seq"], inapplicable, |reader, fields| {
            let gradients = reader.required(fields, "gradients", LayerWeights::read_all);
            let seq = read_seq(reader, fields);
            Some(Self {
                gradients: gradients?,
                seq,
            })
        })
    }
}

impl TrainOnBatchRequest {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        read(document, &["x", "y", "steps", "seq"], inapplicable, |reader, fields| {
            let (x, y) = (
                reader.required(fields, "x", Tensor::read),
                reader.required(fields, "y", Tensor::read),
            );
            let steps = reader.optional(fields, "steps", |r, v, at| r.integer(v, at, 1..=MAX_STEPS));
            let seq = read_seq(reader, fields);
            Some(Self {
                x: x?,
                y: y?,
                steps: steps.unwrap_or(1) as u32,
                seq,
            })
        })
    }

    pub fn into_call(self) -> Call {
        Call::TrainOnBatch {
            batch: Batch { x: self.x, y: self.y },
            steps: self.steps,
        }
    }
}

impl SetWeightsRequest {
    pub fn read(document: &Value) -> Result<Self, Problem> {
        read(document, &["weights", "seq"], inapplicable, |reader, fields| {
            let weights = reader.required(fields, "weights", LayerWeights::read_all);
            let seq = read_seq(reader, fields);
            Some(Self { weights: weights?, seq })
        })
    }
}

fn read<T>(
    document: &Value,
    known: &[&str],
    problem: fn(Vec<Fault>) -> Problem,
    read: impl FnOnce(&mut Reader, &Fields<'_>) -> Option<T>,
) -> Result<T, Problem> {
    let mut reader = Reader::default();
    let fields = reader.object(document, "", known);
    let value = fields.and_then(|fields| read(&mut reader, &fields));
    match value {
        Some(value) if reader.faults.is_empty() => Ok(value),
        _ => Err(problem(reader.faults)),
    }
}

pub(super) fn inapplicable(faults: Vec<Fault>) -> Problem {
    Problem::faults(Kind::InvalidFeatures, "The call can't be applied", faults)
}

fn read_seq(reader: &mut Reader, fields: &Fields<'_>) -> Option<u64> {
    reader.optional(fields, "seq", |r, v, at| r.integer(v, at, 1..=MAX_WHOLE))
}
