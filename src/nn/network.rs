//! A network with its weights: what predicts, and what a trainer trains.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};

use super::activation::Activation;
use super::kernel::{Buffer, Float, Workspace, reduce};
use super::layer::{Context, Operation, Turns};
use super::layout::Layout;
use super::rng::{Purpose, Random};
use super::spec::{Fault, LayerSpec, LossSpec, Plan};
use super::weights::LayerWeights;

/// Rows that a prediction takes through the network at a time, so that its memory doesn't grow with the request.
const PREDICTION_ROWS: usize = 256;

/// The weights of a planned network and the operations that use them.
#[derive(Clone, Debug)]
pub struct Network<F> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) operations: Arc<[Operation]>,
    pub(crate) layout: Arc<Layout>,
    /// All weights that are trained, as the layout places them.
    pub(crate) trainable: Buffer<F>,
    /// Moving means and variances.
    pub(crate) moving: Buffer<F>,
}

/// What a network computed on its way to one prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation<F> {
    /// The outputs of each layer of the spec, in order; the last are the prediction.
    pub layers: Vec<Vec<F>>,
    /// Where the last activation is a softmax: how its outputs came about.
    pub softmax: Option<Softmax<F>>,
}

/// `exponentials[j] = e^(logits[j] − max logits)`; outputs are `exponentials[j] / sum`.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax<F> {
    pub logits: Vec<F>,
    pub exponentials: Vec<F>,
    pub sum: F,
}

impl<F: Float> Network<F> {
    /// A network with its first weights: kernels as their initializers draw them, biases 0, gamma 1, variances 1.
    pub fn initialize(plan: &Plan, seed: u64) -> Self {
        let mut network = Self::zeroed(plan);
        let Self {
            layout,
            trainable,
            moving,
            ..
        } = &mut network;
        for place in &layout.places {
            let buffer = if place.trainable { &mut *trainable } else { &mut *moving };
            let weights = &mut buffer[place.range.clone()];
            match (place.name, &plan.layers[place.layer]) {
                ("kernel", LayerSpec::Dense(dense)) => {
                    let mut random = Random::new(seed, Purpose::Initialize, 0, 0).stream(place.layer as u64);
                    let mut drawn = vec![0.0; weights.len()];
                    dense
                        .kernel_initializer
                        .fill(&mut drawn, place.shape[0], place.shape[1], &mut random);
                    weights
                        .iter_mut()
                        .zip(drawn)
                        .for_each(|(w, drawn)| *w = F::from_f32(drawn));
                }
                ("gamma" | "moving_variance", _) => weights.fill(F::ONE),
                _ => {}
            }
        }
        network
    }

    /// A network with given weights.
    ///
    /// Errors: every layer whose arrays are not the plan's, with pointers that start with `at`.
    pub fn from_weights(plan: &Plan, weights: &[LayerWeights], at: &str) -> Result<Self, Vec<Fault>> {
        let mut network = Self::zeroed(plan);
        let Self {
            layout,
            trainable,
            moving,
            ..
        } = &mut network;
        layout.check(weights, at, true)?;
        for place in &layout.places {
            let buffer = if place.trainable { &mut *trainable } else { &mut *moving };
            let given = weights[place.layer].get(place.name).expect("checked");
            let placed = buffer[place.range.clone()].iter_mut();
            placed.zip(&given.data).for_each(|(w, given)| *w = F::from_f32(*given));
        }
        Ok(network)
    }

    /// A network of the plan's shape, every weight 0.
    pub(crate) fn zeroed(plan: &Plan) -> Self {
        let layout = Layout::new(plan);
        Self {
            inputs: plan.inputs,
            outputs: plan.outputs,
            operations: Operation::of_plan(plan, &layout).into(),
            trainable: Buffer::filled(F::ZERO, layout.trainable),
            moving: Buffer::filled(F::ZERO, layout.moving),
            layout: Arc::new(layout),
        }
    }

    /// Numbers that it gives for a row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// All weights, by layer and name.
    pub fn weights(&self) -> Vec<LayerWeights> {
        self.layout.by_layer(&self.trainable, Some(&self.moving))
    }

    /// The numbers of one of a layer's arrays, row-major.
    pub fn array(&self, layer: usize, name: &str) -> Option<&[F]> {
        let place = self.layout.place(layer, name)?;
        Some(&(if place.trainable { &self.trainable } else { &self.moving })[place.range.clone()])
    }

