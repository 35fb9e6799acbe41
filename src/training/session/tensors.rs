//! What clients send to sessions as safetensors instead of JSON: the arrays; what numbers and switches go with them is given apart.

use super::call::{Batch, Call};
use super::documents::inapplicable;
use crate::domain::problem::{Kind, Problem};
use crate::formats::safetensors::{Malformed, Tensors};
use crate::nn::weights::{LayerWeights, Tensor};

impl From<Malformed> for Problem {
    fn from(error: Malformed) -> Self {
        Self::new(Kind::MalformedRequest, format!("The body can't be read: {error}."))
    }
}

/// The rows `x`.
pub fn read_rows(bytes: &[u8]) -> Result<Tensor, Problem> {
    let mut tensors = Tensors::read(bytes)?;
    let x = tensors.required("x");
    whole(tensors, &["x"], x)
}

/// The rows `x` with their targets `y`.
pub fn read_batch(bytes: &[u8]) -> Result<Batch, Problem> {
    let mut tensors = Tensors::read(bytes)?;
    let (x, y) = (tensors.required("x"), tensors.required("y"));
    let batch = x.zip(y).map(|(x, y)| Batch { x, y });
    whole(tensors, &["x", "y"], batch)
}

/// Gradients of so many layers. The figures that `gradients` answers with them are let pass: its answer can be sent as it is.
pub fn read_gradients(bytes: &[u8], layers: usize) -> Result<Call, Problem> {
    let mut tensors = Tensors::read(bytes)?;
    tensors.ignore(&FIGURES);
    let gradients = tensors.layers(layers);
    whole(tensors, &[], Some(Call::ApplyGradients { gradients }))
}

/// Weights of so many layers.
pub fn read_weights(bytes: &[u8], layers: usize) -> Result<Vec<LayerWeights>, Problem> {
    let mut tensors = Tensors::read(bytes)?;
    let weights = tensors.layers(layers);
    whole(tensors, &[], Some(weights))
}

/// What an answer of `gradients` has beside the gradients.
pub const FIGURES: [&str; 3] = ["loss", "gradient_norm", "seq"];

fn whole<T>(tensors: Tensors, known: &[&str], value: Option<T>) -> Result<T, Problem> {
    let faults = tensors.finish(known);
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(inapplicable(faults)),
    }
}
