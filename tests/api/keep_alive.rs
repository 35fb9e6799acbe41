//! A connection after a refusal: it takes the next request, or the client was told that it ends.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::Client;
use crate::fixtures::{IRIS, TRAINED_IRIS, client};
use crate::server::Server;
use crate::trials;
use crate::yard::{YARD, create, secret};

trials![
    a_small_body_that_was_refused_costs_no_connection,
    after_a_body_that_is_not_read_the_connection_ends,
    a_body_behind_its_head_is_no_request,
    nothing_after_a_body_in_chunks_is_a_request,
    a_body_in_chunks_is_cut_at_the_limit,
    a_body_that_trickles_is_cut,
    a_head_that_trickles_is_cut,
    who_waits_for_leave_to_send_gets_the_refusal_instead,
];

/// A connection on which requests are written and answers read one after another.
struct Socket(BufReader<TcpStream>);

/// Status, whether the server will end the connection, and the body.
type Got = (u16, bool, String);

impl Socket {
    fn open(client: &Client) -> Self {
        let socket = TcpStream::connect(client.authority()).expect("it listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        Self(BufReader::new(socket))
    }

    /// It may be that the server has answered and closed before all is written.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// The next answer; `None` once the server has closed.
    fn read(&mut self) -> Option<Got> {
        let mut status = None;
        let (mut closes, mut length) = (false, 0);
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("neither an answer nor an end within a minute")
                }
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("connection", value)) => closes = value == "close",
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                Some(_) => {}
                None if line.is_empty() => break,
                None => status = line.get(9..12).and_then(|status| status.parse().ok()),
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body");
        Some((status?, closes, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Holds the state of the connection against what its last answer said of it.
    fn check(mut self, closes: bool, name: &str) {
        self.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match self.read() {
            None => assert!(closes, "{name}: closed without a word"),
            Some((status, ..)) => assert!(
                !closes && status == 200,
                "{name}: {status} on a connection that ends: {closes}"
            ),
        }
    }
}

fn head(line: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n").into_bytes()
}

/// Requests that are refused before or while their body is read: server, request line, headers, status.
fn refused() -> Vec<(&'static Client, String, String, u16)> {
    let reader = create(&YARD.admin, serde_json::json!({"name": "kept alive", "role": "read"}));
    let json = "Content-Type: application/json\r\n";
    let predict = format!("POST /v1/models/{}/predict", TRAINED_IRIS.model);
    let mut refused = vec![
        (&YARD.open, "POST /v1/jobs".to_owned(), json.to_owned(), 401),
        (
            &YARD.open,
            "POST /v1/datasets".to_owned(),
            "Content-Type: text/csv\r\n".to_owned(),
            401,
        ),
    ];
    let bearer = format!("{json}Authorization: Bearer {}\r\n", secret(&reader));
    refused.push((&YARD.open, "POST /v1/jobs".to_owned(), bearer, 403));
    for (line, headers, status) in [
        ("POST /v1/nothing", json, 404),
        ("PATCH /v1/jobs", json, 405),
        (
            "POST /v1/jobs",
            "Accept: image/png\r\nContent-Type: application/json\r\n",
            406,
        ),
        ("POST /v1/jobs", "Content-Type: text/plain\r\n", 415),
        ("POST /v1/datasets", "Content-Type: application/x-pickle\r\n", 415),
        ("POST /v1/datasets/form", "Content-Type: text/csv\r\n", 415),
        ("POST /v1/jobs?surprise=1", json, 400),
        (&format!("{predict}/csv"), "Content-Type: application/x-pickle\r\n", 415),
        (&predict, "Content-Type: text/plain\r\n", 415),
        (
            "POST /v1/jobs",
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
            403,
        ),
    ] {
        refused.push((client(), line.to_owned(), headers.to_owned(), status));
    }
    refused
}

fn a_small_body_that_was_refused_costs_no_connection() {
    for (client, line, headers, status) in refused() {
        let mut socket = Socket::open(client);
        socket.write(&[head(&line, &headers, 1000), vec![b' '; 1000]].concat());
        let (got, closes, body) = socket.read().expect("an answer");
        assert_eq!((got, closes), (status, false), "{line} {headers}: {body}");
        socket.check(closes, &line);
    }
}

fn after_a_body_that_is_not_read_the_connection_ends() {
    let mut refused = refused();
    refused.push((
        client(),
        "POST /v1/jobs".to_owned(),
        "Content-Type: application/json\r\n".to_owned(),
        413,
    ));
    for (client, line, headers, status) in refused {
        let mut socket = Socket::open(client);
        // What is a megabyte of its body may look like requests.
        let smuggled = b"DELETE /v1/models/x HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20_000);
        let length = if status == 413 { 1 << 40 } else { smuggled.len() };
        socket.write(&[head(&line, &headers, length), smuggled].concat());
        let (got, closes, body) = socket.read().expect("an answer");
        assert_eq!((got, closes), (status, true), "{line} {headers}: {body}");
        socket.check(closes, &line);
    }
}

fn a_body_behind_its_head_is_no_request() {
    for (client, line, headers, status) in refused() {
        let mut socket = Socket::open(client);
        socket.write(&head(&line, &headers, 1000));
        std::thread::sleep(Duration::from_millis(10));
        socket.write(&[b' '; 1000]);
        let (got, closes, body) = socket.read().expect("an answer");
        assert_eq!(got, status, "{line} {headers}: {body}");
        socket.check(closes, &line);
    }
}

fn nothing_after_a_body_in_chunks_is_a_request() {
    // Which of the two ends it, the last chunk or a length that stood somewhere, is not for the server to guess.
    let (chunked, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n");
    for framing in [
        chunked.to_owned(),
        format!("{chunked}{length}"),
        format!("{length}{chunked}"),
    ] {
        let mut socket = Socket::open(client());
        let head = format!("POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n");
        socket.write(format!("{head}{:x}\r\n{IRIS}\r\n0\r\n\r\n", IRIS.len()).as_bytes());
        let (status, closes, body) = socket.read().expect("an answer");
        assert_eq!((status, closes), (201, true), "{framing}: {body}");
        socket.check(closes, &framing);
    }
}

fn a_body_in_chunks_is_cut_at_the_limit() {
    let server = Server::start(&["--max-upload-mib", "1"]);
    let mut socket = Socket::open(&server.client());
    socket.write(b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = "a\n1\n".repeat(1 << 16);
    for _ in 0..8 {
        socket.write(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    let (status, closes, body) = socket.read().expect("an answer");
    assert_eq!((status, closes), (413, true), "{body}");
    assert!(body.contains("/problems/body-too-large"), "{body}");
    socket.check(closes, "chunks over the limit");
}

/// Sends `bytes` one by one every ten seconds until the server answers or closes.
fn trickle(socket: &mut Socket, bytes: &[u8]) -> Option<Got> {
    let mut writer = socket.0.get_ref().try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            for byte in bytes {
                if writer.write_all(&[*byte]).is_err() || stopped.recv_timeout(Duration::from_secs(10)).is_ok() {
                    break;
                }
            }
        });
        let got = socket.read();
        let _ = stop.send(());
        got
    })
}

fn a_body_that_trickles_is_cut() {
    let mut socket = Socket::open(client());
    socket.write(&head("POST /v1/jobs", "Content-Type: application/json\r\n", 100));
    let (status, closes, body) = trickle(&mut socket, &[b' '; 10]).expect("an answer");
    assert_eq!((status, closes), (408, true), "{body}");
    assert!(body.contains("/problems/request-timeout"), "{body}");
    socket.check(closes, "a trickle");
}

fn a_head_that_trickles_is_cut() {
    let mut socket = Socket::open(client());
    let got = trickle(&mut socket, b"GET /livez HTTP/1.1\r\n");
    assert!(got.is_none_or(|(status, ..)| status == 408));
}

fn who_waits_for_leave_to_send_gets_the_refusal_instead() {
    let mut socket = Socket::open(client());
    socket.write(&head(
        "POST /v1/jobs",
        "Content-Type: text/plain\r\nExpect: 100-continue\r\n",
        1000,
    ));
    let (status, closes, body) = socket.read().expect("an answer");
    assert_eq!((status, closes), (415, true), "{body}");
    socket.check(closes, "a body that was not sent");
}
