//! One pass of a batch through a network and back: the loss, the outputs and the gradients.
//!
//! A [`Pass`] owns every buffer that training needs; once made, nothing is allocated any more.

use super::kernel::{Float, Workspace, reduce};
use super::layer::{Context, Operation, Turns};
use super::network::Network;
use super::rng::Random;
use super::spec::LossSpec;

/// Buffers for batches of up to `rows` rows.
#[derive(Debug)]
pub(crate) struct Pass<F> {
    rows: usize,
    /// The input and then each operation's output; on the way back what the operations kept (their traces).
    values: Vec<Vec<F>>,
    statistics: Vec<Vec<F>>,
    targets: Vec<F>,
    weights: Vec<F>,
    /// Gradients by what the operations put out, and room to work in.
    d: Turns<F>,
    gradients: Vec<F>,
    products: Workspace<F>,
}

/// A batch's places in a pass, to be filled before it runs.
pub(crate) struct Batch<'a, F> {
    /// (n, inputs)
    pub(crate) x: &'a mut [F],
    /// (n, outputs)
    pub(crate) y: &'a mut [F],
    /// (n): factors of the rows, where there are any.
    pub(crate) weights: &'a mut [F],
}

impl<F: Float> Pass<F> {
    /// For the loss and its gradients.
    pub(crate) fn new(network: &Network<F>, loss: &LossSpec, rows: usize) -> Self {
        Self::over(network, network.scored(loss), rows)
    }

    /// For the outputs alone.
    pub(crate) fn of_all(network: &Network<F>, rows: usize) -> Self {
        Self::over(network, &network.operations, rows)
    }

    fn over(network: &Network<F>, operations: &[Operation], rows: usize) -> Self {
        let mut values = vec![vec![F::ZERO; rows * network.inputs]];
        values.extend(
            operations
                .iter()
                .map(|operation| vec![F::ZERO; rows * operation.outputs]),
        );
        let widest = values.iter().map(Vec::len).max().unwrap_or(0);
        Self {
            rows,
            values,
            statistics: operations
                .iter()
                .map(|operation| vec![F::ZERO; operation.statistics(rows)])
                .collect(),
            targets: vec![F::ZERO; rows * network.outputs],
            weights: vec![F::ONE; rows],
            d: Turns::new(widest),
            gradients: vec![F::ZERO; network.trainable.len()],
            products: Workspace::serial(),
        }
    }

    /// Whether the next runs may use the threads of rayon's current pool.
    pub(crate) fn set_parallel(&mut self, parallel: bool) {
        self.products.set_parallel(parallel);
    }

