//! SQLite: one connection that writes, a few that read, and a write-ahead log that stays small.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};

use super::StoreError;
use super::disk::Disk;

/// Older releases can lose committed pages when the log is reset: <https://sqlite.org/wal.html#walresetbug>.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// How long a request waits for a connection or a lock before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(5);

const READERS: u32 = 4;

/// SQLite copies the log back on its own, but starts it anew only in a moment without readers; under steady load that
/// moment has to be made.
const LOG_TO_TRUNCATE_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
    disk: Disk,
    log: PathBuf,
}

impl Database {
    pub(super) async fn open(directory: &Path, disk: &Disk) -> Result<Self, StoreError> {
        let file = directory.join("trainyard.db");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(PATIENCE)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool()
            .max_connections(1)
            .idle_timeout(None)
            // When a full disk makes SQLite itself roll back, sqlx still believes in the transaction.
            .after_release(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        check_version(&writer).await?;
        sqlx::migrate!().run(&writer).await?;
        let readers = pool()
            .max_connections(READERS)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self {
            writer,
            readers,
            disk: disk.clone(),
            log: directory.join("trainyard.db-wal"),
        })
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Begins a read of several statements that all see the same moment.
    pub(super) async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }

    /// Begins a write that takes room.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.check_room(0)?;
        self.begin_freeing().await
    }

    /// Begins a write that makes room, or stops what takes it: the disk's reserve is for those.
    ///
    /// The lock is taken at once: a reader that becomes a writer later would fail instead of waiting.
    pub(super) async fn begin_freeing(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Refuses early what the disk has no room for.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), StoreError> {
        Ok(self.disk.check_room(bytes as u64)?)
    }

    /// The connection that writes, for those who must keep others from writing beyond the end of a transaction.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.writer.acquire().await?)
    }

    /// Commits a write, durably.
    pub(super) async fn commit(&self, write: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        write.commit().await?;
        self.keep_log_small().await;
        Ok(())
    }

    /// For who commits on [`Self::writer`]; it must have been given back.
    pub(super) async fn keep_log_small(&self) {
        let log_bytes = fs::metadata(&self.log).map_or(0, |log| log.len());
        if log_bytes < LOG_TO_TRUNCATE_BYTES {
            return;
        }
        // The commit before it counts whatever becomes of this; the next commit tries again.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&self.writer)
            .await
        {
            tracing::warn!(%error, log_bytes, "the database's log could not be emptied");
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn check_version(pool: &SqlitePool) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool).await?;
    if is_new_enough(&version) {
        Ok(())
    } else {
        Err(StoreError::OldSqlite(version))
    }
}

fn is_new_enough(version: &str) -> bool {
    let numbers = version.split('.').map(str::parse::<u32>).collect::<Result<Vec<_>, _>>();
    numbers.is_ok_and(|numbers| numbers.as_slice() >= OLDEST_SQLITE.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_can_corrupt_its_log_is_refused() {
        for refused in ["3.51.2", "3.9.99", "2.99.99", "3.51", "new"] {
            assert!(!is_new_enough(refused), "{refused}");
        }
        for taken in ["3.51.3", "3.52.0", "4.0.0", "3.51.10"] {
            assert!(is_new_enough(taken), "{taken}");
        }
    }

    async fn fill(database: &Database, bytes: i64) -> Result<(), StoreError> {
        let mut write = database.begin().await?;
        sqlx::query(
            "INSERT INTO artifacts (tenant, id, chunk, bytes) VALUES ('t', hex(randomblob(8)), 0, zeroblob($1))",
        )
        .bind(bytes)
        .execute(&mut *write)
        .await?;
        database.commit(write).await
    }

    async fn begin_to_read(database: &Database) -> Transaction<'static, Sqlite> {
        let mut read = database.begin_read().await.unwrap();
        let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM artifacts");
        rows.fetch_one(&mut *read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn the_log_stays_small_although_somebody_always_reads() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), &Disk::of(directory.path()))
            .await
            .unwrap();
        let stop = std::cell::Cell::new(false);
        let read = async {
            let mut older = begin_to_read(&database).await;
            while !stop.get() {
                let newer = begin_to_read(&database).await;
                older.rollback().await.unwrap();
                older = newer;
            }
        };
        let write = async {
            let mut largest = 0;
            for _ in 0..25 {
                fill(&database, 4 << 20).await.unwrap();
                largest = largest.max(fs::metadata(&database.log).unwrap().len());
            }
            stop.set(true);
            largest
        };
        let (largest, ()) = tokio::join!(write, read);
        assert!(largest < 64 << 20, "the log grew to {largest} bytes");
    }

    #[tokio::test]
    async fn a_full_database_refuses_writes_answers_reads_and_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), &Disk::of(directory.path()))
            .await
            .unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&database.writer)
            .await
            .unwrap();
        let limit = |pages: i64| {
            let pragma = format!("PRAGMA max_page_count = {pages}");
            sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&database.writer)
        };
        limit(pages + 10).await.unwrap();
        for _ in 0..3 {
            let refused = fill(&database, 1 << 20).await;
            assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}");
            // A connection that was closed for its broken transaction comes back without the limit.
            limit(pages + 10).await.unwrap();
        }
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM artifacts")
            .fetch_one(database.readers())
            .await
            .unwrap();
        assert_eq!(rows, 0);
        limit(i64::from(u32::MAX) / 2).await.unwrap();
        fill(&database, 1 << 20).await.unwrap();
    }
}
