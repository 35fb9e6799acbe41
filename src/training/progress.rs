//! From the training thread to the store: news arrive as they happen and are written in batches.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::flag::{Flag, Wish};
use crate::domain::event::EpochRow;
use crate::domain::id::JobId;
use crate::domain::job::JobStatus;
use crate::store::{Claim, Hold, Outcome, ProgressUpdate, Settled, Store, StoreError};

/// The first epochs are shown this soon.
const FIRST_WRITE_AFTER: Duration = Duration::from_millis(100);
/// A commit costs milliseconds of a disk that all jobs share.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// So many epochs don't wait for that: to write those of a second of a small network in one go takes a core from the
/// serving threads for ten milliseconds.
const MANY_EPOCHS: usize = 1000;
/// When a write failed: a full disk is not emptied in a moment.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// News wait so long for others: a small network has ten thousand epochs a second, and to be woken for each takes more
/// from the serving threads than the epochs themselves.
const LISTEN_EVERY: Duration = Duration::from_millis(10);
/// News on their way before the thread has to wait for the store.
const CHANNEL_CAPACITY: usize = 4096;
/// Epochs that wait for the store; beyond it the thread waits, unless it is asked to stop.
const PENDING_EPOCHS: usize = 100_000;
/// When the server stops, how long a thread may take to let go of its job. One that takes longer is left behind, and the
/// job goes on from the last checkpoint.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a training thread tells.
#[derive(Debug)]
pub(super) enum News {
    Started {
        batches_per_epoch: u32,
    },
    Epoch(EpochRow),
    /// Stands for all epochs told before it.
    Checkpoint(Vec<u8>),
    /// The last.
    Ended(Box<Ending>),
}

pub(super) fn channel() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(CHANNEL_CAPACITY)
}

/// Writes the news of one job.
pub(super) struct Recorder<'a> {
    pub(super) store: &'a Store,
    pub(super) claim: &'a Claim,
    pub(super) flag: &'a Flag,
    pub(super) shutdown: &'a CancellationToken,
    /// How long the thread may take from then on.
    pub(super) stop_within: Duration,
    /// Called after each commit, and when the ending finds no room on the disk.
    pub(super) changed: &'a (dyn Fn(JobId) + Sync),
}

/// What was told and is not stored yet.
#[derive(Default)]
struct Pending {
    epochs: Vec<EpochRow>,
    batches_per_epoch: Option<u32>,
    checkpoint: Option<Vec<u8>>,
    /// A checkpoint bounds what a crash costs only once it is stored.
    urgent: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.epochs.is_empty() && self.batches_per_epoch.is_none() && self.checkpoint.is_none()
    }

    /// Takes in what was told; the ending, if that was among it.
    fn take_in(&mut self, told: impl Iterator<Item = News>) -> Option<Ending> {
        for news in told {
            match news {
                News::Started { batches_per_epoch } => self.batches_per_epoch = Some(batches_per_epoch),
                News::Epoch(row) => self.epochs.push(row),
                News::Checkpoint(bytes) => (self.checkpoint, self.urgent) = (Some(bytes), true),
                News::Ended(ending) => return Some(*ending),
            }
        }
        None
    }

    fn update(&self) -> ProgressUpdate<'_> {
        ProgressUpdate {
            epochs: &self.epochs,
            batches_per_epoch: self.batches_per_epoch,
            checkpoint: self.checkpoint.as_deref(),
        }
    }
}

