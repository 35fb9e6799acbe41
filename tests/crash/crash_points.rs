//! Death at the exact places where what is on disk and what was answered could come apart.
//!
//! `cargo test --features failpoints --test crash`

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::disk::assert_sound;
use crate::server::Server;

const TABLE: &str = "x,y\n1,2\n2,4\n3,5\n4,9\n5,11\n6,12\n7,13\n8,17\n";

/// A server that is stopped, over a folder with a table in it.
struct Yard {
    server: Server,
    dataset: String,
}

impl Yard {
    fn new() -> Self {
        let mut server = Server::start(&["--workers", "1"]);
        let dataset = Client::new(server.address()).create("/v1/datasets", "text/csv", TABLE.into(), "table");
        let dataset = id(&dataset.expect("it is up"));
        server.kill();
        Self { server, dataset }
    }

    /// Starts to die at the point, calls, and starts again once it has died.
    fn die_at(&mut self, point: &str, call: impl FnOnce(&Client)) -> Client {
        self.server.restart_to_die_at(&format!("{point}=return"));
        call(&Client::new(self.server.address()));
        let died = self.server.await_death(Duration::from_secs(60));
        assert!(
            died.is_some_and(|status| !status.success()),
            "{point}: {}",
            self.server.log()
        );
        assert_sound(&self.server.data_dir());
        self.server.restart();
        Client::new(self.server.address())
    }

    fn job(&self, epochs: u64) -> Vec<u8> {
        let spec = json!({
            "dataset": self.dataset, "target": "y",
            "model": {"layers": [{"type": "dense", "units": 8, "activation": "swish"}, {"type": "dropout", "rate": 0.1}, {"type": "dense", "units": 1}]},
            "training": {"epochs": epochs, "batch_size": 2, "seed": 3},
        });
        spec.to_string().into_bytes()
    }
}

fn id(thing: &Value) -> String {
    thing["id"].as_str().expect("an id").to_owned()
}

fn count(client: &Client, what: &str) -> usize {
    client.document(&format!("/v1/{what}"))["data"]
        .as_array()
        .expect("a page")
        .len()
}

/// The call is cut off at each point; sent again it gets or makes the one thing.
fn made_once(
    points: &[&str],
    what: &str,
    target: impl Fn(&Yard) -> String,
    content_type: &str,
    body: impl Fn(&Yard) -> Vec<u8>,
) {
    for point in points {
        let mut yard = Yard::new();
        let (target, body) = (target(&yard), body(&yard));
        let create = |client: &Client| client.create(&target, content_type, body.clone(), "once");
        let client = yard.die_at(point, |client| assert!(create(client).is_err(), "{point}"));
        let before = count(&client, what);
        let thing = create(&client).expect("it is up");
        assert_eq!(create(&client).expect("it is up"), thing, "{point}");
        let was_made = usize::from(point.ends_with("-committed"));
        assert_eq!(count(&client, what), before + 1 - was_made, "{point}");
        client.document(&format!("/v1/{what}/{}", id(&thing)));
    }
}

#[test]
fn an_upload_cut_off_anywhere_is_one_dataset_when_sent_again() {
    made_once(
        &["dataset-placed", "dataset-committed"],
        "datasets",
        |_| "/v1/datasets?name=again".to_owned(),
        "text/csv",
        |_| b"x,y\n1,2\n3,4\n".to_vec(),
    );
}

#[test]
fn a_job_cut_off_anywhere_is_one_job_when_sent_again() {
    made_once(
        &["job-inserted", "job-committed"],
        "jobs",
        |_| "/v1/jobs".to_owned(),
        "application/json",
        |yard| yard.job(2),
    );
}

