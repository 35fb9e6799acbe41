//! The accept loop: as many connections as the limit allows, each with deadlines, ended in good order; further ones are told so.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::connection::Connection;
use super::limits::Limits;
use super::rate::Peer;
use super::{AppState, refusals, router};

/// The largest head hyper reads. Above [`Limits::header_bytes`], so that a head between the two gets a problem+json.
const HEAD_BUFFER_BYTES: usize = 128 * 1024;

/// Clients that the kernel lets wait for their connection to be accepted.
const BACKLOG: u32 = 1024;

/// Connections beyond the limit that are open at once, to be refused as any request is; while there are so many, further ones
/// get [`NO_PLACE`] without a word of theirs.
const REFUSED_AT_ONCE: usize = 64;

/// An answer for whoever comes while even those to be refused are too many.
const NO_PLACE: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\n",
    "content-length: 144\r\n\r\n",
    r#"{"type":"/problems/unavailable","title":"Unavailable","status":503,"detail":"Too many connections are open; ask again in a second.","errors":[]}"#,
);

/// The longest that one of these stays: its client may be far away, but whoever says nothing keeps others from their refusal.
const REFUSAL: Duration = Duration::from_secs(1);

/// Listens on an address, such as [`serve`] takes connections from.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Else the port of a server that has just ended can't be had for a minute. On Windows it means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop` is cancelled, and returns when the requests under way are answered, or at the drain limit.
pub async fn serve(listener: TcpListener, state: AppState, stop: CancellationToken) -> io::Result<()> {
    let limits = state.limits.clone();
    let refusals = refusals(&state);
    let router = router(state);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BUFFER_BYTES);
    let connections = GracefulShutdown::new();
    let slots = Slots::new(&limits);
    let mut refused = Refused::default();

    while let Some((stream, peer, slot)) = stop
        .run_until_cancelled(accept(&listener, &slots, &mut refused, &limits))
        .await
    {
        let io = TokioIo::new(Connection::new(stream, &limits));
        let router = if slot.is_refusal { &refusals } else { &router };
        let service = TowerToHyperService::new(Extension(peer).layer(router.clone()));
        let connection = connections.watch(http.serve_connection(io, service));
        tokio::spawn(async move {
            let ended = match slot.is_refusal {
                true => tokio::time::timeout(REFUSAL, connection).await.unwrap_or(Ok(())),
                false => connection.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    finish(connections, &limits).await;
    Ok(())
}

/// Places of connections.
struct Slots {
    for_requests: Arc<Semaphore>,
    for_refusals: Arc<Semaphore>,
}

/// A connection's place, until it is dropped.
struct Slot {
    _permit: OwnedSemaphorePermit,
    is_refusal: bool,
}

impl Slots {
    fn new(limits: &Limits) -> Self {
        Self {
            for_requests: Arc::new(Semaphore::new(limits.connections)),
            for_refusals: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
        }
    }

    /// The place for a connection that has come: one for requests, or one to be refused in, or none.
    fn take(&self) -> Option<Slot> {
        [(&self.for_requests, false), (&self.for_refusals, true)]
            .into_iter()
            .find_map(|(places, is_refusal)| {
                let permit = places.clone().try_acquire_owned().ok()?;
                Some(Slot {
                    _permit: permit,
                    is_refusal,
                })
            })
    }
}

/// The next connection that there is a place for, where it comes from, and its place.
async fn accept(
    listener: &TcpListener,
    slots: &Slots,
    refused: &mut Refused,
    limits: &Limits,
) -> (TcpStream, Peer, Slot) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(slot) = slots.take() else {
                    refused.push(stream).await;
                    continue;
                };
                // Answers are written whole: waiting for more to send only delays them.
                stream.set_nodelay(true).ok();
                hold_little_back(&stream, limits);
                return (stream, Peer(address.ip()), slot);
            }
            // The client is gone already, or the process is out of file descriptors, which others will give back.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Connections that got [`NO_PLACE`]. The last of them are kept for a while: to close one whose request is not read would
/// take the answer from its client.
#[derive(Default)]
struct Refused(VecDeque<TcpStream>);

impl Refused {
    async fn push(&mut self, mut stream: TcpStream) {
        // A new connection has room for it; whoever doesn't get it sees the end.
        drop(stream.try_write(NO_PLACE.as_bytes()));
        drop(stream.shutdown().await);
        if self.0.len() >= REFUSED_AT_ONCE {
            self.0.pop_front();
        }
        self.0.push_back(stream);
    }
}

/// What the kernel keeps of an answer that it can't send yet. Else a client that reads nothing is noticed only once
/// megabytes have been made for it; what is under way in the network isn't counted, so this slows no download.
fn hold_little_back(stream: &TcpStream, limits: &Limits) {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream)
        .set_tcp_notsent_lowat(limits.unsent_bytes)
        .ok();
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limits);
}

async fn finish(connections: GracefulShutdown, limits: &Limits) {
    let open = connections.count();
    if tokio::time::timeout(limits.drain, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(open, "some connections were cut: their requests took too long to end");
    }
}
