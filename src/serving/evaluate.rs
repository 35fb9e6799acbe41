//! How well a model does on a table: loss, metrics, confusion matrix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::{DatasetId, ModelId};

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
