//! What there is no more room for, each on a server of its own.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::Case;
use crate::client::Answer;
use crate::fixtures::{EndlessJob, IRIS, gzip, id, iris_job, upload};
use crate::server::Server;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::answered("one session too many", 429, "too-many-requests", sessions),
        Case::answered("one event stream too many", 429, "too-many-requests", event_streams),
        Case::answered("one queued job too many", 429, "too-many-requests", queued_jobs),
        #[cfg(unix)]
        Case::answered("a full disk", 507, "insufficient-storage", full_disk),
        Case::answered("a body over the limit", 413, "body-too-large", || {
            let server = Server::start(&["--max-upload-mib", "1"]);
            server
                .client()
                .post("/v1/datasets")
                .body("text/csv", "a\n1\n".repeat(1 << 19))
                .send()
        }),
        Case::answered("a body over the limit after gunzip", 413, "body-too-large", || {
            let server = Server::start(&["--max-upload-mib", "1"]);
            let body = gzip("a\n1\n".repeat(1 << 19).as_bytes());
            server
                .client()
                .post("/v1/datasets")
                .body("text/csv", body)
                .header("content-encoding", "gzip")
                .send()
        }),
    ]
}

fn sessions() -> Answer {
    let server = Server::start(&["--max-sessions", "1"]);
    let client = server.client();
    let session = json!({"inputs": 1, "model": {"layers": [{"type": "dense", "units": 1}]}});
    let begin = || client.post("/v1/sessions").json(&session).send();
    begin().expect(201);
    begin()
}

fn event_streams() -> Answer {
    let server = Server::start(&["--max-connections", "4000"]);
    let client = server.client();
    let job = EndlessJob::submit(&client, &upload(&client, "iris", IRIS));
    job.post("pause");
    let target = format!("/v1/jobs/{}/events", job.id);
    let open = |_| {
        let mut socket = TcpStream::connect(client.authority()).expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("it reads");
        socket.read_exact(&mut [0; 12]).expect("it answers");
        socket
    };
    // More than the limit, and no more than the file descriptors that a process has by default.
    let _streams = Vec::from_iter((0..300).map(open));
    client.get(target.as_str()).send()
}

fn queued_jobs() -> Answer {
    let server = Server::start(&["--workers", "1"]);
    let client = server.client();
    let dataset = upload(&client, "iris", IRIS);
    let _first = EndlessJob::submit(&client, &dataset).started();
    let spec = iris_job(id(&dataset));
    let submit = |_| client.post("/v1/jobs").json(&spec).send_raw();
    (0..2_000)
        .map(submit)
        .find(|answer| answer.status != 202)
        .expect("a queue with an end")
}

/// Under a limit on the size of files, which fails as a full disk does.
#[cfg(unix)]
fn full_disk() -> Answer {
    let server = Server::start_within(&[], Some(4 << 20));
    server
        .client()
        .post("/v1/datasets")
        .body("text/csv", "a\n1\n".repeat(2 << 20))
        .send()
}
