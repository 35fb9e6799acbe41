//! Uploaded files, each under the SHA-256 of its content, so that equal uploads share one.

use std::fs::File;
use std::io;
use std::path::Path;

use super::StoreError;

/// The folder of uploaded files.
pub struct Blobs {}

/// Takes an upload in as it arrives, in a temporary file that vanishes with this value.
pub struct BlobWriter {}

/// A whole upload, safe on disk under a temporary name: [`Store::insert_dataset`](super::Store::insert_dataset) gives it
/// its place; dropped, it vanishes.
pub struct StagedBlob {}

impl Blobs {
    /// Begins an upload. Blocking, as all file work here: not for an async thread.
    pub fn begin(&self) -> Result<BlobWriter, StoreError> {
        unimplemented!()
    }

    /// The stored content, from its first byte.
    pub fn open(&self, sha256: &str) -> Result<File, StoreError> {
        unimplemented!()
    }
}

/// An error keeps its OS code: [`StoreError::from`] tells a full disk from other failures.
impl io::Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unimplemented!()
    }

    fn flush(&mut self) -> io::Result<()> {
        unimplemented!()
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Makes the content durable.
    pub fn finish(self) -> Result<StagedBlob, StoreError> {
        unimplemented!()
    }
}

impl StagedBlob {
    /// Where the content can be read until the blob has its place.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }

    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Of the content, in hexadecimal.
    pub fn sha256(&self) -> &str {
        unimplemented!()
    }
}
