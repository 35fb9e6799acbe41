//! An uploaded table and what was found in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::DatasetId;
use crate::data::profile::Column;
use crate::data::source::Source;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    pub id: DatasetId,
    #[schema(example = "iris")]
    pub name: String,
    /// Rows of the table, the header not counted.
    pub rows: u64,
    /// Bytes of the stored content (after gunzip when it came compressed).
    pub size_bytes: u64,
    /// Of the stored content, in hexadecimal.
    pub sha256: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How the bytes are read: format, encoding, delimiter.
    pub source: Source,
    pub columns: Vec<Column>,
}
