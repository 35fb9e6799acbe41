//! From a spec to a plan: the defaults that suit the target, and whether all parts fit each other.

use super::bounds::MAX_WIDTH;
use super::reader::Reader;
use super::{Activation, DenseSpec, Fault, LayerSpec, LossSpec, Metric, MetricName, ModelSpec, OptimizerSpec, Plan};
use super::{ScheduleSpec, Target};
use crate::nn::loss::{BinaryCrossentropySpec, CategoricalCrossentropySpec, MseSpec};
use crate::nn::optimizer::AdamSpec;

/// Units of each of the two hidden layers of a network that nobody has described.
const DEFAULT_UNITS: u32 = 64;

pub(super) struct Check<'a> {
    at: &'a str,
    inputs: usize,
    target: Target,
    reader: Reader,
}

impl<'a> Check<'a> {
    pub(super) fn new(at: &'a str, inputs: usize, target: Target) -> Self {
        Self {
            at,
            inputs,
            target,
            reader: Reader::default(),
        }
    }

    pub(super) fn plan(mut self, spec: &ModelSpec) -> Result<Plan, Vec<Fault>> {
        if self.inputs == 0 || self.inputs as u64 > MAX_WIDTH {
            let said = format!(
                "the network must have from 1 to {MAX_WIDTH} inputs, not {}",
                self.inputs
            );
            self.reader.fault(self.at, said);
        }
        if self.target == Target::Classes(1) || self.target == Target::Classes(0) {
            self.reader.fault(
                self.at,
                "a classification needs at least two classes in the target column",
            );
        }
        let layers = spec
            .layers
            .clone()
            .unwrap_or_else(|| self.default_layers(spec.loss.as_ref()));
        let last = Last::of(&layers, self.inputs);
        self.check_layers(&layers, &last);
        let loss = spec.loss.clone().unwrap_or_else(|| self.default_loss(&last));
        self.check_loss(&loss, &last);
        let optimizer = spec.optimizer.clone().unwrap_or_else(|| AdamSpec::new().into());
        check_optimizer(&mut self.reader, &optimizer, &format!("{}/optimizer", self.at));
        let metrics = spec.metrics.clone().unwrap_or_else(|| self.default_metrics(&loss));
        self.check_metrics(&metrics, &last);
        let (inputs, outputs) = (self.inputs, last.outputs);
        match self.reader.faults.is_empty() {
            true => Ok(Plan {
                inputs,
                outputs,
                layers,
                loss,
                optimizer,
                metrics,
            }),
            false => Err(self.reader.faults),
        }
    }

    fn fault(&mut self, pointer: impl AsRef<str>, detail: impl Into<String>) {
        self.reader.fault(format!("{}/{}", self.at, pointer.as_ref()), detail);
    }

    fn default_layers(&mut self, loss: Option<&LossSpec>) -> Vec<LayerSpec> {
        let hidden = DenseSpec {
            activation: Activation::Swish,
            ..DenseSpec::new(DEFAULT_UNITS)
        };
        let binary = matches!(loss, Some(LossSpec::BinaryCrossentropy(_)));
        let (units, activation) = match self.target {
            Target::Regression => (1, Activation::Linear),
            Target::Classes(2) if binary => (1, Activation::Sigmoid),
            Target::Classes(classes) if binary => (classes, Activation::Sigmoid),
            Target::Classes(classes) => (classes, Activation::Softmax),
            Target::Columns(columns) => {
                let activation = loss.and_then(LossSpec::fused_activation).unwrap_or(Activation::Linear);
                if columns.is_none() {
                    self.fault(
                        "layers",
                        "layers is required: nothing else says how many outputs the network has",
                    );
                }
                (columns.unwrap_or(1), activation)
            }
        };
        let units = u32::try_from(units.max(1)).unwrap_or(u32::MAX);
        let output = DenseSpec {
            activation,
            ..DenseSpec::new(units)
        };
        vec![hidden.clone().into(), hidden.into(), output.into()]
    }

    fn check_layers(&mut self, layers: &[LayerSpec], last: &Last) {
        let has_weights = |layer: &LayerSpec| !matches!(layer, LayerSpec::Dropout(_) | LayerSpec::Activation(_));
        if !layers.iter().any(has_weights) {
            self.fault(
                "layers",
                "must have at least one layer with weights to train, such as dense",
            );
        }
        let units = last.units_pointer();
        let found = last.outputs;
        match self.target {
            Target::Regression if found != 1 => {
                self.fault(
                    units,
                    format!("the last layer must have 1 unit for a number to predict, not {found}"),
                );
            }
            Target::Classes(2) if found == 1 && last.activation != Activation::Softmax => {}
            Target::Classes(classes) if found != classes => {
                let said = format!("the last layer must have {classes} units, one for each class, not {found}");
                self.fault(units, said);
            }
            Target::Columns(Some(columns)) if found != columns => {
                let said = format!("the last layer must have {columns} units, one for each column of y, not {found}");
                self.fault(units, said);
            }
            _ if found as u64 > MAX_WIDTH => {
                self.fault(
                    units,
                    format!("the network must have at most {MAX_WIDTH} outputs, not {found}"),
                );
            }
            _ => {}
        }
        if found == 1 && last.activation == Activation::Softmax {
            let said = "a softmax of one unit is always 1; use sigmoid for two classes, linear for a number";
            self.fault(last.activation_pointer(), said);
        }
    }

