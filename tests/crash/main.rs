//! kill -9, at any moment: what was acknowledged stays, and what was interrupted ends as if it had not been.
//!
//! Each test starts the real server and kills it `TRAINYARD_KILLS` times (20 if unset).

#[path = "../api/server.rs"]
mod server;

mod client;
#[cfg(feature = "failpoints")]
mod crash_points;
mod disk;
mod interruptions;
mod preload;
mod room;
mod stopping;
mod threads;
mod traffic;

use std::time::{Duration, UNIX_EPOCH};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How often to kill.
fn kills() -> usize {
    let text = std::env::var("TRAINYARD_KILLS").unwrap_or_default();
    if text.is_empty() {
        20
    } else {
        text.parse().expect("TRAINYARD_KILLS is a number")
    }
}

/// Another course of events at every run; the seed it prints tells which.
fn seeded() -> ChaCha8Rng {
    let seed = UNIX_EPOCH.elapsed().expect("it is later than 1970").as_nanos() as u64;
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Lets a random part of `at_most` go by, for what happens then to happen at any moment.
fn let_pass(random: &mut ChaCha8Rng, at_most: Duration) {
    std::thread::sleep(at_most.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX)));
}
