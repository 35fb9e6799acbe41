//! Uploaded files, each under the SHA-256 of its content, so that equal uploads share one.
//!
//! `incoming/` holds what isn't whole yet, under names of its own; `blobs/` what is. A file gets its place and loses it
//! only while its mover has the database's one writing connection, so that no row ever names a missing file.
//! All file work here blocks, and only what says so is short enough for an async thread.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, SpooledTempFile};

use super::StoreError;
use super::disk::Disk;

/// The folders of uploaded files.
#[derive(Debug)]
pub struct Blobs {
    blobs: PathBuf,
    incoming: PathBuf,
    disk: Disk,
}

/// Takes an upload in as it arrives, in a temporary file that vanishes with this value.
///
/// Its io errors keep their kind: [`StoreError::from`] tells a full disk from other failures.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    hash: Sha256,
    size_bytes: u64,
    disk: Disk,
}

/// What a request writes once and reads once. It leaves the room on the disk alone that deletes rely on, as uploads do.
#[derive(Debug)]
pub struct Scratch {
    file: SpooledTempFile,
    /// What still fits in memory.
    room_in_memory: usize,
    disk: Disk,
}

/// A whole upload, safe on disk under a temporary name. [`Store::insert_dataset`](super::Store::insert_dataset) gives
/// it its place; dropped, it vanishes.
#[derive(Debug)]
pub struct StagedBlob {
    file: NamedTempFile,
    sha256: String,
    size_bytes: u64,
}

impl Blobs {
    /// Makes the folders and empties `incoming/` of what a crash left there.
    pub(super) fn prepare(directory: &Path, disk: &Disk) -> Result<Self, StoreError> {
        let (blobs, incoming) = (directory.join("blobs"), directory.join("incoming"));
        for folder in [&blobs, &incoming] {
            fs::create_dir_all(folder)?;
        }
        for entry in fs::read_dir(&incoming)? {
            let left = entry?.path();
            tracing::info!(file = ?left.file_name(), "an upload that a crash cut short is removed");
            fs::remove_file(left)?;
        }
        let disk = disk.clone();
        Ok(Self { blobs, incoming, disk })
    }

    /// Begins an upload.
    pub fn begin(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter {
            file: NamedTempFile::new_in(&self.incoming)?,
            hash: Sha256::new(),
            size_bytes: 0,
            disk: self.disk.clone(),
        })
    }

    /// The stored content, from its first byte.
    pub fn open(&self, sha256: &str) -> Result<File, StoreError> {
        File::open(self.path(sha256)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::ContentGone,
            _ => error.into(),
        })
    }

    /// Room for what only one request needs: in memory up to `in_memory_bytes`, beyond that in a nameless file.
    pub fn scratch(&self, in_memory_bytes: usize) -> Scratch {
        Scratch {
            file: tempfile::spooled_tempfile_in(in_memory_bytes, &self.incoming),
            room_in_memory: in_memory_bytes,
            disk: self.disk.clone(),
        }
    }

    /// Gives an upload its place, durably; what was there had the same content. Short.
    pub(super) fn place(&self, staged: StagedBlob) -> Result<(), StoreError> {
        let path = self.path(&staged.sha256);
        staged.file.persist(path).map_err(|failed| failed.error)?;
        fsync_folder(&self.blobs)
    }

    /// Removes a file that no row names any more. Durable or not: the next start would remove it again. Short.
    pub(super) fn remove(&self, sha256: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    /// Removes every file that no row names; says when a named one is missing.
    pub(super) fn sweep(&self, mut named: HashSet<String>) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.blobs)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !named.remove(&name) {
                tracing::info!(blob = name, "a file that no dataset names is removed");
                fs::remove_file(self.blobs.join(name))?;
            }
        }
        for sha256 in named {
            tracing::error!(sha256, "the content of a dataset is missing");
        }
        Ok(())
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.blobs.join(sha256)
    }
}

/// Makes renames in a folder survive a power cut.
pub(super) fn fsync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)?.sync_all().map_err(StoreError::not_durable)
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.check_room(bytes.len() as u64)?;
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes the content durable.
    pub fn finish(self) -> Result<StagedBlob, StoreError> {
        self.file.as_file().sync_all().map_err(StoreError::not_durable)?;
        Ok(StagedBlob {
            file: self.file,
            sha256: self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            size_bytes: self.size_bytes,
        })
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room_in_memory {
            self.disk.check_room(bytes.len() as u64)?;
        }
        let written = self.file.write(bytes)?;
        self.room_in_memory = self.room_in_memory.saturating_sub(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Scratch {
    /// What was written, from its first byte.
    pub fn read(mut self) -> Result<SpooledTempFile, StoreError> {
        self.file.rewind()?;
        Ok(self.file)
    }
}

impl StagedBlob {
    /// Where the content can be read until it gets its place.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Of the content, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(blobs: &Blobs, content: &[u8]) -> StagedBlob {
        let mut writer = blobs.begin().unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_placed_upload_is_found_under_the_sha256_of_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::prepare(directory.path(), &Disk::of(directory.path())).unwrap();
        let staged = stage(&blobs, b"abc");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((staged.sha256(), staged.size_bytes()), (sha256, 3));
        assert_eq!(fs::read(staged.path()).unwrap(), b"abc");
        blobs.place(staged).unwrap();
        assert_eq!(io::read_to_string(blobs.open(sha256).unwrap()).unwrap(), "abc");
        assert_eq!(files(&blobs.incoming), 0);
    }

    #[test]
    fn an_upload_that_is_given_up_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::prepare(directory.path(), &Disk::of(directory.path())).unwrap();
        let mut writer = blobs.begin().unwrap();
        writer.write_all(b"half of it").unwrap();
        let staged = stage(&blobs, b"all of it");
        assert_eq!(files(&blobs.incoming), 2);
        drop((writer, staged));
        assert_eq!((files(&blobs.incoming), files(&blobs.blobs)), (0, 0));
    }

    #[test]
    fn a_start_removes_what_a_crash_left_and_keeps_what_rows_name() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::prepare(directory.path(), &Disk::of(directory.path())).unwrap();
        let (kept, orphan) = (stage(&blobs, b"kept"), stage(&blobs, b"orphan"));
        let (kept_sha256, orphan_sha256) = (kept.sha256().to_owned(), orphan.sha256().to_owned());
        blobs.place(kept).unwrap();
        blobs.place(orphan).unwrap();
        fs::write(blobs.incoming.join("half"), b"half").unwrap();

        let blobs = Blobs::prepare(directory.path(), &Disk::of(directory.path())).unwrap();
        blobs.sweep(HashSet::from([kept_sha256.clone()])).unwrap();
        assert_eq!(files(&blobs.incoming), 0);
        assert!(blobs.open(&kept_sha256).is_ok());
        assert!(blobs.open(&orphan_sha256).is_err());
    }
}
