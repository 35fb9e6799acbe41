use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::progress::{self, Recorder};
use super::*;
use crate::data::profile::{Limits, profile};
use crate::domain::dataset::Dataset;
use crate::domain::id::{DatasetId, JobId};
use crate::domain::job_spec::JobSpec;
use crate::domain::tenant::TenantId;
use crate::store::{Claim, NewJob, Outcome, ProgressUpdate, Room, Store, Submission};

async fn upload(store: &Store, content: &[u8]) -> Dataset {
    let mut writer = store.blobs().begin().unwrap();
    writer.write_all(content).unwrap();
    let staged = writer.finish().unwrap();
    let found = profile(std::io::Cursor::new(content), &Default::default(), &Limits::default()).unwrap();
    let dataset = Dataset {
        id: DatasetId::generate(),
        name: "iris".to_owned(),
        rows: found.rows,
        size_bytes: staged.size_bytes(),
        sha256: staged.sha256().to_owned(),
        created_at: Timestamp::now(),
        source: found.source,
        columns: found.columns,
    };
    store
        .insert_dataset(&TenantId::default(), &dataset, staged, u64::MAX, None)
        .await
        .unwrap();
    dataset
}

/// A claimed job of 8 epochs over irises.
async fn claimed() -> (TempDir, Store, Claim) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let dataset = upload(&store, include_bytes!("../../../examples/data/iris.csv")).await;
    let spec: JobSpec = serde_json::from_value(json!({
        "dataset": dataset.id, "target": "품종", "features": ["꽃잎길이", "꽃잎폭"], "model": {},
        "training": {"epochs": 8, "batch_size": 32, "shuffle": true, "seed": 7,
            "validation": {"split": 0.2}, "early_stopping":
            {"monitor": "val_loss", "patience": 100, "min_delta": 0.0, "restore_best": true}},
        "preprocessing": {"numeric": "standardize"}, "initial_weights": false,
    }))
    .unwrap();
    let (id, name) = (JobId::generate(), "iris".to_owned());
    let new = NewJob {
        id,
        name,
        spec,
        initial_weights: None,
        memory_bytes: 0,
    };
    let room = Room {
        waiting: 9,
        storage_bytes: u64::MAX,
    };
    let submitted = store.insert_job(&TenantId::default(), new, room, None).await.unwrap();
    assert!(matches!(submitted, Submission::Queued(_)));
    let claim = store.claim_next("worker", u64::MAX).await.unwrap().unwrap();
    (folder, store, claim)
}

/// Works until `last` epochs are told, then asks for `wish`; the epochs told, and how it ended.
async fn work_until(store: &Store, claim: &Claim, last: u32, wish: Wish) -> (Vec<EpochRow>, Ending) {
    let assignment = Assignment::load(store, claim).await.unwrap();
    let (flag, told) = (Flag::default(), Mutex::new(Vec::new()));
    let tell = |news| {
        if let News::Epoch(row) = news {
            if row.epoch == last {
                flag.ask(wish);
            }
            told.lock().unwrap().push(row);
        }
    };
    let ending = work(assignment, &flag, &Cores::new(1), &Traffic::new(), &tell);
    (told.into_inner().unwrap(), ending)
}

