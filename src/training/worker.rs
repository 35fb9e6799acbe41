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
        trainer.heed(self.flag.stop().clone());
        let mut timetable = Timetable::begin(Instant::now());
        let mut turn = Turn::begin(self.traffic);
        let mut gathered = self.core.gather(&trainer);
        let stop = loop {
            let wish = self.flag.wish();
            if wish != Wish::GoOn {
                break Stop::Asked(wish);
            }
            match trainer.step() {
                Step::Batch | Step::Stopped => {}
                Step::Epoch(report) => {
                    (self.tell)(News::Epoch(row(report)));
                    if timetable.is_due(Instant::now()) {
                        (self.tell)(News::Checkpoint(seal(&trainer)));
                    }
                }
                Step::Done(reason) => break Stop::Done(reason),
            }
            if let Some(gathered) = &mut gathered {
                gathered.step_ended(&mut trainer);
            }
            turn.make_way();
        };
        drop(gathered);
        match stop {
            Stop::Asked(Wish::Cancel) => cancelled(assignment, encoder, trainer.finish()),
            Stop::Asked(wish @ (Wish::Pause | Wish::Release)) => Ending::Stopped {
                wish,
                checkpoint: Some(seal(&trainer)),
            },
            Stop::Asked(Wish::Abandon | Wish::GoOn) => Ending::Abandoned,
            Stop::Done(StopReason::Diverged { epoch }) => {
                let trained = trainer.finish();
                Ending::diverged(epoch, trained.epochs, new_model(assignment, encoder, &trained))
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
            (wish, _) => Ending::untrained(wish),
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
mod tests;
