//! What a worker tells while it trains.

use super::claim::Claim;
use super::{Store, StoreError};
use crate::domain::event::EpochRow;
use crate::domain::job::JobStatus;

/// News from a worker, stored in one commit.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgressUpdate<'a> {
    /// Epochs done, in order; those that are stored already are skipped (a resumed job trains some again, to the bit).
    pub epochs: &'a [EpochRow],
    pub batches_per_epoch: Option<u32>,
    pub checkpoint: Option<&'a [u8]>,
}

/// Whether a worker still has its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It was stored; the job is running, or cancelling when its client wants it to stop.
    Mine(JobStatus),
    /// The job is another's or done: nothing was stored, and the worker must stop.
    Lost,
}

impl Store {
    pub async fn record_progress(&self, claim: &Claim, update: ProgressUpdate<'_>) -> Result<Hold, StoreError> {
        unimplemented!()
    }
}
