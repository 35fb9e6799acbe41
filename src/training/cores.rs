//! Shares the machine's cores between the jobs that train: one core a job, and what is free to whom it pays for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use super::priority;
use crate::nn::kernel::Team;
use crate::nn::trainer::Trainer;

pub(super) struct Cores {
    shared: Arc<Shared>,
    /// Helpers start when a job first has use for them.
    started: Once,
}

struct Shared {
    count: usize,
    busy: AtomicUsize,
    /// How often a team has come.
    gathered: AtomicUsize,
    /// Of the jobs that have use for helpers; `None` once no job will come any more.
    teams: Mutex<Option<Vec<Team>>>,
    /// Teams or cores are there that weren't.
    change: Condvar,
}

/// A job's core, given back when dropped.
pub(super) struct Core<'a>(&'a Cores);

/// A job's team while it trains.
pub(super) struct Gathered<'a> {
    cores: &'a Cores,
    team: Team,
}

impl Cores {
    pub(super) fn new(count: usize) -> Self {
        let shared = Arc::new(Shared {
            count,
            busy: AtomicUsize::new(0),
            gathered: AtomicUsize::new(0),
            teams: Mutex::new(Some(Vec::new())),
            change: Condvar::new(),
        });
        let started = Once::new();
        Self { shared, started }
    }

    pub(super) fn take(&self) -> Core<'_> {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        Core(self)
    }

    fn start_helpers(&self) {
        for number in 1..self.shared.count {
            let shared = self.shared.clone();
            let helper = thread::Builder::new().name(format!("helper-{number}"));
            let started = helper.spawn(move || {
                priority::lower();
                shared.help(number);
            });
            if let Err(error) = started {
                tracing::warn!(%error, "a core stays without a training thread");
            }
        }
    }
}

impl Core<'_> {
    /// Has the trainer helped on cores that are free, for as long as what is returned is kept, if its network is large enough
    /// to gain by it. The result is the same bits either way.
    pub(super) fn gather(&self, trainer: &mut Trainer<f32>) -> Option<Gathered<'_>> {
        let shared = &self.0.shared;
        if shared.count < 2 || !trainer.pays_for_helpers() {
            return None;
        }
        self.0.started.call_once(|| self.0.start_helpers());
        let team = Team::new(shared.count - 1);
        trainer.share_out(team.clone());
        shared.teams().as_mut()?.push(team.clone());
        shared.gathered.fetch_add(1, Ordering::Relaxed);
        shared.change.notify_all();
        Some(Gathered { cores: self.0, team })
    }
}

impl Shared {
    /// Helps whoever has the fewest helpers, while there are cores without a job: the first helper while there is one, the
    /// second while there are two.
    fn help(&self, number: usize) {
        let is_free = || number + self.busy.load(Ordering::Relaxed) <= self.count;
        let mut teams = self.teams();
        while let Some(all) = &*teams {
            let gathered = self.gathered.load(Ordering::Relaxed);
            let team = all.iter().min_by_key(|team| team.size()).filter(|_| is_free()).cloned();
            let Some(helper) = team.as_ref().and_then(Team::join) else {
                teams = self.change.wait(teams).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(teams);
            helper.help(|| is_free() && gathered == self.gathered.load(Ordering::Relaxed));
            teams = self.teams();
        }
    }

    /// They are whole at any time.
    fn teams(&self) -> MutexGuard<'_, Option<Vec<Team>>> {
        self.teams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        if let Some(teams) = &mut *self.cores.shared.teams() {
            teams.retain(|team| !team.is(&self.team));
        }
        self.team.dismiss();
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.0.shared.busy.fetch_sub(1, Ordering::Relaxed);
        let _teams = self.0.shared.teams();
        self.0.shared.change.notify_all();
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        *self.shared.teams() = None;
        self.shared.change.notify_all();
    }
}
