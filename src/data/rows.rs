//! The rows of a table, whatever its format.

use std::borrow::Cow;
use std::io::Read;

use super::cell::{self, Cell};
use super::csv_reader::CsvReader;
use super::json_lines::JsonLinesReader;
use super::profile::Limits;
use super::source::{Format, Source};
use super::table_error::TableError;

/// Reads one row after the other; cells are looked at where they are wanted.
pub(crate) enum Rows<R> {
    Csv(Box<CsvReader<R>>),
    JsonLines(Box<JsonLinesReader<R>>),
}

impl<R: Read> Rows<R> {
    pub(crate) fn open(input: R, source: &Source, limits: &Limits) -> Result<Self, TableError> {
        match source.format {
            Format::Csv => CsvReader::open(input, source, limits).map(|reader| Self::Csv(Box::new(reader))),
            Format::JsonLines => {
                JsonLinesReader::open(input, source, limits).map(|reader| Self::JsonLines(Box::new(reader)))
            }
        }
    }

    /// Goes to the next row; false at the end.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, TableError> {
        match self {
            Self::Csv(reader) => reader.advance(),
            Self::JsonLines(reader) => reader.advance(),
        }
    }

    /// The columns known so far: JSON lines may bring new ones in any row.
    #[inline]
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Csv(reader) => reader.header(),
            Self::JsonLines(reader) => reader.names(),
        }
    }

    #[inline]
    pub(crate) fn cell(&self, column: usize) -> Cell {
        match self {
            Self::Csv(reader) => cell::parse(reader.field(column)),
            Self::JsonLines(reader) => reader.cell(column),
        }
    }

    /// A cell that is there as the text that a category has.
    #[inline]
    pub(crate) fn text(&self, column: usize) -> Cow<'_, str> {
        match self {
            Self::Csv(reader) => Cow::Borrowed(reader.text(column)),
            Self::JsonLines(reader) => reader.text(column),
        }
    }

    pub(crate) fn line_of(&self, column: usize) -> u64 {
        match self {
            Self::Csv(reader) => reader.line_of(column),
            Self::JsonLines(reader) => reader.line(),
        }
    }

    pub(crate) fn fault(&self, column: usize, detail: impl Into<String>) -> TableError {
        TableError::at(self.line_of(column), column as u64 + 1, detail)
    }
}
