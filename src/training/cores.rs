//! Shares the machine's cores between the jobs that train: one core a job, and what is free to whom it pays for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::priority;
use crate::nn::trainer::Trainer;

/// How long a job stays on the pool's threads before it looks again whether others want them. Going there and back costs
/// about as much as a small network's step.
const TURN: Duration = Duration::from_millis(5);

pub(super) struct Cores {
    count: usize,
    busy: AtomicUsize,
    /// Made when a job first needs it; `None` where threads can't be had.
    pool: OnceLock<Option<ThreadPool>>,
}

/// A job's core, given back when dropped.
pub(super) struct Core<'a>(&'a Cores);

impl Cores {
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            busy: AtomicUsize::new(0),
            pool: OnceLock::new(),
        }
    }

    pub(super) fn take(&self) -> Core<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Core(self)
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let build = || {
            let builder = ThreadPoolBuilder::new().num_threads(self.count);
            let named = builder.thread_name(|index| format!("core-{index}"));
            named.start_handler(|_| priority::lower()).build().ok()
        };
        self.pool.get_or_init(build).as_ref()
    }
}

impl Core<'_> {
    /// Does `step` until it returns something: on several cores where some are free and the network is large enough to
    /// gain by it. The result is the same bits either way.
    pub(super) fn run<T: Send>(
        &self,
        trainer: &mut Trainer<f32>,
        mut step: impl FnMut(&mut Trainer<f32>) -> Option<T> + Send,
    ) -> T {
        let shared = trainer.pays_for_threads();
        loop {
            let mut turn = || {
                let end = Instant::now() + TURN;
                loop {
                    let done = step(trainer);
                    if done.is_some() || Instant::now() >= end {
                        return done;
                    }
                }
            };
            let free = self.0.busy.load(Ordering::Relaxed) < self.0.count;
            let pool = if shared && free { self.0.pool() } else { None };
            let done = match pool {
                Some(pool) => pool.install(turn),
                None => turn(),
            };
            if let Some(done) = done {
                return done;
            }
        }
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
