//! One pass of a batch through a network and back: the loss, the outputs and the gradients.
//!
//! A batch goes in shares of its rows, whose sums are added in order: what a share needs stays in a core's own cache,
//! and threads take a share each. A [`Pass`] keeps its buffers from batch to batch.

mod rows;
mod share;
mod sums;
mod together;

use std::sync::Mutex;

use super::kernel::{Buffer, Float, Stop, Team};
use super::layer::Operation;
use super::network::Network;
use super::optimizer::{Changing, OptimizerSpec, OptimizerState};
use super::spec::LossSpec;
pub(crate) use rows::{Batch, Fill, Room};
use rows::{Rooms, Rows};
use share::Share;
use sums::Sums;
use together::{Side, Together};

/// The most rows of a share, unless so many shares would have to go side by side. It decides the order of the sums, so that
/// it never depends on the machine.
pub(super) const SHARE_ROWS: usize = 128;

/// Above so many weights a batch is one share: adding up gradients and reading all weights anew for each would cost more
/// than it brings, and the products of a whole batch are large enough to be shared out themselves.
pub(super) const MOST_WEIGHTS_OF_SHARES: usize = 1 << 18;

/// Multiply-adds of a way back on which weights change at once, which can't be given up any more: some tenths of a second where a core is
/// free for it.
const MOST_NOT_GIVEN_UP: usize = 1 << 33;

/// The most shares that go side by side: each has sums of its own. It decides the order of the sums, too.
const MOST_TOGETHER: usize = 8;

/// How many shares go, where there are not more threads, before these meet and the shares' sums are added up: meeting
/// costs time, sums cost memory.
const SHARES_BETWEEN_MEETINGS: usize = 8;

/// Buffers for batches of up to `rows` rows.
#[derive(Debug)]
pub(crate) struct Pass<F> {
    rooms: Rooms<F>,
    gradients: Buffer<F>,
    /// The most rows of a share.
    most: usize,
    /// Whether the shares go side by side.
    together: bool,
    /// One for each share that goes side by side with others, or for each thread that takes part.
    shares: Vec<Share<F>>,
    /// One for each share between two meetings.
    sums: Vec<Sums<F>>,
    team: Team,
    stop: Stop,
}

impl<F: Float> Pass<F> {
    /// For the loss and its gradients.
    pub(crate) fn new(network: &Network<F>, loss: &LossSpec, rows: usize) -> Self {
        let operations = network.scored(loss);
        let most = match network.trainable.len() > MOST_WEIGHTS_OF_SHARES {
            true => rows,
            false if is_across_rows(operations) => rows.div_ceil(MOST_TOGETHER).max(SHARE_ROWS),
            false => SHARE_ROWS,
        };
        Self::in_shares(network, operations, rows, most.min(rows))
    }

    /// For the outputs alone.
    pub(crate) fn of_all(network: &Network<F>, rows: usize) -> Self {
        Self::in_shares(network, &network.operations, rows, rows)
    }

    fn in_shares(network: &Network<F>, operations: &[Operation], rows: usize, most: usize) -> Self {
        Self {
            rooms: Rooms::new(rows, network.inputs, network.outputs),
            gradients: Buffer::filled(F::ZERO, network.trainable.len()),
            most,
            together: network.trainable.len() <= MOST_WEIGHTS_OF_SHARES && is_across_rows(operations),
            shares: vec![Share::new(network, operations, most)],
            sums: Vec::new(),
            team: Team::default(),
            stop: Stop::default(),
        }
    }

    /// Runs are given up soon after `stop` is asked for. What such a run returns and leaves means nothing, the moving
    /// averages included.
    pub(crate) fn heed(&mut self, stop: Stop) {
        for share in &mut self.shares {
            share.products.heed(Some(stop.clone()));
        }
        self.stop = stop;
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// How many rows the shares of a batch of so many have, but for the last: it depends on the batch, not on what the pass was
    /// made for, so that a batch has the same bits in any pass.
    fn share_rows(&self, rows: usize) -> usize {
        let most = match self.together {
            true => rows.div_ceil(MOST_TOGETHER).max(SHARE_ROWS).min(self.most),
            false => self.most,
        };
        rows.div_ceil(rows.div_ceil(most))
    }

    /// Whether batches of so many rows go in several shares.
    pub(crate) fn is_shared(&self, rows: usize) -> bool {
        rows > self.share_rows(rows)
    }

    /// Who shares out the next runs.
    pub(crate) fn set_team(&mut self, team: Team) {
        self.team = team;
    }

    pub(crate) fn team(&self) -> &Team {
        &self.team
    }

    /// Takes a batch through the network and back, and if the loss is finite the optimizer a step further.
    ///
    /// Returns the loss; `None` if it was given up, and the weights are the old ones then. Where nothing forbids it each
    /// weight changes as soon as its gradient is known, while both are in the cache; the gradients aren't kept then.
    ///
    /// # Panics
    /// If the batch has more rows than the pass was made for.
    pub(crate) fn train<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        loss: &LossSpec,
        batch: &Batch<'_, P>,
        (optimizer, state): (&OptimizerSpec, &mut OptimizerState<F>),
    ) -> Option<f64> {
        if !optimizer.clips() && network.layout.penalized().next().is_none() {
            return self.there_and_back(network, loss, batch, Some((optimizer, state)));
        }
        let loss = self.run(network, loss, batch)?;
        if loss.is_finite() {
            optimizer.apply(network, &mut self.gradients, state, &self.team);
        }
        Some(loss)
    }

