//! What no HTTP client would send: requests written byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::contract;
use crate::fixtures::{IRIS, TRAINED_IRIS, client};
use crate::trials;

trials![
    two_lengths_are_refused,
    a_length_that_is_no_number_is_refused,
    a_request_without_a_host_is_refused,
    garbage_is_refused,
    bytes_of_another_protocol_are_refused,
    a_chunk_size_that_is_none_is_refused,
    a_chunked_upload_is_an_upload,
    a_declared_length_over_the_limit_is_refused_before_the_body,
    an_upload_that_breaks_off_leaves_nothing,
    a_path_that_climbs_is_not_found,
    two_requests_in_one_packet_get_two_answers,
];

/// Sends the bytes and gives the statuses of all answers, and their text, once the server has closed.
fn send(bytes: &[u8]) -> (Vec<u16>, String) {
    let mut socket = TcpStream::connect(client().authority()).expect("it listens");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    // The server may answer and close before it has read all.
    let _ = socket.write_all(bytes);
    answers(socket)
}

fn answers(mut socket: TcpStream) -> (Vec<u16>, String) {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let statuses = text
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| text[at + 9..].get(..3)?.parse().ok())
        .collect();
    (statuses, text)
}

fn assert_refused(bytes: &[u8], status: u16) {
    let (statuses, text) = send(bytes);
    assert_eq!(statuses, [status], "{text}");
    client().get("/livez").send().expect(200);
}

fn two_lengths_are_refused() {
    assert_refused(
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        400,
    );
}

fn a_length_that_is_no_number_is_refused() {
    assert_refused(
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        400,
    );
}

fn a_request_without_a_host_is_refused() {
    assert_refused(b"GET /livez HTTP/1.1\r\n\r\n", 400);
}

fn garbage_is_refused() {
    assert_refused(b"\x00\x01\x02\x03 nonsense\r\n\r\n", 400);
}

fn bytes_of_another_protocol_are_refused() {
    // The start of a TLS handshake, as from a browser that was given https:.
    let (statuses, _) = send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert!(statuses.is_empty() || statuses == [400]);
    client().get("/livez").send().expect(200);
}

fn a_chunk_size_that_is_none_is_refused() {
    let head =
        "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (statuses, text) = send(format!("{head}zz\r\na,b\r\n").as_bytes());
    assert!(statuses.iter().all(|status| (400..500).contains(status)), "{text}");
}

fn a_chunked_upload_is_an_upload() {
    let mut request = b"POST /v1/datasets?name=chunks HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        .to_vec();
    for chunk in IRIS.as_bytes().chunks(100) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let (statuses, text) = send(&request);
    assert_eq!(statuses, [201], "{text}");
    assert!(text.contains("\"rows\":150"), "{text}");
}

fn a_declared_length_over_the_limit_is_refused_before_the_body() {
    let predict = format!("/v1/models/{}/predict/csv", TRAINED_IRIS.model);
    let form = "multipart/form-data; boundary=line";
    for (target, kind) in [
        ("/v1/datasets", "text/csv"),
        ("/v1/datasets/form", form),
        (&predict, "text/csv"),
    ] {
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n");
        let (statuses, text) = send(format!("{head}Content-Length: 99999999999\r\n\r\na,b\n").as_bytes());
        assert_eq!(statuses, [413], "{text}");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.contains("application/problem+json"), "{head}");
        let operation = contract().operation("POST", target).expect("it is in the document");
        contract().check_answer(operation, 413, Some("application/problem+json"), body.as_bytes());
    }
}

fn an_upload_that_breaks_off_leaves_nothing() {
    let name = "broken-off";
    let head = format!(
        "POST /v1/datasets?name={name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {}\r\n\r\n",
        IRIS.len()
    );
    let mut socket = TcpStream::connect(client().authority()).expect("it listens");
    socket
        .write_all(&[head.as_bytes(), &IRIS.as_bytes()[..1000]].concat())
        .expect("it reads");
    socket.shutdown(std::net::Shutdown::Write).expect("it is open");
    answers(socket);
    let list = client().get("/v1/datasets?limit=200").send().expect(200).text();
    assert!(!list.contains(name));
}

fn a_path_that_climbs_is_not_found() {
    for path in [
        "/v1/datasets/../../etc/passwd",
        "/../../etc/passwd",
        "//etc/passwd",
        "/v1/datasets/..%2f..%2fetc%2fpasswd/content",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let (statuses, text) = send(request.as_bytes());
        assert_eq!(statuses, [404], "{path}: {text}");
    }
}

fn two_requests_in_one_packet_get_two_answers() {
    let get = |close| format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
    let (statuses, text) = send((get("") + &get("Connection: close\r\n")).as_bytes());
    assert_eq!(statuses, [200, 200], "{text}");
}