    /// The numbers of one of a layer's arrays, row-major, to be changed.
    pub fn array_mut(&mut self, layer: usize, name: &str) -> Option<&mut [F]> {
        let place = self.layout.place(layer, name)?;
        Some(
            &mut (if place.trainable {
                &mut self.trainable
            } else {
                &mut self.moving
            })[place.range.clone()],
        )
    }

    /// Whether every weight is finite.
    pub fn is_finite(&self) -> bool {
        reduce::all_finite(&self.trainable) && reduce::all_finite(&self.moving)
    }

    /// The operations up to where the loss takes over: all, or all but the activation that a cross-entropy fuses.
    pub(crate) fn scored(&self, loss: &LossSpec) -> &[Operation] {
        match (self.operations.split_last(), loss.fused_activation()) {
            (Some((last, before)), Some(activation)) if last.is(activation) => before,
            _ => &self.operations,
        }
    }

    /// Outputs (n, outputs) of the rows of `x` (n, inputs), in inference mode.
    ///
    /// Numerics: a row's outputs don't depend on the rows around it, to the last bit.
    ///
    /// # Panics
    /// If `x` hasn't as many columns as the network has inputs.
    pub fn predict(&self, x: ArrayView2<F>) -> Array2<F> {
        assert_eq!(x.ncols(), self.inputs, "columns of x");
        let mut y = Vec::with_capacity(x.nrows() * self.outputs);
        let mut inference = Inference::new(self, x.nrows().min(PREDICTION_ROWS));
        for block in x.axis_chunks_iter(ndarray::Axis(0), PREDICTION_ROWS) {
            let room = inference.input(block.nrows() * self.inputs);
            room.iter_mut().zip(block.iter()).for_each(|(room, x)| *room = *x);
            y.extend_from_slice(inference.run(self, &self.operations, block.nrows()));
        }
        Array2::from_shape_vec((x.nrows(), self.outputs), y).expect("each block gives its rows")
    }

    /// What the network computes for one row, layer by layer: the numbers of [`Self::predict`].
    ///
    /// # Panics
    /// If the row hasn't as many numbers as the network has inputs.
    pub fn explain(&self, row: &[F]) -> Explanation<F> {
        assert_eq!(row.len(), self.inputs, "numbers of the row");
        let mut inference = Inference::new(self, 1);
        inference.input(row.len()).copy_from_slice(row);
        let mut width = self.inputs;
        let mut softmax = None;
        let mut outputs = |layer: usize| {
            for operation in self.operations.iter().filter(|operation| operation.layer == layer) {
                softmax = operation
                    .is(Activation::Softmax)
                    .then(|| Softmax::of(&inference.values.now[..width]));
                inference.step(self, operation, 1);
                width = operation.outputs;
            }
            inference.values.now[..width].to_vec()
        };
        let layers = (0..self.layout.layers).map(&mut outputs).collect();
        Explanation { layers, softmax }
    }
}

impl<F: Float> Softmax<F> {
    fn of(logits: &[F]) -> Self {
        let largest = reduce::largest(logits);
        let exponentials: Vec<F> = logits.iter().map(|&z| (z - largest).exp()).collect();
        let sum = reduce::sum(&exponentials);
        Self {
            logits: logits.to_vec(),
            exponentials,
            sum,
        }
    }
}

/// Buffers for taking rows through a network in inference mode.
pub(crate) struct Inference<F> {
    values: Turns<F>,
    products: Workspace<F>,
}

impl<F: Float> Inference<F> {
    pub(crate) fn new(network: &Network<F>, rows: usize) -> Self {
        let widths = network.operations.iter().map(|operation| operation.outputs);
        let widest = widths.fold(network.inputs, usize::max);
        Self {
            values: Turns::new(rows * widest),
            products: Workspace::serial(),
        }
    }

    /// Where the input goes.
    pub(crate) fn input(&mut self, size: usize) -> &mut [F] {
        &mut self.values.now[..size]
    }

    /// Takes `rows` rows of input through the operations.
    pub(crate) fn run(&mut self, network: &Network<F>, operations: &[Operation], rows: usize) -> &mut [F] {
        operations
            .iter()
            .for_each(|operation| self.step(network, operation, rows));
        let width = operations.last().map_or(network.inputs, |operation| operation.outputs);
        &mut self.values.now[..rows * width]
    }

    fn step(&mut self, network: &Network<F>, operation: &Operation, rows: usize) {
        let mut context = Context {
            rows,
            weights: &network.trainable,
            products: &mut self.products,
        };
        operation.infer(&mut context, &network.moving, &mut self.values);
    }
}
