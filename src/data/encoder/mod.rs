//! The preprocessing that is fitted on the training rows and kept with the model.

mod instance;
mod record;
mod selection;
mod target;

use std::cmp::Reverse;
use std::io::Read;

use ndarray::{Array2, ArrayViewMut1};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::profile::Column;
use super::source::Source;
use super::table::{MISSING, Table, TableColumn, UNSEEN, Values};
use super::table_error::TableError;
use super::tally::NumberTally;

pub use record::RecordEncoder;
pub use selection::{default_features, width_of};
pub use target::{LabelledRows, TargetEncoding, TargetSpec, classes_of, labelled_rows};

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
        let (r#type, categories) = match column {
            Column::Number(_) => (ColumnType::Number, None),
            Column::Category(column) => {
                let values = column.categories.iter().map(|category| category.value.clone());
                (ColumnType::Category, Some(values.collect()))
            }
        };
        Self {
            name: column.name().to_owned(),
            r#type,
            categories,
        }
    }
}

/// The fitted preprocessing of features and target. Its stored form is JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<Feature>,
    target: TargetSpec,
    /// Of the target's column in the training table: classes may be numbers or texts.
    target_type: ColumnType,
}

/// How one column becomes inputs of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Feature {
    Number(NumberFeature),
    Category(CategoryFeature),
}

/// One input, `(x − center) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberFeature {
    pub name: String,
    pub center: f64,
    /// Never 0: a constant column has 1.
    pub scale: f64,
    /// Stands in for a missing value: the mean of the training rows.
    pub imputed: f32,
}

/// An input for each value, 1 for the one that the row has, else 0; all 0 for a value that is none of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryFeature {
    pub name: String,
    /// Ascending by code point.
    pub categories: Vec<String>,
    /// Stands in for a missing value: the position of the most frequent in the training rows.
    pub imputed: Option<u32>,
}

impl Encoder {
    /// Takes statistics from `rows` (the training rows) only; a category's vocabulary is the dataset's.
    ///
    /// Numerics: mean and std (of the population) over the values that are there, in f64.
    /// Errors: the table lacks one of the columns.
    pub fn fit(
        table: &Table,
        rows: &[u32],
        features: &[String],
        target: TargetSpec,
        scaling: NumericScaling,
    ) -> Result<Self, TableError> {
        let fit = |name: &String| {
            let lost = || TableError::invalid(format!("the table has no column {name:?}"));
            table
                .column(name)
                .ok_or_else(lost)
                .map(|column| Feature::fit(column, rows, scaling))
        };
        let target_type = match target.find(table)?.values {
            Values::Number(_) => ColumnType::Number,
            Values::Category { .. } => ColumnType::Category,
        };
        Ok(Self {
            features: features.iter().map(fit).collect::<Result<_, _>>()?,
            target,
            target_type,
        })
    }

    /// Inputs of the network.
    pub fn width(&self) -> usize {
        self.features.iter().map(Feature::width).sum()
    }

    /// How each column becomes inputs, in their order.
    pub fn fitted(&self) -> &[Feature] {
        &self.features
    }

    pub fn target(&self) -> &TargetSpec {
        &self.target
    }

    pub fn inputs(&self) -> Vec<InputColumn> {
        self.features.iter().map(Feature::input_column).collect()
    }

    /// A name for each input of the network: the column's, for a category `column=value`.
    pub fn feature_names(&self) -> Vec<String> {
        let names = |feature: &Feature| match feature {
            Feature::Number(number) => vec![number.name.clone()],
            Feature::Category(category) => category
                .categories
                .iter()
                .map(|value| format!("{}={value}", category.name))
                .collect(),
        };
        self.features.iter().flat_map(names).collect()
    }

    /// Reads features and target, and `also` a number column, of any table, typed as this encoder knows them.
    ///
    /// Errors: a column isn't there, or holds texts where this encoder has numbers.
    pub fn read_table(&self, input: impl Read, source: &Source, also: Option<&str>) -> Result<Table, TableError> {
        let mut columns = self.inputs();
        columns.push(self.target.input_column(self.target_type));
        if let Some(also) = also.filter(|also| columns.iter().all(|column| column.name != *also)) {
            columns.push(InputColumn {
                name: also.to_owned(),
                r#type: ColumnType::Number,
                categories: None,
            });
        }
        Table::read_as(input, source, &columns)
    }

    /// The network's inputs, (rows, width).
    ///
    /// Panics when the table was not read for this encoder: by [`Self::read_table`], or as the one it was fitted on.
    pub fn features(&self, table: &Table, rows: &[u32]) -> Array2<f32> {
        let mut inputs = Array2::zeros((rows.len(), self.width()));
        let mut first = 0;
        for feature in &self.features {
            let column = table
                .column(feature.name())
                .expect("the table was read with the encoder's columns");
            feature.encode_column(&column.values, rows, first, &mut inputs);
            first += feature.width();
        }
        inputs
    }

