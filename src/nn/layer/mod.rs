//! The layers: the words that name them, and the operations that they are made of.
//!
//! Axis letters: `n` rows, `i` inputs, `o` outputs. In training an operation's forward pass may overwrite its input
//! with what its backward pass will want to know; that is the operation's `trace`. `d_y` is ∂loss/∂y.

mod activate;
mod batch_normalization;
mod dense;
mod dropout;
mod layer_normalization;

use std::ops::Range;

use activate::Activate;
pub(crate) use batch_normalization::BatchNormalization;
use dense::Dense;
use dropout::Dropout;
use layer_normalization::LayerNormalization;

use super::kernel::{Buffer, Float, Team, Workspace};
use super::layout::Layout;
use super::optimizer::Changing;
use super::rng::Random;
use super::spec::Plan;
use crate::nn::activation::Activation;
use crate::nn::init::Initializer;
use crate::nn::spec::bounds::{boolean, epsilon, factor, share, width};
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{ReadField, vocabulary};

vocabulary! {
    /// One layer of a network.
    "layer" LayerOrName LayerSpec {
        /// y = activation(x·kernel + bias)
        "dense" => Dense(DenseSpec, DenseType)
        required {
            /// Outputs of the layer.
            #[schema(minimum = 1, maximum = 65536, example = 64)]
            units: u32 [width],
        }
        optional {
            activation: Activation [Activation::read] = Activation::Linear,
            use_bias: bool [boolean] = true,
            kernel_initializer: Initializer [Initializer::read] = Initializer::GlorotUniform,
            /// Adds this times Σ|w| to the loss.
            #[schema(minimum = 0)]
            kernel_l1: f64 [factor] = 0.0,
            /// Adds this times Σw² to the loss.
            #[schema(minimum = 0)]
            kernel_l2: f64 [factor] = 0.0,
        }

        /// y = gamma·(x − mean)/√(variance + epsilon) + beta over the rows of a batch; moving averages outside training.
        "batch_normalization" => BatchNormalization(BatchNormalizationSpec, BatchNormalizationType)
        optional {
            /// How much of the moving averages each batch keeps.
            #[schema(minimum = 0, exclusive_maximum = 1)]
            momentum: f64 [share] = 0.99,
            #[schema(exclusive_minimum = 0, maximum = 1)]
            epsilon: f64 [epsilon] = 1e-3,
        }

        /// y = gamma·(x − mean)/√(variance + epsilon) + beta over the columns of each row.
        "layer_normalization" => LayerNormalization(LayerNormalizationSpec, LayerNormalizationType)
        optional {
            #[schema(exclusive_minimum = 0, maximum = 1)]
            epsilon: f64 [epsilon] = 1e-3,
        }

        /// In training sets each input to 0 with probability `rate` and divides the others by 1 − rate.
        "dropout" => Dropout(DropoutSpec, DropoutType)
        required {
            #[schema(minimum = 0, exclusive_maximum = 1, example = 0.2)]
            rate: f64 [share],
        }

        /// y = activation(x)
        "activation" => Activation(ActivationSpec, ActivationType)
        required {
            activation: Activation [Activation::read],
        }
    }
}

/// One step of a network's forward pass. A dense layer with an activation is two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// Position of its layer in the spec.
    pub(crate) layer: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Where its weights stand among the trainable ones.
    weights: Option<Range<usize>>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Dense(Dense),
    Activate(Activate),
    BatchNormalization(BatchNormalization),
    LayerNormalization(LayerNormalization),
    Dropout(Dropout),
}

/// What the operations of a network share in one pass over `rows` rows.
pub(crate) struct Context<'a, F> {
    pub(crate) rows: usize,
    /// All trainable weights.
    pub(crate) weights: &'a [F],
    pub(crate) products: &'a mut Workspace<F>,
}

/// What an operation needs for its way back, beside the weights.
pub(crate) struct Way<'a, F> {
    pub(crate) rows: usize,
    pub(crate) products: &'a mut Workspace<F>,
    pub(crate) statistics: &'a mut [F],
    pub(crate) trace: &'a mut [F],
    /// Holds d_y and then d_x.
    pub(crate) d: &'a mut Turns<F>,
    /// Whether anybody does: the first operation with weights is spared it.
    pub(crate) wants_d_x: bool,
}

fn activate(activation: Activation) -> Option<Kind> {
    (activation != Activation::Linear).then_some(Kind::Activate(Activate(activation)))
}

