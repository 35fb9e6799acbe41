//! Promise 1: whatever was acknowledged is there after the crash, once, and whole.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::disk::assert_sound;
use crate::server::Server;
use crate::{kills, let_pass, seeded};

const EPOCHS: u64 = 5;

/// One creating call: sent, and perhaps answered.
#[derive(Clone)]
enum Call {
    Upload(String),
    Submit(String),
}

/// What was asked for, by its key, and what the server made of it where it answered.
#[derive(Default)]
struct Ledger(BTreeMap<String, (Call, Option<Value>)>);

impl Call {
    fn send(&self, client: &Client, key: &str) -> Option<Value> {
        let answer = match self {
            Self::Upload(csv) => client.create("/v1/datasets?name=traffic", "text/csv", csv.clone().into_bytes(), key),
            Self::Submit(dataset) => client.create(
                "/v1/jobs",
                "application/json",
                job(dataset).to_string().into_bytes(),
                key,
            ),
        };
        answer.ok()
    }
}

fn job(dataset: &str) -> Value {
    json!({
        "dataset": dataset, "target": "y",
        "model": {"layers": [{"type": "dense", "units": 16, "activation": "swish"}, {"type": "dropout", "rate": 0.1}, {"type": "dense", "units": 1}]},
        "training": {"epochs": EPOCHS, "batch_size": 8, "seed": 3, "validation": {"split": 0.2}},
    })
}

/// From a few bytes to about a megabyte, each different.
fn table(random: &mut ChaCha8Rng) -> String {
    let rows = 10 + (random.next_u32() >> 12 >> (random.next_u32() % 14)) as usize / 10;
    let row = |random: &mut ChaCha8Rng| format!("{},{}\n", random.next_u32(), random.next_u32() % 1000);
    std::iter::once("x,y\n".to_owned())
        .chain((0..rows).map(|_| row(random)))
        .collect()
}

#[test]
fn nothing_acknowledged_is_lost_whenever_the_server_is_killed() {
    let mut random = seeded();
    let mut server = Server::start(&[]);
    let client = Client::new(server.address());
    let small = client
        .create("/v1/datasets", "text/csv", small_table().into_bytes(), "small")
        .expect("it is up");
    let small = small["id"].as_str().expect("an id");
    let spec = job(small).to_string().into_bytes();
    let first = client
        .create("/v1/jobs", "application/json", spec, "first")
        .expect("it is up");
    let undisturbed = client.outcome(&client.wait(first["id"].as_str().expect("an id")));
    let mut all = Ledger::default();
    for _ in 0..kills() {
        let mut ledger = under_traffic(&mut server, small, &mut random);
        assert_sound(&server.data_dir());
        server.restart();
        let client = Client::new(server.address());
        ledger.send_again(&client);
        ledger.check(&client, &undisturbed);
        all.0.append(&mut ledger.0);
    }
    let client = Client::new(server.address());
    all.check(&client, &undisturbed);
    let uploads = all
        .0
        .values()
        .filter(|(call, _)| matches!(call, Call::Upload(_)))
        .count();
    // What was made while its maker was cut off was found again by its key, and not made twice.
    let (datasets, jobs) = (count(&client, "datasets"), count(&client, "jobs"));
    assert_eq!(datasets + jobs, all.0.len() + 2, "{datasets} datasets, {jobs} jobs");
    println!("{uploads} uploads, {} jobs", all.0.len() - uploads);
}

fn small_table() -> String {
    (0..60).fold("x,y\n".to_owned(), |csv, i| csv + &format!("{i},{}\n", i * i % 17))
}

/// Creates things one after another until the server is killed, some moment after the first call.
fn under_traffic(server: &mut Server, small: &str, random: &mut ChaCha8Rng) -> Ledger {
    let (client, small) = (Client::new(server.address()), small.to_owned());
    let mut choices = ChaCha8Rng::seed_from_u64(random.next_u64());
    let (started, first_call) = mpsc::channel();
    let traffic = thread::spawn(move || {
        let mut ledger = Ledger::default();
        loop {
            let is_upload = choices.next_u32() % 2 == 0;
            let call = if is_upload {
                Call::Upload(table(&mut choices))
            } else {
                Call::Submit(small.clone())
            };
            let key = format!("{:016x}", choices.next_u64());
            // The killer listens to the first only.
            let _ = started.send(());
            let answer = call.send(&client, &key);
            let is_over = answer.is_none();
            ledger.0.insert(key, (call, answer));
            if is_over {
                return ledger;
            }
        }
    });
    first_call.recv().expect("traffic began");
    let_pass(random, Duration::from_millis(400));
    server.kill();
    traffic.join().expect("traffic ends when the server does")
}

fn count(client: &Client, what: &str) -> usize {
    let (mut count, mut target) = (0, format!("/v1/{what}?limit=200"));
    loop {
        let page = client.document(&target);
        count += page["data"].as_array().expect("a page").len();
        let Some(next) = page["next"].as_str() else {
            return count;
        };
        target = format!("/v1/{what}?limit=200&after={next}");
    }
}

impl Ledger {
    /// Whoever sends a call again gets the same thing; who never had an answer gets what was made, or has it made now.
    fn send_again(&mut self, client: &Client) {
        for (key, (call, answer)) in &mut self.0 {
            let again = call.send(client, key).expect("it is up");
            let first = answer.get_or_insert_with(|| again.clone());
            assert_eq!(again["id"], first["id"]);
        }
    }

    /// Everything is there: every table with its bytes, every job with the outcome it would have had without a crash.
    fn check(&self, client: &Client, undisturbed: &(Value, Value)) {
        for (call, answer) in self.0.values() {
            let id = answer.as_ref().and_then(|answer| answer["id"].as_str()).expect("an id");
            match call {
                Call::Upload(csv) => assert_stored(client, id, csv),
                Call::Submit(_) => assert_eq!(&client.outcome(&client.wait(id)), undisturbed),
            }
        }
    }
}

fn assert_stored(client: &Client, id: &str, csv: &str) {
    let dataset = client.document(&format!("/v1/datasets/{id}"));
    let hash: String = Sha256::digest(csv).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(dataset["sha256"], hash);
    let (status, content) = client.get(&format!("/v1/datasets/{id}/content")).expect("it is up");
    assert!(
        status == 200 && content == csv.as_bytes(),
        "the content of {id} differs"
    );
}
