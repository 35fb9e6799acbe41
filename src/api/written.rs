//! Answers that may be large: written to the disk beyond a size, so that they cost no memory while a slow client reads them.

use std::io::{BufWriter, Write};

use axum::body::Body;
use tempfile::SpooledData;
use tokio_util::io::ReaderStream;

use super::error::ApiError;
use crate::store::{Scratch, Store, StoreError};

/// Up to this size what a request writes stays in memory; beyond it, it goes through a temporary file.
pub(super) const IN_MEMORY_BYTES: usize = 1 << 20;

/// Enough that the disk is asked for its room and written to seldom, and read from seldom.
const BUFFER_BYTES: usize = 64 * 1024;

/// The body that `write` writes. It blocks.
pub(super) fn written(
    store: &Store,
    write: impl FnOnce(&mut BufWriter<Scratch>) -> Result<(), ApiError>,
) -> Result<Body, ApiError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, store.blobs().scratch(IN_MEMORY_BYTES));
    write(&mut out)?;
    out.flush().map_err(StoreError::from)?;
    let scratch = out.into_inner().map_err(|error| StoreError::from(error.into_error()))?;
    Ok(match scratch.read()?.into_inner() {
        SpooledData::InMemory(bytes) => Body::from(bytes.into_inner()),
        SpooledData::OnDisk(file) => Body::from_stream(ReaderStream::with_capacity(
            tokio::fs::File::from_std(file),
            BUFFER_BYTES,
        )),
    })
}