impl Recorder<'_> {
    /// Writes until the thread has ended, and then how it ended. Returns when that is stored, or was refused because
    /// the job is another's.
    pub(super) async fn run(self, mut news: mpsc::Receiver<News>) {
        let mut pending = Pending::default();
        let mut due = Instant::now() + FIRST_WRITE_AFTER;
        let mut told = Vec::new();
        let mut left_behind = pin!(self.left_behind());
        let ending = loop {
            // A thread that waits to be heard sees no wish.
            let listens = pending.epochs.len() < PENDING_EPOCHS || self.flag.wish() != Wish::GoOn;
            tokio::select! {
                count = news.recv_many(&mut told, CHANNEL_CAPACITY), if listens => {
                    let before = pending.epochs.len();
                    if let Some(ending) = pending.take_in(told.drain(..)) {
                        break ending;
                    }
                    if count == 0 {
                        break Ending::internal("the training thread vanished");
                    }
                    // Once: what could not be written waits for its next try.
                    let many = before < MANY_EPOCHS && pending.epochs.len() >= MANY_EPOCHS;
                    if std::mem::take(&mut pending.urgent) || many {
                        due = Instant::now();
                    }
                    sleep(LISTEN_EVERY).await;
                }
                () = sleep_until(due), if !pending.is_empty() => {
                    due = Instant::now() + self.write(&mut pending).await;
                }
                () = &mut left_behind => break Ending::untrained(Wish::Release),
            }
        };
        self.end(pending, ending).await;
    }

    /// Returns when the server has been stopping for too long for the thread to be waited for.
    async fn left_behind(&self) {
        self.shutdown.cancelled().await;
        sleep(self.stop_within).await;
        tracing::warn!(job = %self.claim.job.id, "its thread takes too long to be waited for; the job goes on from its last checkpoint");
    }

    /// Stores what is pending; when the next write is due.
    async fn write(&self, pending: &mut Pending) -> Duration {
        match self.store.record_progress(self.claim, pending.update()).await {
            Ok(Hold::Mine(status)) => {
                *pending = Pending::default();
                if status == JobStatus::Cancelling {
                    self.flag.ask(Wish::Cancel);
                }
                (self.changed)(self.claim.job.id);
                WRITE_EVERY
            }
            Ok(Hold::Lost) => {
                *pending = Pending::default();
                self.flag.ask(Wish::Abandon);
                WRITE_EVERY
            }
            Err(error) => {
                self.complain(&error);
                RETRY_AFTER
            }
        }
    }

    /// Stores the ending; tries until it is stored, unless the server stops: then the job is queued again, and the next
    /// start resumes it from its last checkpoint.
    async fn end(&self, mut pending: Pending, ending: Ending) {
        let outcome = match ending {
            Ending::Abandoned => return,
            Ending::Stopped { checkpoint, wish } => {
                pending.checkpoint = checkpoint.or(pending.checkpoint);
                if wish == Wish::Pause {
                    Outcome::Paused
                } else {
                    Outcome::Released
                }
            }
            Ending::Succeeded(model) => Outcome::Succeeded { model: *model },
            Ending::Failed { error, model } => Outcome::Failed {
                error,
                model: model.map(|model| *model),
            },
            Ending::Cancelled(model) => Outcome::Cancelled {
                model: model.map(|model| *model),
            },
        };
        loop {
            match self.store.finish(self.claim, pending.update(), outcome.clone()).await {
                Ok(Settled::Stored(job)) => {
                    tracing::info!(job = %job.id, status = job.status.name(), "the job's worker is done with it");
                    return (self.changed)(job.id);
                }
                Ok(Settled::Lost) => return tracing::warn!(job = %self.claim.job.id, "the job is no longer ours"),
                Err(error) => {
                    self.complain(&error);
                    if matches!(error, StoreError::NoSpace(_)) {
                        self.flag.note_unstored();
                        (self.changed)(self.claim.job.id);
                    }
                }
            }
            if self.shutdown.is_cancelled() {
                return release(self.store, self.claim).await;
            }
            sleep(RETRY_AFTER).await;
        }
    }

    fn complain(&self, error: &StoreError) {
        tracing::warn!(job = %self.claim.job.id, %error, "progress could not be stored; trying again");
    }
}

/// Queues a claimed job again as it was stored last, which takes no room: an orderly stop is no crash of the job.
pub(super) async fn release(store: &Store, claim: &Claim) {
    if let Err(error) = store.finish(claim, ProgressUpdate::default(), Outcome::Released).await {
        tracing::warn!(job = %claim.job.id, %error, "the job could not be let go; the next start takes it for one cut short");
    }
}
