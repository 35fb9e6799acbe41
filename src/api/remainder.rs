//! What is left of a request's body once it is answered. The next request of a connection comes after it, so it is read to
//! its end, or the answer says that the connection ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::pace::Paced;

/// Up to this size a rest is read away: that costs less than the new connection that the client would need.
const SMALL_BYTES: u64 = 256 * 1024;

/// How long an answer waits for it: such a rest came with its head or is close behind it.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where a body goes that nobody reads on.
#[derive(Clone, Default)]
pub(super) struct Remainder(Arc<Mutex<Option<Paced>>>);

/// A body that is handed back when it is dropped before its end.
struct Lent {
    body: Option<Paced>,
    remainder: Remainder,
}

impl Remainder {
    /// The body, which comes back here when it is dropped before its end.
    pub(super) fn lend(&self, body: Paced) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Lent {
            body: Some(body),
            remainder: self.clone(),
        })
    }

    /// Reads away what is small and `may_be_read`; returns whether the connection can take a next request.
    pub(super) async fn settle(self, may_be_read: bool) -> bool {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut rest) = rest else { return true };
        if !may_be_read || rest.size_hint().upper().is_none_or(|bytes| bytes > SMALL_BYTES) {
            return false;
        }
        let read = async {
            while let Some(frame) = rest.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or(false)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        *self.remainder.0.lock().unwrap_or_else(PoisonError::into_inner) = rest;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::api::limits::Limits;
    use crate::api::pace::paced;

    fn body(body: impl Into<Body>) -> Paced {
        paced(body.into(), &Limits::default())
    }

    fn endless() -> Paced {
        body(Body::from_stream(stream::repeat("ab").map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test]
    async fn a_small_rest_is_read_away_and_a_large_or_unknown_one_is_not() {
        for (body, settled) in [
            (body(""), true),
            (body("abc"), true),
            (body(vec![0; 1 << 20]), false),
            (endless(), false),
        ] {
            let remainder = Remainder::default();
            drop(remainder.lend(body));
            assert_eq!(remainder.settle(true).await, settled);
        }
        let remainder = Remainder::default();
        drop(remainder.lend(body("abc")));
        assert!(!remainder.settle(false).await);
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_or_is_still_held_leaves_nothing() {
        let remainder = Remainder::default();
        let read = remainder.lend(body("abc")).collect().await.unwrap();
        assert_eq!(read.to_bytes(), "abc");
        assert!(remainder.settle(true).await);
        let remainder = Remainder::default();
        let held = remainder.lend(endless());
        assert!(remainder.settle(true).await);
        drop(held);
    }
}
