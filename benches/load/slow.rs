//! Clients that hold on to what they get: heads and bodies that trickle, event streams that nobody reads.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::connect;
use crate::process::Process;

const HEADS: usize = 200;
const BODIES: usize = 200;
const STREAMS: usize = 100;
pub(crate) const ALL: usize = HEADS + BODIES + STREAMS;

/// Seconds until the last of each kind was cut.
pub(crate) struct Cut {
    pub(crate) heads_s: f64,
    pub(crate) bodies_s: f64,
    pub(crate) streams_s: f64,
}

/// One that sends a byte a second, until it is cut.
struct Trickle {
    stream: TcpStream,
    next_byte: &'static [u8],
    cut_s: Option<f64>,
}

impl Trickle {
    fn begin(address: SocketAddr, beginning: &[u8], next_byte: &'static [u8]) -> Self {
        let mut stream = connect(address).expect("a connection");
        stream.write_all(beginning).expect("it takes a beginning");
        stream.set_nonblocking(true).expect("a socket");
        Self {
            stream,
            next_byte,
            cut_s: None,
        }
    }

    fn go_on(&mut self, start: Instant) {
        if self.cut_s.is_some() {
            return;
        }
        let mut scratch = [0; 4096];
        let cut = loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => break true,
                // That it was too slow.
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        if cut || self.stream.write_all(self.next_byte).is_err() {
            self.cut_s = Some(start.elapsed().as_secs_f64());
        }
    }
}

/// Starts all of them, and returns when the server is rid of them or a minute is over.
///
/// `others`: the connections of those who are not slow. `events`: a finished job with more events than sockets buffer.
pub(crate) fn besiege(server: &Process, others: usize, predict: &str, events: &str) -> Cut {
    let address = server.address;
    let start = Instant::now();
    let head = format!("POST {predict} HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    let body = format!(
        "POST {predict} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let stream = format!("GET {events} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    let mut heads: Vec<_> = (0..HEADS)
        .map(|_| Trickle::begin(address, head.as_bytes(), b"x"))
        .collect();
    let mut bodies: Vec<_> = (0..BODIES)
        .map(|_| Trickle::begin(address, body.as_bytes(), b" "))
        .collect();
    let streams: Vec<TcpStream> = (0..STREAMS)
        .map(|_| {
            let mut stream_socket = connect(address).expect("a connection");
            stream_socket.write_all(stream.as_bytes()).expect("it takes a request");
            stream_socket
        })
        .collect();
    let mut streams_s = f64::NAN;
    while start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_secs(1));
        heads.iter_mut().chain(&mut bodies).for_each(|slow| slow.go_on(start));
        let trickling = heads.iter().chain(&bodies).filter(|slow| slow.cut_s.is_none()).count();
        // A client that doesn't read doesn't see the end either; the server's own sockets show it.
        if trickling == 0 && server.sockets() <= others {
            streams_s = start.elapsed().as_secs_f64();
            break;
        }
    }
    drop(streams);
    let last = |slow: &[Trickle]| {
        slow.iter()
            .map(|slow| slow.cut_s.unwrap_or(f64::NAN))
            .fold(0.0, max_or_nan)
    };
    Cut {
        heads_s: last(&heads),
        bodies_s: last(&bodies),
        streams_s,
    }
}

fn max_or_nan(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
