//! Promises 2 and 6: a run interrupted any number of times is the uninterrupted one, and a crash costs little.

use std::cell::Cell;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::disk::assert_sound;
use crate::server::Server;
use crate::{kills, let_pass, seeded};

const HOUSING: &str = include_str!("../../examples/data/housing.csv");

fn upload(client: &Client) -> String {
    let dataset = client
        .create("/v1/datasets", "text/csv", HOUSING.into(), "housing")
        .expect("it is up");
    dataset["id"].as_str().expect("an id").to_owned()
}

/// The same twenty times over.
fn upload_many(client: &Client) -> String {
    let (head, rows) = HOUSING.split_once('\n').expect("a head");
    let table = format!("{head}\n{}", rows.repeat(20));
    let dataset = client.create("/v1/datasets", "text/csv", table.into(), "many");
    dataset.expect("it is up")["id"].as_str().expect("an id").to_owned()
}

/// Everything that a checkpoint has to carry: moments, moving averages, dropout, shuffling, a schedule, the best so far.
fn job(dataset: &str, epochs: usize) -> Value {
    json!({
        "dataset": dataset, "target": "medv",
        "model": {
            "layers": [
                {"type": "dense", "units": 64, "activation": "gelu"},
                {"type": "batch_normalization"},
                {"type": "dropout", "rate": 0.2},
                {"type": "dense", "units": 64, "activation": "swish"},
                {"type": "dense", "units": 1},
            ],
            "optimizer": {"type": "adam", "learning_rate": 0.003, "schedule": {"type": "cosine_decay", "decay_steps": epochs * 13}},
        },
        "training": {
            "epochs": epochs, "batch_size": 32, "seed": 11, "validation": {"split": 0.2},
            "early_stopping": {"monitor": "val_loss", "patience": epochs, "restore_best": true},
        },
    })
}

fn submit(client: &Client, spec: &Value, key: &str) -> String {
    let job = client
        .create("/v1/jobs", "application/json", spec.to_string().into_bytes(), key)
        .expect("it is up");
    job["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_run_interrupted_again_and_again_is_the_uninterrupted_one() {
    let mut server = Server::start(&["--workers", "1"]);
    let client = Client::new(server.address());
    let dataset = upload(&client);
    // So many that a quick machine is still at it when the last interruption comes.
    let spec = job(&dataset, 120 * kills());
    let undisturbed = client.outcome(&client.wait(&submit(&client, &spec, "undisturbed")));
    let job = submit(&client, &spec, "disturbed");
    let mut random = seeded();
    let (mut last_event, mut attempt, mut interruptions) = (0, 1, 0);
    let mut stored = Vec::new();
    // Events that were stored before a crash come first: an epoch counts once the new attempt has begun.
    let an_epoch_of = |client: &Client, attempt: u64, last: u64| {
        let runs =
            |kind: &str, data: &Value| kind == "status" && data["status"] == "running" && data["attempt"] == attempt;
        let begun = Cell::new(false);
        client.follow(&job, last, |kind, data| {
            begun.set(begun.get() || runs(kind, data));
            kind == "done" || (begun.get() && kind == "epoch")
        })
    };
    for _ in 0..kills() / 2 {
        let client = Client::new(server.address());
        last_event = an_epoch_of(&client, attempt, last_event);
        // A pause stores a checkpoint, as the clock does in longer runs: three crashes without one end a job.
        let Some(paused) = client.post(&format!("/v1/jobs/{job}/pause")) else {
            break;
        };
        stored.push(paused["progress"]["epoch"].as_u64().expect("a number"));
        client
            .post(&format!("/v1/jobs/{job}/resume"))
            .expect("a paused job can be resumed");
        last_event = an_epoch_of(&client, attempt + 1, last_event);
        let_pass(&mut random, Duration::from_millis(200));
        server.kill();
        (interruptions, attempt) = (interruptions + 1, attempt + 2);
        assert_sound(&server.data_dir());
        server.restart();
    }
    assert!(
        interruptions > kills() / 4,
        "the run is long enough to be interrupted: {interruptions}"
    );
    let client = Client::new(server.address());
    let done = client.wait(&job);
    assert_eq!(client.outcome(&done), undisturbed);
    assert!(done["attempt"].as_u64() > Some(interruptions as u64), "{done}");
    let log = server.log();
    let goes_on = |attempt: u64| {
        let line = log
            .lines()
            .find(|line| line.contains(&format!(" attempt={attempt} from=")));
        let from = line.and_then(|line| line.split(" from=").nth(1)?.split(' ').next()?.parse().ok());
        from.unwrap_or_else(|| panic!("attempt {attempt} doesn't say where it goes on:\n{log}"))
    };
    // Attempt 2 follows the first pause, attempt 3 the first crash.
    for (stored, attempt) in stored.iter().zip((3..).step_by(2)).take(interruptions) {
        let from: u64 = goes_on(attempt);
        assert!(from >= *stored, "attempt {attempt} trains {stored} again from {from}");
    }
}

#[test]
fn epochs_that_were_told_stay_told() {
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let job = submit(&client, &job(&upload(&client), 1_000_000), "long");
    let history = |server: &Server| Client::new(server.address()).document(&format!("/v1/jobs/{job}/history"));
    client.follow(&job, 0, |kind, data| {
        kind == "epoch" && data["epoch"].as_u64() >= Some(10)
    });
    let before = history(&server);
    server.crash_and_restart();
    let after = history(&server);
    for (name, column) in before.as_object().expect("columns") {
        let (was, is) = (
            column.as_array().expect("a column"),
            after[name].as_array().expect("a column"),
        );
        assert_eq!(is[..was.len()], was[..], "{name}");
    }
    let client = Client::new(server.address());
    let told = before["epoch"].as_array().expect("a column").len() as u64;
    // Without being asked it runs again, and passes what it had reached.
    client.follow(&job, 0, |kind, data| {
        kind == "epoch" && data["epoch"].as_u64() > Some(told + 1)
    });
}

#[test]
fn a_job_that_takes_the_server_down_three_times_is_failed_and_says_so() {
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let job = submit(&client, &job(&upload(&client), 1_000_000), "deadly");
    for attempt in 1..=3 {
        let runs =
            |kind: &str, data: &Value| kind == "status" && data["status"] == "running" && data["attempt"] == attempt;
        Client::new(server.address()).follow(&job, 0, runs);
        server.crash_and_restart();
    }
    let job = Client::new(server.address()).wait(&job);
    assert_eq!(
        (&job["status"], &job["error"]["code"]),
        (&json!("failed"), &json!("crashed"))
    );
    assert!(
        job["error"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains('3')),
        "{job}"
    );
}

/// Its epoch takes far longer than any test, so that it never has a checkpoint.
fn deadly_job(dataset: &str) -> Value {
    let dense = json!({"type": "dense", "units": 2048, "activation": "tanh"});
    json!({
        "dataset": dataset, "target": "medv",
        "model": {"layers": [dense, dense, {"type": "dense", "units": 1}]},
        "training": {"epochs": 1, "batch_size": 1},
    })
}

#[test]
fn a_job_that_takes_the_server_down_three_times_takes_no_other_with_it() {
    let mut server = Server::start(&["--workers", "2"]);
    let client = Client::new(server.address());
    let dataset = upload_many(&client);
    let deadly = submit(&client, &deadly_job(&dataset), "deadly");
    let innocent = submit(&client, &job(&dataset, 40), "innocent");
    let runs = |client: &Client, job: &str, attempt: u64| {
        client.follow(job, 0, |kind, data| {
            kind == "status" && data["status"] == "running" && data["attempt"] == attempt
        });
    };
    for attempt in 1..=2 {
        let client = Client::new(server.address());
        runs(&client, &deadly, attempt);
        runs(&client, &innocent, attempt);
        server.crash_and_restart();
    }
    let client = Client::new(server.address());
    runs(&client, &deadly, 3);
    let waits = client.document(&format!("/v1/jobs/{innocent}"));
    assert_eq!(
        (&waits["status"], &waits["queue_position"], &waits["waiting_for"]),
        (&json!("queued"), &json!(1), &json!("training_alone"))
    );
    server.crash_and_restart();
    let client = Client::new(server.address());
    assert_eq!(client.wait(&innocent)["status"], "succeeded");
    let failed = client.document(&format!("/v1/jobs/{deadly}"));
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("crashed"))
    );
}

