//! A share of a batch's rows on its way through the network and back.

use std::ops::Range;

use super::rows::Rows;
use crate::nn::kernel::{Buffer, Float, Workspace};
use crate::nn::layer::{Context, Operation, Turns, Way};
use crate::nn::network::Network;
use crate::nn::optimizer::Changing;
use crate::nn::rng::Random;
use crate::nn::spec::LossSpec;

/// The buffers of a share of up to so many rows.
#[derive(Debug)]
pub(super) struct Share<F> {
    /// The output of each operation but the last; on the way back what the operation after it kept (its trace).
    values: Vec<Buffer<F>>,
    statistics: Vec<Buffer<F>>,
    /// Gradients by what the operations put out, and room to work in.
    d: Turns<F>,
    /// The share's rows that have a gradient.
    kept: Vec<usize>,
    pub(super) products: Workspace<F>,
}

/// Rows without a gradient are left out where at least one in so many has none: moving the others has to pay.
const PAYS_FROM_ONE_IN: usize = 8;

/// What an operation works on in a share.
pub(super) struct Place<'a, F> {
    pub(super) products: &'a mut Workspace<F>,
    pub(super) statistics: &'a mut [F],
    /// (n, i); once it has gone forward its trace.
    pub(super) x: &'a mut [F],
    /// (n, o)
    pub(super) y: &'a mut [F],
    /// (n, o): on the way back ∂loss/∂y.
    pub(super) d: &'a mut [F],
}

impl<F: Float> Share<F> {
    pub(super) fn new(network: &Network<F>, operations: &[Operation], rows: usize) -> Self {
        let widths = operations.iter().map(|operation| operation.outputs);
        let widest = widths.clone().fold(network.inputs, usize::max);
        let inner = operations.len().saturating_sub(1);
        Self {
            values: widths
                .take(inner)
                .map(|width| Buffer::filled(F::ZERO, rows * width))
                .collect(),
            statistics: operations
                .iter()
                .map(|operation| Buffer::filled(F::ZERO, operation.statistics(rows)))
                .collect(),
            d: Turns::new(rows * widest),
            kept: Vec::with_capacity(rows),
            products: Workspace::serial().skipping_zeros(),
        }
    }

    /// Forward: returns Σ of the rows' losses and leaves their gradients for the way back.
    pub(super) fn forward_and_score(
        &mut self,
        operations: &[Operation],
        weights: (&[F], &mut [F]),
        loss: &LossSpec,
        rows: &mut Rows<'_, F>,
        random: &Random,
    ) -> f64 {
        self.forward(operations, weights, rows, random);
        self.score(loss, rows)
    }

    pub(super) fn score(&mut self, loss: &LossSpec, rows: &mut Rows<'_, F>) -> f64 {
        let size = rows.outputs.len();
        loss.score(
            [rows.of, size / rows.count()],
            rows.outputs,
            rows.targets,
            rows.weighted.then_some(&*rows.weights),
            &mut self.d.now[..size],
            &mut self.d.next[..size],
        )
    }

    /// The outputs in training mode.
    pub(super) fn forward(
        &mut self,
        operations: &[Operation],
        weights: (&[F], &mut [F]),
        rows: &mut Rows<'_, F>,
        random: &Random,
    ) {
        if operations.is_empty() {
            rows.outputs.copy_from_slice(rows.x);
        }
        self.forward_through(0..operations.len(), operations, weights, rows, random);
    }

    /// Some of the operations, when those before them are done.
    pub(super) fn forward_through(
        &mut self,
        some: Range<usize>,
        operations: &[Operation],
        (weights, moving): (&[F], &mut [F]),
        rows: &mut Rows<'_, F>,
        random: &Random,
    ) {
        for index in some {
            if self.products.is_stopped() {
                return;
            }
            let n = rows.count();
            let Place {
                products,
                statistics,
                x,
                y,
                ..
            } = self.place(index, &operations[index], rows);
            let mut context = Context {
                rows: n,
                weights,
                products,
            };
            operations[index].forward(&mut context, moving, random, statistics, x, y);
        }
    }

