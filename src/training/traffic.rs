//! Has training threads make way for requests.
//!
//! That they have the lowest priority is not enough. A scheduler moves a thread that waits to another core only once that
//! core has nothing to do, and one that trains never has: so a request waits, for milliseconds, behind another on its
//! own core. While requests come, a training thread therefore naps often, and its core takes what waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a training thread works at least before it naps, or a step: while requests come fast, what one of them waits.
const TURN: Duration = Duration::from_micros(100);

/// The nap that each request buys, about what it takes to answer a small prediction and to read the answer. So training
/// slows down as the load grows, and hardly at all for a request now and then.
const NAP: Duration = Duration::from_micros(50);

/// Of requests that came in one turn so many are counted: however many come, training has a tenth of its time. More come
/// in a turn where the cores are so busy that it takes long.
const MOST_COUNTED: u64 = 16;

/// How long a training thread works without a nap while a request that came may still be worked on.
const LONG_TURN: Duration = Duration::from_micros(500);

/// So long after a request it may.
const LULL: Duration = Duration::from_millis(5);

/// The requests so far.
#[derive(Debug)]
pub(super) struct Traffic {
    origin: Instant,
    count: AtomicU64,
    last_us: AtomicU64,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            count: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
        }
    }

    /// A request came.
    pub(super) fn note(&self, at: Instant) {
        self.count.fetch_add(1, Ordering::Relaxed);
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

/// What one training thread has worked and seen since its last nap.
pub(super) struct Turn<'a> {
    traffic: &'a Traffic,
    since: Instant,
    seen: u64,
}

impl<'a> Turn<'a> {
    pub(super) fn begin(traffic: &'a Traffic) -> Self {
        Self {
            traffic,
            since: Instant::now(),
            seen: traffic.count.load(Ordering::Relaxed),
        }
    }

    /// To be called after every step: naps where a turn is over and requests came in it.
    pub(super) fn make_way(&mut self) {
        let now = Instant::now();
        if let Some(nap) = self.nap(now) {
            thread::sleep(nap);
            *self = Self::begin(self.traffic);
        }
    }

    /// How long to nap now.
    fn nap(&self, now: Instant) -> Option<Duration> {
        let worked = now.saturating_duration_since(self.since);
        if worked < TURN {
            return None;
        }
        match self.traffic.count.load(Ordering::Relaxed) - self.seen {
            0 if worked < LONG_TURN || !self.traffic.flows(now) => None,
            // As short as the system makes it.
            0 => Some(Duration::from_micros(1)),
            came => Some(NAP * came.min(MOST_COUNTED) as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn that began so long before `now`, and what has come since.
    fn begun(traffic: &Traffic, now: Instant, ago: Duration, came: u64) -> Turn<'_> {
        Turn {
            traffic,
            since: now.checked_sub(ago).unwrap(),
            seen: traffic.count.load(Ordering::Relaxed) - came,
        }
    }

    #[test]
    fn each_request_buys_a_nap_but_training_goes_on() {
        let traffic = Traffic::new();
        let now = traffic.origin + Duration::from_secs(1);
        for _ in 0..100 {
            traffic.note(now);
        }
        let nap = |ago, came| begun(&traffic, now, ago, came).nap(now);
        assert_eq!(nap(TURN / 2, 1), None, "its turn is not over");
        assert_eq!(nap(TURN, 0), None, "nothing came in it");
        assert_eq!(nap(TURN, 1), Some(NAP));
        assert_eq!(nap(TURN, 3), Some(3 * NAP));
        assert_eq!(nap(TURN, 100), nap(TURN, MOST_COUNTED));
    }

    #[test]
    fn a_request_that_may_still_be_worked_on_is_made_way_for() {
        let traffic = Traffic::new();
        let now = traffic.origin + Duration::from_secs(1);
        let nap = |now| begun(&traffic, now, LONG_TURN, 0).nap(now);
        assert_eq!(nap(now), None, "none has come yet");
        traffic.note(now);
        assert!(nap(now).is_some());
        assert!(nap(now + LULL / 2).is_some());
        assert_eq!(nap(now + LULL), None);
    }

    #[test]
    fn a_nap_ends_a_turn() {
        let traffic = Traffic::new();
        let begun = Instant::now();
        let mut turn = Turn::begin(&traffic);
        traffic.note(begun);
        while turn.seen == 0 {
            turn.make_way();
        }
        assert!(turn.since > begun + TURN);
    }
}
