//! What is in a table: its columns, their types inferred over all rows, and their statistics.

use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::{Source, SourceRequest};
use super::table_error::TableError;

/// A column of a table: numbers where every value that is there is one, else categories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(discriminator(property_name = "type", mapping(
    ("number" = "#/components/schemas/NumberColumn"),
    ("category" = "#/components/schemas/CategoryColumn"),
)))]
pub enum Column {
    Number(NumberColumn),
    Category(CategoryColumn),
}

/// The one value of `type` in a [`NumberColumn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    #[default]
    Number,
}

/// The one value of `type` in a [`CategoryColumn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CategoryType {
    #[default]
    Category,
}

/// A column of numbers. The statistics are over the values that are there; null where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NumberColumn {
    #[schema(example = "꽃잎길이")]
    pub name: String,
    #[schema(inline)]
    pub r#type: NumberType,
    /// Rows without a value.
    pub missing: u64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the population (divided by n), as the standardizing preprocessing takes it.
    pub std: Option<f64>,
    /// The different values in ascending order; null where there are more than 256.
    pub distinct: Option<Vec<f64>>,
}

/// A column of texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CategoryColumn {
    #[schema(example = "품종")]
    pub name: String,
    #[schema(inline)]
    pub r#type: CategoryType,
    /// Rows without a value.
    pub missing: u64,
    /// The different values in ascending order of their code points; empty where there are more than 1000.
    pub categories: Vec<Category>,
    /// How many different values there are; null where there are more than 1000: free text, no use as an input.
    pub distinct: Option<u64>,
}

/// One value of a category column and how many rows have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    #[schema(example = "setosa")]
    pub value: String,
    #[schema(example = 50)]
    pub count: u64,
}

/// What is in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Rows of data, the header not counted.
    pub rows: u64,
    pub source: Source,
    pub columns: Vec<Column>,
}

/// What a table may be at most; beyond it the table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub rows: u64,
    pub columns: usize,
    /// Of one field, in bytes of UTF-8.
    pub field_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 100_000_000,
            columns: 10_000,
            field_bytes: 1 << 20,
        }
    }
}

impl Column {
    pub fn name(&self) -> &str {
        match self {
            Self::Number(column) => &column.name,
            Self::Category(column) => &column.name,
        }
    }

    pub fn missing(&self) -> u64 {
        match self {
            Self::Number(column) => column.missing,
            Self::Category(column) => column.missing,
        }
    }
}

/// Reads a whole table, in flat memory whatever its size.
pub fn profile(input: impl Read + Seek, request: &SourceRequest, limits: &Limits) -> Result<Profile, TableError> {
    let _ = (input, request, limits);
    unimplemented!()
}
