//! A request body that must keep coming: a client that pauses for long, or trickles, is cut off.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::limits::Limits;

/// The body did not keep its pace.
#[derive(Debug)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body came too slowly")
    }
}

impl std::error::Error for TooSlow {}

/// Counts only the time in which the server waited for the client, never the time the server itself took.
pub(super) struct Paced {
    inner: Body,
    idle: Duration,
    bytes_per_s: u64,
    received: u64,
    /// Waits that are over, added up.
    waited: Duration,
    /// The present wait: since when, and when it becomes too long.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// `body`, which fails with [`TooSlow`] after a silence of `body_idle`, or once it has brought less than
/// `body_bytes_per_s` for all the time beyond `body_idle` that it was waited for.
pub(super) fn paced(body: Body, limits: &Limits) -> Paced {
    Paced {
        inner: body,
        idle: limits.body_idle,
        bytes_per_s: limits.body_bytes_per_s,
        received: 0,
        waited: Duration::ZERO,
        wait: None,
    }
}

impl Paced {
    /// How long the wait that begins now may last.
    fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.received / self.bytes_per_s.max(1));
        (self.idle + earned).saturating_sub(self.waited).min(self.idle)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let patience = this.patience();
            let (_, sleep) = this
                .wait
                .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
            ready!(sleep.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        };
        if let Some((since, _)) = this.wait.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(Some(data))) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            this.received += data.len() as u64;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn limits(idle: Duration) -> Limits {
        Limits {
            body_idle: idle,
            body_bytes_per_s: 10,
            ..Limits::default()
        }
    }

    fn pace(received: u64, waited_s: u64) -> Paced {
        let Limits {
            body_idle: idle,
            body_bytes_per_s: bytes_per_s,
            ..
        } = limits(Duration::from_secs(20));
        let waited = Duration::from_secs(waited_s);
        Paced {
            inner: Body::empty(),
            idle,
            bytes_per_s,
            received,
            waited,
            wait: None,
        }
    }

    #[tokio::test]
    async fn a_silent_body_is_cut() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let error = paced(silent, &limits(Duration::from_millis(1)))
            .collect()
            .await
            .unwrap_err();
        assert!(crate::api::extract::body::is_too_slow(error.as_ref()));
    }

    #[tokio::test]
    async fn a_body_that_comes_passes_unchanged() {
        let chunks = futures_util::stream::iter(["ab", "", "c"].map(Ok::<_, std::io::Error>));
        let body = paced(Body::from_stream(chunks), &limits(Duration::from_secs(20)));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[test]
    fn no_silence_may_be_longer_than_the_idle_time_however_much_came_before() {
        assert_eq!(pace(0, 0).patience(), Duration::from_secs(20));
        assert_eq!(pace(1_000_000, 30).patience(), Duration::from_secs(20));
    }

    #[test]
    fn a_trickle_uses_up_the_patience_although_it_is_never_silent_for_long() {
        assert_eq!(pace(2, 15).patience(), Duration::from_secs(5));
        assert_eq!(pace(3, 21).patience(), Duration::ZERO);
        assert_eq!(pace(200, 30).patience(), Duration::from_secs(10));
    }
}
