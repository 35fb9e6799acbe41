//! A table in memory: the wanted columns, typed.

use std::io::Read;

use super::encoder::InputColumn;
use super::profile::Column;
use super::source::Source;
use super::table_error::TableError;

/// The code of a category that is missing.
pub const MISSING: u32 = u32::MAX;
/// The code of a category that its column's vocabulary doesn't have.
pub const UNSEEN: u32 = u32::MAX - 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub rows: usize,
    pub columns: Vec<TableColumn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    pub name: String,
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// NaN is missing.
    Number(Vec<f32>),
    /// Positions in `categories`, [`MISSING`] or [`UNSEEN`].
    Category { codes: Vec<u32>, categories: Vec<String> },
}

impl Table {
    /// Reads the `wanted` columns of a profiled table, typed as the profile found them.
    pub fn read(input: impl Read, source: &Source, columns: &[Column], wanted: &[&str]) -> Result<Self, TableError> {
        let _ = (input, source, columns, wanted);
        unimplemented!()
    }

    /// Reads `columns` typed as a model knows them, from any table: a text where a number belongs is a fault.
    pub fn read_as(input: impl Read, source: &Source, columns: &[InputColumn]) -> Result<Self, TableError> {
        let _ = (input, source, columns);
        unimplemented!()
    }

    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The rows from `offset` on, at most `limit`: numbers, texts, and null for what is missing.
pub fn preview(
    input: impl Read,
    source: &Source,
    columns: &[Column],
    offset: u64,
    limit: usize,
) -> Result<Vec<Vec<serde_json::Value>>, TableError> {
    let _ = (input, source, columns, offset, limit);
    unimplemented!()
}
