//! The room on the disk. Its last part is kept for what makes room again: a full disk on which even deleting fails would
//! stay full.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What no upload, job or checkpoint takes: the database's log and file may both have to grow by a chunk of an artifact
/// before a delete can be committed.
const RESERVE_BYTES: u64 = 32 << 20;

/// The disk of the data directory; all clones share the reserve.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    reserve_bytes: Arc<AtomicU64>,
}

impl Disk {
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            reserve_bytes: Arc::new(AtomicU64::new(RESERVE_BYTES)),
        }
    }

    /// Whether so many bytes more fit. Errors: they don't, as the [`io::ErrorKind`] of a full disk.
    pub(super) fn check_room(&self, bytes: u64) -> io::Result<()> {
        let reserve = self.reserve_bytes.load(Ordering::Relaxed);
        match self.free_bytes()? {
            Some(free) if free < reserve.saturating_add(bytes) => {
                let reason = format!("the disk has {free} bytes left, of which {reserve} are kept for deleting");
                Err(io::Error::new(io::ErrorKind::StorageFull, reason))
            }
            _ => Ok(()),
        }
    }

    /// Whether so few are left that even what the reserve is for may fail.
    pub(super) fn is_full(&self, bytes: u64) -> bool {
        #[cfg(test)]
        if self.reserve_bytes.load(Ordering::Relaxed) == u64::MAX {
            return true;
        }
        // Where it isn't known, what needs the room finds out.
        matches!(self.free_bytes(), Ok(Some(free)) if free < bytes)
    }

    /// As if the disk filled up, down to its reserve, or was emptied again.
    #[cfg(test)]
    pub(super) fn pretend(&self, full: bool) {
        let reserve = if full { u64::MAX } else { RESERVE_BYTES };
        self.reserve_bytes.store(reserve, Ordering::Relaxed);
    }

    /// What this process may still write; `None` where the system doesn't tell.
    #[cfg(unix)]
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::domain::job::JobStatus;
    use crate::store::{Deletion, Outcome, ProgressUpdate, Settled, StoreError, samples};

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::of(directory.path());
        let free = disk.free_bytes().unwrap().unwrap();
        assert!(disk.check_room(free / 2).is_ok());
        for too_much in [free.saturating_sub(RESERVE_BYTES / 2), u64::MAX] {
            let refused = StoreError::from(disk.check_room(too_much).unwrap_err());
            assert!(matches!(refused, StoreError::NoSpace(_)), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn scratch_files_leave_the_reserve_alone_and_what_stays_in_memory_needs_no_room() {
        let (_directory, store) = samples::open().await;
        store.database().disk().pretend(true);
        let mut scratch = store.blobs().scratch(4);
        scratch.write_all(b"abcd").unwrap();
        let refused = StoreError::from(scratch.write_all(b"e").unwrap_err());
        assert!(matches!(refused, StoreError::NoSpace(_)), "{refused:?}");
        store.database().disk().pretend(false);
        scratch.write_all(b"e").unwrap();
        assert_eq!(io::read_to_string(scratch.read().unwrap()).unwrap(), "abcde");
    }

    #[tokio::test]
    async fn on_a_full_disk_reads_and_deletes_go_on_and_nothing_new_is_taken() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let claim = samples::running(&store).await;
        let model = samples::model(&claim.job);
        let id = model.model.id;
        samples::finish(&store, &claim, Outcome::Succeeded { model }).await;
        let dataset = claim.job.dataset;
        let queued = samples::submit(&store, &tenant, dataset).await.id;
        samples::submit(&store, &tenant, dataset).await;
        let stopping = samples::claim(&store).await;
        let running = samples::claim(&store).await;
        let staged = samples::stage(&store, b"staged before");
        let made = samples::dataset_of(&staged);
        let no_space = |error: StoreError| assert!(matches!(error, StoreError::NoSpace(_)), "{error:?}");

        store.database().disk().pretend(true);
        no_space(
            store
                .insert_dataset(&tenant, &made, staged, u64::MAX, None)
                .await
                .unwrap_err(),
        );
        no_space(samples::try_stage(&store, b"more").unwrap_err());
        no_space(
            store
                .insert_job(&tenant, samples::new_job(dataset), samples::ROOM, None)
                .await
                .unwrap_err(),
        );
        let epochs = samples::epochs(1..=1);
        let news = ProgressUpdate {
            epochs: &epochs,
            ..ProgressUpdate::default()
        };
        no_space(store.record_progress(&running, news).await.unwrap_err());
        let end = Outcome::Succeeded {
            model: samples::model(&running.job),
        };
        no_space(store.finish(&running, news, end).await.unwrap_err());

        assert!(store.model_parts(&tenant, id).await.unwrap().is_some());
        store.request_cancel(&tenant, queued).await.unwrap();
        let job = samples::finish(&store, &stopping, Outcome::Cancelled { model: None }).await;
        assert_eq!((job.id, job.status), (queued, JobStatus::Cancelled));
        assert_eq!(store.delete_model(&tenant, id).await.unwrap(), Deletion::Deleted);

        store.database().disk().pretend(false);
        let end = Outcome::Succeeded {
            model: samples::model(&running.job),
        };
        assert!(matches!(
            store.finish(&running, news, end).await.unwrap(),
            Settled::Stored(_)
        ));
        assert_eq!(store.history(&tenant, running.job.id, 0, 9).await.unwrap(), epochs);
        store.database().disk().pretend(true);
        assert_eq!(store.delete_dataset(&tenant, dataset).await.unwrap(), Deletion::Deleted);
    }
}
