//! What a network is asked to be ([`ModelSpec`], as written) and what it will be ([`Plan`], checked).

pub(crate) mod bounds;
mod check;
mod fault;
mod plan;
pub mod reader;
pub(crate) mod vocabulary;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use bounds::{MAX_LAYERS, MAX_WIDTH};
use check::check_optimizer;
pub use fault::Fault;
pub use plan::{ParameterCounts, Plan, Target};
use reader::Reader;

pub use super::activation::Activation;
pub use super::init::Initializer;
pub use super::layer::{
    ActivationSpec, BatchNormalizationSpec, DenseSpec, DropoutSpec, LayerNormalizationSpec, LayerOrName, LayerSpec,
};
pub use super::loss::{LossOrName, LossSpec};
pub use super::metric::{Metric, MetricName};
pub use super::optimizer::{OptimizerOrName, OptimizerSpec};
pub use super::schedule::{ScheduleOrName, ScheduleSpec};

/// A network as a client wrote it; what was left out is chosen for the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ModelSpec {
    /// From input to output; left out: two dense layers of 64 swish units, and the outputs that the target needs.
    #[schema(value_type = Option<Vec<LayerOrName>>, max_items = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<LayerSpec>>,
    /// Left out: cross-entropy for classes, mse for numbers.
    #[schema(value_type = Option<LossOrName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// Left out: adam.
    #[schema(value_type = Option<OptimizerOrName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerSpec>,
    /// Left out: accuracy for classes, mae for numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Metric>>,
}

impl ModelSpec {
    /// Reads what a client wrote; `None` where a fault was so grave that nothing can be made of it.
    pub fn read(reader: &mut Reader, value: &Value, at: &str) -> Option<Self> {
        let fields = reader.object(value, at, &["layers", "loss", "optimizer", "metrics"])?;
        Some(Self {
            layers: reader.optional(&fields, "layers", read_layers),
            loss: reader.optional(&fields, "loss", LossSpec::read),
            optimizer: reader.optional(&fields, "optimizer", read_optimizer),
            metrics: reader.optional(&fields, "metrics", read_metrics),
        })
    }

    /// Whether the loss makes it a classification whatever the target column's type.
    pub fn wants_classes(&self) -> bool {
        self.loss.as_ref().is_some_and(LossSpec::is_crossentropy)
    }
}

/// The stored form is read as a client's would be, so that the defaults stand in one place.
impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let mut reader = Reader::default();
        let spec = Self::read(&mut reader, &value, "");
        match (spec, reader.faults.first()) {
            (Some(spec), None) => Ok(spec),
            (_, fault) => {
                let said = fault.map_or_else(String::new, |fault| format!("{}: {}", fault.pointer, fault.detail));
                Err(serde::de::Error::custom(said))
            }
        }
    }
}

fn read_layers(reader: &mut Reader, value: &Value, at: &str) -> Option<Vec<LayerSpec>> {
    let items = reader.array(value, at)?;
    if items.is_empty() || items.len() > MAX_LAYERS {
        reader.fault(
            at,
            format!("must have from 1 to {MAX_LAYERS} layers, not {}", items.len()),
        );
        return None;
    }
    let layers: Vec<Option<LayerSpec>> = items
        .iter()
        .map(|(item, at)| LayerSpec::read(reader, item, at))
        .collect();
    layers.into_iter().collect()
}

/// An optimizer whose parts fit each other: a client is told here, together with all else that reading finds.
fn read_optimizer(reader: &mut Reader, value: &Value, at: &str) -> Option<OptimizerSpec> {
    let optimizer = OptimizerSpec::read(reader, value, at)?;
    check_optimizer(reader, &optimizer, at);
    Some(optimizer)
}

fn read_metrics(reader: &mut Reader, value: &Value, at: &str) -> Option<Vec<Metric>> {
    let mut metrics: Vec<Metric> = Vec::new();
    for (item, at) in reader.array(value, at)? {
        let Some(metric) = Metric::read(reader, item, &at) else {
            continue;
        };
        match metrics.iter().any(|known| known.name() == metric.name()) {
            true => reader.fault(at, format!("names the metric {:?} a second time", metric.name())),
            false => metrics.push(metric),
        }
    }
    Some(metrics)
}

#[cfg(test)]
mod tests;
