//! What a prediction is, ready to be written as JSON.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::attribute::Attributions;
use super::explain::Explanation;
use crate::domain::id::ModelId;

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

/// What a classification answers.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClassPrediction {
    /// The most probable class.
    #[schema(value_type = String, example = "setosa")]
    pub label: Label,
    /// Every class and its probability.
    #[schema(value_type = std::collections::BTreeMap<String, f32>)]
    pub probabilities: Probabilities,
    #[serde(flatten)]
    pub explanation: Explanation,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributions: Option<Attributions>,
}

/// What a regression answers.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ValuePrediction {
    #[schema(example = 23.1)]
    pub value: f32,
    #[serde(flatten)]
    pub explanation: Explanation,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributions: Option<Attributions>,
}

/// The probability of each of a model's classes; shares their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    classes: Arc<[String]>,
    values: Vec<f32>,
}

/// The most probable of a model's classes; shares their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    classes: Arc<[String]>,
    index: usize,
}

impl Prediction {
    /// The position of the predicted class; `None` for a number.
    pub(super) fn label(&self) -> Option<usize> {
        match self {
            Self::Class(prediction) => Some(prediction.label.index),
            Self::Value(_) => None,
        }
    }

    pub(super) fn set_attributions(&mut self, attributions: Attributions) {
        match self {
            Self::Class(ClassPrediction {
                attributions: place, ..
            })
            | Self::Value(ValuePrediction {
                attributions: place, ..
            }) => *place = Some(attributions),
        }
    }

    /// Whether every number beside the prediction itself can be written.
    pub(super) fn is_finite(&self) -> bool {
        let (Self::Class(ClassPrediction {
            explanation,
            attributions,
            ..
        })
        | Self::Value(ValuePrediction {
            explanation,
            attributions,
            ..
        })) = self;
        explanation.is_finite() && attributions.as_ref().is_none_or(Attributions::is_finite)
    }
}

impl Probabilities {
    /// A network's outputs as probabilities: a single output is the second class's.
    pub(super) fn new(classes: &Arc<[String]>, outputs: &[f32]) -> Self {
        let values = match outputs {
            [second] => vec![1.0 - second, *second],
            outputs => outputs.to_vec(),
        };
        let classes = classes.clone();
        Self { classes, values }
    }

    pub(super) fn label(&self) -> Label {
        Label {
            classes: self.classes.clone(),
            index: largest(&self.values),
        }
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Label {
    pub fn as_str(&self) -> &str {
        &self.classes[self.index]
    }

    /// Its position among the classes.
    pub fn index(&self) -> usize {
        self.index
    }
}

/// The position of the largest value, the first of several.
fn largest(values: &[f32]) -> usize {
    let larger = |best: usize, next: usize| if values[next] > values[best] { next } else { best };
    (1..values.len()).fold(0, larger)
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.classes.iter().zip(&self.values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classes(names: &[&str]) -> Arc<[String]> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_class_prediction_names_every_class_in_their_order() {
        let probabilities = Probabilities::new(&classes(&["b", "a", "c"]), &[0.25, 0.5, 0.25]);
        let prediction = Prediction::Class(ClassPrediction {
            label: probabilities.label(),
            probabilities,
            explanation: Explanation::default(),
            attributions: None,
        });
        let written = r#"{"label":"a","probabilities":{"b":0.25,"a":0.5,"c":0.25}}"#;
        assert_eq!(serde_json::to_string(&prediction).unwrap(), written);
    }

    #[test]
    fn a_single_output_is_the_second_class_s_probability() {
        let label = |output| {
            Probabilities::new(&classes(&["no", "yes"]), &[output])
                .label()
                .as_str()
                .to_owned()
        };
        assert_eq!((label(0.5), label(0.51)), ("no".to_owned(), "yes".to_owned()));
        let both = Probabilities::new(&classes(&["no", "yes"]), &[0.75]);
        assert_eq!(serde_json::to_value(&both).unwrap(), json!({"no": 0.25, "yes": 0.75}));
    }

    #[test]
    fn an_explanation_stands_beside_the_value() {
        let explanation = Explanation {
            inputs: Some(vec![1.5]),
            layers: Some(Vec::new()),
            ..Explanation::default()
        };
        let prediction = ValuePrediction {
            value: 2.0,
            explanation,
            attributions: None,
        };
        assert_eq!(
            serde_json::to_value(&prediction).unwrap(),
            json!({"value": 2.0, "inputs": [1.5], "layers": []})
        );
    }
}
