//! Shares the machine's cores between the jobs that train: one core a job, and what is free to whom it pays for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Instant;

use super::priority;
use super::trial::Trial;
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
    /// How often helpers had reason to look for another team.
    changes: AtomicUsize,
    /// Of the jobs that have use for helpers; `None` once no job will come any more.
    teams: Mutex<Option<Vec<Team>>>,
    changed: Condvar,
}

/// A job's core, given back when dropped.
pub(super) struct Core<'a>(&'a Cores);

/// A job's team while it trains.
pub(super) struct Gathered<'a> {
    cores: &'a Cores,
    team: Team,
    trial: Trial,
}

impl Cores {
    pub(super) fn new(count: usize) -> Self {
        let shared = Arc::new(Shared {
            count,
            busy: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            teams: Mutex::new(Some(Vec::new())),
            changed: Condvar::new(),
        });
        let started = Once::new();
        Self { shared, started }
    }

    pub(super) fn take(&self) -> Core<'_> {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        self.shared.change(|_| ());
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
    /// A team that helps the trainer on cores that are free, for as long as it is kept, if its network may be large enough to
    /// gain by it. The result is the same bits either way.
    pub(super) fn gather(&self, trainer: &Trainer<f32>) -> Option<Gathered<'_>> {
        let shared = &self.0.shared;
        if shared.count < 2 || !trainer.pays_for_helpers() {
            return None;
        }
        self.0.started.call_once(|| self.0.start_helpers());
        let team = Team::new(shared.count - 1);
        shared.change(|teams| teams.extend([team.clone()]));
        Some(Gathered {
            cores: self.0,
            team,
            trial: Trial::begin(Instant::now()),
        })
    }
}

impl Gathered<'_> {
    /// To be called after every step: has the trainer helped where that makes it quicker.
    pub(super) fn step_ended(&mut self, trainer: &mut Trainer<f32>) {
        if self.trial.step_ended(Instant::now()) {
            trainer.share_out(match self.trial.is_helped() {
                true => self.team.clone(),
                false => Team::default(),
            });
        }
    }
}

impl Shared {
    /// Helps whoever has the fewest helpers, while there are cores without a job: the first helper while there is one, the
    /// second while there are two.
    fn help(&self, number: usize) {
        let is_free = || number + self.busy.load(Ordering::Relaxed) <= self.count;
        let mut teams = self.teams();
        while let Some(all) = &*teams {
            let changes = self.changes.load(Ordering::Relaxed);
            let team = all.iter().min_by_key(|team| team.size()).filter(|_| is_free()).cloned();
            let Some(helper) = team.as_ref().and_then(Team::join) else {
                teams = self.changed.wait(teams).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(teams);
            helper.help(|| is_free() && changes == self.changes.load(Ordering::Relaxed));
            teams = self.teams();
        }
    }

    /// Changes what helpers look at, and has all of them look: those that wait, that sleep and that work.
    fn change(&self, change: impl FnOnce(&mut Vec<Team>)) {
        let mut teams = self.teams();
        if let Some(teams) = &mut *teams {
            change(teams);
            self.changes.fetch_add(1, Ordering::Relaxed);
            teams.iter().for_each(Team::wake);
        }
        self.changed.notify_all();
    }

    /// They are whole at any time.
    fn teams(&self) -> MutexGuard<'_, Option<Vec<Team>>> {
        self.teams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        let shared = &self.cores.shared;
        shared.change(|teams| teams.retain(|team| !team.ptr_eq(&self.team)));
        self.team.dismiss();
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.0.shared.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.shared.change(|_| ());
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        *self.shared.teams() = None;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_team(cores: &Cores, team: &Team) {
        cores.started.call_once(|| cores.start_helpers());
        cores.shared.change(|teams| teams.push(team.clone()));
    }

    /// Until so many threads are in the team; a test that waits in vain is ended from outside.
    fn await_size(team: &Team, size: usize) {
        while team.size() != size {
            thread::yield_now();
        }
    }

    #[test]
    fn helpers_come_for_free_cores_leave_for_jobs_and_come_back() {
        let cores = Cores::new(3);
        let job = cores.take();
        let team = Team::new(2);
        with_team(&cores, &team);
        await_size(&team, 3);
        let other = cores.take();
        await_size(&team, 2);
        let third = cores.take();
        await_size(&team, 1);
        drop((other, third));
        await_size(&team, 3);
        drop(job);
    }

    #[test]
    fn helpers_spread_over_the_teams_and_follow_them() {
        let cores = Cores::new(4);
        let _jobs = [cores.take(), cores.take()];
        let [one, other] = [(); 2].map(|()| Team::new(3));
        with_team(&cores, &one);
        await_size(&one, 3);
        with_team(&cores, &other);
        await_size(&one, 2);
        await_size(&other, 2);
        cores.shared.change(|teams| teams.retain(|team| !team.ptr_eq(&one)));
        one.dismiss();
        await_size(&other, 3);
    }

    #[test]
    fn helpers_end_with_their_cores() {
        let cores = Cores::new(3);
        let (shared, team) = (Arc::downgrade(&cores.shared), Team::new(2));
        let job = cores.take();
        with_team(&cores, &team);
        await_size(&team, 3);
        drop(job);
        team.dismiss();
        drop(cores);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