#[test]
fn two_suspects_train_alone_one_after_the_other_and_then_together() {
    let mut server = Server::start(&["--workers", "2"]);
    let client = Client::new(server.address());
    let dataset = upload(&client);
    let jobs = ["one", "other"].map(|key| submit(&client, &job(&dataset, 1_000_000), key));
    let both_run = |server: &Server| {
        let client = Client::new(server.address());
        let status = |id: &String| client.document(&format!("/v1/jobs/{id}"))["status"].clone();
        while !jobs.iter().all(|id| status(id) == "running") {}
    };
    for _ in 0..2 {
        both_run(&server);
        server.crash_and_restart();
    }
    both_run(&server);
}

#[test]
fn a_paused_job_survives_and_goes_on() {
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let job = submit(&client, &job(&upload(&client), 1_000_000), "paused");
    client.follow(&job, 0, |kind, _| kind == "epoch");
    let paused = client.post(&format!("/v1/jobs/{job}/pause")).expect("it runs");
    server.crash_and_restart();
    let client = Client::new(server.address());
    assert_eq!(
        client.document(&format!("/v1/jobs/{job}")),
        paused,
        "nothing about it has changed"
    );
    client.post(&format!("/v1/jobs/{job}/resume")).expect("it is paused");
    let reached = paused["progress"]["epoch"].as_u64();
    client.follow(&job, 0, |kind, data| {
        kind == "epoch" && data["epoch"].as_u64() > reached
    });
}

#[test]
fn a_cancel_that_was_answered_is_kept() {
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let job = submit(&client, &job(&upload(&client), 1_000_000), "cancelled");
    client.follow(&job, 0, |kind, _| kind == "epoch");
    client.post(&format!("/v1/jobs/{job}/cancel")).expect("it runs");
    server.crash_and_restart();
    assert_eq!(Client::new(server.address()).wait(&job)["status"], "cancelled");
}

#[test]
fn an_upload_that_a_crash_cuts_short_leaves_nothing() {
    let mut server = Server::start(&[]);
    let authority = server.address().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&authority).expect("it listens");
    let length = 64 << 20;
    let head = format!(
        "POST /v1/datasets HTTP/1.1\r\nHost: {authority}\r\nContent-Type: text/csv\r\nContent-Length: {length}\r\n\r\nx,y\n"
    );
    socket.write_all(head.as_bytes()).expect("it reads");
    socket.write_all("1,2\n".repeat(4 << 20).as_bytes()).expect("it reads");
    let received = || {
        std::fs::read_dir(server.data_dir().join("incoming"))
            .expect("the folder of uploads")
            .count()
    };
    assert_eq!(received(), 1, "the upload is under way");
    server.kill();
    assert_sound(&server.data_dir());
    server.restart();
    let incoming = server.data_dir().join("incoming");
    assert_eq!(
        std::fs::read_dir(incoming).expect("the folder of uploads").count(),
        0,
        "{}",
        server.log()
    );
    let client = Client::new(server.address());
    assert_eq!(client.document("/v1/datasets")["data"], json!([]));
    assert!(server.terminate().success(), "it ends in good order");
}
