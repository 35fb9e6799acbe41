//! A body on its way to the disk: unpacked, counted, never held in memory as a whole.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use axum::body::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::{Stream, StreamExt};

use crate::api::blocking::blocking;
use crate::api::error::ApiError;
use crate::api::extract::body::too_large;
use crate::api::limits::Limits;
use crate::domain::problem::{Kind, Problem};
use crate::store::StoreError;

/// How much is collected before it is written: enough that handing it to another thread costs nothing beside the write.
const BATCH_BYTES: usize = 256 * 1024;

/// Writes a body's chunks to `target`, which is given back when the body has ended well.
pub(in crate::api) async fn receive<W: Write + Send + 'static, E>(
    chunks: impl Stream<Item = Result<Bytes, E>>,
    gzip: bool,
    target: W,
    limits: &Limits,
    limit: u64,
    broken: impl Fn(E) -> ApiError,
) -> Result<W, ApiError> {
    let mut chunks = std::pin::pin!(chunks);
    let mut sink = Sink::new(target, gzip, limits, limit);
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    loop {
        let chunk = chunks.next().await.transpose().map_err(&broken)?;
        let last = chunk.is_none();
        // Copied, so that a thousand small chunks are one write.
        batch.extend_from_slice(&chunk.unwrap_or_default());
        if last || batch.len() >= BATCH_BYTES {
            let write = move || {
                sink.write_all(&batch)?;
                batch.clear();
                Ok((sink, batch))
            };
            (sink, batch) = blocking(write).await?;
        }
        if last {
            return blocking(move || sink.finish()).await;
        }
    }
}

struct Sink<W: Write> {
    stage: Stage<W>,
    received: u64,
    limit: u64,
    gzip_ratio: u64,
    gzip_free_bytes: u64,
}

enum Stage<W: Write> {
    Plain(Bounded<W>),
    Gzip(Box<MultiGzDecoder<Bounded<W>>>),
}

impl<W: Write> Sink<W> {
    fn new(target: W, gzip: bool, limits: &Limits, limit: u64) -> Self {
        let bounded = Bounded {
            target,
            written: 0,
            limit,
        };
        Self {
            stage: match gzip {
                true => Stage::Gzip(Box::new(MultiGzDecoder::new(bounded))),
                false => Stage::Plain(bounded),
            },
            received: 0,
            limit,
            gzip_ratio: limits.gzip_ratio,
            gzip_free_bytes: limits.gzip_free_bytes,
        }
    }

    fn write_all(&mut self, batch: &[u8]) -> Result<(), ApiError> {
        self.received += batch.len() as u64;
        let written = match &mut self.stage {
            Stage::Plain(bounded) => bounded.write_all(batch),
            Stage::Gzip(decoder) => {
                let earned = self.received.saturating_mul(self.gzip_ratio).max(self.gzip_free_bytes);
                decoder.get_mut().limit = earned.min(self.limit);
                decoder.write_all(batch)
            }
        };
        written.map_err(|error| self.refusal(error))
    }

    fn finish(self) -> Result<W, ApiError> {
        let limit = self.limit;
        let refusal = |error| refusal(error, limit, limit);
        match self.stage {
            Stage::Plain(bounded) => Ok(bounded.target),
            Stage::Gzip(decoder) => decoder.finish().map(|bounded| bounded.target).map_err(refusal),
        }
    }

    fn refusal(&self, error: io::Error) -> ApiError {
        let bound = match &self.stage {
            Stage::Plain(bounded) => bounded.limit,
            Stage::Gzip(decoder) => decoder.get_ref().limit,
        };
        refusal(error, bound, self.limit)
    }
}