    /// The network's targets, (rows, 1 or classes); for rows that [`labelled_rows`] gave.
    ///
    /// Panics when the table or the rows are others.
    pub fn targets(&self, table: &Table, rows: &[u32]) -> Array2<f32> {
        const LABELLED: &str = "these are labelled rows of a table with the target";
        match &self.target.encoding {
            TargetEncoding::Number => {
                let numbers = self.target.numbers(table).expect(LABELLED);
                Array2::from_shape_fn((rows.len(), 1), |(row, _)| numbers[rows[row] as usize])
            }
            TargetEncoding::Binary { classes } => {
                let class_of_rows = self.target.class_of_rows(table, classes).expect(LABELLED);
                let is_second = |row: u32| class_of_rows[row as usize] == Some(1);
                Array2::from_shape_fn((rows.len(), 1), |(row, _)| f32::from(u8::from(is_second(rows[row]))))
            }
            TargetEncoding::OneHot { classes } => {
                let class_of_rows = self.target.class_of_rows(table, classes).expect(LABELLED);
                let mut targets = Array2::zeros((rows.len(), classes.len()));
                for (mut target, row) in targets.outer_iter_mut().zip(rows) {
                    target[class_of_rows[*row as usize].expect(LABELLED) as usize] = 1.0;
                }
                targets
            }
        }
    }
}

impl Feature {
    fn fit(column: &TableColumn, rows: &[u32], scaling: NumericScaling) -> Self {
        let name = column.name.clone();
        match &column.values {
            Values::Number(numbers) => Self::Number(NumberFeature::fit(name, numbers, rows, scaling)),
            Values::Category { codes, categories } => {
                let mut counts = vec![0_u64; categories.len()];
                for row in rows {
                    if let Some(count) = counts.get_mut(codes[*row as usize] as usize) {
                        *count += 1;
                    }
                }
                // The first of the most frequent.
                let most = (0..).zip(&counts).min_by_key(|(_, count)| Reverse(**count));
                Self::Category(CategoryFeature {
                    name,
                    categories: categories.clone(),
                    imputed: most.filter(|(_, count)| **count > 0).map(|(code, _)| code),
                })
            }
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Number(number) => &number.name,
            Self::Category(category) => &category.name,
        }
    }

    /// Inputs of the network that this column gives.
    pub fn width(&self) -> usize {
        match self {
            Self::Number(_) => 1,
            Self::Category(category) => category.categories.len(),
        }
    }

    fn input_column(&self) -> InputColumn {
        let (r#type, categories) = match self {
            Self::Number(_) => (ColumnType::Number, None),
            Self::Category(category) => (ColumnType::Category, Some(category.categories.clone())),
        };
        InputColumn {
            name: self.name().to_owned(),
            r#type,
            categories,
        }
    }

    /// Writes the inputs of one column, from input `first` on; `inputs` (rows, width) is all 0 there.
    fn encode_column(&self, values: &Values, rows: &[u32], first: usize, inputs: &mut Array2<f32>) {
        match (self, values) {
            (Self::Number(number), Values::Number(numbers)) => {
                let column: ArrayViewMut1<f32> = inputs.column_mut(first);
                for (input, row) in column.into_iter().zip(rows) {
                    *input = number.encode(numbers[*row as usize]);
                }
            }
            (Self::Category(category), Values::Category { codes, .. }) => {
                for (row, place) in rows.iter().enumerate() {
                    if let Some(code) = category.encode(codes[*place as usize]) {
                        inputs[(row, first + code as usize)] = 1.0;
                    }
                }
            }
            _ => unreachable!("the table was read with the encoder's types"),
        }
    }
}

impl NumberFeature {
    fn fit(name: String, numbers: &[f32], rows: &[u32], scaling: NumericScaling) -> Self {
        let mut tally = NumberTally::default();
        let present = rows
            .iter()
            .map(|row| numbers[*row as usize])
            .filter(|number| !number.is_nan());
        present.for_each(|number| tally.add(f64::from(number)));
        let statistics = tally.finish(name, 0);
        let of = |figure: Option<f64>| figure.unwrap_or(0.0);
        let (mean, min) = (of(statistics.mean), of(statistics.min));
        let (center, scale) = match scaling {
            NumericScaling::Standardize => (mean, of(statistics.std)),
            NumericScaling::MinMax => (min, of(statistics.max) - min),
            NumericScaling::None => (0.0, 1.0),
        };
        Self {
            name: statistics.name,
            center,
            scale: if scale > 0.0 { scale } else { 1.0 },
            imputed: mean as f32,
        }
    }

    /// NaN is missing. Computed in f64, rounded once; infinite where the number is too far from the training rows'.
    pub fn encode(&self, number: f32) -> f32 {
        let number = if number.is_nan() { self.imputed } else { number };
        ((f64::from(number) - self.center) / self.scale) as f32
    }
}

impl CategoryFeature {
    /// The position of the input that is 1, for a code of the table.
    fn encode(&self, code: u32) -> Option<u32> {
        match code {
            MISSING => self.imputed,
            UNSEEN => None,
            code => Some(code),
        }
    }

    /// The code of a text.
    fn code_of(&self, text: &str) -> u32 {
        let found = self.categories.binary_search_by(|category| category.as_str().cmp(text));
        found.map_or(UNSEEN, |position| position as u32)
    }
}

#[cfg(test)]
mod tests;
