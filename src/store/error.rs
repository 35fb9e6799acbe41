//! Why the store could not do what it was asked.

use crate::domain::problem::{Kind, Problem};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or a limit on file sizes was reached, or what was written could not be made durable.
    #[error("the data directory has no room")]
    NoSpace(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database was busy for longer than a request can wait.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    #[error("file: {0}")]
    File(#[source] std::io::Error),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::Internal, error.to_string())
    }
}