/// What a failed write means: too much came, the disk failed, or what came was no gzip.
fn refusal(error: io::Error, bound: u64, limit: u64) -> ApiError {
    match error.downcast::<BoundError>() {
        Ok(BoundError::Full) if bound < limit => {
            let detail = "The body unpacks to far more than any table would; send it without content-encoding.";
            ApiError::new(Kind::BodyTooLarge, detail)
        }
        Ok(BoundError::Full) => too_large(limit),
        Ok(BoundError::Failed(error)) => StoreError::from(error).into(),
        Err(error) => {
            let detail = format!("The body is not the gzip that its content-encoding promises: {error}.");
            Problem::new(Kind::MalformedRequest, detail).into()
        }
    }
}

/// A writer that takes no more than `limit` bytes, and marks the errors of what it writes to as such.
struct Bounded<W> {
    target: W,
    written: u64,
    limit: u64,
}

#[derive(Debug)]
enum BoundError {
    Full,
    Failed(io::Error),
}

impl fmt::Display for BoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the limit is reached"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl Error for BoundError {}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.limit - self.written.min(self.limit) {
            return Err(io::Error::other(BoundError::Full));
        }
        let written = self
            .target
            .write(bytes)
            .map_err(|error| io::Error::other(BoundError::Failed(error)))?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target
            .flush()
            .map_err(|error| io::Error::other(BoundError::Failed(error)))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn limits() -> Limits {
        Limits {
            gzip_ratio: 10,
            gzip_free_bytes: 1000,
            ..Limits::default()
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Receives `bytes` in small chunks; the status of the refusal where it fails.
    async fn received(bytes: &[u8], gzip: bool, limit: u64) -> Result<Vec<u8>, u16> {
        let chunks: Vec<_> = bytes
            .chunks(7)
            .map(|chunk| Ok::<_, ApiError>(Bytes::copy_from_slice(chunk)))
            .collect();
        let chunks = futures_util::stream::iter(chunks);
        let received = receive(chunks, gzip, Vec::new(), &limits(), limit, |error| error).await;
        received.map_err(|error| error.into_response().status().as_u16())
    }

    /// Hard to compress.
    fn noise(length: u32) -> Vec<u8> {
        (0..length)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    }

    #[tokio::test]
    async fn a_body_arrives_whole_plain_or_packed_in_one_member_or_several() {
        let text = noise(5000);
        let members = [gzip(&text[..1000]), gzip(&text[1000..])].concat();
        assert_eq!(received(&text, false, 5000).await.as_ref(), Ok(&text));
        assert_eq!(received(&gzip(&text), true, 5000).await.as_ref(), Ok(&text));
        assert_eq!(received(&members, true, 5000).await.as_ref(), Ok(&text));
    }

    #[tokio::test]
    async fn a_byte_too_many_is_refused_however_it_comes() {
        let text = noise(5000);
        assert_eq!(received(&text, false, 4999).await, Err(413));
        assert_eq!(received(&gzip(&text), true, 4999).await, Err(413));
    }

    #[tokio::test]
    async fn a_bomb_is_refused_below_the_limit() {
        let bomb = gzip(&vec![b'0'; 1_000_000]);
        assert_eq!(received(&bomb, true, 10_000_000).await, Err(413));
    }

    #[tokio::test]
    async fn what_is_no_whole_gzip_is_refused() {
        let packed = gzip(&noise(3000));
        let mut damaged = packed.clone();
        damaged[100] ^= 0xff;
        for body in [
            b"a,b\n1,2\n".to_vec(),
            packed[..packed.len() - 1].to_vec(),
            packed[..5].to_vec(),
            Vec::new(),
            damaged,
        ] {
            assert_eq!(received(&body, true, 10_000).await, Err(400), "{} bytes", body.len());
        }
    }

    #[tokio::test]
    async fn a_failing_disk_is_not_the_clients_fault() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidInput.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (body, packed) in [(b"a,b".to_vec(), false), (gzip(b"a,b"), true)] {
            let chunks = futures_util::stream::iter([Ok::<_, ApiError>(Bytes::from(body))]);
            let refused = receive(chunks, packed, Broken, &limits(), 1000, |error| error).await;
            assert_eq!(refused.err().unwrap().into_response().status(), 500);
        }
    }
}
