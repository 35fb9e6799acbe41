//! Errors for people, free of any transport: what was wrong, where, and what to send instead.

use std::error::Error;
use std::fmt;

use crate::data::table_error::TableError;
use crate::nn::spec::Fault;

/// The kinds of problem; each has one stable type URI and one HTTP status in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    MalformedJson,
    MalformedRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    Conflict,
    BodyTooLarge,
    UriTooLong,
    HeadersTooLarge,
    UnsupportedMediaType,
    Misdirected,
    InvalidDataset,
    InvalidSpec,
    InvalidFeatures,
    JobTooLarge,
    IdempotencyMismatch,
    TooManyRequests,
    Internal,
    Unavailable,
    InsufficientStorage,
}

/// Where in an uploaded table a fault is, both from 1; a column counts fields, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// A refusal or failure: `detail` and `faults` are for the client, `source` is for the log only.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    /// One sentence that says what to change.
    pub detail: String,
    pub faults: Vec<Fault>,
    /// For a table's faults.
    pub place: Option<Place>,
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            faults: Vec::new(),
            place: None,
            source: None,
        }
    }

    /// A failure that is ours: the client learns nothing but that, the log gets the source.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(
                Kind::Internal,
                "The server failed; the fault is not yours. Its log has the request id.",
            )
        }
    }

    /// 507 and not 413 or 429: it isn't this one thing that is too large, and time alone changes nothing.
    pub fn no_room(used_bytes: u64, room_bytes: u64) -> Self {
        let detail = format!(
            "Your tables and models have {used_bytes} bytes and may have {room_bytes} together, too few for this; nothing of \
             it was kept. Delete tables or models that are not needed and send this again."
        );
        Self::new(Kind::InsufficientStorage, detail)
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("There is no such {what}."))
    }

    /// Several faults of one document; the detail counts them.
    pub fn faults(kind: Kind, what: &str, faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [only] => format!("{what}: {} {}.", only.pointer, only.detail.trim_end_matches(['.', '?'])),
            many => format!("{what}: {} faults, listed in errors.", many.len()),
        };
        Self {
            faults,
            ..Self::new(kind, detail)
        }
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Invalid(fault) => Self {
                place: fault.line.map(|line| Place {
                    line,
                    column: fault.column.unwrap_or(1),
                }),
                ..Self::new(Kind::InvalidDataset, fault.detail)
            },
            TableError::Io(error) => Self::internal(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
