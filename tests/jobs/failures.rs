//! Jobs that can't go on, and what is left of them.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use trainyard::domain::job::JobStatus;
use trainyard::domain::page::PageRequest;
use trainyard::domain::problem::Kind;
use trainyard::store::Deletion;

use crate::yard::{Yard, endless_job, housing, iris, iris_job};

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_explodes_fails_the_job_and_keeps_the_last_finite_state() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(housing()).await.id;
    let id = yard
        .submit(&json!({
            "dataset": dataset,
            "target": "medv",
            "model": {"optimizer": {"type": "sgd", "learning_rate": 0.01}},
            "training": {"epochs": 50},
            "preprocessing": {"numeric": "none"},
        }))
        .await;
    let job = yard.done(id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.error.as_ref().unwrap().code, "diverged");
    let predictor = yard.serving.get(&yard.tenant, yard.model(&job).await.id).await.unwrap();
    let numbers = predictor
        .weights()
        .into_iter()
        .flat_map(|layer| layer.0)
        .flat_map(|(_, tensor)| tensor.data);
    assert!(numbers.into_iter().all(f32::is_finite));
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_table_vanished_from_the_disk_fails_and_the_next_one_runs() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::with_workers(folder.path(), 1).await;
    let blocker = endless_job(&yard).await;
    yard.until(blocker, |job| job.status == JobStatus::Running).await;
    let (housing, iris) = (yard.upload(housing()).await, yard.upload(iris()).await);
    let lost = yard.submit(&json!({"dataset": housing.id, "target": "medv"})).await;
    let next = yard.submit(&iris_job(iris.id, 2)).await;
    remove_named(folder.path(), &housing.sha256);
    yard.runner.cancel(&yard.tenant, blocker).await.unwrap();
    let failed = yard.done(lost).await;
    assert_eq!(
        (failed.status, failed.error.unwrap().code.as_str()),
        (JobStatus::Failed, "internal")
    );
    assert_eq!(yard.done(next).await.status, JobStatus::Succeeded);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_says_so_keeps_no_list_and_no_dataset_and_can_be_cancelled() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await.id;
    let id = yard.submit(&iris_job(dataset, 1_000_000)).await;
    yard.until(id, |job| job.status == JobStatus::Running).await;
    yard.runner.pause(&yard.tenant, id).await.unwrap();
    let mut database: SqliteConnection = SqliteConnectOptions::new()
        .filename(folder.path().join("trainyard.db"))
        .connect()
        .await
        .unwrap();
    sqlx::query("UPDATE jobs SET spec = '{}'")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();

    let problem = yard.runner.wait(&yard.tenant, id, Duration::ZERO).await.unwrap_err();
    assert!(problem.detail.contains("can still be cancelled"), "{problem}");
    let all = PageRequest { limit: 9, after: None };
    assert_eq!(yard.store.list_jobs(&yard.tenant, None, all).await.unwrap().items, []);
    let delete = async || yard.store.delete_dataset(&yard.tenant, dataset).await.unwrap();
    assert_eq!(delete().await, Deletion::InUse(id));
    let problem = yard.runner.cancel(&yard.tenant, id).await.unwrap_err();
    assert_eq!(problem.kind, Kind::Internal);
    // A checkpoint is there, but no model can be made of it.
    let mut again = yard.runner.cancel(&yard.tenant, id).await.unwrap_err();
    while again.kind != Kind::Conflict {
        again = yard.runner.cancel(&yard.tenant, id).await.unwrap_err();
    }
    assert_eq!(delete().await, Deletion::Deleted);
    yard.stop().await;
}

/// Removes the file whose name contains `part`.
fn remove_named(folder: &Path, part: &str) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            remove_named(&entry.path(), part);
        } else if entry.file_name().to_string_lossy().contains(part) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}
