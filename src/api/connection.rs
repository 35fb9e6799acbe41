//! A client's TCP stream that can't be held for ever: a stalled reader is cut off, and an early answer still arrives.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::limits::Limits;

pub(super) struct Connection<S> {
    stream: S,
    send_idle: Duration,
    linger: Duration,
    /// Runs while the client takes nothing of what was sent.
    stalled: Option<Pin<Box<Sleep>>>,
    closing: Closing,
}

/// How long a client that is sending may pause between two packets before it is taken to have sent all: a trip around
/// the world.
const PAUSE: Duration = Duration::from_millis(300);

enum Closing {
    No,
    /// Our side is shut; what the client still sends is dropped. At first only until a pause.
    Listening(Pin<Box<Sleep>>),
    /// It does send: until `linger` is over.
    Lingering(Pin<Box<Sleep>>),
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, limits: &Limits) -> Self {
        Self {
            stream,
            send_idle: limits.send_idle,
            linger: limits.linger,
            stalled: None,
            closing: Closing::No,
        }
    }

    /// Passes on the outcome of a write, and makes an error of one that has been pending for too long.
    fn within_time<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let send_idle = self.send_idle;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(send_idle)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.within_time(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.within_time(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.within_time(cx, outcome)
    }

    /// Closing a socket into which a client still sends resets it, and the client loses the answer. So when it does,
    /// what it sends is dropped for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Closing::No = this.closing {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = Closing::Listening(Box::pin(sleep(PAUSE)));
        }
        let mut scratch = [0; 8192];
        loop {
            let (Closing::Listening(end) | Closing::Lingering(end)) = &mut this.closing else {
                return Poll::Ready(Ok(()));
            };
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut dropped = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut dropped));
            if read.is_err() || dropped.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Closing::Listening(_) = this.closing {
                this.closing = Closing::Lingering(Box::pin(sleep(this.linger)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn limits() -> Limits {
        Limits {
            send_idle: Duration::from_millis(10),
            linger: Duration::from_secs(60),
            ..Limits::default()
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off() {
        let (server, _client) = duplex(16);
        let written = Connection::new(server, &limits()).write_all(&[0; 64]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_can_finish_and_read_its_answer() {
        let (server, mut client) = duplex(1024);
        let mut server = Connection::new(server, &limits());
        client.write_all(&[1; 1024]).await.unwrap();
        server.write_all(b"413").await.unwrap();
        let close = tokio::spawn(async move { server.shutdown().await });
        client.write_all(&[1; 100_000]).await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"413");
        drop(client);
        close.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_whose_body_is_still_on_its_way_can_send_it_and_read_its_answer() {
        let (server, mut client) = duplex(1024);
        let mut server = Connection::new(server, &limits());
        server.write_all(b"413").await.unwrap();
        let close = tokio::spawn(async move { server.shutdown().await });
        tokio::task::yield_now().await;
        client.write_all(&[1; 100_000]).await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"413");
        drop(client);
        close.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_whose_client_is_silent_or_gone_closes_soon() {
        let (server, _client) = duplex(16);
        Connection::new(server, &limits()).shutdown().await.unwrap();
        let (server, client) = duplex(16);
        drop(client);
        Connection::new(server, &limits()).shutdown().await.unwrap();
    }
}
