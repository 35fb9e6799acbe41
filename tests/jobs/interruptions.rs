//! Jobs that are paused, cancelled, or stopped with their server.

use tempfile::TempDir;
use trainyard::domain::job::JobStatus;
use trainyard::domain::problem::Kind;

use crate::yard::{Yard, endless_job, eventful_job, iris, iris_job};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_a_pause_and_after_a_restart_as_if_nothing_had_been() {
    const EPOCHS: u32 = 3000;
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await.id;
    let undisturbed = yard.train(&eventful_job(dataset, EPOCHS)).await;
    let expected = yard.model(&undisturbed).await;

    let id = yard.submit(&eventful_job(dataset, EPOCHS)).await;
    yard.until(id, |job| job.progress.epoch > 0).await;
    let paused = yard.runner.pause(&yard.tenant, id).await.unwrap();
    assert_eq!(paused.status, JobStatus::Paused);
    assert!(paused.progress.epoch < EPOCHS);
    yard.stop().await;

    let yard = Yard::open(folder.path()).await;
    assert_eq!(
        yard.store.get_job(&yard.tenant, id).await.unwrap().unwrap().status,
        JobStatus::Paused
    );
    let before = yard.runner.resume(&yard.tenant, id).await.unwrap().progress.epoch;
    yard.until(id, |job| job.progress.epoch > before).await;
    yard.stop().await;

    let yard = Yard::open(folder.path()).await;
    let job = yard.done(id).await;
    assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    assert_eq!(job.attempt, 3);
    let model = yard.model(&job).await;
    assert_eq!(model.weights_sha256, expected.weights_sha256);
    assert_eq!(model.metrics, expected.metrics);
    let history = async |id| yard.store.history(&yard.tenant, id, 0, 1_000_000).await.unwrap();
    assert_eq!(history(id).await, history(undisturbed.id).await);
    assert_eq!(yard.epochs(id).await, (1..=EPOCHS).collect::<Vec<u32>>());
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_heeded_within_an_epoch_and_leaves_no_model_of_nothing() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let id = endless_job(&yard).await;
    yard.until(id, |job| job.progress.batches_per_epoch.is_some()).await;
    let asked = yard.runner.cancel(&yard.tenant, id).await.unwrap();
    assert_eq!(asked.status, JobStatus::Cancelling);
    let job = yard.done(id).await;
    assert_eq!(
        (job.status, job.progress.epoch, job.model),
        (JobStatus::Cancelled, 0, None)
    );
    let again = yard.runner.cancel(&yard.tenant, id).await.unwrap_err();
    assert_eq!(again.kind, Kind::Conflict);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_keeps_what_it_has_trained_running_or_paused() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await.id;
    let [running, paused] = [
        yard.submit(&eventful_job(dataset, 1_000_000)).await,
        yard.submit(&eventful_job(dataset, 1_000_000)).await,
    ];
    for id in [running, paused] {
        yard.until(id, |job| job.progress.epoch > 0).await;
    }
    yard.runner.pause(&yard.tenant, paused).await.unwrap();
    for id in [running, paused] {
        yard.runner.cancel(&yard.tenant, id).await.unwrap();
        let job = yard.done(id).await;
        assert_eq!(job.status, JobStatus::Cancelled);
        let model = yard.model(&job).await;
        assert!(model.epochs > 0 && model.epochs <= job.progress.epoch);
        yard.serving.get(&yard.tenant, model.id).await.unwrap();
    }
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_than_workers_wait_their_turn_and_one_that_waits_can_be_cancelled() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::with_workers(folder.path(), 1).await;
    let blocker = endless_job(&yard).await;
    yard.until(blocker, |job| job.status == JobStatus::Running).await;
    let dataset = yard.upload(iris()).await.id;
    let [first, second] = [
        yard.submit(&iris_job(dataset, 2)).await,
        yard.submit(&iris_job(dataset, 2)).await,
    ];
    let position = async |id| {
        yard.store
            .get_job(&yard.tenant, id)
            .await
            .unwrap()
            .unwrap()
            .queue_position
    };
    assert_eq!((position(first).await, position(second).await), (Some(1), Some(2)));
    let refused = yard.runner.pause(&yard.tenant, first).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    assert_eq!(
        yard.runner.cancel(&yard.tenant, first).await.unwrap().status,
        JobStatus::Cancelled
    );
    yard.runner.cancel(&yard.tenant, blocker).await.unwrap();
    assert_eq!(yard.done(second).await.status, JobStatus::Succeeded);
    yard.stop().await;
}
