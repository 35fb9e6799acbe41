//! Jobs as clients see and move them.

use super::{Store, StoreError};
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::{Job, JobStatus};
use crate::domain::job_spec::JobSpec;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

/// A checked job on its way into the queue.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    pub name: String,
    pub spec: JobSpec,
    /// Sealed, for its worker alone.
    pub initial_weights: Option<Vec<u8>>,
    /// The most memory it will need, by estimate; [`Store::claim_next`] starts only what fits.
    pub memory_bytes: u64,
}

/// What became of a submitted job.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    Queued(Box<Job>),
    /// So many of the tenant's jobs wait already.
    QueueFull {
        waiting: u64,
    },
    /// Deleted since the job was checked.
    DatasetGone(DatasetId),
    /// Deleted since the job was checked.
    ModelGone(ModelId),
}

/// What became of a client's wish to move a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    Done(Box<Job>),
    /// A job in this state has no such move.
    Refused(JobStatus),
    NotFound,
}

impl Store {
    /// Puts a job at the end of the queue, unless `max_waiting` jobs of its tenant are in it.
    pub async fn insert_job(&self, tenant: &TenantId, new: NewJob, max_waiting: u64) -> Result<Submission, StoreError> {
        unimplemented!()
    }

    pub async fn get_job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, StoreError> {
        unimplemented!()
    }

    pub async fn list_jobs(
        &self,
        tenant: &TenantId,
        status: Option<JobStatus>,
        page: PageRequest<JobId>,
    ) -> Result<Page<Job, JobId>, StoreError> {
        unimplemented!()
    }

    /// Moves a queued or paused job to cancelled (when a checkpoint holds trained epochs: to cancelling, and
    /// [`Store::claim_cancelling`] hands it to a runner for its model), a running job to cancelling. Asked again while
    /// cancelling, the answer is the same.
    pub async fn request_cancel(&self, tenant: &TenantId, id: JobId) -> Result<Move, StoreError> {
        unimplemented!()
    }

    /// Moves a paused job back to its old place in the queue.
    pub async fn request_resume(&self, tenant: &TenantId, id: JobId) -> Result<Move, StoreError> {
        unimplemented!()
    }
}
