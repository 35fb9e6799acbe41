//! What must not be lost: datasets, jobs, models in SQLite, uploads in a folder of content-addressed files.
//!
//! One process owns a data directory. One connection writes, a few read; every row has a tenant and every query that
//! serves a client names it.

mod blobs;
mod claim;
mod datasets;
mod error;
mod events;
mod idempotency;
mod jobs;
mod models;
mod outcome;
mod progress;

use std::path::Path;

pub use blobs::{BlobWriter, Blobs, StagedBlob};
pub use claim::Claim;
pub use error::StoreError;
pub use idempotency::{Reply, Reservation, StoredAnswer};
pub use jobs::{Move, NewJob, Submission};
pub use outcome::{NewModel, Outcome, Settled};
pub use progress::{Hold, ProgressUpdate};

/// A data directory that this process owns; cloning it is cheap.
#[derive(Clone)]
pub struct Store {}

/// What became of a wish to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// This job is not done and needs it.
    InUse(crate::domain::id::JobId),
    NotFound,
}

impl Store {
    /// Takes the directory (made when it isn't there), brings its tables up to date, and brings order to what a crash
    /// left: running jobs are queued again, orphaned files removed.
    ///
    /// Errors: another process has the directory; SQLite is too old; the disk.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// The uploaded files.
    pub fn blobs(&self) -> &Blobs {
        unimplemented!()
    }

    /// Waits for the writes under way and closes the database; every later call fails.
    pub async fn close(&self) {
        unimplemented!()
    }
}
