//! Two folders with the same trained models, and servers over them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Connection, request};
use crate::process::Process;

const IRIS: &str = include_str!("../../examples/data/iris.csv");
const ROW: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

pub(crate) struct Yard {
    folder: TempDir,
    dataset: String,
    model: String,
    wide_model: String,
    /// Where the small model predicts.
    pub(crate) predict: String,
    /// The events of a job with more of them than sockets buffer.
    pub(crate) events: String,
}

fn dense(units: u32, activation: &str) -> Value {
    json!({"type": "dense", "units": units, "activation": activation})
}

/// The tutorial's network for iris.
fn small() -> Value {
    let normalize = json!({"type": "batch_normalization"});
    json!([
        dense(64, "swish"),
        normalize,
        dense(64, "swish"),
        normalize,
        dense(3, "softmax")
    ])
}

fn wide() -> Value {
    json!([dense(512, "relu"), dense(512, "relu"), dense(3, "softmax")])
}

impl Yard {
    pub(crate) fn prepare() -> Self {
        let mut yard = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            dataset: String::new(),
            model: String::new(),
            wide_model: String::new(),
            predict: String::new(),
            events: String::new(),
        };
        let server = yard.serve();
        let dataset =
            Connection::to(server.address).call("POST", "/v1/datasets?name=iris", "text/csv", IRIS.as_bytes());
        yard.dataset = text(&dataset, "id");
        yard.model = text(&yard.train(&server, small(), 100), "model");
        yard.wide_model = text(&yard.train(&server, wide(), 5), "model");
        yard.predict = format!("/v1/models/{}/predict", yard.model);
        let long = yard.train(&server, json!([dense(3, "softmax")]), 60_000);
        yard.events = format!("/v1/jobs/{}/events", text(&long, "id"));
        server.terminate();
        copy(&yard.folder.path().join("data"), &yard.folder.path().join("bare"));
        yard
    }

    /// The real server, as it is started without flags.
    pub(crate) fn serve(&self) -> Process {
        let log = File::create(self.folder.path().join("server.log")).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRAINYARD_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--bind", "127.0.0.1:0", "--data-dir"]);
        Process::start(command.arg(self.folder.path().join("data")).stderr(log))
    }

    pub(crate) fn serve_bare(&self) -> Process {
        let bench = std::env::current_exe().expect("this program's path");
        let mut command = Command::new(bench);
        Process::start(
            command
                .arg("bare")
                .arg(self.folder.path().join("bare"))
                .arg(&self.model),
        )
    }

    pub(crate) fn one_row(&self) -> Vec<u8> {
        let body = json!({"instances": [ROW]}).to_string();
        request("POST", &self.predict, "application/json", body.as_bytes())
    }

    pub(crate) fn thousand_rows(&self) -> Vec<u8> {
        let body = json!({"instances": vec![ROW; 1000]}).to_string();
        let target = format!("/v1/models/{}/predict", self.wide_model);
        request("POST", &target, "application/json", body.as_bytes())
    }

    pub(crate) fn assert_same_answers(&self, server: &Process, bare: &Process) {
        let [ours, theirs] = [server, bare].map(|server| {
            let answer = Connection::to(server.address).exchange(&self.one_row());
            String::from_utf8(answer.expect("an answer").body).expect("text")
        });
        assert_eq!(ours, theirs);
    }

    fn submit(&self, server: &Process, layers: Value, epochs: u32) -> String {
        let spec = json!({
            "dataset": self.dataset, "target": "품종",
            "model": {"layers": layers, "loss": "categorical_crossentropy"},
            "training": {"epochs": epochs, "batch_size": 150, "seed": 7},
        });
        let mut connection = Connection::to(server.address);
        text(
            &connection.call("POST", "/v1/jobs", "application/json", spec.to_string().as_bytes()),
            "id",
        )
    }

    fn train(&self, server: &Process, layers: Value, epochs: u32) -> Value {
        let target = format!("/v1/jobs/{}?wait=60", self.submit(server, layers, epochs));
        loop {
            let job = Connection::to(server.address).call("GET", &target, "application/json", b"");
            if job["done"] == true {
                assert_eq!(job["status"], "succeeded", "{job}");
                return job;
            }
        }
    }

    /// As many jobs as there are cores, running; they end when they are cancelled.
    pub(crate) fn train_on_every_core(&self, server: &Process) -> Vec<String> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let jobs: Vec<String> = (0..cores).map(|_| self.submit(server, small(), 1_000_000)).collect();
        for job in &jobs {
            self.wait_for(server, job, |job| job["progress"]["epoch"].as_u64() > Some(0));
        }
        jobs
    }

    pub(crate) fn cancel(&self, server: &Process, jobs: &[String]) {
        for job in jobs {
            let target = format!("/v1/jobs/{job}/cancel");
            Connection::to(server.address).call("POST", &target, "application/json", b"");
            self.wait_for(server, job, |job| job["done"] == true);
        }
    }

    fn wait_for(&self, server: &Process, job: &str, is_so: impl Fn(&Value) -> bool) {
        let target = format!("/v1/jobs/{job}");
        let mut connection = Connection::to(server.address);
        while !is_so(&connection.call("GET", &target, "application/json", b"")) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn text(object: &Value, field: &str) -> String {
    let text = object[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {object}")).to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}
