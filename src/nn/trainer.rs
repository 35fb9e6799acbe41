//! Training, one batch a step: the caller owns the loop, so that stopping, saving and showing stay outside.

mod checkpoint;
mod early_stopping;
mod epoch;
mod evaluate;
mod samples;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use early_stopping::EarlyStopping;
pub use evaluate::evaluate;
pub use samples::Samples;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::kernel::{Buffer, Float, Stop, Team};
use super::network::Network;
use super::optimizer::OptimizerState;
use super::pass::{Batch, Pass, Room};
use super::rng::{Purpose, Random};
use super::spec::Plan;
use checkpoint::Kept;
use early_stopping::Watch;
use epoch::Epoch;
use evaluate::measure;

/// How a network is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    pub epochs: u32,
    /// Epochs that a continued model has seen: with the seed they key the randomness.
    pub first_epoch: u32,
    /// From 1; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// Whether each epoch takes the rows in a new order.
    pub shuffle: bool,
    pub seed: u64,
    pub early_stopping: Option<EarlyStopping>,
    /// Adds `inference_loss` to each epoch: the loss over the training rows in inference mode, after the epoch.
    pub report_inference_loss: bool,
    /// Adds `gradient_norm`, the mean over the batches of ‖g‖, and `gradient_noise`, √mean ‖g − mean g‖².
    pub report_gradient_noise: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: 100,
            first_epoch: 0,
            batch_size: 32,
            shuffle: true,
            seed: 0,
            early_stopping: None,
            report_inference_loss: false,
            report_gradient_noise: false,
        }
    }
}

/// What a step has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A batch, and more of the epoch are to come.
    Batch,
    /// The last batch of an epoch.
    Epoch(EpochReport),
    /// Nothing: it was asked to stop before the batch, or the measuring after an epoch's last batch, was through. The training
    /// stands where it stood before the step, or right before that measuring.
    Stopped,
    /// Nothing: the training is over.
    Done(StopReason),
}

/// The figures of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// From 1, within this training.
    pub epoch: u32,
    /// `loss`, the metrics, then `val_loss` and the metrics' `val_` twins, then what was asked for besides.
    ///
    /// Loss and metrics are running figures over the epoch in training mode, as Keras's.
    pub figures: Vec<(String, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    Finished,
    /// The watched figure has not improved for too long; the epoch of its best value.
    EarlyStopped {
        best_epoch: u32,
    },
    /// A loss, or a weight at the end, was not finite in this epoch.
    Diverged {
        epoch: u32,
    },
}

/// What a training leaves.
#[derive(Clone, Debug)]
pub struct Trained<F> {
    pub network: Network<F>,
    pub optimizer: OptimizerState<F>,
    /// The epoch whose weights these are, from 1; 0 where no epoch was finished.
    pub epochs: u32,
    /// The figures of that epoch.
    pub figures: Vec<(String, f64)>,
}

/// Batches between two looks at whether all is finite; the weights of the last good look are kept.
const BATCHES_BETWEEN_LOOKS: usize = 16;
/// Multiply-adds of a step from which on helpers pay that share out each product.
const PRODUCTS_PAY_FROM: u128 = 10_000_000;
/// The same where they take shares of the batch and meet but a few times in a step.
const SHARES_PAY_FROM: u128 = 200_000;

/// A training in progress.
#[derive(Debug)]
pub struct Trainer<F> {
    plan: Plan,
    network: Network<F>,
    optimizer: OptimizerState<F>,
    train: Samples<F>,
    validation: Option<Samples<F>>,
    options: FitOptions,
    pass: Pass<F>,
    /// The moving averages before the step, for when it is given up.
    moving: Buffer<F>,
    /// The running epoch's order of rows; empty where they come as they are.
    order: Vec<u32>,
    epochs_done: u32,
    /// The figures of the last epoch done.
    figures: Vec<(String, f64)>,
    /// What the running epoch has added up.
    epoch: Epoch<F>,
    watch: Watch,
    /// The last end of an epoch that was seen to be finite.
    last: Kept<F>,
    /// The best epoch so far, where its weights are wanted back.
    best: Option<Kept<F>>,
    stopped: Option<StopReason>,
}

