//! Stored nouns for the tests of this folder.

use std::io::Write;

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;

use super::{
    Claim, NewJob, NewModel, Outcome, ProgressUpdate, Room, Settled, StagedBlob, Store, StoreError, Submission,
};
use crate::domain::dataset::Dataset;
use crate::domain::event::EpochRow;
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::Job;
use crate::domain::job_spec::JobSpec;
use crate::domain::model::{Model, ModelParts};
use crate::domain::page::PageRequest;
use crate::domain::tenant::TenantId;

pub(super) const ROOM: Room = Room {
    waiting: 1_000,
    storage_bytes: u64::MAX,
};

pub(super) async fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    (directory, store)
}

/// What a process finds that starts after one was killed: nothing was finished, nothing told.
pub(super) async fn crash(directory: &TempDir, store: Store) -> Store {
    drop(store);
    Store::open(directory.path()).await.unwrap()
}

pub(super) fn tenant() -> TenantId {
    TenantId::new("tenant")
}

pub(super) fn first_page<Id>(limit: u32) -> PageRequest<Id> {
    PageRequest { limit, after: None }
}

pub(super) fn try_stage(store: &Store, content: &[u8]) -> Result<StagedBlob, StoreError> {
    let mut writer = store.blobs().begin()?;
    writer.write_all(content)?;
    writer.finish()
}

pub(super) fn stage(store: &Store, content: &[u8]) -> StagedBlob {
    try_stage(store, content).unwrap()
}

pub(super) fn dataset_of(content: &StagedBlob) -> Dataset {
    serde_json::from_value(json!({
        "id": DatasetId::generate(), "name": "붓꽃", "rows": 150,
        "size_bytes": content.size_bytes(), "sha256": content.sha256(), "created_at": Timestamp::now(),
        "source": { "format": "csv", "encoding": "utf-8", "delimiter": "," },
        "columns": [
            { "name": "꽃잎길이", "type": "number", "missing": 0, "min": 0.1, "max": 6.9, "mean": 3.758, "std": 1.76,
              "distinct": null },
            { "name": "품종", "type": "category", "missing": 1, "categories": [{ "value": "setosa", "count": 50 }],
              "distinct": 1 },
        ],
    }))
    .unwrap()
}

pub(super) async fn dataset(store: &Store, tenant: &TenantId, content: &[u8]) -> Dataset {
    let content = stage(store, content);
    let dataset = dataset_of(&content);
    store
        .insert_dataset(tenant, &dataset, content, u64::MAX, None)
        .await
        .unwrap();
    dataset
}

pub(super) fn spec(dataset: DatasetId) -> JobSpec {
    serde_json::from_value(json!({
        "dataset": dataset, "target": "품종", "features": ["꽃잎길이"], "model": {}, "initial_weights": false,
        "training": { "epochs": 5, "batch_size": 150, "shuffle": true, "seed": 7 },
        "preprocessing": { "numeric": "standardize" },
    }))
    .unwrap()
}

pub(super) fn new_job(dataset: DatasetId) -> NewJob {
    NewJob {
        id: JobId::generate(),
        name: "iris".to_owned(),
        spec: spec(dataset),
        initial_weights: None,
        memory_bytes: 1_000,
    }
}

pub(super) async fn insert(store: &Store, tenant: &TenantId, new: NewJob) -> Job {
    match store.insert_job(tenant, new, ROOM, None).await.unwrap() {
        Submission::Queued(job) => *job,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn submit(store: &Store, tenant: &TenantId, dataset: DatasetId) -> Job {
    insert(store, tenant, new_job(dataset)).await
}

/// A running job, claimed.
pub(super) async fn running(store: &Store) -> Claim {
    let dataset = dataset(store, &tenant(), b"a,b").await;
    submit(store, &tenant(), dataset.id).await;
    claim(store).await
}

pub(super) async fn claim(store: &Store) -> Claim {
    store.claim_next("worker", u64::MAX).await.unwrap().unwrap()
}

pub(super) fn epochs(numbers: impl IntoIterator<Item = u32>) -> Vec<EpochRow> {
    let row = |epoch: u32| EpochRow {
        epoch,
        figures: vec![
            ("loss".to_owned(), Some(1.0 / f64::from(epoch))),
            ("accuracy".to_owned(), None),
        ],
    };
    numbers.into_iter().map(row).collect()
}

pub(super) fn model(job: &Job) -> NewModel {
    let model: Model = serde_json::from_value(json!({
        "id": ModelId::generate(), "name": job.name, "task": "classification",
        "inputs": [{ "name": "꽃잎길이", "type": "number", "categories": null }], "target": "품종",
        "classes": ["setosa", "virginica"], "parameters": { "total": 5, "trainable": 3, "non_trainable": 2 },
        "metrics": { "loss": 0.25, "accuracy": null }, "epochs": 5, "job": job.id, "dataset": job.dataset,
        "network": job.spec.model, "preprocessing": job.spec.preprocessing, "training": job.spec.training, "weights_sha256": "00", "created_at": Timestamp::now(),
    }))
    .unwrap();
    NewModel {
        model,
        parts: ModelParts {
            encoder: "{}".to_owned(),
            weights: b"weights".to_vec(),
            optimizer_state: b"slots".to_vec(),
        },
    }
}

pub(super) async fn finish(store: &Store, claim: &Claim, outcome: Outcome) -> Job {
    match store.finish(claim, ProgressUpdate::default(), outcome).await.unwrap() {
        Settled::Stored(job) => *job,
        Settled::Lost => panic!("the job was lost"),
    }
}

pub(super) async fn checkpoint(store: &Store, claim: &Claim, checkpoint: &[u8]) {
    let update = ProgressUpdate {
        checkpoint: Some(checkpoint),
        ..ProgressUpdate::default()
    };
    store.record_progress(claim, update).await.unwrap();
}

/// Leaves the job's row as no version of this program can read it.
pub(super) async fn damage(store: &Store, job: JobId) {
    let mut write = store.database().begin().await.unwrap();
    sqlx::query("UPDATE jobs SET spec = '{}' WHERE id = $1")
        .bind(job.to_string())
        .execute(&mut *write)
        .await
        .unwrap();
    store.database().commit(write).await.unwrap();
}

/// Chunks of artifacts that are stored.
pub(super) async fn stored_chunks(store: &Store) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM artifacts")
        .fetch_one(store.database().readers())
        .await
        .unwrap()
}

/// The job's events as `kind status-or-epoch`, after a look at their numbers: 1, 2, … without gaps.
pub(super) async fn told(store: &Store, job: JobId) -> Vec<String> {
    let events = store.events_after(&tenant(), job, 0, 10_000).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let what = |event: &crate::domain::event::Event| {
        let data = event.data.get("status").or(event.data.get("epoch")).unwrap();
        format!("{} {}", event.kind.name(), data.to_string().trim_matches('"'))
    };
    events.iter().map(what).collect()
}
