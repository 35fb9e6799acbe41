//! A prediction with its arithmetic: exactly the values that the server computed on the way.

use serde::Serialize;
use utoipa::ToSchema;

/// What a hand calculation of one prediction needs and passes through.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// The network's inputs, after preprocessing.
    pub inputs: Vec<f32>,
    pub layers: Vec<LayerOutputs>,
    /// What the softmax was given; only for a network that ends in one, like the two below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
    /// e to the power of (logit − largest logit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponentials: Option<Vec<f32>>,
    /// The sum of the exponentials, which divides each to give the probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<f32>,
}

/// What one layer made of what the layer before it gave.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LayerOutputs {
    /// As the summary names it.
    #[schema(example = "dense")]
    pub layer: String,
    pub outputs: Vec<f32>,
}