    /// The loss that the target and the last activation speak for.
    fn default_loss(&mut self, last: &Last) -> LossSpec {
        match (self.target, last.activation) {
            (Target::Regression, _) => MseSpec::new().into(),
            (_, Activation::Softmax) => CategoricalCrossentropySpec::new().into(),
            (_, Activation::Sigmoid) => BinaryCrossentropySpec::new().into(),
            (Target::Classes(_), _) => {
                let said =
                    "the last activation must be softmax to tell classes apart (or sigmoid, with binary_crossentropy)";
                self.fault(last.activation_pointer(), said);
                MseSpec::new().into()
            }
            (Target::Columns(_), _) => MseSpec::new().into(),
        }
    }

    fn check_loss(&mut self, loss: &LossSpec, last: &Last) {
        let Some(activation) = loss.fused_activation() else {
            return;
        };
        if self.target == Target::Regression {
            let said = format!(
                "{} is for classes; for numbers use mse, mae, huber, log_cosh or poisson",
                loss.name()
            );
            self.fault("loss", said);
        } else if last.activation != activation {
            let (name, wanted) = (loss.name(), activation.name());
            let said = format!(
                "with {name} the last activation must be {wanted}, not {}",
                last.activation.name()
            );
            self.fault(last.activation_pointer(), said);
        }
    }

    fn default_metrics(&self, loss: &LossSpec) -> Vec<Metric> {
        match self.target {
            Target::Regression => vec![MetricName::Mae.into()],
            Target::Classes(_) => vec![MetricName::Accuracy.into()],
            Target::Columns(_) if loss.is_crossentropy() => vec![MetricName::Accuracy.into()],
            Target::Columns(_) => Vec::new(),
        }
    }

    fn check_metrics(&mut self, metrics: &[Metric], last: &Last) {
        for (index, metric) in metrics.iter().enumerate() {
            let name = metric.name();
            if self.target == Target::Regression && metric.is_for_classes() {
                let said = format!("{name} is for classes; for numbers there are mae, mse, rmse and r2");
                self.fault(format!("metrics/{index}"), said);
            } else if last.outputs == 1 && *metric == MetricName::TopK.into() {
                self.fault(format!("metrics/{index}"), "top_k needs one output for each class");
            }
        }
    }
}

/// Whether the parts of an optimizer fit each other, which needs no data to be known.
pub(super) fn check_optimizer(reader: &mut Reader, optimizer: &OptimizerSpec, at: &str) {
    let common = optimizer.common();
    let warms_up = match common.schedule {
        Some(ScheduleSpec::CosineDecay(cosine)) => cosine.warmup_target.is_some() && cosine.warmup_steps > 0,
        Some(ScheduleSpec::PiecewiseConstantDecay(_)) => true,
        _ => false,
    };
    if common.learning_rate == 0.0 && !warms_up {
        let said = "must be above 0 (and up to 1000): with a rate of 0 nothing is learned";
        reader.fault(format!("{at}/learning_rate"), said);
    }
    if let Some(ScheduleSpec::PiecewiseConstantDecay(pieces)) = common.schedule {
        let wanted = pieces.boundaries.len() + 1;
        if pieces.values.len() != wanted {
            let given = pieces.values.len();
            let said = format!("must have one rate more than there are boundaries: {wanted}, not {given}");
            reader.fault(format!("{at}/schedule/values"), said);
        }
    }
    let clips = [common.clipnorm, common.clipvalue, common.global_clipnorm];
    if clips.iter().flatten().count() > 1 {
        let said = "at most one of clipnorm, clipvalue and global_clipnorm may be given";
        reader.fault(at, said);
    }
}

/// What the last layers say about the network's outputs.
struct Last {
    outputs: usize,
    /// Position of the dense layer that gives the outputs their number.
    units: Option<usize>,
    /// The activation that the very last layer applies.
    activation: Activation,
    layer: usize,
}

impl Last {
    fn of(layers: &[LayerSpec], inputs: usize) -> Self {
        let dense = layers.iter().enumerate().rev().find_map(|(index, layer)| match layer {
            LayerSpec::Dense(dense) => Some((index, dense.units as usize)),
            _ => None,
        });
        let activation = match layers.last() {
            Some(LayerSpec::Dense(dense)) => dense.activation,
            Some(LayerSpec::Activation(layer)) => layer.activation,
            _ => Activation::Linear,
        };
        Self {
            outputs: dense.map_or(inputs, |(_, units)| units),
            units: dense.map(|(index, _)| index),
            activation,
            layer: layers.len().saturating_sub(1),
        }
    }

    fn units_pointer(&self) -> String {
        self.units
            .map_or("layers".to_owned(), |layer| format!("layers/{layer}/units"))
    }

    fn activation_pointer(&self) -> String {
        format!("layers/{}/activation", self.layer)
    }
}
