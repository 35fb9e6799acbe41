//! Handing jobs to workers, one worker a job, in the order of submission.

use super::{Store, StoreError};
use crate::domain::job::Job;
use crate::domain::tenant::TenantId;

/// The right to work on a job: every write a worker makes names it, and is refused once it is no longer the job's.
#[derive(Clone, Debug)]
pub struct Claim {
    pub tenant: TenantId,
    pub job: Job,
    /// Who claimed it.
    pub owner: String,
    /// One more with every claim of the job.
    pub fence: u64,
    /// As they were submitted.
    pub initial_weights: Option<Vec<u8>>,
    /// The newest, to go on from.
    pub checkpoint: Option<Vec<u8>>,
}

impl Store {
    /// Claims the job at the head of the queue; `None` when there is none or it needs more than `room_bytes`.
    pub async fn claim_next(&self, owner: &str, room_bytes: u64) -> Result<Option<Claim>, StoreError> {
        unimplemented!()
    }

    /// Claims a job that was cancelled while no worker had it but a checkpoint holds trained epochs: its worker makes
    /// the model from the checkpoint and finishes it as cancelled, without training.
    pub async fn claim_cancelling(&self, owner: &str) -> Result<Option<Claim>, StoreError> {
        unimplemented!()
    }

    /// The checkpoint before the newest, for when the newest can't be read.
    pub async fn earlier_checkpoint(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        unimplemented!()
    }
}
