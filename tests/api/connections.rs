//! Connections beyond those that the server takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;
use crate::trials;

trials![
    a_connection_too_many_is_told_so_and_closed,
    who_is_silent_on_a_connection_too_many_keeps_no_refusal_from_others,
];

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.client().authority()).expect("it listens");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    socket
}

fn ask(socket: &mut TcpStream) {
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: one-too-many\r\n\r\n";
    socket.write_all(request).expect("it takes a request");
}

fn is_taken(socket: &mut TcpStream) -> bool {
    ask(socket);
    let mut status = [0; 12];
    socket.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200"
}

/// A connection that is answered and stays.
fn taken(server: &Server) -> TcpStream {
    let mut socket = connect(server);
    assert!(is_taken(&mut socket));
    socket
}

/// The answer on a connection that is then closed: its head in lower case, and its body.
fn last_answer(mut socket: TcpStream) -> (String, String) {
    ask(&mut socket);
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer, and then the end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Is refused; returns the id that the answer names, if it names one.
fn refused(socket: TcpStream) -> Option<String> {
    let (head, body) = last_answer(socket);
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.first(), Some(&"http/1.1 503 service unavailable"));
    for line in ["content-type: application/problem+json", "connection: close"] {
        assert!(lines.contains(&line), "{line}: {head}");
    }
    assert!(lines.iter().any(|line| line.starts_with("retry-after: ")), "{head}");
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(problem["type"], "/problems/unavailable", "{problem}");
    assert_eq!(problem["title"], "Unavailable", "{problem}");
    problem["request_id"].as_str().map(str::to_owned)
}

fn a_connection_too_many_is_told_so_and_closed() {
    let server = Server::start(&["--max-connections=2"]);
    let open = [taken(&server), taken(&server)];
    for _ in 0..3 {
        assert_eq!(refused(connect(&server)).as_deref(), Some("one-too-many"));
    }
    drop(open);
    // It sees that they are gone in its own time.
    while !is_taken(&mut connect(&server)) {}
}

fn who_is_silent_on_a_connection_too_many_keeps_no_refusal_from_others() {
    let server = Server::start(&["--max-connections=1"]);
    let _open = taken(&server);
    let _silent: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for _ in 0..3 {
        refused(connect(&server));
    }
}