#[test]
fn a_run_that_dies_at_any_of_its_writes_ends_as_the_undisturbed_one() {
    let mut yard = Yard::new();
    yard.server.restart();
    let client = Client::new(yard.server.address());
    let submit = |client: &Client, body: Vec<u8>, key: &str| {
        id(&client
            .create("/v1/jobs", "application/json", body, key)
            .expect("it is up"))
    };
    // Long enough for a checkpoint, of which the first comes after a second.
    let epochs = 30_000;
    let undisturbed = client.outcome(&client.wait(&submit(&client, yard.job(epochs), "undisturbed")));
    yard.server.kill();
    for point in [
        "job-claimed",
        "epochs-committed",
        "checkpoint-written",
        "checkpoint-committed",
        "outcome-written",
        "outcome-committed",
    ] {
        let body = yard.job(epochs);
        let mut job = String::new();
        let client = yard.die_at(point, |client| {
            // The claim may come before the answer.
            if let Ok(answer) = client.create("/v1/jobs", "application/json", body.clone(), point) {
                job = id(&answer);
            }
        });
        let again = submit(&client, body, point);
        assert!(job.is_empty() || job == again, "{point}");
        assert_eq!(client.outcome(&client.wait(&again)), undisturbed, "{point}");
        yard.server.kill();
    }
}

#[test]
fn a_model_saved_from_a_session_is_one_model_when_asked_for_again() {
    for point in ["model-inserted", "model-committed"] {
        let mut yard = Yard::new();
        yard.server.restart();
        let begin = json!({"inputs": 1, "model": {"layers": [{"type": "dense", "units": 1}], "loss": "mse"}});
        let client = Client::new(yard.server.address());
        let session = client.create(
            "/v1/sessions",
            "application/json",
            begin.to_string().into_bytes(),
            "session",
        );
        let target = format!("/v1/sessions/{}/save", id(&session.expect("it is up")));
        yard.server.kill();
        let save = |client: &Client| client.create(&target, "application/json", Vec::new(), "save");
        let client = yard.die_at(point, |client| assert!(save(client).is_err()));
        let model = save(&client).expect("it is up");
        assert_eq!(save(&client).expect("it is up"), model);
        assert_eq!(count(&client, "models"), 1, "{point}");
    }
}

#[test]
fn a_call_of_a_session_that_was_stored_but_not_answered_is_not_done_twice() {
    let mut yard = Yard::new();
    yard.server.restart();
    let client = Client::new(yard.server.address());
    let begin = json!({"inputs": 1, "model": {"layers": [{"type": "dense", "units": 1}], "loss": "mse"}});
    let begin = begin.to_string().into_bytes();
    let create = |client: &Client, key: &str| {
        id(&client
            .create("/v1/sessions", "application/json", begin.clone(), key)
            .expect("it is up"))
    };
    let (session, undisturbed) = (create(&client, "a"), create(&client, "b"));
    let step = |client: &Client, session: &str| {
        let body = json!({"x": [[1.0], [2.0]], "y": [[2.0], [4.0]], "steps": 3, "seq": 1}).to_string();
        client.send_json(&format!("/v1/sessions/{session}/train_on_batch"), body)
    };
    let wanted = step(&client, &undisturbed).expect("it is up");
    yard.server.kill();
    let client = yard.die_at("session-written", |client| assert!(step(client, &session).is_err()));
    assert_eq!(step(&client, &session).expect("it is up"), wanted);
    let weights = |session: &str| client.document(&format!("/v1/sessions/{session}/weights"));
    assert_eq!(weights(&session), weights(&undisturbed));
}

#[test]
fn a_dataset_whose_deletion_was_cut_off_leaves_no_file() {
    let mut yard = Yard::new();
    let target = format!("/v1/datasets/{}", yard.dataset);
    let client = yard.die_at("dataset-deleted", |client| assert!(client.delete(&target).is_err()));
    assert_eq!(count(&client, "datasets"), 0);
    let blobs = std::fs::read_dir(yard.server.data_dir().join("blobs")).expect("the folder of contents");
    assert_eq!(blobs.count(), 0, "the start has swept");
}
