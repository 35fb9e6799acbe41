//! How the bytes of a table are to be read: format, encoding, delimiter.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::table_error::TableError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    JsonLines,
}

/// How a stored table is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    pub format: Format,
    /// `utf-8`, or `euc-kr` for CP949 and EUC-KR.
    #[schema(example = "utf-8")]
    pub encoding: String,
    /// Between the fields of a CSV; null for JSON lines.
    #[schema(example = ",")]
    pub delimiter: Option<String>,
}

/// What a client says about its table; the rest is found out from the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRequest {
    pub format: Option<Format>,
    /// A name of UTF-8 or of CP949/EUC-KR, without regard to case.
    pub encoding: Option<String>,
    /// A character, or one of the names comma, semicolon, tab, pipe.
    pub delimiter: Option<String>,
}

/// Finds out how a table is read from its first bytes.
pub fn detect(head: &[u8], request: &SourceRequest) -> Result<Source, TableError> {
    unimplemented!("{head:?} {request:?}")
}
