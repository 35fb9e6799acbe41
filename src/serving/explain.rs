//! A prediction with its arithmetic: exactly the values that the server computed on the way.

use ndarray::ArrayView1;
use serde::Serialize;
use utoipa::ToSchema;

use super::predictor::Predictor;

/// What predictions come with, beside themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detail {
    /// The arithmetic behind each.
    pub explain: bool,
    /// What each column contributed.
    pub attributions: bool,
}

/// What a hand calculation of one prediction needs and passes through; there only when it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// The network's inputs, after preprocessing.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<f32>>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerOutputs>>,
    /// What the softmax was given; only for a network that ends in one, like the two below.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
    /// e to the power of (logit − largest logit).
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponentials: Option<Vec<f32>>,
    /// The sum of the exponentials, which divides each to give the probabilities.
    #[schema(nullable = false)]
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

impl Explanation {
    /// Whether every number in it can be written.
    pub(super) fn is_finite(&self) -> bool {
        let layers = self.layers.iter().flatten().flat_map(|layer| &layer.outputs);
        let rows = [&self.inputs, &self.logits, &self.exponentials]
            .into_iter()
            .flatten()
            .flatten();
        rows.chain(layers).chain(&self.sum).all(|value| value.is_finite())
    }
}

impl Predictor {
    /// Passes one preprocessed row through the network once more, keeping everything; the values are those of
    /// [`predict`](Self::predict) to the bit.
    pub(super) fn explain(&self, inputs: ArrayView1<'_, f32>) -> Explanation {
        let inputs = inputs.to_vec();
        let computed = self.network.explain(&inputs);
        let names = self.summary().layers.into_iter().map(|layer| layer.name);
        let layers = names
            .zip(computed.layers)
            .map(|(layer, outputs)| LayerOutputs { layer, outputs });
        let (logits, exponentials, sum) = match computed.softmax {
            None => (None, None, None),
            Some(softmax) => (Some(softmax.logits), Some(softmax.exponentials), Some(softmax.sum)),
        };
        Explanation {
            inputs: Some(inputs),
            layers: Some(layers.collect()),
            logits,
            exponentials,
            sum,
        }
    }
}
