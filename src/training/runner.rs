//! Takes jobs in, runs them on threads of its own, and tells who asks how they fare.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::admission::DryRun;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::domain::job_spec::JobRequest;
use crate::domain::problem::Problem;
use crate::domain::tenant::TenantId;
use crate::store::Store;

#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Jobs that train at the same time.
    pub workers: usize,
    /// A job whose estimate is over this is refused.
    pub max_memory_bytes: u64,
}

impl Default for RunnerOptions {
    /// A worker a core, and 4 GiB a job.
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_memory_bytes: 4 << 30,
        }
    }
}

/// The handle to it all; cloning it is cheap.
#[derive(Clone)]
pub struct Runner {}

impl Runner {
    /// Brings back the jobs that a crash or a stop left running, and starts to work on the queue.
    ///
    /// When `shutdown` is cancelled no further job starts, and those that run are checkpointed and go back to queued.
    pub async fn start(store: Store, options: RunnerOptions, shutdown: CancellationToken) -> Result<Self, Problem> {
        unimplemented!()
    }

    /// After `shutdown`: returns once every running job is stored as queued again.
    pub async fn stopped(&self) {
        unimplemented!()
    }

    /// Checks a job, stores it as queued and has it started when its turn comes.
    pub async fn submit(&self, tenant: &TenantId, request: JobRequest) -> Result<Job, Problem> {
        unimplemented!()
    }

    /// Checks a job and says what it would be; stores nothing.
    pub async fn dry_run(&self, tenant: &TenantId, request: JobRequest) -> Result<DryRun, Problem> {
        unimplemented!()
    }

    /// Asks a job to stop. A queued or paused one is cancelled at once, a running one within a second.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        unimplemented!()
    }

    /// Pauses a running job: returns once its state is stored and its worker free.
    pub async fn pause(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        unimplemented!()
    }

    /// Puts a paused job back into the queue, to go on where it was.
    pub async fn resume(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        unimplemented!()
    }

    /// The job once it is done, or as it is after `at_most`.
    pub async fn wait(&self, tenant: &TenantId, id: JobId, at_most: Duration) -> Result<Job, Problem> {
        unimplemented!()
    }

    /// Wakes whenever something new about the job was stored: subscribe first, then read, then wait.
    pub fn changes(&self, id: JobId) -> Changes {
        unimplemented!()
    }
}

/// The news of one job.
pub struct Changes {}

impl Changes {
    /// Returns when something was stored since the subscription or the last call (at once if that already happened).
    pub async fn changed(&mut self) {
        unimplemented!()
    }
}