/// Two buffers that take turns: an operation works in `now`, or from `now` into `next`, which then change places.
#[derive(Debug)]
pub(crate) struct Turns<F> {
    pub(crate) now: Buffer<F>,
    pub(crate) next: Buffer<F>,
}

impl<F: Float> Turns<F> {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            now: Buffer::filled(F::ZERO, size),
            next: Buffer::filled(F::ZERO, size),
        }
    }

    fn swap(&mut self) {
        std::mem::swap(&mut self.now, &mut self.next);
    }
}

impl Kind {
    fn has_weights(&self) -> bool {
        !matches!(self, Kind::Activate(_) | Kind::Dropout(_))
    }
}

impl Operation {
    /// The operations of a network, in order. Layers that do nothing (linear activation, dropout of 0) have none.
    pub(crate) fn of_plan(plan: &Plan, layout: &Layout) -> Vec<Self> {
        let mut operations = Vec::new();
        let mut width = plan.inputs;
        for (layer, spec) in plan.layers.iter().enumerate() {
            let kinds = match spec {
                LayerSpec::Dense(spec) => [Some(Kind::Dense(Dense::new(layer, layout))), activate(spec.activation)],
                LayerSpec::BatchNormalization(spec) => [
                    Some(Kind::BatchNormalization(BatchNormalization::new(spec, layer, layout))),
                    None,
                ],
                LayerSpec::LayerNormalization(spec) => [
                    Some(Kind::LayerNormalization(LayerNormalization::new(spec, layer, layout))),
                    None,
                ],
                LayerSpec::Dropout(spec) => [
                    (spec.rate > 0.0).then_some(Kind::Dropout(Dropout { rate: spec.rate })),
                    None,
                ],
                LayerSpec::Activation(spec) => [activate(spec.activation), None],
            };
            for kind in kinds.into_iter().flatten() {
                let inputs = width;
                if let Kind::Dense(dense) = &kind {
                    width = dense.units();
                }
                operations.push(Self {
                    layer,
                    inputs,
                    outputs: width,
                    weights: kind.has_weights().then(|| layout.trained_of_layer(layer)),
                    kind,
                });
            }
        }
        operations
    }

    /// How many numbers it keeps from its forward to its backward pass beside its trace.
    pub(crate) fn statistics(&self, rows: usize) -> usize {
        match self.kind {
            Kind::BatchNormalization(_) => 3 * self.outputs,
            Kind::LayerNormalization(_) => rows,
            Kind::Dense(_) | Kind::Activate(_) | Kind::Dropout(_) => 0,
        }
    }

    /// Training: `x` (n,i) becomes the trace, `y` (n,o) the output; moving averages advance.
    pub(crate) fn forward<F: Float>(
        &self,
        context: &mut Context<F>,
        moving: &mut [F],
        random: &Random,
        statistics: &mut [F],
        x: &mut [F],
        y: &mut [F],
    ) {
        match &self.kind {
            Kind::Dense(dense) => dense.forward(context, x, y),
            Kind::Activate(activate) => activate.forward(context.products.team(), self.outputs, x, y),
            Kind::BatchNormalization(layer) => layer.forward(context, moving, statistics, x, y),
            Kind::LayerNormalization(layer) => layer.forward(context, statistics, x, y),
            Kind::Dropout(dropout) => dropout.forward(random.clone().stream(self.layer as u64), x, y),
        }
    }

    /// `gradients` gets those of its weights.
    pub(crate) fn backward<F: Float>(&self, weights: &[F], way: Way<'_, F>, gradients: &mut [F]) {
        let d_y = &mut way.d.now[..way.rows * self.outputs];
        let mut context = Context {
            rows: way.rows,
            weights,
            products: way.products,
        };
        match &self.kind {
            Kind::Dense(dense) => {
                let d_x = way.wants_d_x.then(|| &mut way.d.next[..way.rows * self.inputs]);
                dense.backward(&mut context, way.trace, d_y, d_x, gradients);
                way.d.swap();
            }
            Kind::Activate(activate) => {
                activate.backward(context.products.team(), self.outputs, way.trace, d_y);
            }
            Kind::BatchNormalization(layer) => layer.backward(&mut context, way.statistics, way.trace, d_y, gradients),
            Kind::LayerNormalization(layer) => layer.backward(&mut context, way.statistics, way.trace, d_y, gradients),
            Kind::Dropout(dropout) => dropout.backward(way.trace, d_y),
        }
    }

