//! Where each weight array of a network stands in two flat buffers: the trainable weights, and the moving averages.
//!
//! One buffer for all that is trained, and one of the same layout for its gradients and each optimizer slot: an update
//! is one pass over flat memory, a checkpoint a few flat arrays.

use std::ops::Range;

use super::kernel::Float;
use super::spec::reader::child;
use super::spec::{Fault, LayerSpec, Plan};
use super::weights::{LayerWeights, Tensor};

/// Arrays start at multiples of so many elements (a cache line of f32); the gaps stay zero.
pub(crate) const ALIGNMENT: usize = 16;

/// One weight array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Position of its layer in the spec.
    pub(crate) layer: usize,
    pub(crate) name: &'static str,
    pub(crate) shape: Vec<usize>,
    /// Whether it is in the trainable buffer, else among the moving averages.
    pub(crate) trainable: bool,
    pub(crate) range: Range<usize>,
    /// Factors of Σ|w| and Σw² in the loss.
    pub(crate) penalty: (f64, f64),
}

/// All weight arrays in Keras's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    pub(crate) places: Vec<Place>,
    pub(crate) layers: usize,
    /// Lengths of the two buffers.
    pub(crate) trainable: usize,
    pub(crate) moving: usize,
}

impl Layout {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut layout = Self {
            layers: plan.layers.len(),
            ..Self::default()
        };
        let mut inputs = plan.inputs;
        for (layer, spec) in plan.layers.iter().enumerate() {
            match spec {
                LayerSpec::Dense(dense) => {
                    let units = dense.units as usize;
                    layout.add(
                        layer,
                        "kernel",
                        vec![inputs, units],
                        true,
                        (dense.kernel_l1, dense.kernel_l2),
                    );
                    if dense.use_bias {
                        layout.add(layer, "bias", vec![units], true, (0.0, 0.0));
                    }
                    inputs = units;
                }
                LayerSpec::BatchNormalization(_) => {
                    layout.add(layer, "gamma", vec![inputs], true, (0.0, 0.0));
                    layout.add(layer, "beta", vec![inputs], true, (0.0, 0.0));
                    layout.add(layer, "moving_mean", vec![inputs], false, (0.0, 0.0));
                    layout.add(layer, "moving_variance", vec![inputs], false, (0.0, 0.0));
                }
                LayerSpec::LayerNormalization(_) => {
                    layout.add(layer, "gamma", vec![inputs], true, (0.0, 0.0));
                    layout.add(layer, "beta", vec![inputs], true, (0.0, 0.0));
                }
                LayerSpec::Dropout(_) | LayerSpec::Activation(_) => {}
            }
        }
        layout
    }

    fn add(&mut self, layer: usize, name: &'static str, shape: Vec<usize>, trainable: bool, penalty: (f64, f64)) {
        let end = if trainable {
            &mut self.trainable
        } else {
            &mut self.moving
        };
        let start = *end;
        let range = start..start + shape.iter().product::<usize>();
        *end = range.end.next_multiple_of(ALIGNMENT);
        self.places.push(Place {
            layer,
            name,
            shape,
            trainable,
            range,
            penalty,
        });
    }

    /// The arrays of one layer.
    pub(crate) fn of_layer(&self, layer: usize) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(move |place| place.layer == layer)
    }

    /// A layer's array, if it has it.
    pub(crate) fn place(&self, layer: usize, name: &str) -> Option<&Place> {
        self.of_layer(layer).find(|place| place.name == name)
    }

    /// The arrays that are trained.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.trainable)
    }

    /// Where the trained weights of a layer stand, with the gaps behind them.
    pub(crate) fn trained_of_layer(&self, layer: usize) -> Range<usize> {
        let places = self.trainable().filter(|place| place.layer == layer);
        let ranges = places.map(|place| place.range.start..place.range.end.next_multiple_of(ALIGNMENT));
        ranges
            .reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))
            .unwrap_or_default()
    }

    /// The arrays whose weights are punished for their size.
    pub(crate) fn penalized(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.penalty != (0.0, 0.0))
    }

    /// The arrays of the trainable buffer, and of the moving one where it is given, by layer and name.
    pub(crate) fn by_layer<F: Float>(&self, trainable: &[F], moving: Option<&[F]>) -> Vec<LayerWeights> {
        let mut layers = vec![LayerWeights::default(); self.layers];
        for place in &self.places {
            let Some(buffer) = (if place.trainable { Some(trainable) } else { moving }) else {
                continue;
            };
            let data = buffer[place.range.clone()].iter().map(|w| w.to_f32()).collect();
            let tensor = Tensor {
                shape: place.shape.clone(),
                data,
            };
            layers[place.layer].0.push((place.name.to_owned(), tensor));
        }
        layers
    }

    /// Whether the arrays are this layout's: all of them, or with `moving` false those that are trained.
    pub(crate) fn check(&self, weights: &[LayerWeights], at: &str, moving: bool) -> Result<(), Vec<Fault>> {
        if weights.len() != self.layers {
            let said = format!(
                "must have one object for each of the {} layers, not {}",
                self.layers,
                weights.len()
            );
            return Err(vec![Fault::new(at, said)]);
        }
        let mut faults = Vec::new();
        for (layer, given) in weights.iter().enumerate() {
            let at = format!("{at}/{layer}");
            let wanted: Vec<&Place> = self.of_layer(layer).filter(|place| moving || place.trainable).collect();
            for place in &wanted {
                match given.get(place.name) {
                    None => faults.push(Fault::new(
                        child(&at, place.name),
                        format!("{} is required", place.name),
                    )),
                    Some(tensor) if tensor.shape != place.shape => {
                        let said = format!("must have the shape {:?}, not {:?}", place.shape, tensor.shape);
                        faults.push(Fault::new(child(&at, place.name), said));
                    }
                    Some(_) => {}
                }
            }
            let unknown = given
                .0
                .iter()
                .filter(|(name, _)| wanted.iter().all(|place| place.name != name));
            faults.extend(unknown.map(|(name, _)| {
                let names: Vec<&str> = wanted.iter().map(|place| place.name).collect();
                let known = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                Fault::new(
                    child(&at, name),
                    format!("this layer has no such weights; it has {known}"),
                )
            }));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}