impl<F: Float> Trainer<F> {
    /// A training that starts, from nothing or from what an earlier one left.
    ///
    /// # Panics
    /// If there are no rows, or network, optimizer and samples don't fit the plan: its maker has seen to that.
    pub fn new(
        plan: Plan,
        network: Network<F>,
        optimizer: Option<OptimizerState<F>>,
        train: Samples<F>,
        validation: Option<Samples<F>>,
        options: FitOptions,
    ) -> Self {
        assert!(options.batch_size > 0, "a batch has at least one row");
        for samples in [Some(&train), validation.as_ref()].into_iter().flatten() {
            samples.check(&plan);
        }
        let optimizer = optimizer.unwrap_or_else(|| plan.optimizer.start(&network));
        assert!(
            optimizer.fits(&plan.optimizer, network.trainable.len()),
            "a state of the plan's optimizer"
        );
        let rows = options.batch_size.min(train.x.nrows());
        let mut trainer = Self {
            pass: Pass::new(&network, &plan.loss, rows),
            moving: network.moving.clone(),
            order: Vec::new(),
            epochs_done: 0,
            figures: Vec::new(),
            epoch: Epoch::start(&plan),
            watch: Watch::default(),
            last: Kept::new(&network, &optimizer, 0, &[]),
            best: None,
            stopped: None,
            plan,
            network,
            optimizer,
            train: train.into_laid(),
            validation: validation.map(Samples::into_laid),
            options,
        };
        trainer.order_rows();
        trainer
    }

    pub fn batches_per_epoch(&self) -> usize {
        self.train.x.nrows().div_ceil(self.options.batch_size)
    }

    /// Epochs done.
    pub fn epochs_done(&self) -> u32 {
        self.epochs_done
    }

    /// Whether a step has enough to do that sharing it out among threads may be quicker.
    pub fn pays_for_helpers(&self) -> bool {
        let rows = self.options.batch_size.min(self.train.x.nrows());
        let pay_from = match self.pass.is_shared(rows) {
            true => SHARES_PAY_FROM,
            false => PRODUCTS_PAY_FROM,
        };
        self.plan.multiply_adds(rows as u64) >= pay_from
    }

    /// Steps end soon after `stop` is asked for, as [`Step::Stopped`]; what is to go on then goes on from a checkpoint.
    pub fn heed(&mut self, stop: Stop) {
        self.pass.heed(stop);
    }

    /// Steps are shared out among a team from now on, where that may pay; the bits stay the same.
    pub fn share_out(&mut self, team: Team) {
        if self.pays_for_helpers() {
            self.pass.set_team(team);
        }
    }

    /// Trains one batch.
    pub fn step(&mut self) -> Step {
        if self.stopped.is_none() && self.epochs_done >= self.options.epochs {
            // The last updates may have gone where no loss has looked yet.
            self.stopped = Some(match self.network.is_finite() {
                true => StopReason::Finished,
                false => StopReason::Diverged {
                    epoch: self.epochs_done,
                },
            });
        }
        if let Some(reason) = self.stopped {
            return Step::Done(reason);
        }
        // Of an epoch whose measuring was given up, only that is left.
        if self.epoch.batch < self.batches_per_epoch()
            && let Err(none) = self.train_batch()
        {
            return none;
        }
        if self.epoch.batch < self.batches_per_epoch() {
            return Step::Batch;
        }
        self.end_epoch()
    }

    /// Ends the training: the best epoch's weights if they were asked for, after a divergence the last finite ones.
    pub fn finish(self) -> Trained<F> {
        let now = Kept {
            epochs: self.epochs_done,
            figures: self.figures,
            trainable: self.network.trainable.clone(),
            moving: self.network.moving.clone(),
            optimizer: self.optimizer,
        };
        chosen(now, self.last, self.best, self.stopped).into_trained(self.network)
    }

