//! The preprocessing that is fitted on the training rows and kept with the model.

use std::io::Read;

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::Column;
use super::source::Source;
use super::table::Table;
use super::table_error::TableError;
use crate::nn::spec::Fault;

/// What is done to number columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumericScaling {
    /// `(x − mean) / std` of the training rows, the population's std.
    #[default]
    Standardize,
    /// `(x − min) / (max − min)` of the training rows.
    MinMax,
    /// The number as it is.
    None,
}

impl NumericScaling {
    pub const NAMES: &[(&str, Self)] = &[
        ("standardize", Self::Standardize),
        ("min_max", Self::MinMax),
        ("none", Self::None),
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    Number,
    Category,
}

/// A column that a prediction is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputColumn {
    #[schema(example = "꽃잎길이")]
    pub name: String,
    pub r#type: ColumnType,
    /// The known values of a category, in the order of their one-hot inputs; null for a number.
    pub categories: Option<Vec<String>>,
}

impl InputColumn {
    /// A column of a table as an input.
    pub fn of(column: &Column) -> Self {
        match column {
            Column::Number(column) => Self {
                name: column.name.clone(),
                r#type: ColumnType::Number,
                categories: None,
            },
            Column::Category(column) => Self {
                name: column.name.clone(),
                r#type: ColumnType::Category,
                categories: Some(
                    column
                        .categories
                        .iter()
                        .map(|category| category.value.clone())
                        .collect(),
                ),
            },
        }
    }
}

/// What the network is to predict, and in which form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSpec {
    pub column: String,
    pub encoding: TargetEncoding,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TargetEncoding {
    /// The number itself, (n, 1).
    Number,
    /// 1 for the second of two classes, else 0, (n, 1).
    Binary { classes: Vec<String> },
    /// 1 in the class's column, else 0, (n, classes).
    OneHot { classes: Vec<String> },
}

/// The rows that can be trained on or measured: those with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledRows {
    /// Ascending.
    pub rows: Vec<u32>,
    /// For a classification the class of each of `rows`.
    pub classes: Option<Vec<u32>>,
    /// Rows left out because their target is missing.
    pub left_out: u64,
}

/// The fitted preprocessing of features and target. Its stored form is JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    target: TargetSpec,
}

impl Encoder {
    /// Takes statistics from `rows` (the training rows) only; a category's vocabulary is the dataset's.
    pub fn fit(
        table: &Table,
        rows: &[u32],
        features: &[String],
        target: TargetSpec,
        scaling: NumericScaling,
    ) -> Result<Self, TableError> {
        let _ = (table, rows, features, target, scaling);
        unimplemented!()
    }

    /// Inputs of the network.
    pub fn width(&self) -> usize {
        unimplemented!()
    }

    pub fn inputs(&self) -> Vec<InputColumn> {
        unimplemented!()
    }

    /// A name for each input of the network: the column's, for a category `column=value`.
    pub fn feature_names(&self) -> Vec<String> {
        unimplemented!()
    }

    pub fn target(&self) -> &TargetSpec {
        &self.target
    }

    /// Reads features and target (and `also`, a number column, if given) of any table that has them, typed as this encoder knows them.
    pub fn read_table(&self, input: impl Read, source: &Source, also: Option<&str>) -> Result<Table, TableError> {
        let _ = (input, source, also);
        unimplemented!()
    }

    /// (rows, width)
    pub fn features(&self, table: &Table, rows: &[u32]) -> Array2<f32> {
        let _ = (table, rows);
        unimplemented!()
    }

    /// (rows, 1 or classes)
    pub fn targets(&self, table: &Table, rows: &[u32]) -> Array2<f32> {
        let _ = (table, rows);
        unimplemented!()
    }

    /// Appends one instance's inputs: an object by column name or an array by position.
    pub fn instance(
        &self,
        instance: &serde_json::Value,
        at: &str,
        out: &mut Vec<f32>,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) {
        let _ = (instance, at, out, faults, warnings);
        unimplemented!()
    }
}

/// The rows of a table that have a target, and their classes.
pub fn labelled_rows(table: &Table, target: &TargetSpec) -> Result<LabelledRows, TableError> {
    let _ = (table, target);
    unimplemented!()
}

/// Inputs that the network has for `features`, known from the dataset alone; faults point into `at`, the list of features.
pub fn width_of(columns: &[Column], features: &[String], at: &str) -> Result<usize, Vec<Fault>> {
    let _ = (columns, features, at);
    unimplemented!()
}

/// The classes of a target: numbers by value, texts by code point. The fault is one sentence.
pub fn classes_of(column: &Column) -> Result<Vec<String>, String> {
    let _ = column;
    unimplemented!()
}

/// All columns but the target and the weights, without those that have no value at all or are free text.
pub fn default_features(columns: &[Column], target: &str, sample_weight: Option<&str>) -> Vec<String> {
    let _ = (columns, target, sample_weight);
    unimplemented!()
}
