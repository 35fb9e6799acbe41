//! What must not be lost: datasets, jobs and models in SQLite, uploads in a folder of content-addressed files.
//!
//! One process owns a data directory. One connection writes, a few read; every row has a tenant, and every query that
//! serves a client names it. What a crash can leave behind is put in order by the next [`Store::open`].

mod artifacts;
mod aside;
mod ballast;
mod blobs;
mod claim;
mod column;
mod database;
mod datasets;
mod disk;
mod error;
mod events;
mod idempotency;
mod jobs;
mod keys;
mod models;
mod moves;
mod outcome;
mod progress;
mod recovery;
#[cfg(test)]
mod samples;
mod sessions;
mod submission;
mod usage;

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use aside::aside;
use ballast::Ballast;
pub use blobs::{BlobWriter, Blobs, Scratch, StagedBlob};
pub use claim::Claim;
use database::Database;
pub use datasets::Insertion;
use disk::Disk;
pub use error::StoreError;
use idempotency::InFlight;
pub use idempotency::{Keep, Reply, Reservation, StoredAnswer};
pub use keys::FoundKey;
pub use moves::Move;
pub use outcome::{NewModel, Outcome, Settled};
pub use progress::{Hold, ProgressUpdate};
pub use sessions::SessionFiles;
pub use submission::{NewJob, Room, Submission};
pub use usage::Usage;

use crate::domain::id::JobId;

/// A data directory that this process owns; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Store(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    database: Database,
    ballast: Ballast,
    blobs: Blobs,
    sessions: SessionFiles,
    in_flight: InFlight,
    /// Whether any API key was ever made.
    keys_exist: AtomicBool,
    /// Locked, for as long as any part of the store lives.
    _lock: File,
}

/// What became of a wish to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// This job is not done and needs it.
    InUse(JobId),
    NotFound,
}

impl Store {
    /// Takes the directory (made when it isn't there), brings its tables up to date, and puts in order what a crash
    /// left: running jobs are queued again, orphaned files and artifacts removed.
    ///
    /// Errors: another process has the directory; SQLite is too old; the disk. On a full one it opens as long as nobody else
    /// has filled up the room that was kept for that.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_in_order(directory).await.map_err(|error| match error {
            StoreError::NoSpace(reason) => StoreError::NoRoomToStart(reason),
            other => other,
        })
    }

    async fn open_in_order(directory: &Path) -> Result<Self, StoreError> {
        create_private_folder(directory)?;
        let lock = lock(directory)?;
        let disk = Disk::of(directory);
        let blobs = Blobs::prepare(directory, &disk)?;
        let sessions = SessionFiles::prepare(directory)?;
        let ballast = Ballast::of(directory, &disk);
        ballast.drop_if_full()?;
        let database = Database::open(directory, &disk).await?;
        blobs::fsync_folder(directory)?;
        let store = Self(Arc::new(Parts {
            database,
            ballast,
            blobs,
            sessions,
            in_flight: InFlight::default(),
            keys_exist: AtomicBool::default(),
            _lock: lock,
        }));
        store.look_for_keys().await?;
        // What only removes files comes first: it makes room for what has to write.
        store.sweep_blobs().await?;
        store.sweep_sessions().await?;
        store.recover_jobs().await?;
        store.sweep_artifacts().await?;
        store.0.ballast.take();
        Ok(store)
    }

    /// The uploaded files.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Whether the disk has room for what takes some. Errors: [`StoreError::NoSpace`].
    pub fn check_room(&self) -> Result<(), StoreError> {
        self.database().check_room(0)
    }

    /// Waits for the writes under way and closes the database; every later call fails.
    pub async fn close(&self) {
        self.0.database.close().await;
        self.0.ballast.take();
    }

    fn keys_exist(&self) -> &AtomicBool {
        &self.0.keys_exist
    }

    fn database(&self) -> &Database {
        &self.0.database
    }
}

/// The rows of clients are nobody else's to read.
fn create_private_folder(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    Ok(builder.create(directory)?)
}

/// SQLite's own locks don't keep two servers from taking each other's jobs for crashed ones.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::DirectoryInUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::TenantId;

    #[tokio::test]
    async fn a_directory_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("new").join("data");
        let store = Store::open(&data).await.unwrap();
        let refused = Store::open(&data).await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::DirectoryInUse(path) if *path == data),
            "{refused:?}"
        );
        drop(store);
        Store::open(&data).await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_new_directory_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let _store = Store::open(&data).await.unwrap();
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_closed_store_says_so() {
        let (_directory, store) = samples::open().await;
        store.close().await;
        let refused = store.get_job(&samples::tenant(), JobId::generate()).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    }

    /// Every query names the tenant: an id alone finds nothing.
    #[tokio::test]
    async fn another_tenant_finds_nothing() {
        let (_directory, store) = samples::open().await;
        let other = TenantId::new("other");
        let claim = samples::running(&store).await;
        let (job, dataset) = (claim.job.id, claim.job.dataset);
        let model = samples::model(&claim.job);
        let id = model.model.id;
        samples::finish(&store, &claim, Outcome::Succeeded { model }).await;

        assert_eq!(store.get_dataset(&other, dataset).await.unwrap(), None);
        assert_eq!(store.get_job(&other, job).await.unwrap(), None);
        assert_eq!(store.get_model(&other, id).await.unwrap(), None);
        assert_eq!(store.model_parts(&other, id).await.unwrap(), None);
        assert_eq!(store.models_named(&other, "iris").await.unwrap(), []);
        assert_eq!(
            store.list_datasets(&other, samples::first_page(9)).await.unwrap().items,
            []
        );
        assert_eq!(
            store
                .list_jobs(&other, None, samples::first_page(9))
                .await
                .unwrap()
                .items,
            []
        );
        assert_eq!(
            store.list_models(&other, samples::first_page(9)).await.unwrap().items,
            []
        );
        assert_eq!(store.events_after(&other, job, 0, 9).await.unwrap(), []);
        assert_eq!(store.history(&other, job, 0, 9).await.unwrap(), []);
        assert_eq!(store.request_cancel(&other, job).await.unwrap(), Move::NotFound);
        assert_eq!(store.request_resume(&other, job).await.unwrap(), Move::NotFound);
        assert_eq!(store.delete_dataset(&other, dataset).await.unwrap(), Deletion::NotFound);
        assert_eq!(store.delete_model(&other, id).await.unwrap(), Deletion::NotFound);
        let foreign = store
            .insert_job(&other, samples::new_job(dataset), samples::ROOM, None)
            .await
            .unwrap();
        assert_eq!(foreign, Submission::DatasetGone(dataset));
        assert!(store.get_model(&samples::tenant(), id).await.unwrap().is_some());
    }
}
