//! What a dead server has left in its folder, looked at in a copy so that the next start finds it untouched.

use std::fs;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// The database is whole, and every row that names a file names one that is there, whole.
pub(crate) fn assert_sound(data: &Path) {
    let copy = TempDir::new().expect("a temporary folder");
    for entry in fs::read_dir(data).expect("the data folder is there") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let contents = runtime.block_on(read(copy.path()));
    for (sha256, size_bytes) in contents {
        let file = fs::metadata(data.join("blobs").join(&sha256));
        assert_eq!(file.map(|file| file.len()).ok(), Some(size_bytes as u64), "{sha256}");
    }
}

/// Hash and size of every content that a dataset names.
async fn read(folder: &Path) -> Vec<(String, i64)> {
    let database = folder.join("trainyard.db");
    assert!(database.is_file(), "the database is trainyard.db");
    let mut connection: SqliteConnection = SqliteConnectOptions::new()
        .filename(database)
        .connect()
        .await
        .expect("it opens");
    let verdict: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut connection)
        .await
        .expect("it reads");
    assert_eq!(verdict, "ok");
    let orphans: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM jobs WHERE status = 'succeeded' AND (model IS NULL OR model NOT IN (SELECT id FROM models))",
    )
    .fetch_one(&mut connection)
    .await
    .expect("it reads");
    assert_eq!(orphans, 0, "a succeeded job has its model");
    let contents = sqlx::query_as("SELECT sha256, size_bytes FROM datasets")
        .fetch_all(&mut connection)
        .await;
    connection.close().await.expect("it closes");
    contents.expect("it reads")
}
