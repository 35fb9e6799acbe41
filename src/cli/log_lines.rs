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

/// Lines in memory beyond which whoever adds one writes them: a reader that is too slow makes the server wait, not grow.
const MOST_BYTES: usize = 256 * 1024;

/// Cloning it is cheap.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    out: Mutex<File>,
    gathered: Mutex<Vec<u8>>,
    some: Condvar,
}

/// Writes what is left when it is dropped.
#[must_use]
pub(super) struct LinesKept(Lines);

/// Takes one line.
pub(super) struct Line<'a> {
    lines: &'a Shared,
    /// It may be the last thing a process says.
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
        let lines = Self(Arc::new(Shared {
            out: Mutex::new(out),
            gathered: Mutex::default(),
            some: Condvar::new(),
        }));
        let gathering = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                gathering.0.wait();
                gathering.0.write();
                thread::sleep(GATHER);
            }
        })?;
        let kept = LinesKept(lines.clone());
        Ok((lines, kept))
    }
}

impl Drop for LinesKept {
    fn drop(&mut self) {
        self.0.0.write();
    }
}

impl Shared {
    fn wait(&self) {
        let gathered = locked(&self.gathered);
        let some = self.some.wait_while(gathered, |gathered| gathered.is_empty());
        drop(some.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes what is gathered. That standard error takes nothing is not to be told anywhere.
    fn write(&self) {
        // Taken first, so that lines are written in the order in which they came.
        let mut out = locked(&self.out);
        let lines = std::mem::take(&mut *locked(&self.gathered));
        let _ = out.write_all(&lines);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut gathered = locked(&self.lines.gathered);
        let is_first = gathered.is_empty();
        gathered.extend_from_slice(line);
        let is_due = self.is_urgent || gathered.len() > MOST_BYTES;
        drop(gathered);
        if is_due {
            self.lines.write();
        } else if is_first {
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
    fn an_urgent_line_is_written_at_once_after_those_before_it() {
        let (mut out, lines, _kept) = lines();
        for number in 0..100 {
            add(&lines, false, &format!("{number}\n"));
        }
        add(&lines, true, "urgent\n");
        let numbers: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(said(&mut out), numbers + "urgent\n");
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
