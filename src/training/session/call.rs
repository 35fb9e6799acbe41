//! The calls that change a session, and their answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::problem::Problem;
use crate::nn::spec::Plan;
use crate::nn::weights::{LayerWeights, Tensor};

/// Rows as the network sees them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (n, inputs)
    pub x: Tensor,
    /// (n, outputs): one-hot rows for classes, 0 or 1 for one output of two classes, else numbers.
    pub y: Tensor,
}

/// A call that changes a session; such calls are numbered.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Outputs in training mode: moving averages advance, dropout drops.
    Forward {
        /// (n, inputs)
        x: Tensor,
    },
    /// Loss and gradients in training mode: moving averages advance, the weights stay.
    Gradients(Batch),
    /// One step of the optimizer with given gradients.
    ApplyGradients { gradients: Vec<LayerWeights> },
    /// Both, so many times with the same batch.
    TrainOnBatch { batch: Batch, steps: u32 },
    /// New weights; the optimizer's state stays.
    SetWeights { weights: Vec<LayerWeights> },
}

/// What a changing call answers, as it is kept for those who send the call again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Forward(Outputs),
    Gradients(GradientsAnswer),
    ApplyGradients(StepAnswer),
    TrainOnBatch(TrainOnBatchAnswer),
    SetWeights(StepAnswer),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outputs {
    /// (n, outputs)
    pub y: Tensor,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GradientsAnswer {
    /// The mean over the rows, with the penalties of the kernels.
    #[schema(example = 592.1)]
    pub loss: f64,
    /// ∂loss/∂w for every weight that is trained, in the shape of `/weights`; not clipped.
    pub gradients: Vec<LayerWeights>,
    /// √Σ g² over all of them.
    pub gradient_norm: f64,
    /// The number of this call.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepAnswer {
    /// Updates of the weights that the optimizer has done.
    #[schema(example = 1)]
    pub step: u64,
    /// The number of this call.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrainOnBatchAnswer {
    /// Of each step, before its update.
    #[schema(example = json!([592.1, 588.4]))]
    pub loss: Vec<f64>,
    /// Updates of the weights that the optimizer has done.
    #[schema(example = 2)]
    pub step: u64,
    /// The number of this call.
    pub seq: u64,
}

/// What a call of one kind answers; another kind's answer would be a fault of the server.
macro_rules! answers {
    ($($answer:ident = $($kind:ident)|+;)*) => {$(
        impl TryFrom<Answer> for $answer {
            type Error = Problem;
            fn try_from(answer: Answer) -> Result<Self, Problem> {
                match answer {
                    $(Answer::$kind(answer))|+ => Ok(answer),
                    other => Err(Problem::internal(format!("the answer of {}", other.call()))),
                }
            }
        }
    )*};
}
answers! {
    Outputs = Forward;
    GradientsAnswer = Gradients;
    StepAnswer = ApplyGradients | SetWeights;
    TrainOnBatchAnswer = TrainOnBatch;
}

impl Call {
    /// What it takes to copy and write a session's state, as so many multiply-adds.
    pub(super) fn copy_of_state(plan: &Plan) -> u128 {
        50 * u128::from(plan.parameters().total)
    }

    /// What it takes, the copy of the session's state included.
    pub(super) fn multiply_adds(&self, plan: &Plan) -> u128 {
        let rows = |x: &Tensor| x.shape.first().map_or(0, |&rows| rows as u64);
        let passes = match self {
            Self::Forward { x } => plan.multiply_adds(rows(x)),
            Self::Gradients(batch) => plan.multiply_adds(rows(&batch.x)),
            Self::TrainOnBatch { batch, steps } => plan.multiply_adds(rows(&batch.x)) * u128::from(*steps),
            Self::ApplyGradients { .. } | Self::SetWeights { .. } => 0,
        };
        passes + Self::copy_of_state(plan)
    }

    /// The name of the call in the contract.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Forward { .. } => "forward",
            Self::Gradients(_) => "gradients",
            Self::ApplyGradients { .. } => "apply_gradients",
            Self::TrainOnBatch { .. } => "train_on_batch",
            Self::SetWeights { .. } => "weights",
        }
    }
}

impl Answer {
    /// The name of its call in the contract.
    pub(super) fn call(&self) -> &'static str {
        match self {
            Self::Forward(_) => "forward",
            Self::Gradients(_) => "gradients",
            Self::ApplyGradients(_) => "apply_gradients",
            Self::TrainOnBatch(_) => "train_on_batch",
            Self::SetWeights(_) => "weights",
        }
    }

    /// About what it takes in memory and in a file.
    pub(super) fn size_bytes(&self) -> usize {
        let around = 64;
        match self {
            Self::Forward(outputs) => around + 4 * outputs.y.data.len(),
            Self::Gradients(answer) => {
                let tensors = answer.gradients.iter().flat_map(|layer| &layer.0);
                around + tensors.map(|(_, tensor)| 4 * tensor.data.len()).sum::<usize>()
            }
            Self::TrainOnBatch(answer) => around + 8 * answer.loss.len(),
            Self::ApplyGradients(_) | Self::SetWeights(_) => around,
        }
    }
}