    /// Takes a batch through the network and back.
    ///
    /// Returns the loss: the mean over the rows, penalties included; `None` if it was given up. The gradients are those of
    /// this very number; moving averages advance.
    ///
    /// # Panics
    /// If the batch has more rows than the pass was made for.
    pub(crate) fn run<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        loss: &LossSpec,
        batch: &Batch<'_, P>,
    ) -> Option<f64> {
        let loss = self.there_and_back(network, loss, batch, None)?;
        Some(loss + network.penalize(&mut self.gradients))
    }

    /// The loss without penalties.
    fn there_and_back<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        loss: &LossSpec,
        batch: &Batch<'_, P>,
        step: Option<(&OptimizerSpec, &mut OptimizerState<F>)>,
    ) -> Option<f64> {
        let operations = network.operations.clone();
        let operations = &operations[..network.scored(loss).len()];
        let total = match self.is_shared(batch.rows) {
            true if self.together => self.run_together(network, operations, loss, batch, step),
            true => self.run_shares(network, operations, loss, batch, step),
            false => self.run_whole(network, operations, loss, batch, step),
        };
        Some(total? / batch.rows as f64)
    }

    /// The batch as one share; Σ of the rows' losses.
    fn run_whole<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        operations: &[Operation],
        loss: &LossSpec,
        batch: &Batch<'_, P>,
        step: Option<(&OptimizerSpec, &mut OptimizerState<F>)>,
    ) -> Option<f64> {
        let (team, stop) = (self.team.clone(), self.stop.clone());
        let (mut rows, share, gradients) = self.whole(batch);
        let weights = (&*network.trainable, &mut *network.moving);
        let total = share.forward_and_score(operations, weights, loss, &mut rows, batch.random);
        let weights = network.trainable.len();
        let at_once = weights > MOST_WEIGHTS_OF_SHARES && weights.saturating_mul(batch.rows) <= MOST_NOT_GIVEN_UP;
        match step.filter(|_| total.is_finite()) {
            Some((optimizer, state)) if at_once && !stop.is_asked() => {
                let update = optimizer.begin_step(state);
                let weights = Changing::new(state.part(&mut network.trainable), &update);
                share.backward_and_update(operations, weights, &mut rows, gradients);
            }
            step => {
                share.backward(operations, &network.trainable, &mut rows, gradients);
                if stop.is_asked() {
                    return None;
                }
                if let Some((optimizer, state)) = step {
                    let update = optimizer.begin_step(state);
                    update.apply(state.part(&mut network.trainable), gradients, &team);
                }
            }
        }
        Some(total)
    }

    /// Takes a batch through all operations of a pass made for the outputs alone.
    pub(crate) fn forward<P: Fill<F>>(&mut self, network: &mut Network<F>, batch: &Batch<'_, P>) {
        let operations = network.operations.clone();
        let (mut rows, share, _) = self.whole(batch);
        let weights = (&*network.trainable, &mut *network.moving);
        share.forward(&operations, weights, &mut rows, batch.random);
    }

    /// The batch as one share, filled, and room for its gradients.
    fn whole<P: Fill<F>>(&mut self, batch: &Batch<'_, P>) -> (Rows<'_, F>, &mut Share<F>, &mut [F]) {
        let share = &mut self.shares[0];
        share.products.set_team(&self.team);
        let mut parts = self.rooms.parts(batch.rows, batch.rows, batch.weighted);
        let mut rows = parts.next().expect("a batch has rows");
        rows.fill_by(&self.team, &batch.fill);
        (rows, share, &mut self.gradients)
    }

    /// Each thread takes one share after the other; Σ of the rows' losses.
    fn run_shares<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        operations: &[Operation],
        loss: &LossSpec,
        batch: &Batch<'_, P>,
        mut step: Option<(&OptimizerSpec, &mut OptimizerState<F>)>,
    ) -> Option<f64> {
        let size = self.share_rows(batch.rows);
        let shares = batch.rows.div_ceil(size);
        let at_once = self.at_once(shares);
        self.make_room(network, operations, self.team.size().min(shares), at_once);
        let run = |weights: &[F], share: &mut Share<F>, mut rows: Rows<'_, F>, sums: &mut Sums<F>| {
            rows.fill(&batch.fill);
            let random = batch.random.clone().of_share(rows.first / size);
            // What has moving averages goes side by side.
            let moving = &mut [][..];
            sums.loss = share.forward_and_score(operations, (weights, moving), loss, &mut rows, &random);
            share.backward(operations, weights, &mut rows, &mut sums.gradients);
        };
        let mut parts = self.rooms.parts(batch.rows, size, batch.weighted);
        let stop = &self.stop;
        let mut total = 0.0;
        for first in (0..batch.rows).step_by(at_once * size) {
            let left = (batch.rows - first).div_ceil(size);
            let sums = &mut self.sums[..at_once.min(left)];
            let queue = Mutex::new(sums.iter_mut().zip(&mut parts));
            let next = || match stop.is_asked() {
                true => None,
                false => queue.lock().expect("taking the next share doesn't panic").next(),
            };
            let work = |share: &mut Share<F>| {
                while let Some((sums, rows)) = next() {
                    run(&network.trainable, share, rows, sums);
                }
            };
            match at_once {
                1 => work(&mut self.shares[0]),
                _ => self.team.for_each(&mut self.shares, work),
            }
            if stop.is_asked() {
                return None;
            }
            sums.iter().for_each(|sums| total += sums.loss);
            let sums = match first {
                0 => sums::begin_with(&mut self.gradients, sums),
                _ => sums,
            };
            let last = first + at_once * size >= batch.rows && total.is_finite();
            let step = step.take_if(|_| last);
            sums::add(&mut self.gradients, sums, &mut network.trainable, step, &self.team);
        }
        Some(total)
    }

    /// All shares side by side; Σ of the rows' losses.
    fn run_together<P: Fill<F>>(
        &mut self,
        network: &mut Network<F>,
        operations: &[Operation],
        loss: &LossSpec,
        batch: &Batch<'_, P>,
        step: Option<(&OptimizerSpec, &mut OptimizerState<F>)>,
    ) -> Option<f64> {
        let size = self.share_rows(batch.rows);
        let shares = batch.rows.div_ceil(size);
        self.make_room(network, operations, shares, shares);
        let parts = self.rooms.parts(batch.rows, size, batch.weighted);
        let sides = self.shares.iter_mut().zip(&mut self.sums).zip(parts).enumerate();
        let sides = sides.map(|(number, ((share, sums), rows))| Side {
            share,
            rows,
            sums,
            random: batch.random.clone().of_share(number),
        });
        let mut together = Together {
            operations,
            sides: sides.collect(),
            rows: batch.rows,
            team: &self.team,
            stop: &self.stop,
        };
        together.run((&network.trainable, &mut network.moving), loss, &batch.fill)?;
        let sums = &mut self.sums[..shares];
        let total: f64 = sums.iter().map(|sums| sums.loss).sum();
        let others = sums::begin_with(&mut self.gradients, sums);
        let step = step.filter(|_| total.is_finite());
        sums::add(&mut self.gradients, others, &mut network.trainable, step, &self.team);
        Some(total)
    }

    /// How many of so many shares go between two meetings.
    fn at_once(&self, shares: usize) -> usize {
        match self.team.size().min(shares) {
            1 => 1,
            threads => shares.min(threads.max(SHARES_BETWEEN_MEETINGS)),
        }
    }

    fn make_room(&mut self, network: &Network<F>, operations: &[Operation], shares: usize, sums: usize) {
        while self.shares.len() < shares {
            let mut share = Share::new(network, operations, self.most);
            share.products.heed(Some(self.stop.clone()));
            self.shares.push(share);
        }
        for share in &mut self.shares {
            share.products.set_team(&Team::default());
        }
        while self.sums.len() < sums {
            self.sums.push(Sums::new(network.trainable.len()));
        }
    }

    /// The outputs of the last run's first `rows` rows.
    pub(crate) fn outputs(&self, rows: usize) -> &[F] {
        self.rooms.outputs(rows)
    }

    /// The targets of the last run's first `rows` rows.
    pub(crate) fn targets(&self, rows: usize) -> &[F] {
        self.rooms.targets(rows)
    }

    /// The gradients of the last run, laid out as the trainable weights.
    pub(crate) fn gradients(&mut self) -> &mut [F] {
        &mut self.gradients
    }
}

/// Whether what an operation does to a row depends on the rows around it.
fn is_across_rows(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| operation.across_rows().is_some())
}

#[cfg(test)]
mod tests;
