//! How one thread has others give up what takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asked for by whoever holds a clone; once asked for it stays so. Whoever computes looks now and then, and what was half
/// done by then means nothing.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    asked: AtomicBool,
    /// After how many looks it is asked for by itself; 0: never.
    #[cfg(test)]
    looks_left: std::sync::atomic::AtomicUsize,
}

impl Stop {
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        #[cfg(test)]
        self.count();
        self.0.asked.load(Ordering::Relaxed)
    }

    /// One that is asked for at the so-many-th look, wherever that is.
    #[cfg(test)]
    pub(crate) fn at_look(look: usize) -> Self {
        let stop = Self::default();
        stop.0.looks_left.store(look, Ordering::Relaxed);
        stop
    }

    /// The same without a look.
    #[cfg(test)]
    pub(crate) fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn count(&self) {
        let less_one = |left: usize| left.checked_sub(1);
        let looks_left = &self.0.looks_left;
        if looks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one) == Ok(1) {
            self.ask();
        }
    }
}
