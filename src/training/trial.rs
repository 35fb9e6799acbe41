//! Finds out whether helpers make a job quicker.
//!
//! How much a network gains by them is up to its size, but also to how far the cores are from each other, which on a
//! virtual machine may change from minute to minute: between the halves of some processors small steps are slower with
//! two threads than with one. As the bits are the same either way, the job tries both, and goes on with what was quicker.

use std::time::{Duration, Instant};

/// How long each way is tried: at least a step.
const TRIAL: Duration = Duration::from_millis(5);

/// So many times as long as a trial took it is believed.
const BELIEVED: u32 = 100;

/// Whether steps are shared out among helpers now, and why.
#[derive(Debug)]
pub(super) struct Trial {
    phase: Phase,
    begun: Instant,
    steps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Alone,
    /// What a step took alone.
    Helped(Duration),
    Settled {
        helped: bool,
        until: Instant,
    },
}

impl Trial {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            phase: Phase::Alone,
            begun: now,
            steps: 0,
        }
    }

    /// Whether the next step is to be helped.
    pub(super) fn is_helped(&self) -> bool {
        matches!(self.phase, Phase::Helped(_) | Phase::Settled { helped: true, .. })
    }

    /// A step has ended; whether it now is to be the other way.
    pub(super) fn step_ended(&mut self, now: Instant) -> bool {
        let before = self.is_helped();
        self.steps += 1;
        let took = now.saturating_duration_since(self.begun);
        let next = match self.phase {
            Phase::Settled { until, .. } if now < until => return false,
            Phase::Settled { .. } => Phase::Alone,
            _ if took < TRIAL => return false,
            Phase::Alone => Phase::Helped(took / self.steps),
            Phase::Helped(alone) => Phase::Settled {
                helped: took / self.steps < alone,
                until: now + took * BELIEVED,
            },
        };
        *self = Self {
            phase: next,
            begun: now,
            steps: 0,
        };
        self.is_helped() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the steps of `steps` steps were helped, where one takes so long alone and so long helped.
    fn helped(steps: usize, alone: Duration, with_help: Duration) -> usize {
        let mut now = Instant::now();
        let mut trial = Trial::begin(now);
        let mut helped = trial.is_helped();
        let mut count = 0;
        for _ in 0..steps {
            assert_eq!(trial.is_helped(), helped);
            count += usize::from(helped);
            now += if helped { with_help } else { alone };
            helped ^= trial.step_ended(now);
        }
        count
    }

    #[test]
    fn helpers_stay_where_steps_are_quicker_with_them_and_only_there() {
        let [short, long] = [20, 30].map(Duration::from_micros);
        assert!(helped(100_000, long, short) > 98_000);
        assert!(helped(100_000, short, long) < 2_000);
        // Steps that are longer than a trial.
        let [short, long] = [200, 300].map(Duration::from_millis);
        assert!(helped(1000, long, short) > 980);
        assert!(helped(1000, short, long) < 20);
    }

    #[test]
    fn it_is_tried_again() {
        let mut now = Instant::now();
        let mut trial = Trial::begin(now);
        let mut changes = 0;
        for _ in 0..100_000 {
            now += Duration::from_micros(30);
            changes += u32::from(trial.step_ended(now));
        }
        // Neither is quicker: three seconds of half seconds with a trial each.
        assert!((8..=14).contains(&changes), "{changes}");
    }
}
