//! Tables, specs and trained models that many trials start from.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::server::Server;

pub(crate) const IRIS: &str = include_str!("../../examples/data/iris.csv");
pub(crate) const IRIS_CP949: &[u8] = include_bytes!("../../examples/data/iris_cp949.csv");
pub(crate) const HOUSING: &str = include_str!("../../examples/data/housing.csv");

static SHARED: OnceLock<Client> = OnceLock::new();

pub(crate) fn set_shared(client: Client) {
    assert!(SHARED.set(client).is_ok(), "the shared client is set once");
}

/// The client of the server that most trials share.
pub(crate) fn client() -> &'static Client {
    SHARED.get().expect("main started the shared server")
}

/// Servers of fixtures, which stand in statics that nobody drops.
static KEPT: Mutex<Vec<Arc<Server>>> = Mutex::new(Vec::new());

/// Has a server run until [`end_servers`].
pub(crate) fn keep(server: Server) -> Weak<Server> {
    let server = Arc::new(server);
    let weak = Arc::downgrade(&server);
    KEPT.lock().expect("nobody panics with it").push(server);
    weak
}

/// Ends the servers of fixtures: else they would outlive the trials.
pub(crate) fn end_servers() {
    KEPT.lock().expect("nobody panics with it").clear();
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

/// Uploads a CSV and gives the dataset.
pub(crate) fn upload(client: &Client, name: &str, csv: impl Into<Vec<u8>>) -> Value {
    client
        .post(format!("/v1/datasets?name={name}"))
        .body("text/csv", csv)
        .send()
        .expect(201)
        .json()
}

/// The id in an object that the server made.
pub(crate) fn id(object: &Value) -> &str {
    object["id"].as_str().expect("an id")
}

pub(crate) fn post(client: &Client, target: &str, body: &Value) -> Answer {
    client.post(target).json(body).send()
}

pub(crate) fn submit(client: &Client, spec: &Value) -> Value {
    client.post("/v1/jobs").json(spec).send().expect(202).json()
}

/// Waits until the job is done, whatever its end.
pub(crate) fn wait(client: &Client, job: &Value) -> Value {
    loop {
        let job = client
            .get(format!("/v1/jobs/{}?wait=30", id(job)))
            .send()
            .expect(200)
            .json();
        if job["done"] == true {
            return job;
        }
    }
}

/// Trains a job to its good end and gives it.
pub(crate) fn train(client: &Client, spec: &Value) -> Value {
    let job = wait(client, &submit(client, spec));
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

/// The figures of a job of the shared server, by column.
pub(crate) fn history(job: &Value) -> Value {
    client()
        .get(format!("/v1/jobs/{}/history", id(job)))
        .send()
        .expect(200)
        .json()
}

/// The hash of the weights that a job of the shared server came to.
pub(crate) fn weights_sha256(job: &Value) -> Value {
    let model = job["model"].as_str().expect("a model");
    client().get(format!("/v1/models/{model}")).send().expect(200).json()["weights_sha256"].clone()
}

/// `object` with the fields of `changes` put over it, objects inside objects likewise.
pub(crate) fn with(object: &Value, changes: Value) -> Value {
    let (mut merged, Value::Object(changes)) = (object.clone(), changes) else {
        panic!("changes are an object")
    };
    for (name, change) in changes {
        let value = match (&merged[&name], &change) {
            (Value::Object(_), Value::Object(_)) => with(&merged[&name], change),
            _ => change,
        };
        merged[name] = value;
    }
    merged
}

/// The tutorial's first network for iris, for a few epochs.
pub(crate) fn iris_job(dataset: &str) -> Value {
    json!({
        "name": "iris", "dataset": dataset, "target": "품종",
        "model": {
            "layers": [
                {"type": "dense", "units": 8, "activation": "swish"},
                {"type": "batch_normalization"},
                {"type": "dense", "units": 3, "activation": "softmax"},
            ],
            "loss": "categorical_crossentropy",
            "optimizer": {"type": "adam", "learning_rate": 0.01},
            "metrics": ["accuracy"],
        },
        "training": {"epochs": 5, "batch_size": 32, "seed": 7},
    })
}

/// A job that runs until it is stopped, and is stopped at the latest when its trial ends.
pub(crate) struct EndlessJob<'c> {
    client: &'c Client,
    pub(crate) id: String,
}

impl<'c> EndlessJob<'c> {
    pub(crate) fn submit(client: &'c Client, dataset: &Value) -> Self {
        let spec = with(
            &iris_job(id(dataset)),
            json!({"name": "endless", "training": {"epochs": 1_000_000}}),
        );
        let id = id(&submit(client, &spec)).to_owned();
        Self { client, id }
    }

    /// Returns once it has trained an epoch.
    pub(crate) fn started(self) -> Self {
        let mut events = self.client.get(format!("/v1/jobs/{}/events", self.id)).events();
        assert!(events.any(|event| event.event == "epoch"), "an endless job has epochs");
        self
    }

    pub(crate) fn get(&self) -> Value {
        self.client
            .get(format!("/v1/jobs/{}", self.id))
            .send()
            .expect(200)
            .json()
    }

    pub(crate) fn post(&self, action: &str) -> Answer {
        self.client.post(format!("/v1/jobs/{}/{action}", self.id)).send()
    }

    /// Cancels it and gives it as it ended.
    pub(crate) fn cancel(&self) -> Value {
        let job = self.post("cancel").expect(200).json();
        wait(self.client, &job)
    }
}

impl Drop for EndlessJob<'_> {
    fn drop(&mut self) {
        self.client
            .post(format!("/v1/jobs/{}/cancel", self.id))
            .send_and_forget();
    }
}

pub(crate) fn housing_job(dataset: &str) -> Value {
    json!({
        "name": "housing", "dataset": dataset, "target": "medv",
        "model": {"layers": [{"type": "dense", "units": 8, "activation": "relu"}, {"type": "dense", "units": 1}]},
        "training": {"epochs": 3, "batch_size": 32, "seed": 7},
    })
}

/// A dataset, a finished job over it and its model, on the shared server; never deleted.
pub(crate) struct Trained {
    pub(crate) dataset: Value,
    pub(crate) job: Value,
    pub(crate) model: String,
}

impl Trained {
    pub(crate) fn new(client: &Client, dataset: Value, spec: Value) -> Self {
        let job = train(client, &spec);
        let model = job["model"].as_str().expect("a succeeded job has a model").to_owned();
        Self { dataset, job, model }
    }
}

pub(crate) static TRAINED_IRIS: LazyLock<Trained> = LazyLock::new(|| {
    let dataset = upload(client(), "iris", IRIS);
    let spec = iris_job(id(&dataset));
    Trained::new(client(), dataset, spec)
});

pub(crate) static TRAINED_HOUSING: LazyLock<Trained> = LazyLock::new(|| {
    let dataset = upload(client(), "housing", HOUSING);
    let spec = housing_job(id(&dataset));
    Trained::new(client(), dataset, spec)
});
