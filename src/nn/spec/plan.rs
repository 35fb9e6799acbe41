//! The checked network: only a [`Plan`] can train.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Check;
use super::{Fault, LayerSpec, LossSpec, Metric, ModelSpec, OptimizerSpec};
use crate::nn::layout::Layout;
use crate::nn::pass::{MOST_WEIGHTS_OF_SHARES, SHARE_ROWS};
use crate::nn::summary::Summary;
use crate::nn::weights::LayerWeights;

/// What the network is to put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One number.
    Regression,
    /// One of so many classes: one-hot columns, or one 0/1 column for two classes and one output.
    Classes(usize),
    /// Columns as they come (sessions); `None`: as many as the last layer has.
    Columns(Option<usize>),
}

/// Numbers of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParameterCounts {
    pub total: u64,
    pub trainable: u64,
    pub non_trainable: u64,
}

/// A network that fits its data, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub inputs: usize,
    /// Columns of what it puts out, and of its targets: the classes one-hot, or 1.
    pub outputs: usize,
    pub layers: Vec<LayerSpec>,
    pub loss: LossSpec,
    pub optimizer: OptimizerSpec,
    pub metrics: Vec<Metric>,
}

impl ModelSpec {
    /// Fills in the defaults and checks everything that can be known before the rows are.
    ///
    /// Errors: every fault, with pointers that start with `at`.
    pub fn plan(&self, at: &str, inputs: usize, target: Target) -> Result<Plan, Vec<Fault>> {
        Check::new(at, inputs, target).plan(self)
    }
}

impl Plan {
    /// The spec that gives this plan: nothing left out.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            layers: Some(self.layers.clone()),
            loss: Some(self.loss.clone()),
            optimizer: Some(self.optimizer.clone()),
            metrics: Some(self.metrics.clone()),
        }
    }

    pub fn parameters(&self) -> ParameterCounts {
        let count = |wanted: bool| {
            let places = Layout::new(self).places;
            places
                .iter()
                .filter(|place| place.trainable == wanted)
                .map(|place| place.range.len() as u64)
                .sum()
        };
        let (trainable, non_trainable): (u64, u64) = (count(true), count(false));
        ParameterCounts {
            total: trainable + non_trainable,
            trainable,
            non_trainable,
        }
    }

    /// An upper estimate of what a training of `rows` rows (validation included) with this batch size holds in memory.
    ///
    /// The rows as f32, the pass of one batch forward and back, the weights with gradients (one set for each share of the
    /// batch) and optimizer slots, and four copies of weights and slots: the last finite ones, the best ones, a checkpoint
    /// being made and one being written.
    pub fn memory_bytes(&self, rows: u64, batch_size: u64) -> u128 {
        const NUMBER: u128 = 4;
        // No machine that this is made for has more; each takes one share at a time.
        const MOST_THREADS: u128 = 64;
        let layout = Layout::new(self);
        let (rows, batch) = (u128::from(rows), u128::from(batch_size.min(rows).max(256)));
        // Each dense layer with an activation keeps two arrays; two more hold the gradients on their way back.
        let widths: Vec<u128> = self.widths().map(|width| width as u128).collect();
        let widest = widths.iter().copied().max().unwrap_or(0);
        let in_shares = batch.next_multiple_of(SHARE_ROWS as u128);
        let pass = in_shares * (2 * widths.iter().sum::<u128>() + 2 * widest);
        let matrix = rows * (self.inputs as u128 + self.outputs as u128 + 2);
        let weights = (layout.trainable + layout.moving) as u128;
        let slots = self.optimizer.slots() as u128;
        let kept = weights * (1 + slots + 4 * (1 + slots));
        let shares = match layout.trainable > MOST_WEIGHTS_OF_SHARES {
            true => 1,
            false => batch.div_ceil(SHARE_ROWS as u128).min(MOST_THREADS),
        };
        NUMBER * (matrix + pass + kept + weights * (1 + shares))
    }

    /// Multiply-adds of a step over so many rows: each dense layer's product, and its two on the way back.
    pub fn multiply_adds(&self, rows: u64) -> u128 {
        let widths: Vec<usize> = self.widths().collect();
        let product = |(layer, spec): (usize, &LayerSpec)| match spec {
            LayerSpec::Dense(_) => widths[layer] as u128 * widths[layer + 1] as u128,
            _ => 0,
        };
        3 * u128::from(rows) * self.layers.iter().enumerate().map(product).sum::<u128>()
    }

    /// The inputs, then the outputs of each layer.
    fn widths(&self) -> impl Iterator<Item = usize> {
        let outputs = self.layers.iter().scan(self.inputs, |width, layer| {
            if let LayerSpec::Dense(dense) = layer {
                *width = dense.units as usize;
            }
            Some(*width)
        });
        std::iter::once(self.inputs).chain(outputs)
    }

    /// The columns of a history of this plan: `loss`, the metrics, then with validation their `val_` twins.
    pub fn figure_names(&self, validation: bool) -> Vec<String> {
        let mut names = vec!["loss".to_owned()];
        names.extend(self.metrics.iter().map(|metric| metric.name().to_owned()));
        if validation {
            let twins: Vec<String> = names.iter().map(|name| format!("val_{name}")).collect();
            names.extend(twins);
        }
        names
    }

    /// Whether weights are this plan's, array by array; allocates nothing, whatever the plan's size.
    ///
    /// Errors: every layer whose arrays are others, with pointers that start with `at`.
    pub fn check_weights(&self, weights: &[LayerWeights], at: &str) -> Result<(), Vec<Fault>> {
        Layout::new(self).check(weights, at, true)
    }

    pub fn summary(&self) -> Summary {
        Summary::new(self)
    }
}
