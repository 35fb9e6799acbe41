//! What is wrong with an uploaded table, and where.

use std::fmt;
use std::io;

/// A table that can't be read.
#[derive(Debug)]
pub enum TableError {
    /// The content is at fault; the client can mend it.
    Invalid(TableFault),
    /// Reading the bytes failed; the client is not at fault.
    Io(io::Error),
}

/// One fault of a table, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFault {
    /// What was wrong and what to send instead, without the place.
    pub detail: String,
    /// Physical line of the file, from 1.
    pub line: Option<u64>,
    /// Field of the row, from 1.
    pub column: Option<u64>,
}

impl TableError {
    /// A fault of the whole table.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid(TableFault {
            detail: detail.into(),
            line: None,
            column: None,
        })
    }

    /// A fault at a line and a field, both from 1.
    pub fn at(line: u64, column: u64, detail: impl Into<String>) -> Self {
        Self::Invalid(TableFault {
            detail: detail.into(),
            line: Some(line),
            column: Some(column),
        })
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(fault) => match (fault.line, fault.column) {
                (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", fault.detail),
                _ => f.write_str(&fault.detail),
            },
            Self::Io(error) => write!(f, "the table could not be read: {error}"),
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for TableError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
