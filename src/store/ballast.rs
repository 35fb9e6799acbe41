//! Room on the disk that is taken in advance, for a start that finds no other.
//!
//! The server leaves the disk's last part alone ([`super::disk`]), but others may fill it. A start then would fail: SQLite
//! needs a file for the index of its log, and what a crash left is put in order by writes. So the data directory holds a
//! file that says nothing, and a start on a full disk begins by removing it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk::Disk;

/// Far more than the log's index and the few pages that a start writes.
pub(super) const BALLAST_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub(super) struct Ballast {
    file: PathBuf,
    disk: Disk,
}

impl Ballast {
    pub(super) fn of(directory: &Path, disk: &Disk) -> Self {
        Self {
            file: directory.join("ballast"),
            disk: disk.clone(),
        }
    }

    /// Makes room where there is none. Without a ballast nothing happens: what comes next may fail or not.
    pub(super) fn drop_if_full(&self) -> io::Result<()> {
        if !self.disk.is_full(BALLAST_BYTES) || !self.file.exists() {
            return Ok(());
        }
        fs::remove_file(&self.file)?;
        tracing::warn!("the disk is full; the room that was kept for this start has been given up");
        Ok(())
    }

    /// Takes the room for a later start, where there is enough.
    pub(super) fn take(&self) {
        let taken = fs::metadata(&self.file).is_ok_and(|file| file.len() == BALLAST_BYTES);
        if taken || self.disk.check_room(BALLAST_BYTES).is_err() {
            return;
        }
        if let Err(error) = self.write() {
            tracing::warn!(%error, "no room could be kept for a start on a full disk");
            drop(fs::remove_file(&self.file));
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut file = File::create(&self.file)?;
        for _ in 0..BALLAST_BYTES >> 16 {
            file.write_all(&[0; 1 << 16])?;
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_while_there_is_some_and_given_up_when_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::of(directory.path());
        let ballast = Ballast::of(directory.path(), &disk);
        let bytes = || {
            fs::metadata(directory.path().join("ballast"))
                .ok()
                .map(|file| file.len())
        };
        disk.pretend(true);
        ballast.drop_if_full().unwrap();
        ballast.take();
        assert_eq!(bytes(), None);
        disk.pretend(false);
        fs::write(directory.path().join("ballast"), "cut short").unwrap();
        ballast.take();
        ballast.drop_if_full().unwrap();
        assert_eq!(bytes(), Some(BALLAST_BYTES));
        disk.pretend(true);
        ballast.drop_if_full().unwrap();
        assert_eq!(bytes(), None);
    }
}
