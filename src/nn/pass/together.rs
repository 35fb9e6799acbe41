//! A batch whose shares go side by side, for an operation in it looks at all rows.
//!
//! From one such operation to the next each share goes by itself; there they meet, and what each has summed up becomes what
//! all of them go on with.

use super::rows::{Fill, Rows};
use super::share::{Place, Share};
use super::sums::Sums;
use crate::nn::kernel::{Float, Stop, Team};
use crate::nn::layer::{BatchNormalization, Operation, Way};
use crate::nn::rng::Random;
use crate::nn::spec::LossSpec;

/// A share and what is its own.
pub(super) struct Side<'a, F> {
    pub(super) share: &'a mut Share<F>,
    pub(super) rows: Rows<'a, F>,
    pub(super) sums: &'a mut Sums<F>,
    pub(super) random: Random,
}

/// All shares of a batch.
pub(super) struct Together<'a, F> {
    pub(super) operations: &'a [Operation],
    pub(super) sides: Vec<Side<'a, F>>,
    /// Rows of the batch.
    pub(super) rows: usize,
    pub(super) team: &'a Team,
    pub(super) stop: &'a Stop,
}

impl<F: Float> Together<'_, F> {
    /// There and back: losses and gradients are in the shares' sums then. `None` if it was given up.
    pub(super) fn run(
        &mut self,
        (weights, moving): (&[F], &mut [F]),
        loss: &LossSpec,
        fill: &impl Fill<F>,
    ) -> Option<()> {
        let operations = self.operations;
        let operations_by_number = operations.iter().enumerate();
        let meetings: Vec<(usize, &BatchNormalization)> = operations_by_number
            .filter_map(|(at, operation)| Some((at, operation.across_rows()?)))
            .collect();
        self.each(|side| side.rows.fill(fill))?;
        let mut done = 0;
        for &(at, layer) in &meetings {
            self.forward_to_meeting(done, (at, layer), weights, moving)?;
            done = at;
        }
        let mut left = operations.len();
        self.each(|side| {
            side.forward(done, left, operations, weights);
            side.sums.loss = side.share.score(loss, &mut side.rows);
        })?;
        for &(at, layer) in meetings.iter().rev() {
            self.backward_to_meeting((at, layer), left, weights)?;
            left = at;
        }
        let first = Operation::first_with_weights(operations);
        self.each(|side| side.backward(first, left, operations, weights))
    }

    /// Operations from `done` on up to that at `at`, whose moments are known then.
    fn forward_to_meeting(
        &mut self,
        done: usize,
        (at, layer): (usize, &BatchNormalization),
        weights: &[F],
        moving: &mut [F],
    ) -> Option<()> {
        let (operations, rows) = (self.operations, self.rows);
        self.each(|side| {
            side.forward(done, at, operations, weights);
            let Place { x, statistics, .. } = side.place(at, operations);
            layer.sum(x, statistics);
        })?;
        layer.find_mean(rows, &mut self.statistics(at));
        self.each(|side| {
            let Place { x, statistics, .. } = side.place(at, operations);
            layer.sum_squares(x, statistics);
        })?;
        layer.find_variance(rows, &mut self.statistics(at), moving);
        Some(())
    }

    /// Back from `left` down to the operation at `at`, whose gradients are known then.
    fn backward_to_meeting(
        &mut self,
        (at, layer): (usize, &BatchNormalization),
        left: usize,
        weights: &[F],
    ) -> Option<()> {
        let operations = self.operations;
        self.each(|side| {
            side.backward(at + 1, left, operations, weights);
            let Place { x, statistics, d, .. } = side.share.place(at, &operations[at], &mut side.rows);
            layer.sum_gradients(statistics, x, d, &mut side.sums.gradients);
        })?;
        layer.find_gradients(&mut self.statistics(at));
        Some(())
    }

    fn each(&mut self, work: impl Fn(&mut Side<'_, F>) + Sync) -> Option<()> {
        self.team.for_each(&mut self.sides, work);
        (!self.stop.is_asked()).then_some(())
    }

    /// What the shares keep of an operation.
    fn statistics(&mut self, at: usize) -> Vec<&mut [F]> {
        let operations = self.operations;
        let sides = self.sides.iter_mut();
        sides.map(|side| side.place(at, operations).statistics).collect()
    }
}

impl<F: Float> Side<'_, F> {
    fn place(&mut self, at: usize, operations: &[Operation]) -> Place<'_, F> {
        self.share.place(at, &operations[at], &mut self.rows)
    }

    /// Operations from `from` on up to `to`; across rows may be the first, whose moments are known.
    fn forward(&mut self, mut from: usize, to: usize, operations: &[Operation], weights: &[F]) {
        if let Some(layer) = operations[from..to].first().and_then(Operation::across_rows) {
            let Place { statistics, x, y, .. } = self.place(from, operations);
            layer.normalize(weights, statistics, x, y);
            from += 1;
        }
        let weights = (weights, &mut [][..]);
        self.share
            .forward_through(from..to, operations, weights, &mut self.rows, &self.random);
    }

    /// Back from `to` down to `from`; what is at `to`, if there is something, is across rows and has its gradients.
    fn backward(&mut self, from: usize, to: usize, operations: &[Operation], weights: &[F]) {
        if let Some(layer) = operations.get(to).and_then(Operation::across_rows) {
            let rows = self.rows.of;
            let Place { statistics, x, d, .. } = self.place(to, operations);
            layer.input_gradient(rows, weights, statistics, x, d);
        }
        let (n, gradients) = (self.rows.count(), &mut self.sums.gradients);
        let backward = |operation: &Operation, way: Way<'_, F>| operation.backward(weights, way, gradients);
        self.share
            .descend_through(from..to, operations, n, &mut self.rows, backward);
    }
}
