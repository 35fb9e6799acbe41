//! What a training thread is asked to do, seen at every batch and inside of long ones.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::nn::kernel::Stop;

/// What is wanted of a job's thread; when several are asked for, the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wish {
    GoOn,
    /// The server stops, or another job must train alone: leave a checkpoint and let go.
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
pub(super) struct Flag {
    wish: AtomicU8,
    stop: Stop,
    unstored: AtomicBool,
}

impl Flag {
    pub(super) fn ask(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::Relaxed);
        if wish != Wish::GoOn {
            self.stop.ask();
        }
    }

    #[cfg(test)]
    pub(super) fn stopping_at_look(look: usize) -> Self {
        Self {
            stop: Stop::at_look(look),
            ..Self::default()
        }
    }

    /// Asked for with the first wish but to go on.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The other way: the thread has done as it was asked, but the disk has no room for how it ended. That is kept in memory
    /// and stored once there is.
    pub(super) fn note_unstored(&self) {
        self.unstored.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_unstored(&self) -> bool {
        self.unstored.load(Ordering::Relaxed)
    }

    pub(super) fn wish(&self) -> Wish {
        const ALL: [Wish; 5] = [Wish::GoOn, Wish::Release, Wish::Pause, Wish::Cancel, Wish::Abandon];
        ALL[usize::from(self.wish.load(Ordering::Relaxed))]
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
        flag.ask(Wish::GoOn);
        assert_eq!((flag.wish(), flag.stop().is_asked()), (Wish::GoOn, false));
        flag.ask(Wish::Pause);
        flag.ask(Wish::Release);
        assert_eq!((flag.wish(), flag.stop().is_asked()), (Wish::Pause, true));
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
