//! Takes jobs in, runs them on threads of its own, and tells who asks how they fare.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::assignment::{Assignment, AssignmentError};
use super::cores::Cores;
use super::ending::Ending;
use super::flag::{Flag, Wish};
use super::limits::JobLimits;
use super::priority;
use super::progress::{self, News, Recorder};
use super::traffic::Traffic;
use super::worker;
use crate::domain::id::JobId;
use crate::domain::job::{JobStatus, WaitingFor};
use crate::store::{Claim, Store, StoreError};

/// How long to wait before the store is asked again after it failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Changes that a slow listener may fall behind before it is told that there were some.
const CHANGES_CAPACITY: usize = 1024;

#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Jobs that train at the same time.
    pub workers: usize,
    pub limits: JobLimits,
    /// Jobs of one tenant that may wait.
    pub max_waiting: u64,
}

impl Default for RunnerOptions {
    /// A worker a core, 1000 waiting jobs.
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            limits: JobLimits::default(),
            max_waiting: 1000,
        }
    }
}

/// The handle to it all; cloning it is cheap.
#[derive(Clone)]
pub struct Runner(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) options: RunnerOptions,
    /// Names this process in its claims.
    owner: String,
    pub(super) shutdown: CancellationToken,
    cores: Cores,
    traffic: Traffic,
    wake: Notify,
    changes: broadcast::Sender<JobId>,
    running: Mutex<HashMap<JobId, Running>>,
    tasks: TaskTracker,
}

/// A job that has a thread.
struct Running {
    flag: Arc<Flag>,
    memory_bytes: u64,
}

/// A running job's place among the workers, free again when dropped.
struct Place {
    shared: Arc<Shared>,
    id: JobId,
}

impl Place {
    fn take(shared: &Arc<Shared>, claim: &Claim) -> (Self, Arc<Flag>) {
        let flag = Arc::new(Flag::default());
        let running = Running {
            flag: flag.clone(),
            memory_bytes: claim.memory_bytes,
        };
        let (shared, id) = (shared.clone(), claim.job.id);
        shared.running().insert(id, running);
        shared.changed(id);
        (Self { shared, id }, flag)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.running().remove(&self.id);
        self.shared.changed(self.id);
        self.shared.wake.notify_one();
    }
}

impl Runner {
    pub fn options(&self) -> &RunnerOptions {
        &self.0.options
    }

    /// Starts to work on the queue; running jobs that a crash or a stop left were queued again by the store.
    ///
    /// When `shutdown` is cancelled no further job starts, and those that run are checkpointed and go back to queued.
    pub fn start(store: Store, options: RunnerOptions, shutdown: CancellationToken) -> Self {
        let runner = Self(Arc::new(Shared {
            store,
            owner: Uuid::now_v7().simple().to_string(),
            shutdown,
            cores: Cores::new(options.workers),
            traffic: Traffic::new(),
            options,
            wake: Notify::new(),
            changes: broadcast::channel(CHANGES_CAPACITY).0,
            running: Mutex::default(),
            tasks: TaskTracker::new(),
        }));
        runner.0.tasks.spawn(runner.clone().dispatch());
        runner
    }

    /// Tells the training threads that a request came at `at`: while more come, they make way.
    pub fn note_request(&self, at: Instant) {
        self.0.traffic.note(at);
    }

    /// What the job at the head of the queue waits for, unless it is kept apart.
    pub fn head_waits_for(&self) -> WaitingFor {
        let running = self.0.running().len();
        match (1..self.0.options.workers).contains(&running) {
            true => WaitingFor::Memory,
            false => WaitingFor::Worker,
        }
    }

    /// After `shutdown`: returns once every running job is stored as queued again.
    pub async fn stopped(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Hands jobs to threads, in the order of the queue, whenever there is a free one.
    async fn dispatch(self) {
        let shared = &self.0;
        while !shared.shutdown.is_cancelled() {
            let retry = match self.claim_all().await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(%error, "the queue could not be read; trying again");
                    Some(RETRY_AFTER)
                }
            };
            tokio::select! {
                () = shared.wake.notified() => {}
                () = shared.shutdown.cancelled() => {}
                () = sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        }
        shared.ask_all(Wish::Release);
    }

    /// Claims what there is to do and a thread for.
    async fn claim_all(&self) -> Result<(), StoreError> {
        let shared = &self.0;
        // Jobs that were cancelled while they had no thread: their model is made, nothing is trained.
        while let Some(claim) = shared.store.claim_cancelling(&shared.owner).await? {
            let flag = Arc::new(Flag::default());
            flag.ask(Wish::Cancel);
            let (runner, run) = (self.clone(), self.clone().run(claim, flag));
            shared.tasks.spawn(async move {
                run.await;
                runner.0.wake(); // another may have been kept apart from it
            });
        }
        loop {
            let room_bytes = shared.options.limits.memory_bytes.saturating_sub(shared.memory_bytes());
            let free = shared.running().len() < shared.options.workers && !shared.shutdown.is_cancelled();
            let Some(claim) = (match free {
                true => shared.store.claim_next(&shared.owner, room_bytes).await?,
                false => None,
            }) else {
                // It trains alone only to its next checkpoint; they go on then, to the bit as if they had not let go.
                if shared.store.suspect_waits().await? {
                    shared.ask_all(Wish::Release);
                }
                return Ok(());
            };
            let (place, flag) = Place::take(shared, &claim);
            let run = self.clone().run(claim, flag);
            shared.tasks.spawn(async move {
                run.await;
                drop(place);
            });
        }
    }

