//! What is wrong with a document that a client wrote, and where.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One fault of a request: the place, and one sentence that says what to send instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the request body; empty for the whole document.
    #[schema(example = "/model/layers/1/units")]
    pub pointer: String,
    /// What was wrong there and what to send instead.
    #[schema(example = "units must be a whole number from 1 to 65536, not 0")]
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}
