//! How well a model does on a table: loss, metrics, confusion matrix.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::prediction::Probabilities;
use super::predictor::{Predictor, unfit};
use crate::data::encoder::labelled_rows;
use crate::domain::dataset::Dataset;
use crate::domain::id::{DatasetId, ModelId};
use crate::domain::problem::{Kind, Problem};
use crate::nn::trainer::{Samples, evaluate};

/// A model measured on a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    pub model: ModelId,
    pub dataset: DatasetId,
    /// Rows measured: those with a target.
    pub rows: u64,
    /// Null when it is not finite.
    pub loss: Option<f64>,
    /// The model's metrics by name; one that is not finite is null.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Null for a regression.
    pub confusion_matrix: Option<ConfusionMatrix>,
}

/// How often which class was taken for which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfusionMatrix {
    pub classes: Vec<String>,
    /// `matrix[i][j]`: rows of class `i` that were predicted to be class `j`.
    pub matrix: Vec<Vec<u64>>,
}

impl Predictor {
    /// Measures the model on all rows of a table that have a target.
    ///
    /// Errors: `invalid-features` when the table lacks a column, has texts where the model reads numbers, or a class
    /// that the model doesn't have.
    pub(super) fn evaluate(&self, dataset: &Dataset, content: impl Read) -> Result<Evaluation, Problem> {
        let table = self.encoder.read_table(content, &dataset.source, None).map_err(unfit)?;
        let labelled = labelled_rows(&table, self.encoder.target()).map_err(unfit)?;
        if labelled.rows.is_empty() {
            let target = &self.encoder.target().column;
            return Err(Problem::new(
                Kind::InvalidFeatures,
                format!("No row has a value in {target:?}, the target."),
            ));
        }
        let samples = Samples {
            x: self.encoder.features(&table, &labelled.rows),
            y: self.encoder.targets(&table, &labelled.rows),
            weights: None,
        };
        drop(table);
        let figures = evaluate(&self.plan, &self.network, &samples);
        let finite = |(name, value): (String, f64)| (name, value.is_finite().then_some(value));
        let mut metrics: BTreeMap<String, Option<f64>> = figures.into_iter().map(finite).collect();
        Ok(Evaluation {
            model: self.model().id,
            dataset: dataset.id,
            rows: labelled.rows.len() as u64,
            loss: metrics.remove("loss").flatten(),
            metrics,
            confusion_matrix: labelled.classes.map(|actual| self.confusion(&samples, &actual)),
        })
    }

    fn confusion(&self, samples: &Samples<f32>, actual: &[u32]) -> ConfusionMatrix {
        let classes = self.classes.clone().unwrap_or_default();
        let mut matrix = vec![vec![0; classes.len()]; classes.len()];
        let predicted = self.network.predict(samples.x.view());
        for (outputs, actual) in predicted.rows().into_iter().zip(actual) {
            let label = Probabilities::new(&classes, outputs.as_slice().expect("predictions are row-major")).label();
            matrix[*actual as usize][label.index()] += 1;
        }
        ConfusionMatrix {
            classes: classes.to_vec(),
            matrix,
        }
    }
}
