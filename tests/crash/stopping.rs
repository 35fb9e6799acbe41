//! Promise 11: asked to stop, the server lets nothing begin, stores what runs, tells who listens, and ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::disk::assert_sound;
use crate::server::Server;

fn job(dataset: &str) -> Vec<u8> {
    let spec = json!({
        "dataset": dataset, "target": "y",
        "model": {"layers": [{"type": "dense", "units": 32, "activation": "swish"}, {"type": "dropout", "rate": 0.1}, {"type": "dense", "units": 1}]},
        "training": {"epochs": 20_000, "batch_size": 8, "seed": 3},
    });
    spec.to_string().into_bytes()
}

/// Returns once the server has heard that it is to stop.
fn await_refusal(client: &Client) {
    let refused = || match client.get("/readyz") {
        Ok((status, _)) => status == 503,
        // Nobody is let in any more.
        Err(_) => true,
    };
    while !refused() {
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_has_much_to_catch_up_on_is_told_of_the_stop_at_once() {
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let create = |target: &str, kind: &str, body: Vec<u8>| {
        let thing: Value = client.create(target, kind, body, target).expect("it is up");
        thing["id"].as_str().expect("an id").to_owned()
    };
    let dataset = create("/v1/datasets", "text/csv", b"x,y\n1,2\n2,3\n3,5\n".to_vec());
    let job = create("/v1/jobs", "application/json", job(&dataset));
    assert_eq!(client.wait(&job)["status"], "succeeded");

    // More events than the kernel takes of an answer that nobody reads.
    let mut socket = TcpStream::connect(server.address().trim_start_matches("http://")).expect("it listens");
    let head = format!("GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("it reads");
    socket.read_exact(&mut [0; 12]).expect("an answer");
    server.ask_to_stop();
    await_refusal(&client);
    let mut events = String::new();
    socket.read_to_string(&mut events).expect("the rest");
    assert!(events.contains("event: shutdown") && !events.contains("event: done"));
    assert!(
        server
            .await_death(Duration::from_secs(20))
            .is_some_and(|status| status.success())
    );
}

#[test]
fn asked_to_stop_it_stores_what_runs_and_goes_on_with_it_after_the_next_start() {
    let mut server = Server::start(&["--workers", "1"]);
    let client = Client::new(server.address());
    let table = (0..40).fold("x,y\n".to_owned(), |csv, i| csv + &format!("{i},{}\n", i * i % 17));
    let create = |target: &str, kind: &str, body: Vec<u8>, key: &str| {
        let thing: Value = client.create(target, kind, body, key).expect("it is up");
        thing["id"].as_str().expect("an id").to_owned()
    };
    let dataset = create("/v1/datasets", "text/csv", table.into_bytes(), "table");
    let submit = |key: &str| create("/v1/jobs", "application/json", job(&dataset), key);
    let undisturbed = client.outcome(&client.wait(&submit("undisturbed")));
    let (running, queued) = (submit("running"), submit("queued"));
    client.follow(&running, 0, |kind, _| kind == "epoch");
    assert_eq!(client.document(&format!("/v1/jobs/{queued}"))["waiting_for"], "worker");
    let (listening, somebody_listens) = mpsc::channel();
    let listener = {
        let (client, running) = (client.clone(), running.clone());
        thread::spawn(move || client.event_names(&running, || listening.send(()).expect("it is waited for")))
    };
    somebody_listens.recv().expect("the stream opens");

    server.ask_to_stop();
    await_refusal(&client);
    let ended = server.await_death(Duration::from_secs(20));
    assert!(ended.is_some_and(|status| status.success()), "{}", server.log());
    let events = listener.join().expect("the stream ends");
    assert_eq!(events.last().map(String::as_str), Some("shutdown"), "{events:?}");
    assert_sound(&server.data_dir());

    server.restart();
    let client = Client::new(server.address());
    for (job, attempts) in [(&running, 2), (&queued, 1)] {
        let done = client.wait(job);
        assert_eq!(client.outcome(&done), undisturbed);
        assert_eq!(
            done["attempt"], attempts,
            "the stop is no crash, and nothing began while it stopped"
        );
    }
}
