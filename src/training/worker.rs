//! Trains one job on the calling thread, from its tables to its model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::checkpoint::Saved;
use super::cores::{Core, Cores};
use super::ending::{Ending, new_model};
use super::flag::{Flag, Wish};
use super::progress::News;
use super::samples::{Prepared, SamplesError};
use crate::data::encoder::Encoder;
use crate::domain::event::EpochRow;
use crate::nn::network::Network;
use crate::nn::trainer::{EpochReport, Step, StopReason, Trained, Trainer};

/// What a crash costs at most, or an epoch where that takes longer.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// The first comes soon: a job whose server is killed again and again before it would look like the culprit.
const FIRST_CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// Runs a job to its end, or until it is asked to stop. A panic fails the job, not the server.
pub(super) fn work(assignment: Assignment, flag: &Flag, cores: &Cores, tell: &dyn Fn(News)) -> Ending {
    let core = cores.take();
    let worker = Worker { flag, core, tell };
    catch_unwind(AssertUnwindSafe(|| worker.run(assignment))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Ending::internal(text.unwrap_or("a panic"))
    })
}

struct Worker<'a> {
    flag: &'a Flag,
    core: Core<'a>,
    tell: &'a dyn Fn(News),
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
        let mut checkpoint_due = Instant::now() + FIRST_CHECKPOINT_AFTER;
        loop {
            match self.flag.wish() {
                Wish::GoOn => {}
                Wish::Abandon => return Ending::Abandoned,
                Wish::Cancel => return cancelled(assignment, encoder, trainer.finish()),
                wish @ (Wish::Pause | Wish::Release) => {
                    let checkpoint = Some(assignment.identity.seal(encoder, trainer.checkpoint()));
                    return Ending::Stopped { wish, checkpoint };
                }
            }
            match self.core.step(&mut trainer) {
                Step::Batch => {}
                Step::Epoch(report) => {
                    (self.tell)(News::Epoch(row(report)));
                    if Instant::now() >= checkpoint_due {
                        (self.tell)(News::Checkpoint(
                            assignment.identity.seal(encoder, trainer.checkpoint()),
                        ));
                        checkpoint_due = Instant::now() + CHECKPOINT_EVERY;
                    }
                }
                Step::Done(StopReason::Diverged { epoch }) => {
                    return Ending::diverged(epoch, new_model(assignment, encoder, &trainer.finish()));
                }
                Step::Done(StopReason::Finished | StopReason::EarlyStopped { .. }) => {
                    return Ending::Succeeded(new_model(assignment, encoder, &trainer.finish()));
                }
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
