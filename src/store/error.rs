//! Why the store could not do what it was asked.

use std::io;
use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use crate::domain::job::JobStatus;
use crate::domain::problem::{Kind, Problem};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the data directory {0:?} is in use by another trainyard: stop that one, or choose another directory")]
    DirectoryInUse(PathBuf),
    #[error("SQLite {0} is linked, which can corrupt a database; 3.51.3 or later is needed")]
    OldSqlite(String),
    #[error("the database's tables can't be brought up to date")]
    Migration(#[source] MigrateError),
    /// The disk is full, a limit on file sizes was reached, or what was written could not be made durable.
    #[error("the disk did not take what was to be stored")]
    NoSpace(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "its disk is full: a start writes up to 4 MiB there, for the files that SQLite keeps beside the database and to put in \
         order what a crash left. Make room on the disk, but not by removing files from the folder, which belong together"
    )]
    NoRoomToStart(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others kept the database for longer than a request should wait.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    #[error("the store is closed")]
    Closed,
    /// Deleted since its row was read.
    #[error("there is no such content any more")]
    ContentGone,
    #[error("a stored {what} can't be read: {reason}")]
    Damaged { what: &'static str, reason: String },
    /// A caller's mistake: the state machine has no such move.
    #[error("a job that is {} can't become {}", .from.name(), .to.name())]
    NoSuchMove { from: JobStatus, to: JobStatus },
    /// A worker's mistake: its epochs don't follow those that are stored.
    #[error("epoch {found} came where {expected} was due")]
    EpochOutOfOrder { expected: u32, found: u32 },
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    #[error("file: {0}")]
    File(#[source] io::Error),
}

impl StoreError {
    /// What was written may be lost: an fsync that failed says so, whatever its reason.
    pub(super) fn not_durable(error: io::Error) -> Self {
        Self::NoSpace(error.into())
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::NoSpace(error.into()),
            _ => Self::File(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::Migration(other),
        }
    }
}

/// SQLite's result codes for a disk that doesn't take more: <https://sqlite.org/rescode.html>. A write beyond a file
/// size limit is reported as a failed write, not as a full disk.
const NO_SPACE: [i32; 7] = [
    libsqlite3_sys::SQLITE_FULL,
    libsqlite3_sys::SQLITE_IOERR_WRITE,
    libsqlite3_sys::SQLITE_IOERR_FSYNC,
    libsqlite3_sys::SQLITE_IOERR_DIR_FSYNC,
    libsqlite3_sys::SQLITE_IOERR_TRUNCATE,
    libsqlite3_sys::SQLITE_IOERR_SHMSIZE,
    libsqlite3_sys::SQLITE_IOERR_SHMMAP,
];
const BUSY: [i32; 2] = [libsqlite3_sys::SQLITE_BUSY, libsqlite3_sys::SQLITE_LOCKED];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::PoolTimedOut => return Self::Busy(error),
            // A connection is a thread, and the system has none to give just now.
            sqlx::Error::Io(reason) if reason.kind() == io::ErrorKind::WouldBlock => return Self::Busy(error),
            sqlx::Error::PoolClosed => return Self::Closed,
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<i32>().ok()),
            _ => None,
        };
        match code {
            Some(code) if NO_SPACE.contains(&code) => Self::NoSpace(error.into()),
            // The primary code is the low byte.
            Some(code) if BUSY.contains(&(code & 0xff)) => Self::Busy(error),
            _ => Self::Database(error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (kind, detail) = match &error {
            StoreError::NoSpace(_) => (
                Kind::InsufficientStorage,
                "The server has no room to store this; nothing of it was kept. Delete what is not needed, or ask again later.",
            ),
            StoreError::Busy(_) => (Kind::Unavailable, "The server is busy; ask again in a second."),
            StoreError::Closed => (Kind::Unavailable, "The server is stopping; ask again when it is back."),
            StoreError::ContentGone => return Self::not_found("dataset"),
            StoreError::Damaged { what, .. } => {
                return Self {
                    detail: damaged(what),
                    ..Self::internal(error)
                };
            }
            _ => return Self::internal(error),
        };
        Self {
            source: Some(error.into()),
            ..Self::new(kind, detail)
        }
    }
}

fn damaged(what: &str) -> String {
    let remedy = match what {
        "job" => " It can still be cancelled, which frees its dataset; then submit it again.",
        _ => "",
    };
    format!(
        "The server has this {what} but can't read it as it is stored: its disk may be failing, or a later version wrote it. \
         The fault is not yours, and asking again changes nothing.{remedy} The server's log says what is wrong with it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: impl Into<StoreError>) -> Kind {
        Problem::from(error.into()).kind
    }

    #[test]
    fn a_disk_that_takes_no_more_is_told_apart_from_other_failures() {
        const EFBIG: i32 = 27;
        const ENOSPC: i32 = 28;
        const EIO: i32 = 5;
        assert_eq!(kind(io::Error::from_raw_os_error(ENOSPC)), Kind::InsufficientStorage);
        assert_eq!(kind(io::Error::from_raw_os_error(EFBIG)), Kind::InsufficientStorage);
        assert_eq!(kind(io::Error::from_raw_os_error(EIO)), Kind::Internal);
        assert_eq!(
            kind(StoreError::not_durable(io::Error::from_raw_os_error(EIO))),
            Kind::InsufficientStorage
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_there_and_what_can_be_done_about_it() {
        let reason = "missing field `target`".to_owned();
        let problem = Problem::from(StoreError::Damaged { what: "job", reason });
        assert_eq!(problem.kind, Kind::Internal);
        assert!(
            problem.detail.contains("this job") && problem.detail.contains("cancelled"),
            "{problem}"
        );
        assert!(!problem.detail.contains("target"), "{problem}");
    }

    #[test]
    fn a_wait_that_was_too_long_is_for_the_client_to_repeat() {
        assert_eq!(kind(sqlx::Error::PoolTimedOut), Kind::Unavailable);
        assert_eq!(kind(sqlx::Error::PoolClosed), Kind::Unavailable);
        assert_eq!(kind(sqlx::Error::RowNotFound), Kind::Internal);
    }
}
