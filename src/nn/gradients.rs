//! fit() opened up: the pieces of a training step one by one, for callers who write the loop themselves.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, s};

use super::clip;
use super::kernel::{Float, Team};
use super::network::Network;
use super::optimizer::OptimizerState;
use super::pass::{Batch, Pass, Room};
use super::rng::Random;
use super::spec::{Fault, Plan};
use super::weights::LayerWeights;

/// ∂loss/∂w for every weight w that is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<F> {
    /// Laid out as the network's trainable weights.
    values: Vec<F>,
}

impl<F: Float> Network<F> {
    /// The loss of a batch (penalties included) and its gradients, in training mode.
    ///
    /// `x` (n, inputs), `y` (n, outputs), `weights` (n). Moving averages advance, weights stay; `random` decides what
    /// dropout drops.
    ///
    /// # Panics
    /// If the network isn't the plan's, or the shapes don't fit.
    pub fn gradients(
        &mut self,
        plan: &Plan,
        x: ArrayView2<'_, F>,
        y: ArrayView2<'_, F>,
        weights: Option<ArrayView1<'_, F>>,
        random: &Random,
    ) -> (f64, Gradients<F>) {
        let rows = x.nrows();
        assert_eq!(
            (x.ncols(), y.ncols(), y.nrows()),
            (self.inputs, self.outputs, rows),
            "shapes of x and y"
        );
        let mut pass = Pass::new(self, &plan.loss, rows);
        if let Some(weights) = weights {
            assert_eq!(weights.len(), rows, "a weight for each row");
        }
        let batch = Batch {
            rows,
            weighted: weights.is_some(),
            random,
            fill: |rows: Range<usize>, room: Room<'_, F>| {
                copy(room.x, x.slice(s![rows.clone(), ..]).iter());
                copy(room.y, y.slice(s![rows.clone(), ..]).iter());
                if let Some(weights) = weights {
                    copy(room.weights, weights.slice(s![rows]).iter());
                }
            },
        };
        let loss = pass
            .run(self, &plan.loss, &batch)
            .expect("nobody can ask this pass to stop");
        (
            loss,
            Gradients {
                values: pass.gradients().to_vec(),
            },
        )
    }

    /// Outputs (n, outputs) of the rows of `x` in training mode: moving averages advance, dropout drops.
    ///
    /// # Panics
    /// If `x` hasn't as many columns as the network has inputs.
    pub fn forward_in_training(&mut self, x: ArrayView2<'_, F>, random: &Random) -> Array2<F> {
        assert_eq!(x.ncols(), self.inputs, "columns of x");
        let rows = x.nrows();
        let mut pass = Pass::of_all(self, rows);
        let batch = Batch {
            rows,
            weighted: false,
            random,
            fill: |_: Range<usize>, room: Room<'_, F>| copy(room.x, x.iter()),
        };
        pass.forward(self, &batch);
        Array2::from_shape_vec((rows, self.outputs), pass.outputs(rows).to_vec()).expect("as many as there are")
    }

    /// Changes the weights by gradients, as the plan's optimizer does it: clipping, schedule and all.
    ///
    /// # Panics
    /// If network, gradients or state aren't the plan's.
    pub fn apply_gradients(&mut self, plan: &Plan, mut gradients: Gradients<F>, state: &mut OptimizerState<F>) {
        assert_eq!(
            gradients.values.len(),
            self.trainable.len(),
            "a gradient for each weight"
        );
        plan.optimizer
            .apply(self, &mut gradients.values, state, &Team::default());
    }
}

fn copy<'a, F: Float>(room: &mut [F], values: impl Iterator<Item = &'a F>) {
    room.iter_mut().zip(values).for_each(|(room, value)| *room = *value);
}

impl<F: Float> Gradients<F> {
    /// √Σ g² over all of them.
    pub fn norm(&self) -> f64 {
        clip::norm(&self.values)
    }

    /// By layer and name, as the weights are.
    pub fn by_layer(&self, network: &Network<F>) -> Vec<LayerWeights> {
        network.layout.by_layer(&self.values, None)
    }

    /// From what a client sends: one object a layer, the arrays that are trained.
    ///
    /// Errors: every array that the network hasn't got or whose shape is another, with pointers that start with `at`.
    pub fn from_layers(network: &Network<F>, layers: &[LayerWeights], at: &str) -> Result<Self, Vec<Fault>> {
        network.layout.check(layers, at, false)?;
        let mut values = vec![F::ZERO; network.trainable.len()];
        for place in network.layout.trainable() {
            let given = layers[place.layer].get(place.name).expect("checked");
            let room = values[place.range.clone()].iter_mut();
            room.zip(&given.data)
                .for_each(|(value, given)| *value = F::from_f32(*given));
        }
        Ok(Self { values })
    }

    /// The numbers of one array, row-major.
    pub fn of(&self, network: &Network<F>, layer: usize, name: &str) -> Option<&[F]> {
        network
            .layout
            .place(layer, name)
            .filter(|place| place.trainable)
            .map(|place| &self.values[place.range.clone()])
    }
}
