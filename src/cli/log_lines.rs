//! Lines on their way to standard error. Those of requests are gathered for some milliseconds: a line for each is as many
//! calls of the system as the answers themselves are, and costs a small prediction a tenth of its time.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered after others were written; the first after a silence goes at once.
const GATHER: Duration = Duration::from_millis(5);

/// Lines in memory beyond which further ones are lost, and counted: who reads them may be slow or have stopped reading, and
/// nobody who answers requests waits for that.
const MOST_BYTES: usize = 256 * 1024;

/// How long an end waits for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Cloning it is cheap.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    /// Something was gathered.
    some: Condvar,
    /// What was gathered is written.
    written: Condvar,
}

#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    lost: u64,
    /// Somebody doesn't want to wait for more lines.
    is_urgent: bool,
    is_writing: bool,
}

/// Waits for the last lines when it is dropped.
#[must_use]
pub(super) struct LinesKept(Lines);

/// Takes one line.
pub(super) struct Line<'a> {
    lines: &'a Shared,
    is_urgent: bool,
}

impl Lines {
    pub(super) fn to_standard_error() -> io::Result<(Self, LinesKept)> {
        let stream = io::stderr();
        #[cfg(unix)]
        let own = std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned()?;
        #[cfg(windows)]
        let own = std::os::windows::io::AsHandle::as_handle(&stream).try_clone_to_owned()?;
        Self::to(own.into())
    }

    fn to(out: File) -> io::Result<(Self, LinesKept)> {
        let lines = Self(Arc::default());
        let shared = lines.0.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_to(out))?;
        let kept = LinesKept(lines.clone());
        Ok((lines, kept))
    }
}

impl Drop for LinesKept {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut gathered = shared.locked();
        gathered.is_urgent = true;
        shared.some.notify_one();
        let is_left = |gathered: &mut Gathered| gathered.is_writing || !gathered.lines.is_empty();
        drop(shared.written.wait_timeout_while(gathered, LAST_WORDS, is_left));
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only one that writes, so that no other is held up. That `out` takes nothing is not to be told anywhere.
    fn write_to(&self, mut out: File) {
        loop {
            let is_empty = |gathered: &mut Gathered| gathered.lines.is_empty();
            let gathered = self.some.wait_while(self.locked(), is_empty);
            let mut gathered = gathered.unwrap_or_else(PoisonError::into_inner);
            let mut lines = std::mem::take(&mut gathered.lines);
            if let lost @ 1.. = std::mem::take(&mut gathered.lost) {
                lines.extend_from_slice(
                    format!("{lost} lines of the log were lost: they came faster than they were read\n").as_bytes(),
                );
            }
            (gathered.is_urgent, gathered.is_writing) = (false, true);
            drop(gathered);
            let _ = out.write_all(&lines);
            let mut gathered = self.locked();
            gathered.is_writing = false;
            self.written.notify_all();
            let can_wait = |gathered: &mut Gathered| !gathered.is_urgent;
            drop(self.some.wait_timeout_while(gathered, GATHER, can_wait));
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: &self.0,
            is_urgent: true,
        }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line {
            lines: &self.0,
            is_urgent: *about.level() <= Level::WARN,
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut gathered = self.lines.locked();
        let is_first = gathered.lines.is_empty();
        if gathered.lines.len() + line.len() <= MOST_BYTES {
            gathered.lines.extend_from_slice(line);
        } else {
            gathered.lost += 1;
        }
        gathered.is_urgent |= self.is_urgent;
        drop(gathered);
        if is_first || self.is_urgent {
            self.lines.some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn said(out: &mut File) -> String {
        let mut text = String::new();
        out.rewind().and_then(|()| out.read_to_string(&mut text)).unwrap();
        text
    }

    fn lines() -> (File, Lines, LinesKept) {
        let out = tempfile::tempfile().unwrap();
        let (lines, kept) = Lines::to(out.try_clone().unwrap()).unwrap();
        (out, lines, kept)
    }

    fn add(lines: &Lines, is_urgent: bool, text: &str) {
        let line = &mut Line {
            lines: &lines.0,
            is_urgent,
        };
        line.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn an_urgent_line_comes_after_those_before_it() {
        let (mut out, lines, kept) = lines();
        for number in 0..100 {
            add(&lines, false, &format!("{number}\n"));
        }
        add(&lines, true, "urgent\n");
        drop(kept);
        let numbers: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(said(&mut out), numbers + "urgent\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_learns_what_it_missed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (lines, kept) = Lines::to(std::os::fd::OwnedFd::from(writer).into()).unwrap();
        let line = "x".repeat(1023) + "\n";
        (0..1000).for_each(|_| add(&lines, true, &line));
        drop(kept); // gives up
        let mut text = String::new();
        let mut some = [0; 4096];
        while !text.contains("lines of the log were lost") {
            let count = reader.read(&mut some).unwrap();
            text += std::str::from_utf8(&some[..count]).unwrap();
        }
    }

    #[test]
    fn the_last_lines_are_written_at_the_end() {
        let (mut out, lines, kept) = lines();
        add(&lines, false, "first\n");
        add(&lines, false, "last\n");
        drop(kept);
        assert_eq!(said(&mut out), "first\nlast\n");
    }

    #[test]
    fn lines_are_written_without_anything_more_to_come() {
        let (mut out, lines, _kept) = lines();
        add(&lines, false, "alone\n");
        while said(&mut out).is_empty() {
            thread::sleep(GATHER);
        }
        assert_eq!(said(&mut out), "alone\n");
    }
}
