//! Trains one job on the calling thread, from its tables to its model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::assignment::Assignment;
use super::checkpoint::{Saved, Timetable};
use super::cores::{Core, Cores};
use super::ending::{Ending, new_model};
use super::flag::{Flag, Wish};
use super::progress::News;
use super::samples::{Prepared, SamplesError};
use super::traffic::{Traffic, Turn};
use crate::data::encoder::Encoder;
use crate::domain::event::EpochRow;
use crate::nn::network::Network;
use crate::nn::trainer::{EpochReport, Step, StopReason, Trained, Trainer};

/// Runs a job to its end, or until it is asked to stop. A panic fails the job, not the server.
pub(super) fn work(
    assignment: Assignment,
    flag: &Flag,
    cores: &Cores,
    traffic: &Traffic,
    tell: &(dyn Fn(News) + Sync),
) -> Ending {
    let core = cores.take();
    let worker = Worker {
        flag,
        core,
        traffic,
        tell,
    };
    catch_unwind(AssertUnwindSafe(|| worker.run(assignment))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Ending::internal(text.unwrap_or("a panic"))
    })
}

/// Why the steps ended.
enum Stop {
    Asked(Wish),
    Done(StopReason),
}

struct Worker<'a> {
    flag: &'a Flag,
    core: Core<'a>,
    traffic: &'a Traffic,
    tell: &'a (dyn Fn(News) + Sync),
}

impl Worker<'_> {
    fn run(&self, mut assignment: Assignment) -> Ending {
        let saved = assignment.saved.take();
        if self.flag.wish() != Wish::GoOn {
            return self.stop_untrained(&assignment, saved);
        }
        let prepared = match assignment.read(self.flag) {
            Ok(prepared) => prepared,
            Err(_) if self.flag.wish() != Wish::GoOn => return self.stop_untrained(&assignment, saved),
            Err(SamplesError::Store(error)) => return Ending::internal(&error.to_string()),
            Err(error) => {
                return Ending::failed("unreadable_table", format!("The table can't be trained on: {error}."));
            }
        };
        let encoder = prepared.encoder.clone();
        match trainer(&assignment, prepared, saved) {
            Ok(trainer) => self.train(&assignment, &encoder, trainer),
            Err(error) => Ending::internal(&error),
        }
    }

    fn train(&self, assignment: &Assignment, encoder: &Encoder, mut trainer: Trainer<f32>) -> Ending {
        let batches_per_epoch = u32::try_from(trainer.batches_per_epoch()).unwrap_or(u32::MAX);
        (self.tell)(News::Started { batches_per_epoch });
        let seal = |trainer: &Trainer<f32>| assignment.identity.seal(encoder, trainer.checkpoint());
        let mut timetable = Timetable::begin(Instant::now());
        let mut turn = Turn::begin(self.traffic);
        let stop = self.core.run(&mut trainer, |trainer| {
            let wish = self.flag.wish();
            if wish != Wish::GoOn {
                return Some(Stop::Asked(wish));
            }
            match trainer.step() {
                Step::Batch => {}
                Step::Epoch(report) => {
                    (self.tell)(News::Epoch(row(report)));
                    if timetable.is_due(Instant::now()) {
                        (self.tell)(News::Checkpoint(seal(trainer)));
                    }
                }
                Step::Done(reason) => return Some(Stop::Done(reason)),
            }
            turn.make_way();
            None
        });
        match stop {
            Stop::Asked(Wish::Cancel) => cancelled(assignment, encoder, trainer.finish()),
            Stop::Asked(wish @ (Wish::Pause | Wish::Release)) => Ending::Stopped {
                wish,
                checkpoint: Some(seal(&trainer)),
            },
            Stop::Asked(Wish::Abandon | Wish::GoOn) => Ending::Abandoned,
            Stop::Done(StopReason::Diverged { epoch }) => {
                Ending::diverged(epoch, new_model(assignment, encoder, &trainer.finish()))
            }
            Stop::Done(StopReason::Finished | StopReason::EarlyStopped { .. }) => {
                Ending::Succeeded(new_model(assignment, encoder, &trainer.finish()))
            }
        }
    }

    /// Asked to stop before a step was taken: what an earlier attempt left is all there is.
    fn stop_untrained(&self, assignment: &Assignment, saved: Option<Saved>) -> Ending {
        match (self.flag.wish(), saved) {
            (Wish::Abandon, _) => Ending::Abandoned,
            (Wish::Cancel, None) => Ending::Cancelled(None),
            (Wish::Cancel, Some(saved)) => match (saved.encoder(), saved.trainer.into_trained(&assignment.plan)) {
                (Ok(encoder), Ok(trained)) => cancelled(assignment, &encoder, trained),
                _ => Ending::Cancelled(None),
            },
            (wish, _) => Ending::Stopped { wish, checkpoint: None },
        }
    }
}

fn cancelled(assignment: &Assignment, encoder: &Encoder, trained: Trained<f32>) -> Ending {
    Ending::Cancelled((trained.epochs > 0).then(|| new_model(assignment, encoder, &trained)))
}

/// A trainer that goes on where the checkpoint is, or else starts from the job's first weights.
fn trainer(assignment: &Assignment, prepared: Prepared, saved: Option<Saved>) -> Result<Trainer<f32>, String> {
    let (plan, options) = (assignment.plan.clone(), assignment.fit_options());
    let Prepared { train, validation, .. } = prepared;
    if let Some(saved) = saved {
        return Trainer::resume(plan, train, validation, options, saved.trainer).map_err(|error| error.to_string());
    }
    let given = assignment
        .base
        .as_ref()
        .map(|base| &base.weights)
        .or(assignment.initial_weights.as_ref());
    let network = match given {
        None => Network::initialize(&plan, options.seed),
        Some(weights) => Network::from_weights(&plan, weights, "").map_err(|faults| format!("{faults:?}"))?,
    };
    let optimizer = assignment.base.as_ref().map(|base| base.optimizer.clone());
    Ok(Trainer::new(plan, network, optimizer, train, validation, options))
}

fn row(report: EpochReport) -> EpochRow {
    let finite = |(name, value): (String, f64)| (name, value.is_finite().then_some(value));
    EpochRow {
        epoch: report.epoch,
        figures: report.figures.into_iter().map(finite).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;
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
        let dataset = upload(&store, include_bytes!("../../examples/data/iris.csv")).await;
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
            committed: &|_| {},
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
}