    /// Where the next batch of `rows` rows is to be put.
    pub(crate) fn batch(&mut self, rows: usize) -> Batch<'_, F> {
        assert!(rows <= self.rows, "a batch fits the pass");
        let Self {
            values,
            targets,
            weights,
            ..
        } = self;
        let (inputs, outputs) = (values[0].len() / self.rows, targets.len() / self.rows);
        Batch {
            x: &mut values[0][..rows * inputs],
            y: &mut targets[..rows * outputs],
            weights: &mut weights[..rows],
        }
    }

    /// Takes the batch's first `rows` rows through the network and back.
    ///
    /// Returns the loss: the mean over the rows, penalties included. The gradients are those of this very number;
    /// moving averages advance. `random` decides what dropout drops.
    pub(crate) fn run(
        &mut self,
        network: &mut Network<F>,
        loss: &LossSpec,
        rows: usize,
        weighted: bool,
        random: &Random,
    ) -> f64 {
        let operations = network.operations.clone();
        let operations = &operations[..network.scored(loss).len()];
        self.forward(network, operations, rows, random);
        let outputs = rows * network.outputs;
        let weights = weighted.then_some(&self.weights[..rows]);
        let y = self.values.last_mut().expect("the input at least");
        let total = loss.score(
            network.outputs,
            &mut y[..outputs],
            &self.targets[..outputs],
            weights,
            &mut self.d.now[..outputs],
            &mut self.d.next[..outputs],
        );
        self.backward(network, operations, rows);
        let penalty = network.penalize(&mut self.gradients);
        total / rows as f64 + penalty
    }

    /// Takes the batch's first `rows` rows through all operations of a pass made for the outputs alone.
    pub(crate) fn forward_all(&mut self, network: &mut Network<F>, rows: usize, random: &Random) {
        let operations = network.operations.clone();
        self.forward(network, &operations, rows, random);
    }

    fn forward(&mut self, network: &mut Network<F>, operations: &[Operation], rows: usize, random: &Random) {
        let Network { trainable, moving, .. } = network;
        let mut context = Context {
            rows,
            weights: trainable,
            products: &mut self.products,
        };
        for (index, operation) in operations.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index + 1);
            let x = &mut before[index][..rows * operation.inputs];
            let y = &mut after[0][..rows * operation.outputs];
            let statistics = &mut self.statistics[index][..operation.statistics(rows)];
            operation.forward(&mut context, moving, random, statistics, x, y);
        }
    }

    fn backward(&mut self, network: &Network<F>, operations: &[Operation], rows: usize) {
        // Below the first operation with weights nobody needs a gradient.
        let first = operations
            .iter()
            .position(Operation::has_weights)
            .unwrap_or(operations.len());
        let mut context = Context {
            rows,
            weights: &network.trainable,
            products: &mut self.products,
        };
        for (index, operation) in operations.iter().enumerate().skip(first).rev() {
            let trace = &mut self.values[index][..rows * operation.inputs];
            let statistics = &self.statistics[index][..operation.statistics(rows)];
            operation.backward(
                &mut context,
                statistics,
                trace,
                &mut self.d,
                &mut self.gradients,
                index > first,
            );
        }
    }

    /// The outputs of the last run's first `rows` rows.
    pub(crate) fn outputs(&self, rows: usize) -> &[F] {
        let y = self.values.last().expect("the input at least");
        &y[..rows * (y.len() / self.rows)]
    }

    /// The targets of the last run's first `rows` rows.
    pub(crate) fn targets(&self, rows: usize) -> &[F] {
        &self.targets[..rows * (self.targets.len() / self.rows)]
    }

    /// The gradients of the last run, laid out as the trainable weights.
    pub(crate) fn gradients(&mut self) -> &mut [F] {
        &mut self.gradients
    }
}

impl<F: Float> Network<F> {
    /// Adds the penalties' gradients and returns the penalties: Σ l1·|w| + l2·w² over the kernels that have them.
    pub(super) fn penalize(&self, gradients: &mut [F]) -> f64 {
        for place in self.layout.penalized() {
            let (l1, twice_l2) = (F::from_f64(place.penalty.0), F::from_f64(2.0 * place.penalty.1));
            let weights = &self.trainable[place.range.clone()];
            for (g, &w) in gradients[place.range.clone()].iter_mut().zip(weights) {
                let sign = if w > F::ZERO { F::ONE } else { F::ZERO } - if w < F::ZERO { F::ONE } else { F::ZERO };
                *g += l1 * sign + twice_l2 * w;
            }
        }
        self.penalty()
    }

    /// The penalties alone.
    pub(super) fn penalty(&self) -> f64 {
        let of = |weights: &[F], (l1, l2): (f64, f64)| {
            let size = |block: &[F]| block.iter().map(|w| w.abs().to_f64()).sum::<f64>();
            let square = |block: &[F]| reduce::sum_of_squares(block).to_f64();
            weights
                .chunks(1024)
                .map(|block| l1 * size(block) + l2 * square(block))
                .sum::<f64>()
        };
        self.layout
            .penalized()
            .map(|place| of(&self.trainable[place.range.clone()], place.penalty))
            .sum()
    }
}