fn hash(ending: &Ending) -> &str {
    match ending {
        Ending::Succeeded(new) | Ending::Cancelled(Some(new)) => &new.model.weights_sha256,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_resumed_job_trains_only_what_was_left_and_ends_as_if_it_had_not_been_stopped() {
    let (_folder, store, claim) = claimed().await;
    let (all, whole) = work_until(&store, &claim, 0, Wish::GoOn).await;
    let (before, stopped) = work_until(&store, &claim, 5, Wish::Pause).await;
    let Ending::Stopped {
        wish: Wish::Pause,
        checkpoint: Some(checkpoint),
    } = stopped
    else {
        panic!("{stopped:?}");
    };
    let last = ProgressUpdate {
        epochs: &before,
        checkpoint: Some(&checkpoint),
        ..Default::default()
    };
    store.finish(&claim, last, Outcome::Paused).await.unwrap();
    store.request_resume(&claim.tenant, claim.job.id).await.unwrap();
    let claim = store.claim_next("worker", u64::MAX).await.unwrap().unwrap();
    let (after, resumed) = work_until(&store, &claim, 0, Wish::GoOn).await;
    assert_eq!((before.len(), after.first().map(|row| row.epoch)), (5, Some(6)));
    assert_eq!([before, after].concat(), all);
    assert_eq!(hash(&resumed), hash(&whole));
}

#[tokio::test]
async fn a_job_that_is_stopped_inside_of_a_step_ends_as_if_it_had_not_been() {
    let (_folder, store, mut claim) = claimed().await;
    let (all, whole) = work_until(&store, &claim, 0, Wish::GoOn).await;
    let assignment = Assignment::load(&store, &claim).await.unwrap();
    let flag = Flag::stopping_at_look(100);
    let told = Mutex::new(Vec::new());
    let tell = |news| {
        if let News::Epoch(row) = news {
            told.lock().unwrap().push(row);
        }
    };
    let is_over = AtomicBool::new(false);
    let ending = std::thread::scope(|scope| {
        // The step is given up first, and only then does the thread see why.
        scope.spawn(|| {
            while !flag.stop().was_asked() && !is_over.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            flag.ask(Wish::Pause);
        });
        let ending = work(assignment, &flag, &Cores::new(1), &Traffic::new(), &tell);
        is_over.store(true, Ordering::Relaxed);
        ending
    });
    let Ending::Stopped { checkpoint, .. } = ending else {
        panic!("{ending:?}");
    };
    claim.checkpoint = checkpoint;
    let (after, resumed) = work_until(&store, &claim, 0, Wish::GoOn).await;
    assert_eq!([told.into_inner().unwrap(), after].concat(), all);
    assert_eq!(hash(&resumed), hash(&whole));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_costs_epochs_and_changes_nothing() {
    let (_folder, store, mut claim) = claimed().await;
    let (all, whole) = work_until(&store, &claim, 0, Wish::GoOn).await;
    claim.checkpoint = Some(b"trainyard checkpoint 1\nrubbish".to_vec());
    let (again, resumed) = work_until(&store, &claim, 0, Wish::GoOn).await;
    assert_eq!((&again, hash(&resumed)), (&all, hash(&whole)));
}

#[tokio::test]
async fn a_cancelled_job_leaves_the_model_of_the_epochs_it_had() {
    let (_folder, store, claim) = claimed().await;
    let (told, cancelled) = work_until(&store, &claim, 3, Wish::Cancel).await;
    let Ending::Cancelled(Some(new)) = cancelled else {
        panic!("{cancelled:?}")
    };
    assert_eq!(told.len(), 3);
    let best = told.iter().find(|row| row.epoch == new.model.epochs).unwrap();
    let figures = |row: &EpochRow| row.figures.iter().cloned().collect();
    assert_eq!(new.model.metrics, figures(best));
}

#[tokio::test]
async fn a_job_that_is_another_s_leaves_nothing() {
    let (_folder, store, claim) = claimed().await;
    let (_, ending) = work_until(&store, &claim, 2, Wish::Abandon).await;
    assert!(matches!(ending, Ending::Abandoned), "{ending:?}");
}

#[tokio::test]
async fn a_thread_that_is_asked_to_stop_is_heard_however_much_waits_for_the_disk() {
    const MORE_THAN_MAY_WAIT: u32 = 150_000;
    let (_folder, store, claim) = claimed().await;
    let (flag, shutdown) = (Flag::default(), CancellationToken::new());
    store.close().await;
    let recorder = Recorder {
        store: &store,
        claim: &claim,
        flag: &flag,
        shutdown: &shutdown,
        stop_within: progress::STOP_WITHIN,
        changed: &|_| {},
    };
    let (sender, news) = progress::channel();
    let thread = std::thread::spawn(move || {
        for epoch in 1..=MORE_THAN_MAY_WAIT {
            let figures = Vec::new();
            sender.blocking_send(News::Epoch(EpochRow { epoch, figures })).unwrap();
        }
        sender.blocking_send(News::Ended(Box::new(Ending::Abandoned))).unwrap();
    });
    flag.ask(Wish::Abandon);
    let heard = tokio::time::timeout(Duration::from_secs(60), recorder.run(news)).await;
    assert!(heard.is_ok(), "the thread waits for a disk that takes nothing");
    thread.join().unwrap();
}

#[tokio::test]
async fn a_thread_that_never_lets_go_is_left_behind_and_its_job_goes_on_from_what_was_stored() {
    let (_folder, store, claim) = claimed().await;
    let update = ProgressUpdate {
        checkpoint: Some(b"state"),
        ..Default::default()
    };
    store.record_progress(&claim, update).await.unwrap();
    let (flag, shutdown) = (Flag::default(), CancellationToken::new());
    let recorder = Recorder {
        store: &store,
        claim: &claim,
        flag: &flag,
        shutdown: &shutdown,
        stop_within: Duration::ZERO,
        changed: &|_| {},
    };
    let (_thread, news) = progress::channel();
    shutdown.cancel();
    recorder.run(news).await;
    let again = store.claim_next("the next start", u64::MAX).await.unwrap().unwrap();
    assert_eq!((again.job.id, again.crashes), (claim.job.id, 0));
    assert_eq!(again.checkpoint.as_deref(), Some(&b"state"[..]));
}

#[tokio::test]
async fn a_panic_fails_the_job_and_says_no_more_than_that() {
    let (_folder, store, claim) = claimed().await;
    let assignment = Assignment::load(&store, &claim).await.unwrap();
    let (flag, cores) = (Flag::default(), Cores::new(1));
    let ending = work(assignment, &flag, &cores, &Traffic::new(), &|_| panic!("secret"));
    let Ending::Failed { error, model: None } = ending else {
        panic!("{ending:?}")
    };
    assert_eq!(error.code, "internal");
    assert!(!error.detail.contains("secret"));
}

#[tokio::test]
async fn the_first_epoch_that_is_no_number_fails_the_job_with_what_was_before() {
    let (_folder, store, mut claim) = claimed().await;
    let dense = |units: u32, activation: &str| json!({"type": "dense", "units": units, "activation": activation});
    let layers = [
        dense(64, "linear"),
        dense(64, "linear"),
        dense(64, "linear"),
        dense(3, "softmax"),
    ];
    let network = json!({"layers": layers, "optimizer": {"type": "sgd", "learning_rate": 1000.0}});
    claim.job.spec.model = serde_json::from_value(network).unwrap();
    let (_, ending) = work_until(&store, &claim, 0, Wish::GoOn).await;
    let Ending::Failed {
        error,
        model: Some(new),
    } = ending
    else {
        panic!("{ending:?}")
    };
    assert_eq!(error.code, "diverged");
    assert!(
        new.model
            .metrics
            .values()
            .all(|value| value.is_some_and(f64::is_finite)),
        "{:?}",
        new.model.metrics
    );
}
