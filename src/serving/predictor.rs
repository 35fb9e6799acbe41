//! A model in memory: raw values in, labels with probabilities or numbers out.

use std::fmt::Write;
use std::sync::Arc;

use ndarray::ArrayView2;
use serde_json::Value;

use super::explain::{Detail, Explanation};
use super::prediction::{ClassPrediction, Prediction, Predictions, Probabilities, ValuePrediction};
use crate::data::encoder::Encoder;
use crate::data::table_error::TableError;
use crate::domain::artifact::{self, ArtifactError, Kind as Artifact};
use crate::domain::model::{Model, ModelParts};
use crate::domain::problem::{Kind, Problem};
use crate::nn::network::Network;
use crate::nn::spec::{Fault, Plan, Target};
use crate::nn::summary::Summary;
use crate::nn::weights::LayerWeights;

/// A model in memory.
#[derive(Debug)]
pub struct Predictor {
    model: Model,
    pub(super) encoder: Encoder,
    pub(super) plan: Plan,
    pub(super) network: Network<f32>,
    pub(super) classes: Option<Arc<[String]>>,
}

/// A stored model that this program can't use.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the stored preprocessing does not decode: {0}")]
    Encoder(#[from] serde_json::Error),
    #[error("the stored spec and weights do not fit each other: {0:?}")]
    Unfit(Vec<Fault>),
}

impl Predictor {
    pub(super) fn load(model: Model, parts: &ModelParts) -> Result<Self, LoadError> {
        let encoder: Encoder = serde_json::from_str(&parts.encoder)?;
        let target = match &model.classes {
            None => Target::Regression,
            Some(classes) => Target::Classes(classes.len()),
        };
        let plan = model
            .network
            .plan("/model", encoder.width(), target)
            .map_err(LoadError::Unfit)?;
        let weights: Vec<LayerWeights> = artifact::open(Artifact::Weights, &parts.weights)?;
        Ok(Self {
            network: Network::from_weights(&plan, &weights, "/weights").map_err(LoadError::Unfit)?,
            classes: model.classes.as_ref().map(|classes| classes.iter().cloned().collect()),
            encoder,
            plan,
            model,
        })
    }

    /// About what it takes in memory.
    pub(super) fn size_bytes(&self) -> u64 {
        const AROUND: u64 = 4096;
        self.model.parameters.total * 4 + AROUND
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn summary(&self) -> Summary {
        self.plan.summary()
    }

    pub fn weights(&self) -> Vec<LayerWeights> {
        self.network.weights()
    }

    /// Predicts raw instances: objects by column name, or arrays in the order of the model's inputs.
    ///
    /// `at` is the pointer of the array of instances. Errors: `invalid-features` with every fault.
    pub fn predict(&self, instances: &[Value], at: &str, detail: Detail) -> Result<Predictions, Problem> {
        let mut x = Vec::with_capacity(instances.len() * self.encoder.width());
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let mut pointer = String::new();
        for (index, instance) in instances.iter().enumerate() {
            point_to(&mut pointer, at, index);
            self.encoder
                .instance(instance, &pointer, &mut x, &mut faults, &mut warnings);
        }
        if instances.is_empty() {
            faults.push(Fault::new(at, "has no instance to predict"));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let x = self.matrix(&x, instances.len());
        let attributor = detail
            .attributions
            .then(|| self.attributor(instances.len()))
            .transpose()?;
        let mut predictions = Vec::with_capacity(instances.len());
        for (index, outputs) in self.network.predict(x).rows().into_iter().enumerate() {
            let outputs = outputs.to_slice().expect("predictions are row-major");
            let explanation = if detail.explain {
                self.explain(x.row(index))
            } else {
                Explanation::default()
            };
            let mut prediction = self.prediction(outputs, explanation);
            if let Some(attributor) = &attributor {
                prediction.set_attributions(attributor.attribute(x.row(index), prediction.label()));
            }
            if outputs.iter().all(|output| output.is_finite()) && prediction.is_finite() {
                predictions.push(prediction);
            } else {
                point_to(&mut pointer, at, index);
                faults.push(Fault::new(
                    &pointer,
                    "has values so large that the network's numbers overflow",
                ));
            }
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        Ok(Predictions {
            model: self.model.id,
            predictions,
            warnings,
        })
    }

    /// Preprocessed inputs, row after row, as a matrix (n, width).
    pub(super) fn matrix<'a>(&self, x: &'a [f32], rows: usize) -> ArrayView2<'a, f32> {
        ArrayView2::from_shape((rows, self.encoder.width()), x).expect("the encoder appends its width for every row")
    }

    fn prediction(&self, outputs: &[f32], explanation: Explanation) -> Prediction {
        match &self.classes {
            None => Prediction::Value(ValuePrediction {
                value: outputs[0],
                explanation,
                attributions: None,
            }),
            Some(classes) => {
                let probabilities = Probabilities::new(classes, outputs);
                Prediction::Class(ClassPrediction {
                    label: probabilities.label(),
                    probabilities,
                    explanation,
                    attributions: None,
                })
            }
        }
    }
}

fn point_to(pointer: &mut String, at: &str, index: usize) {
    pointer.clear();
    write!(pointer, "{at}/{index}").expect("writing to a string");
}

fn invalid(faults: Vec<Fault>) -> Problem {
    Problem::faults(Kind::InvalidFeatures, "The instances can't be predicted", faults)
}

/// A table that can be read but doesn't fit the model.
pub(super) fn unfit(error: TableError) -> Problem {
    let problem = Problem::from(error);
    match problem.kind {
        Kind::InvalidDataset => Problem {
            kind: Kind::InvalidFeatures,
            ..problem
        },
        _ => problem,
    }
}
