//! Requests sent one after the other (closed loop), or when they are due whether or not earlier ones are answered (open loop).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Connection;

/// What became of the requests of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Of each answered request the time since it was due, in seconds: what it waited for a free connection counts.
    pub(crate) answered_s: Vec<f64>,
    /// Of each refused request the time since it was sent.
    pub(crate) refused_s: Vec<f64>,
    pub(crate) refusals_without_retry_after: usize,
    /// Broken connections and other answers.
    pub(crate) failed: usize,
    pub(crate) elapsed_s: f64,
}

impl Outcome {
    pub(crate) fn answered_per_s(&self) -> f64 {
        self.answered_s.len() as f64 / self.elapsed_s
    }

    pub(crate) fn sent_per_s(&self) -> f64 {
        (self.answered_s.len() + self.refused_s.len() + self.failed) as f64 / self.elapsed_s
    }

    fn merge(mut self, other: Self) -> Self {
        self.answered_s.extend(other.answered_s);
        self.refused_s.extend(other.refused_s);
        self.refusals_without_retry_after += other.refusals_without_retry_after;
        self.failed += other.failed;
        self
    }
}

pub(crate) fn p99(times_s: &[f64]) -> f64 {
    let mut sorted = times_s.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * 0.99) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// As fast as so many connections are answered.
pub(crate) fn closed_loop(address: SocketAddr, request: &[u8], connections: usize, time: Duration) -> Outcome {
    let end = Instant::now() + time;
    run(address, request, connections, || {
        let now = Instant::now();
        (now < end).then_some(now)
    })
}

/// `per_s` requests a second at random times (a Poisson process), over so many connections.
pub(crate) fn open_loop(
    address: SocketAddr,
    request: &[u8],
    connections: usize,
    per_s: f64,
    time: Duration,
) -> Outcome {
    let due = arrivals(per_s, time);
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    run(address, request, connections, || {
        let due = start + *due.get(next.fetch_add(1, Ordering::Relaxed))?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        Some(due)
    })
}

fn arrivals(per_s: f64, time: Duration) -> Vec<Duration> {
    let (mut state, mut at_s) = (7_u64, 0.0);
    let mut arrivals = Vec::new();
    while at_s < time.as_secs_f64() {
        arrivals.push(Duration::from_secs_f64(at_s));
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let uniform = ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        at_s -= (1.0 - uniform).ln() / per_s;
    }
    arrivals
}

/// Each connection sends when `next_due` tells it to, until that has no more.
fn run(
    address: SocketAddr,
    request: &[u8],
    connections: usize,
    next_due: impl Fn() -> Option<Instant> + Sync,
) -> Outcome {
    let start = Instant::now();
    let outcome = thread::scope(|scope| {
        let send = || {
            let (mut connection, mut outcome) = (Connection::to(address), Outcome::default());
            while let Some(due) = next_due() {
                let sent = Instant::now();
                match connection.exchange(request) {
                    Ok(answer) if answer.status == 200 => outcome.answered_s.push(due.elapsed().as_secs_f64()),
                    Ok(answer) if [429, 503].contains(&answer.status) => {
                        outcome.refused_s.push(sent.elapsed().as_secs_f64());
                        outcome.refusals_without_retry_after += usize::from(!answer.retry_after);
                    }
                    _ => outcome.failed += 1,
                }
            }
            outcome
        };
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        let outcomes = senders.into_iter().map(|sender| sender.join().expect("a sender ends"));
        outcomes.fold(Outcome::default(), Outcome::merge)
    });
    Outcome {
        elapsed_s: start.elapsed().as_secs_f64(),
        ..outcome
    }
}
