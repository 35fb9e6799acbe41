//! A model in memory: raw values in, labels with probabilities or numbers out.

use std::io::{Read, Write};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::explain::Explanation;
use crate::data::source::SourceRequest;
use crate::domain::id::ModelId;
use crate::domain::model::Model;
use crate::domain::problem::Problem;
use crate::nn::summary::Summary;
use crate::nn::weights::LayerWeights;

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Predictions {
    pub model: ModelId,
    /// One an instance, in their order.
    pub predictions: Vec<Prediction>,
    /// What was odd about the instances without being wrong, such as a category never seen in training.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Prediction {
    Class(ClassPrediction),
    Value(ValuePrediction),
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClassPrediction {
    /// The most probable class.
    #[schema(value_type = String, example = "setosa")]
    pub label: Label,
    /// Every class and its probability.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    pub probabilities: Probabilities,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ValuePrediction {
    /// Null when it is too large for a 32-bit float.
    #[schema(example = 23.1)]
    pub value: Option<f32>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// One of a model's classes; shares their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    classes: Arc<[String]>,
    index: usize,
}

/// The probability of each of a model's classes; shares their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    classes: Arc<[String]>,
    values: Vec<f32>,
}

/// A model in memory.
pub struct Predictor {}

impl Predictor {
    pub fn model(&self) -> &Model {
        unimplemented!()
    }

    pub fn summary(&self) -> Summary {
        unimplemented!()
    }

    pub fn weights(&self) -> Vec<LayerWeights> {
        unimplemented!()
    }

    /// Predicts raw instances: objects by column name, or arrays in the order of the model's inputs.
    ///
    /// `at` is the pointer of the array of instances. Errors: `invalid-features` with every fault.
    pub fn predict(&self, instances: &[Value], at: &str, explain: bool) -> Result<Predictions, Problem> {
        unimplemented!()
    }

    /// Reads a CSV with a header and writes it again with the prediction's columns added, in bounded memory.
    pub fn predict_csv(&self, input: impl Read, request: &SourceRequest, output: impl Write) -> Result<(), Problem> {
        unimplemented!()
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.classes[self.index])
    }
}

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.classes.iter().zip(&self.values))
    }
}
