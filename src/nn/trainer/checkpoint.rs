//! A training as a value: what is saved, and what a resume needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::early_stopping::Watch;
use super::epoch::Epoch;
use super::{FitOptions, Samples, StopReason, Trained, Trainer};
use crate::nn::kernel::{Buffer, Float};
use crate::nn::network::Network;
use crate::nn::optimizer::OptimizerState;
use crate::nn::spec::Plan;

/// Changes whenever the same training would give other bits or a checkpoint another form.
const NUMERICS_VERSION: u32 = 5;

/// Everything a training has come to; with plan, samples and options it goes on, bit for bit as if never stopped.
///
/// Randomness needs no place here: it is keyed by seed, epoch and batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: Clone + Deserialize<'de>"))]
pub struct Checkpoint<F> {
    numerics_version: u32,
    pub(super) now: Kept<F>,
    pub(super) epoch: Epoch<F>,
    pub(super) watch: Watch,
    pub(super) last: Kept<F>,
    pub(super) best: Option<Kept<F>>,
    pub(super) stopped: Option<StopReason>,
}

/// A network and its optimizer at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: Clone + Deserialize<'de>"))]
pub(super) struct Kept<F> {
    /// Epochs done, and the figures of the last of them.
    pub(super) epochs: u32,
    pub(super) figures: Vec<(String, f64)>,
    pub(super) trainable: Buffer<F>,
    pub(super) moving: Buffer<F>,
    pub(super) optimizer: OptimizerState<F>,
}

/// Why a checkpoint can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// It was made by a version whose numbers were others.
    OtherNumerics,
    /// It is of another network, optimizer or training.
    OtherPlan,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OtherNumerics => "the checkpoint was made by a version of the server whose numbers were others",
            Self::OtherPlan => "the checkpoint is of another network, optimizer or training",
        })
    }
}

impl std::error::Error for CheckpointError {}

impl<F: Float> Kept<F> {
    pub(super) fn new(
        network: &Network<F>,
        optimizer: &OptimizerState<F>,
        epochs: u32,
        figures: &[(String, f64)],
    ) -> Self {
        Self {
            epochs,
            figures: figures.to_vec(),
            trainable: network.trainable.clone(),
            moving: network.moving.clone(),
            optimizer: optimizer.clone(),
        }
    }

    /// Takes over another moment without allocating anew.
    pub(super) fn renew(
        &mut self,
        network: &Network<F>,
        optimizer: &OptimizerState<F>,
        epochs: u32,
        figures: &[(String, f64)],
    ) {
        self.epochs = epochs;
        self.figures.clear();
        self.figures.extend_from_slice(figures);
        self.trainable.copy_from_slice(&network.trainable);
        self.moving.copy_from_slice(&network.moving);
        self.optimizer.copy_from(optimizer);
    }

    fn fits(&self, plan: &Plan, network: &Network<F>) -> bool {
        self.trainable.len() == network.trainable.len()
            && self.moving.len() == network.moving.len()
            && self.optimizer.fits(&plan.optimizer, network.trainable.len())
    }

    pub(super) fn into_trained(self, mut network: Network<F>) -> Trained<F> {
        network.trainable = self.trainable;
        network.moving = self.moving;
        Trained {
            network,
            optimizer: self.optimizer,
            epochs: self.epochs,
            figures: self.figures,
        }
    }
}

impl<F: Float> Trainer<F> {
    /// The training as it stands, after any step.
    pub fn checkpoint(&self) -> Checkpoint<F> {
        Checkpoint {
            numerics_version: NUMERICS_VERSION,
            now: Kept::new(&self.network, &self.optimizer, self.epochs_done, &self.figures),
            epoch: self.epoch.clone(),
            watch: self.watch.clone(),
            last: self.last.clone(),
            best: self.best.clone(),
            stopped: self.stopped,
        }
    }

    /// Goes on from a checkpoint.
    ///
    /// # Panics
    /// As [`Trainer::new`].
    pub fn resume(
        plan: Plan,
        train: Samples<F>,
        validation: Option<Samples<F>>,
        options: FitOptions,
        checkpoint: Checkpoint<F>,
    ) -> Result<Self, CheckpointError> {
        let network = checkpoint.check(&plan)?;
        let Checkpoint {
            now,
            epoch,
            watch,
            last,
            best,
            stopped,
            ..
        } = checkpoint;
        let (epochs_done, figures) = (now.epochs, now.figures.clone());
        let Trained { network, optimizer, .. } = now.into_trained(network);
        let mut trainer = Self::new(plan, network, Some(optimizer), train, validation, options);
        if epoch.batch > trainer.batches_per_epoch() {
            return Err(CheckpointError::OtherPlan);
        }
        trainer.epochs_done = epochs_done;
        trainer.figures = figures;
        trainer.watch = watch;
        trainer.last = last;
        trainer.best = best;
        trainer.stopped = stopped;
        trainer.epoch = epoch;
        trainer.order_rows();
        Ok(trainer)
    }
}

impl<F: Float> Checkpoint<F> {
    /// Epochs done.
    pub fn epochs(&self) -> u32 {
        self.now.epochs
    }

    /// What [`Trainer::finish`] would give now, without the rows.
    pub fn into_trained(self, plan: &Plan) -> Result<Trained<F>, CheckpointError> {
        let network = self.check(plan)?;
        let Self {
            now,
            last,
            best,
            stopped,
            ..
        } = self;
        Ok(super::chosen(now, last, best, stopped).into_trained(network))
    }

    /// A network of the plan's shape that the checkpoint's numbers fit.
    pub(crate) fn check(&self, plan: &Plan) -> Result<Network<F>, CheckpointError> {
        if self.numerics_version != NUMERICS_VERSION {
            return Err(CheckpointError::OtherNumerics);
        }
        let network = Network::zeroed(plan);
        let fits = [Some(&self.now), Some(&self.last), self.best.as_ref()];
        let fits = fits.into_iter().flatten().all(|kept| kept.fits(plan, &network));
        match fits && self.epoch.fits(plan, network.trainable.len()) {
            true => Ok(network),
            false => Err(CheckpointError::OtherPlan),
        }
    }
}