    /// What an operation works on.
    pub(super) fn place<'a>(
        &'a mut self,
        index: usize,
        operation: &Operation,
        rows: &'a mut Rows<'_, F>,
    ) -> Place<'a, F> {
        let n = rows.count();
        let (before, after) = self.values.split_at_mut(index);
        let x = before.last_mut().map_or(&mut *rows.x, |buffer| &mut **buffer);
        let y = after.first_mut().map_or(&mut *rows.outputs, |buffer| &mut **buffer);
        Place {
            products: &mut self.products,
            statistics: &mut self.statistics[index][..operation.statistics(n)],
            x: &mut x[..n * operation.inputs],
            y: &mut y[..n * operation.outputs],
            d: &mut self.d.now[..n * operation.outputs],
        }
    }

    /// Backward: `gradients` are laid out as `weights`, the trainable ones.
    pub(super) fn backward(
        &mut self,
        operations: &[Operation],
        weights: &[F],
        rows: &mut Rows<'_, F>,
        gradients: &mut [F],
    ) {
        self.descend(operations, rows, |operation, way| {
            operation.backward(weights, way, gradients)
        });
    }

    /// The same, and the weights change: each operation's own as soon as nobody needs the old ones. It is never given up.
    pub(super) fn backward_and_update(
        &mut self,
        operations: &[Operation],
        mut all: Changing<'_, F>,
        rows: &mut Rows<'_, F>,
        gradients: &mut [F],
    ) {
        let stop = self.products.heed(None);
        self.descend(operations, rows, |operation, way| {
            operation.backward_and_update(all.reborrow(), way, gradients);
        });
        self.products.heed(stop);
    }

    fn descend(
        &mut self,
        operations: &[Operation],
        rows: &mut Rows<'_, F>,
        backward: impl FnMut(&Operation, Way<'_, F>),
    ) {
        let first = Operation::first_with_weights(operations);
        let n = self.leave_out_rows(operations, first, rows);
        self.descend_through(first..operations.len(), operations, n, rows, backward);
    }

    /// Some of the operations, of which none is below the first with weights, when those after them are done.
    pub(super) fn descend_through(
        &mut self,
        some: Range<usize>,
        operations: &[Operation],
        n: usize,
        rows: &mut Rows<'_, F>,
        mut backward: impl FnMut(&Operation, Way<'_, F>),
    ) {
        let first = Operation::first_with_weights(operations);
        for index in some.rev() {
            let operation = &operations[index];
            if self.products.is_stopped() {
                return;
            }
            let trace = match index {
                0 => &mut *rows.x,
                _ => &mut *self.values[index - 1],
            };
            let way = Way {
                rows: n,
                products: &mut self.products,
                statistics: &mut self.statistics[index][..operation.statistics(n)],
                trace: &mut trace[..n * operation.inputs],
                d: &mut self.d,
                wants_d_x: index > first,
            };
            backward(operation, way);
        }
    }

    /// Rows whose gradients by the outputs are all zero, as those that are fitted exactly or have no weight, add nothing to
    /// any sum: where they are many, all that the backward pass down to operation `first` reads is compacted to the others.
    /// Returns how many these are.
    ///
    /// For finite numbers the bits stay the same, but for the sign of a sum that is zero. Where a row's gradient depends on
    /// the rows around it, nothing is left out.
    fn leave_out_rows(&mut self, operations: &[Operation], first: usize, rows: &mut Rows<'_, F>) -> usize {
        let n = rows.count();
        let columns = rows.outputs.len() / n;
        self.kept.clear();
        let d = self.d.now[..n * columns].chunks_exact(columns).enumerate();
        let with_gradient = d.filter(|(_, d)| d.iter().any(|d| *d != F::ZERO));
        self.kept.extend(with_gradient.map(|(row, _)| row));
        let pays = n - self.kept.len() >= n.div_ceil(PAYS_FROM_ONE_IN);
        if !pays || operations.iter().any(|operation| operation.across_rows().is_some()) {
            return n;
        }
        compact(&mut self.d.now, columns, &self.kept);
        for (index, operation) in operations.iter().enumerate().skip(first) {
            if self.products.is_stopped() {
                break;
            }
            let trace = match index {
                0 => &mut *rows.x,
                _ => &mut *self.values[index - 1],
            };
            compact(trace, operation.inputs, &self.kept);
            compact(&mut self.statistics[index], operation.statistics(1), &self.kept);
        }
        self.kept.len()
    }
}

/// Moves some rows, in their order, to the beginning.
fn compact<F: Float>(matrix: &mut [F], width: usize, rows: &[usize]) {
    let mut to = 0;
    for run in rows.chunk_by(|row, next| row + 1 == *next) {
        let from = run[0] * width;
        let length = run.len() * width;
        matrix.copy_within(from..from + length, to);
        to += length;
    }
}
