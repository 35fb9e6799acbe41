//! What a training thread is asked to do, seen at every batch.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU8, Ordering};

/// What is wanted of a job's thread; when several are asked for, the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wish {
    GoOn,
    /// The server stops: leave a checkpoint and let go.
    Release,
    /// The client pauses the job: leave a checkpoint and let go.
    Pause,
    /// The client cancels the job: make a model of what is trained.
    Cancel,
    /// The job is no longer ours: stop and leave nothing.
    Abandon,
}

/// Carries a wish to a thread.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicU8);

impl Flag {
    pub(super) fn ask(&self, wish: Wish) {
        self.0.fetch_max(wish as u8, Ordering::Relaxed);
    }

    pub(super) fn wish(&self) -> Wish {
        const ALL: [Wish; 5] = [Wish::GoOn, Wish::Release, Wish::Pause, Wish::Cancel, Wish::Abandon];
        ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }
}

/// Reads on until the thread is asked to stop; then every read fails.
pub(super) struct Stoppable<'a, R> {
    pub(super) input: R,
    pub(super) flag: &'a Flag,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.flag.wish() {
            Wish::GoOn => self.input.read(buffer),
            // Not `Interrupted`, which readers answer by reading again.
            _ => Err(io::Error::other("the job was asked to stop")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_wish_stays() {
        let flag = Flag::default();
        assert_eq!(flag.wish(), Wish::GoOn);
        flag.ask(Wish::Pause);
        flag.ask(Wish::Release);
        assert_eq!(flag.wish(), Wish::Pause);
        flag.ask(Wish::Cancel);
        assert_eq!(flag.wish(), Wish::Cancel);
    }

    #[test]
    fn a_load_stops_at_the_next_read() {
        let flag = Flag::default();
        let mut reader = Stoppable {
            input: &b"abcdef"[..],
            flag: &flag,
        };
        let mut buffer = [0; 2];
        assert_eq!(reader.read(&mut buffer).unwrap(), 2);
        flag.ask(Wish::Release);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}
