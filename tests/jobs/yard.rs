//! A server without its HTTP, and jobs to give it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trainyard::data::profile::{Limits, profile};
use trainyard::data::source::SourceRequest;
use trainyard::domain::dataset::Dataset;
use trainyard::domain::id::{DatasetId, JobId};
use trainyard::domain::job::{Job, JobStatus};
use trainyard::domain::job_request::JobRequest;
use trainyard::domain::model::Model;
use trainyard::domain::problem::Problem;
use trainyard::domain::tenant::TenantId;
use trainyard::serving::Serving;
use trainyard::store::Store;
use trainyard::training::session::{SessionOptions, Sessions};
use trainyard::training::{Runner, RunnerOptions};

const LONG: Duration = Duration::from_secs(300);

/// A server without its HTTP.
pub(crate) struct Yard {
    pub(crate) store: Store,
    pub(crate) runner: Runner,
    pub(crate) serving: Serving,
    pub(crate) sessions: Sessions,
    pub(crate) tenant: TenantId,
    pub(crate) shutdown: CancellationToken,
}

impl Yard {
    pub(crate) async fn open(folder: &Path) -> Self {
        Self::with_workers(folder, 2).await
    }

    pub(crate) async fn with_workers(folder: &Path, workers: usize) -> Self {
        let store = Store::open(folder).await.unwrap();
        let shutdown = CancellationToken::new();
        let options = RunnerOptions {
            workers,
            ..RunnerOptions::default()
        };
        Self {
            runner: Runner::start(store.clone(), options, shutdown.clone()),
            serving: Serving::new(store.clone(), 1 << 20),
            sessions: Sessions::start(
                store.clone(),
                SessionOptions {
                    max_sessions: 3,
                    ..SessionOptions::default()
                },
                shutdown.clone(),
            ),
            tenant: TenantId::default(),
            store,
            shutdown,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.runner.stopped().await;
        self.store.close().await;
    }

    pub(crate) async fn upload(&self, content: &[u8]) -> Dataset {
        let mut writer = self.store.blobs().begin().unwrap();
        writer.write_all(content).unwrap();
        let staged = writer.finish().unwrap();
        let found = profile(
            File::open(staged.path()).unwrap(),
            &SourceRequest::default(),
            &Limits::default(),
        )
        .unwrap();
        let dataset = Dataset {
            id: DatasetId::generate(),
            name: "table".to_owned(),
            rows: found.rows,
            size_bytes: staged.size_bytes(),
            sha256: staged.sha256().to_owned(),
            created_at: Timestamp::now(),
            source: found.source,
            columns: found.columns,
        };
        self.store
            .insert_dataset(&self.tenant, &dataset, staged, u64::MAX, None)
            .await
            .unwrap();
        dataset
    }

    pub(crate) async fn try_submit(&self, request: &Value) -> Result<Job, Problem> {
        let request = JobRequest::read(request).expect("the request reads");
        self.runner.submit(&self.tenant, request, u64::MAX, None).await
    }

    pub(crate) async fn submit(&self, request: &Value) -> JobId {
        self.try_submit(request)
            .await
            .unwrap_or_else(|problem| panic!("{problem:?}"))
            .id
    }

    pub(crate) async fn done(&self, id: JobId) -> Job {
        let job = self.runner.wait(&self.tenant, id, LONG).await.unwrap();
        assert!(job.status.is_final(), "{job:?}");
        job
    }

    /// Trains a job to its end.
    pub(crate) async fn train(&self, request: &Value) -> Job {
        let id = self.submit(request).await;
        let job = self.done(id).await;
        assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
        job
    }

    pub(crate) async fn model(&self, job: &Job) -> Model {
        self.store
            .get_model(&self.tenant, job.model.expect("it has a model"))
            .await
            .unwrap()
            .unwrap()
    }

    /// Waits until the stored job is as wanted.
    pub(crate) async fn until(&self, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let mut changes = self.runner.changes(id);
        loop {
            let job = self.store.get_job(&self.tenant, id).await.unwrap().unwrap();
            if wanted(&job) {
                return job;
            }
            assert!(!job.status.is_final(), "it ended before: {job:?}");
            changes.changed().await;
        }
    }

    pub(crate) async fn epochs(&self, id: JobId) -> Vec<u32> {
        let rows = self.store.history(&self.tenant, id, 0, 1_000_000).await.unwrap();
        rows.iter().map(|row| row.epoch).collect()
    }
}

pub(crate) fn housing() -> &'static [u8] {
    include_bytes!("../../examples/data/housing.csv")
}

pub(crate) fn iris_cp949() -> &'static [u8] {
    include_bytes!("../../examples/data/iris_cp949.csv")
}

pub(crate) fn iris() -> &'static [u8] {
    include_bytes!("../../examples/data/iris.csv")
}

/// The tutorial's network for irises.
pub(crate) fn iris_job(dataset: DatasetId, epochs: u32) -> Value {
    json!({
        "dataset": dataset,
        "target": "품종",
        "model": {
            "layers": [
                {"type": "dense", "units": 64},
                {"type": "batch_normalization"},
                {"type": "activation", "activation": "swish"},
                {"type": "dense", "units": 64},
                {"type": "batch_normalization"},
                {"type": "activation", "activation": "swish"},
                {"type": "dense", "units": 3, "activation": "softmax"},
            ],
            "loss": "categorical_crossentropy",
            "optimizer": "adam",
            "metrics": ["accuracy"],
        },
        "training": {"epochs": epochs, "batch_size": 150, "seed": 7},
        "preprocessing": {"numeric": "none"},
    })
}

/// With everything that a resumed run must remember: order of rows, dropout, moving averages, held-out rows, the best
/// epoch so far.
pub(crate) fn eventful_job(dataset: DatasetId, epochs: u32) -> Value {
    json!({
        "dataset": dataset,
        "target": "품종",
        "model": {
            "layers": [
                {"type": "dense", "units": 32, "activation": "swish"},
                {"type": "batch_normalization"},
                {"type": "dropout", "rate": 0.2},
                {"type": "dense", "units": 3, "activation": "softmax"},
            ],
            "optimizer": {"type": "adam", "learning_rate": 0.0001},
        },
        "training": {
            "epochs": epochs,
            "batch_size": 16,
            "seed": 3,
            "validation": {"split": 0.2},
            "early_stopping": {"monitor": "val_loss", "patience": 1_000_000, "restore_best": true},
        },
    })
}

/// One epoch of it takes far longer than any test.
pub(crate) async fn endless_job(yard: &Yard) -> JobId {
    let mut table = String::from("a,b,y\n");
    for row in 0..100_000 {
        table.push_str(&format!("{row},{},{}\n", row % 7, row % 13));
    }
    let dataset = yard.upload(table.as_bytes()).await.id;
    yard.submit(&json!({
        "dataset": dataset,
        "target": "y",
        "model": {"layers": [{"type": "dense", "units": 2048, "activation": "tanh"}, {"type": "dense", "units": 2048}, {"type": "dense", "units": 1}]},
        "training": {"epochs": 2, "batch_size": 1},
    }))
    .await
}