    /// Errors: what the step has come to, where the batch was given up or its loss was not finite.
    fn train_batch(&mut self) -> Result<(), Step> {
        let first = self.epoch.batch * self.options.batch_size;
        let rows = self.options.batch_size.min(self.train.x.nrows() - first);
        let random = self.random(Purpose::Dropout, self.epoch.batch as u64);
        let laid = self.train.laid();
        let order = &self.order;
        let batch = Batch {
            rows,
            weighted: self.train.weights.is_some(),
            random: &random,
            fill: |rows: Range<usize>, room: Room<'_, F>| {
                laid.copy(first + rows.start..first + rows.end, order, room);
            },
        };
        self.moving.copy_from_slice(&self.network.moving);
        let noisy = self.options.report_gradient_noise;
        let loss = if noisy {
            self.pass.run(&mut self.network, &self.plan.loss, &batch)
        } else {
            let step = (&self.plan.optimizer, &mut self.optimizer);
            self.pass.train(&mut self.network, &self.plan.loss, &batch, step)
        };
        let Some(loss) = loss else {
            self.network.moving.copy_from_slice(&self.moving);
            return Err(Step::Stopped);
        };
        if !loss.is_finite() {
            let reason = StopReason::Diverged {
                epoch: self.epochs_done + 1,
            };
            self.stopped = Some(reason);
            return Err(Step::Done(reason));
        }
        self.epoch
            .add(&self.plan, rows, loss, self.pass.outputs(rows), self.pass.targets(rows));
        if noisy {
            let team = self.pass.team().clone();
            self.epoch.add_gradients(self.pass.gradients());
            self.plan
                .optimizer
                .apply(&mut self.network, self.pass.gradients(), &mut self.optimizer, &team);
        }
        Ok(())
    }

    fn end_epoch(&mut self) -> Step {
        let stop = self.pass.stop();
        let measure = |samples, metrics| measure(&self.plan, &self.network, samples, metrics, stop);
        let mut figures = self.epoch.figures(&self.plan, "");
        if let Some(validation) = &self.validation {
            figures.extend(measure(validation, true).figures(&self.plan, "val_"));
        }
        if self.options.report_inference_loss {
            let measured = measure(&self.train, false).figures(&self.plan, "inference_");
            figures.extend(measured.into_iter().take(1));
        }
        if stop.is_asked() {
            return Step::Stopped;
        }
        self.epochs_done += 1;
        figures.extend(self.epoch.noise_figures().into_iter().flatten());
        self.figures.clone_from(&figures);
        self.look_and_keep();
        self.epoch = Epoch::start(&self.plan);
        self.order_rows();
        Step::Epoch(EpochReport {
            epoch: self.epochs_done,
            figures,
        })
    }

    /// Keeps the weights that a later divergence or a worse epoch would lose, and stops where nothing improves.
    fn look_and_keep(&mut self) {
        let batches = (self.epochs_done - self.last.epochs) as usize * self.batches_per_epoch();
        if batches >= BATCHES_BETWEEN_LOOKS && self.network.is_finite() {
            self.last
                .renew(&self.network, &self.optimizer, self.epochs_done, &self.figures);
        }
        let Some(stopping) = &self.options.early_stopping else {
            return;
        };
        let improved = stopping.improves(&mut self.watch, &self.plan.metrics, self.epochs_done, &self.figures);
        if improved && stopping.restore_best && self.network.is_finite() {
            let best = self.best.get_or_insert_with(|| self.last.clone());
            best.renew(&self.network, &self.optimizer, self.epochs_done, &self.figures);
        }
        if stopping.is_over(&self.watch) && self.epochs_done < self.options.epochs {
            self.stopped = Some(StopReason::EarlyStopped {
                best_epoch: self.watch.best_epoch,
            });
        }
    }

    /// The order of rows of the epoch that is to run.
    fn order_rows(&mut self) {
        if !self.options.shuffle {
            return;
        }
        let rows = u32::try_from(self.train.x.nrows()).expect("rows are counted in u32");
        self.order.clear();
        self.order.extend(0..rows);
        self.random(Purpose::Shuffle, 0).shuffle(&mut self.order);
    }

    fn random(&self, purpose: Purpose, batch: u64) -> Random {
        let epoch = u64::from(self.options.first_epoch) + u64::from(self.epochs_done);
        Random::new(self.options.seed, purpose, epoch, batch)
    }
}

/// Which moment's weights a training leaves.
fn chosen<F>(now: Kept<F>, last: Kept<F>, best: Option<Kept<F>>, stopped: Option<StopReason>) -> Kept<F> {
    match (best, stopped) {
        (Some(best), _) => best,
        (None, Some(StopReason::Diverged { .. })) => last,
        (None, _) => now,
    }
}

#[cfg(test)]
mod tests;