    /// One claim, from what it needs of the store to how it ended there.
    async fn run(self, claim: Claim, flag: Arc<Flag>) {
        let (shared, claim) = (&self.0, Arc::new(claim));
        let (sender, news) = progress::channel();
        if let Err(ending) = shared.begin(&claim, &flag, &sender).await {
            drop(sender.send(News::Ended(Box::new(ending))).await);
        }
        drop(sender); // the thread has its own
        let recorder = Recorder {
            store: &shared.store,
            claim: &claim,
            flag: &flag,
            shutdown: &shared.shutdown,
            stop_within: progress::STOP_WITHIN,
            changed: &|id| {
                shared.changed(id);
                // Its checkpoint, if there is one now, frees the job of suspicion, and others need not be kept apart.
                if claim.crashes > 0 {
                    shared.wake();
                }
            },
        };
        recorder.run(news).await;
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_bytes(&self) -> u64 {
        self.running()
            .values()
            .fold(0, |sum, running| sum.saturating_add(running.memory_bytes))
    }

    /// Asks the thread of a job, if it has one.
    pub(super) fn ask(&self, id: JobId, wish: Wish) -> bool {
        self.running().get(&id).map(|running| running.flag.ask(wish)).is_some()
    }

    fn ask_all(&self, wish: Wish) {
        self.running().values().for_each(|running| running.flag.ask(wish));
    }

    /// Whether a job has ended and the disk has no room to store how.
    pub(super) fn is_unstored(&self, id: JobId) -> bool {
        self.running()
            .get(&id)
            .is_some_and(|running| running.flag.is_unstored())
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells who listens that something new about a job was stored; nobody may.
    pub(super) fn changed(&self, id: JobId) {
        drop(self.changes.send(id));
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<JobId> {
        self.changes.subscribe()
    }

    /// Has a thread work on a claimed job; tries until the store gives what it needs and the system a thread. Errors: how it
    /// ends without one.
    async fn begin(
        self: &Arc<Self>,
        claim: &Arc<Claim>,
        flag: &Arc<Flag>,
        sender: &mpsc::Sender<News>,
    ) -> Result<(), Ending> {
        loop {
            let why = match self.load(claim, flag).await {
                Ok(assignment) => match self.spawn(assignment, flag.clone(), sender.clone()) {
                    Ok(()) => return Ok(()),
                    Err(error) => format!("no thread could be started: {error}"),
                },
                Err(AssignmentError::Store(error)) if !matches!(error, StoreError::Damaged { .. }) => error.to_string(),
                Err(error) => return Err(Ending::internal(&error.to_string())),
            };
            tracing::warn!(job = %claim.job.id, why, "a job can't begin yet; trying again");
            tokio::select! {
                () = sleep(RETRY_AFTER) => {}
                () = self.shutdown.cancelled() => return Err(Ending::untrained(Wish::Release)),
            }
            if let wish @ (Wish::Pause | Wish::Release) = flag.wish() {
                return Err(Ending::untrained(wish));
            }
        }
    }

    fn spawn(
        self: &Arc<Self>,
        assignment: Assignment,
        flag: Arc<Flag>,
        sender: mpsc::Sender<News>,
    ) -> std::io::Result<()> {
        let shared = self.clone();
        let work = move || {
            priority::lower();
            // The recorder listens until the end is told, so a send can't fail before.
            let tell = |told| drop(sender.blocking_send(told));
            let ending = worker::work(assignment, &flag, &shared.cores, &shared.traffic, &tell);
            tell(News::Ended(Box::new(ending)));
        };
        std::thread::Builder::new().name("train".to_owned()).spawn(work)?;
        Ok(())
    }

    async fn load(&self, claim: &Arc<Claim>, flag: &Flag) -> Result<Assignment, AssignmentError> {
        // A cancel between the claim and the place among the running found no flag to raise.
        let job = self.store.get_job(&claim.tenant, claim.job.id).await?;
        if job.is_some_and(|job| job.status == JobStatus::Cancelling) {
            flag.ask(Wish::Cancel);
        }
        // Its checkpoint may be large, and whoever decodes that answers no request.
        let (store, claim) = (self.store.clone(), claim.clone());
        let loaded = tokio::task::spawn_blocking(move || Handle::current().block_on(Assignment::load(&store, &claim)));
        loaded
            .await
            .unwrap_or_else(|error| Err(AssignmentError::Loading(error)))
    }
}
