//! The last step of a prediction done again on this side, from the model's weights and what the server explained.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Guide;

#[derive(Deserialize)]
struct Weights {
    weights: Vec<Value>,
}

#[derive(Deserialize)]
struct Dense {
    /// (i,o)
    kernel: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

/// What `"explain": true` adds to a prediction, as far as it is used here.
#[derive(Deserialize)]
struct Explained {
    probabilities: Map<String, Value>,
    layers: Vec<LayerOutputs>,
}

#[derive(Deserialize)]
struct LayerOutputs {
    outputs: Vec<f64>,
}

/// One class of a softmax: `probability = e^(logit − largest logit) / sum`.
struct Term {
    logit: f64,
    exponential: f64,
    probability: f64,
}

/// Computes the softmax of an explained prediction from the last layer's weights and prints it beside the server's.
pub(super) async fn softmax(guide: &Guide, model: &str, prediction: &Value) -> Result<()> {
    let explained = Explained::deserialize(prediction)?;
    let mut weights: Weights = guide.client.get(&format!("/v1/models/{model}/weights")).await?;
    let last = weights.weights.pop().context("a model has at least one layer")?;
    let [.., before, _] = explained.layers.as_slice() else {
        anyhow::bail!("the network has no layer before its softmax");
    };
    let terms = terms(&before.outputs, &Dense::deserialize(&last)?)?;
    println!("\nThe first one's softmax by hand, from /v1/models/{model}/weights");
    println!(
        "  {:<12} {:>10} {:>16} {:>12} {:>12}",
        "", "h·w + b", "e^(… − largest)", "÷ their sum", "the server"
    );
    for ((class, probability), term) in explained.probabilities.iter().zip(&terms) {
        let server = probability.as_f64().unwrap_or(f64::NAN);
        let Term {
            logit,
            exponential,
            probability,
        } = term;
        println!("  {class:<12} {logit:>10.5} {exponential:>16.6} {probability:>12.6} {server:>12.6}");
    }
    Ok(())
}

/// `x` (i) is what the dense layer was given.
fn terms(x: &[f64], dense: &Dense) -> Result<Vec<Term>> {
    ensure!(
        x.len() == dense.kernel.len(),
        "the layer's kernel doesn't fit its inputs"
    );
    let mut logits = dense.bias.clone();
    for (x, row) in x.iter().zip(&dense.kernel) {
        for (logit, weight) in logits.iter_mut().zip(row) {
            *logit += x * weight;
        }
    }
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let term = |logit: f64| {
        let exponential = (logit - largest).exp();
        Term {
            logit,
            exponential,
            probability: exponential / sum,
        }
    };
    Ok(logits.into_iter().map(term).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_are_those_of_the_formula() {
        let dense = Dense {
            kernel: vec![vec![1.0, 0.0], vec![0.0, 2.0]],
            bias: vec![0.5, -0.5],
        };
        let terms = terms(&[1.0, 1.0], &dense).unwrap();
        assert_eq!([terms[0].logit, terms[1].logit], [1.5, 1.5]);
        assert_eq!([terms[0].exponential, terms[1].exponential], [1.0, 1.0]);
        assert_eq!([terms[0].probability, terms[1].probability], [0.5, 0.5]);
    }

    #[test]
    fn a_kernel_of_another_width_is_an_error() {
        let dense = Dense {
            kernel: vec![vec![1.0]],
            bias: vec![0.0],
        };
        assert!(terms(&[1.0, 2.0], &dense).is_err());
    }
}
