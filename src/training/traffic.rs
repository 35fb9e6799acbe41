//! Has training threads make way for requests.
//!
//! That they have the lowest priority is not enough. A scheduler moves a thread that waits to another core only once that
//! core has nothing to do, and one that trains never has: so a request waits, for milliseconds, behind another on its
//! own core. While requests come, a training thread therefore naps now and then, and its core takes what waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a training thread works without a nap while requests come: what a request waits at most, or a step.
const TURN: Duration = Duration::from_micros(500);

/// As short as the system makes it, which is some 50 µs more on Linux: a tenth of the training while requests come.
const NAP: Duration = Duration::from_micros(1);

/// So long after a request more are expected.
const LULL: Duration = Duration::from_millis(5);

/// When a request last came.
#[derive(Debug)]
pub(super) struct Traffic {
    origin: Instant,
    last_us: AtomicU64,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            last_us: AtomicU64::new(0),
        }
    }

    /// A request came.
    pub(super) fn note(&self, at: Instant) {
        self.last_us.store(self.since_origin_us(at), Ordering::Relaxed);
    }

    fn flows(&self, now: Instant) -> bool {
        let last = self.last_us.load(Ordering::Relaxed);
        last > 0 && self.since_origin_us(now).saturating_sub(last) < LULL.as_micros() as u64
    }

    fn since_origin_us(&self, at: Instant) -> u64 {
        at.duration_since(self.origin).as_micros() as u64
    }
}

/// How long one training thread has worked since it last looked.
pub(super) struct Turn<'a> {
    traffic: &'a Traffic,
    since: Instant,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(traffic: &'a Traffic) -> Self {
        Self {
            traffic,
            since: Instant::now(),
        }
    }

    /// To be called after every step: naps where a turn is over and requests come. Returns whether it did.
    pub(super) fn make_way(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.since) < TURN {
            return false;
        }
        let flows = self.traffic.flows(now);
        if flows {
            thread::sleep(NAP);
        }
        self.since = Instant::now();
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_naps_after_its_turn_and_only_while_requests_come() {
        let traffic = Traffic::new();
        let later = traffic.origin + Duration::from_secs(1);
        assert!(!traffic.flows(traffic.origin), "none has come yet");
        traffic.note(later);
        assert!(traffic.flows(later));
        assert!(traffic.flows(later + LULL / 2));
        assert!(!traffic.flows(later + LULL));

        let begun = |ago: Duration| Turn {
            traffic: &traffic,
            since: Instant::now() - ago,
        };
        traffic.note(Instant::now() + Duration::from_secs(3600));
        assert!(!begun(Duration::ZERO).make_way());
        let mut turn = begun(TURN);
        assert!(turn.make_way());
        assert!(!turn.make_way(), "its next turn has begun");
        let quiet = Traffic::new();
        assert!(
            !Turn {
                traffic: &quiet,
                ..begun(TURN)
            }
            .make_way()
        );
    }
}
