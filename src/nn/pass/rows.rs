//! The rows of a batch, and those of a share.

use std::ops::Range;

use crate::nn::kernel::{Buffer, Float, Team};
use crate::nn::rng::Random;

/// What a pass runs on.
pub(crate) struct Batch<'a, P> {
    pub(crate) rows: usize,
    /// Whether the rows have factors.
    pub(crate) weighted: bool,
    /// Decides what dropout drops.
    pub(crate) random: &'a Random,
    /// A [`Fill`].
    pub(crate) fill: P,
}

/// Puts some of the batch's rows into their places.
pub(crate) trait Fill<F>: Fn(Range<usize>, Room<'_, F>) + Sync {}

impl<F, P: Fn(Range<usize>, Room<'_, F>) + Sync> Fill<F> for P {}

/// The places of some rows.
pub(crate) struct Room<'a, F> {
    /// (n, inputs)
    pub(crate) x: &'a mut [F],
    /// (n, outputs)
    pub(crate) y: &'a mut [F],
    /// (n): factors of the rows, where there are any.
    pub(crate) weights: &'a mut [F],
}

/// Room for the rows of batches.
#[derive(Debug)]
pub(super) struct Rooms<F> {
    inputs: usize,
    columns: usize,
    /// (n, inputs)
    x: Buffer<F>,
    /// (n, columns)
    targets: Buffer<F>,
    /// (n)
    weights: Buffer<F>,
    /// (n, columns)
    outputs: Buffer<F>,
}

/// A share's rows in the batch.
pub(super) struct Rows<'a, F> {
    /// Where in the batch they begin.
    pub(super) first: usize,
    /// Rows of the whole batch, over which the loss is a mean.
    pub(super) of: usize,
    /// (n, inputs); on the way back what the first operation kept.
    pub(super) x: &'a mut [F],
    /// (n, outputs)
    pub(super) targets: &'a mut [F],
    /// (n): factors of the rows, where they have any.
    pub(super) weights: &'a mut [F],
    pub(super) weighted: bool,
    /// (n, outputs): what the network makes of them.
    pub(super) outputs: &'a mut [F],
}

impl<F: Float> Rooms<F> {
    pub(super) fn new(rows: usize, inputs: usize, columns: usize) -> Self {
        Self {
            inputs,
            columns,
            x: Buffer::filled(F::ZERO, rows * inputs),
            targets: Buffer::filled(F::ZERO, rows * columns),
            weights: Buffer::filled(F::ONE, rows),
            outputs: Buffer::filled(F::ZERO, rows * columns),
        }
    }

    /// The first `count` rows in parts of `size` each; the last may have less.
    pub(super) fn parts(&mut self, count: usize, size: usize, weighted: bool) -> impl Iterator<Item = Rows<'_, F>> {
        let (inputs, columns) = (self.inputs, self.columns);
        self.weights[..count]
            .chunks_mut(size)
            .zip(self.x.chunks_mut(size * inputs))
            .zip(self.targets.chunks_mut(size * columns))
            .zip(self.outputs.chunks_mut(size * columns))
            .enumerate()
            .map(move |(number, (((weights, x), targets), outputs))| Rows {
                first: number * size,
                of: count,
                x: &mut x[..weights.len() * inputs],
                targets: &mut targets[..weights.len() * columns],
                outputs: &mut outputs[..weights.len() * columns],
                weights,
                weighted,
            })
    }

    /// What the last run made of its first `rows` rows.
    pub(super) fn outputs(&self, rows: usize) -> &[F] {
        &self.outputs[..rows * self.columns]
    }

    /// The targets of the last run's first `rows` rows.
    pub(super) fn targets(&self, rows: usize) -> &[F] {
        &self.targets[..rows * self.columns]
    }
}

/// The fewest numbers that a thread fetches.
const FILLED: usize = 2048;

impl<F: Float> Rows<'_, F> {
    pub(super) fn count(&self) -> usize {
        self.weights.len()
    }

    /// Has the rows put into their places.
    pub(super) fn fill(&mut self, fill: &impl Fill<F>) {
        let room = Room {
            x: &mut *self.x,
            y: &mut *self.targets,
            weights: &mut *self.weights,
        };
        fill(self.first..self.first + room.weights.len(), room);
    }

    /// The same by a team: most of it is waiting for memory.
    pub(super) fn fill_by(&mut self, team: &Team, fill: &impl Fill<F>) {
        let n = self.count();
        let (inputs, columns) = (self.x.len() / n, self.targets.len() / n);
        let size = team.piece(n, FILLED / inputs + 1..=n);
        if n <= size {
            return self.fill(fill);
        }
        let rooms = self
            .weights
            .chunks_mut(size)
            .zip(self.x.chunks_mut(size * inputs))
            .zip(self.targets.chunks_mut(size * columns));
        let rooms = rooms.enumerate();
        team.for_each(rooms, |(part, ((weights, x), y))| {
            let first = self.first + part * size;
            fill(first..first + weights.len(), Room { x, y, weights });
        });
    }
}
