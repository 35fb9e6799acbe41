//! What clients ask of a job that is there: to stop, to pause, to go on, to say when it is done.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::flag::Wish;
use super::runner::Runner;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobStatus};
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::store::Move;

/// A worker looks at its flag all the time, so this is far beyond what a pause takes.
const PAUSE_WITHIN: Duration = Duration::from_secs(20);

impl Runner {
    /// Asks a job to stop. A queued or paused one is cancelled at once, a running one within a second.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        let outcome = self.0.store.request_cancel(tenant, id).await;
        self.0.wake(); // it may need its model made
        let job = moved(outcome?, "cancelled")?;
        self.0.ask(id, Wish::Cancel);
        self.0.changed(id);
        Ok(job)
    }

    /// Pauses a running job: returns once its state is stored and its worker free.
    ///
    /// Errors: `insufficient-storage` where the disk has no room for the state. Where that is known beforehand the job
    /// trains on; else it has stopped, its state is kept in memory, and it is paused as soon as there is room.
    pub async fn pause(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        let deadline = Instant::now() + PAUSE_WITHIN;
        let mut changes = self.changes(id);
        let mut asked = false;
        loop {
            let job = self.job(tenant, id).await?;
            match job.status {
                JobStatus::Paused if asked => return Ok(job),
                JobStatus::Running if self.0.is_unstored(id) => return Err(unstored()),
                JobStatus::Running => {
                    if !asked {
                        self.0.store.check_room().map_err(|error| no_room(error.into()))?;
                    }
                    asked |= self.0.ask(id, Wish::Pause);
                }
                _ if self.0.shutdown.is_cancelled() => {
                    return Err(Problem::new(
                        Kind::Unavailable,
                        "The server is stopping; ask again when it is back.",
                    ));
                }
                other => return Err(refused(other, "paused")),
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(Problem::new(
                    Kind::Unavailable,
                    "The job could not be paused in time; ask again.",
                ));
            }
        }
    }

    /// Puts a paused job back into the queue, to go on where it was.
    pub async fn resume(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        let job = moved(self.0.store.request_resume(tenant, id).await?, "resumed")?;
        self.0.changed(id);
        self.0.wake();
        Ok(job)
    }

    /// The job once it is done, or as it is after `at_most` or when the server stops.
    pub async fn wait(&self, tenant: &TenantId, id: JobId, at_most: Duration) -> Result<Job, Problem> {
        let deadline = Instant::now() + at_most;
        let mut changes = self.changes(id);
        loop {
            let job = self.job(tenant, id).await?;
            if job.status.is_final() {
                return Ok(job);
            }
            let changed = tokio::select! {
                changed = timeout_at(deadline, changes.changed()) => changed.is_ok(),
                () = self.0.shutdown.cancelled() => false,
            };
            if !changed {
                return Ok(job);
            }
        }
    }

    /// Wakes whenever something new about the job was stored: subscribe first, then read, then wait.
    pub fn changes(&self, id: JobId) -> Changes {
        let news = self.0.listen();
        Changes { id, news }
    }

    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Job, Problem> {
        self.0
            .store
            .get_job(tenant, id)
            .await?
            .ok_or_else(|| Problem::not_found("job"))
    }
}

fn moved(outcome: Move, wanted: &str) -> Result<Job, Problem> {
    match outcome {
        Move::Done(job) => Ok(*job),
        Move::Refused(status) => Err(refused(status, wanted)),
        Move::NotFound => Err(Problem::not_found("job")),
    }
}

fn no_room(problem: Problem) -> Problem {
    match problem.kind {
        Kind::InsufficientStorage => Problem {
            detail:
                "The server's disk has no room for the job's state, so the job trains on; ask again when there is room."
                    .to_owned(),
            ..problem
        },
        _ => problem,
    }
}

fn unstored() -> Problem {
    Problem::new(
        Kind::InsufficientStorage,
        "The job has stopped, but the server's disk has no room for its state. It is paused, or done if it had come to its \
         end, as soon as there is room; until then the state is in memory, and after a crash the job would go on from what \
         was stored last.",
    )
}

fn refused(status: JobStatus, wanted: &str) -> Problem {
    Problem::new(
        Kind::Conflict,
        format!("The job is {} and can't be {wanted}.", status.name()),
    )
}

/// The news of one job.
pub struct Changes {
    id: JobId,
    news: Receiver<JobId>,
}

impl Changes {
    /// Returns when something was stored since the subscription or the last call (at once if that already happened).
    pub async fn changed(&mut self) {
        loop {
            match self.news.recv().await {
                Ok(id) if id != self.id => {}
                // Too far behind to know: it may have been this job.
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
        // One reading of the store covers all that was stored until now.
        self.news = self.news.resubscribe();
    }
}