    /// Backward, after which its weights are changed. `gradients` is room for those of them.
    pub(crate) fn backward_and_update<F: Float>(&self, mut all: Changing<'_, F>, way: Way<'_, F>, gradients: &mut [F]) {
        if let Kind::Dense(dense) = &self.kind
            && dense.gains_by_update_at_once(way.rows)
        {
            let d_x = way.wants_d_x.then(|| &mut way.d.next[..way.rows * self.inputs]);
            let d_y = &way.d.now[..way.rows * self.outputs];
            dense.backward_and_update(all, (way.rows, way.products), way.trace, d_y, d_x, gradients);
            way.d.swap();
            return;
        }
        let team = way.products.team().clone();
        self.backward(all.weights(), way, gradients);
        if let Some(range) = self.weights.clone() {
            all.slice(range.clone()).change_by(&gradients[range], &team);
        }
    }

    /// Inference: `x` holds the input and then the output. Each row depends on itself alone.
    pub(crate) fn infer<F: Float>(&self, context: &mut Context<'_, F>, moving: &[F], x: &mut Turns<F>) {
        let input = &mut x.now[..context.rows * self.inputs];
        match &self.kind {
            Kind::Dense(dense) => {
                dense.forward(context, input, &mut x.next[..context.rows * self.outputs]);
                x.swap();
            }
            Kind::Activate(activate) => activate.infer(self.outputs, input),
            Kind::BatchNormalization(layer) => layer.infer(context, moving, input),
            Kind::LayerNormalization(layer) => layer.infer(context, input),
            Kind::Dropout(_) => {}
        }
    }

    /// Inference that [`Self::infer_backward`] can follow: `x` (n,i) becomes the trace, `y` (n,o) the output.
    pub(crate) fn infer_with_trace<F: Float>(
        &self,
        context: &mut Context<F>,
        moving: &[F],
        statistics: &mut [F],
        x: &mut [F],
        y: &mut [F],
    ) {
        match &self.kind {
            Kind::Dense(dense) => dense.forward(context, x, y),
            Kind::Activate(activate) => activate.forward(&Team::default(), self.outputs, x, y),
            Kind::BatchNormalization(layer) => {
                y.copy_from_slice(x);
                layer.infer(context, moving, y);
            }
            Kind::LayerNormalization(layer) => layer.forward(context, statistics, x, y),
            Kind::Dropout(_) => y.copy_from_slice(x),
        }
    }

    /// `d` holds d_y and then d_x; `gradients` is room for those of the weights, which mean nothing here.
    pub(crate) fn infer_backward<F: Float>(
        &self,
        context: &mut Context<F>,
        moving: &[F],
        statistics: &[F],
        trace: &mut [F],
        d: &mut Turns<F>,
        gradients: &mut [F],
    ) {
        let d_y = &mut d.now[..context.rows * self.outputs];
        match &self.kind {
            Kind::Dense(dense) => {
                dense.input_gradient(context, d_y, &mut d.next[..context.rows * self.inputs]);
                d.swap();
            }
            Kind::Activate(activate) => activate.backward(&Team::default(), self.outputs, trace, d_y),
            Kind::BatchNormalization(layer) => layer.infer_backward(context, moving, d_y),
            Kind::LayerNormalization(layer) => layer.backward(context, statistics, trace, d_y, gradients),
            Kind::Dropout(_) => {}
        }
    }

    /// What it is, if what it does to a row in training depends on the rows around it.
    pub(crate) fn across_rows(&self) -> Option<&BatchNormalization> {
        match &self.kind {
            Kind::BatchNormalization(layer) => Some(layer),
            _ => None,
        }
    }

    /// The first of `operations` with weights, or their number: below it nobody needs a gradient.
    pub(crate) fn first_with_weights(operations: &[Self]) -> usize {
        let first = operations.iter().position(Self::has_weights);
        first.unwrap_or(operations.len())
    }

    /// Whether training changes it.
    pub(crate) fn has_weights(&self) -> bool {
        self.kind.has_weights()
    }

    /// Whether it is the activation that a cross-entropy loss takes into its own arithmetic.
    pub(crate) fn is(&self, activation: Activation) -> bool {
        self.kind == Kind::Activate(Activate(activation))
    }
}
