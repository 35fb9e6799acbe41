//! The metrics: figures for people, beside the loss.

use serde::Serialize;
use utoipa::ToSchema;

use crate::nn::spec::bounds::place;
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::names;

names! {
    /// A figure beside the loss; t are the targets, y the network's outputs.
    "metric" MetricName {
        /// Share of rows whose largest output is their class; with one output: that is on its side of ½.
        "accuracy" | "acc" | "categorical_accuracy" | "binary_accuracy" => Accuracy,
        /// mean |y − t|
        "mae" | "mean_absolute_error" => Mae,
        /// mean (y − t)²
        "mse" | "mean_squared_error" => Mse,
        /// √mean (y − t)²
        "rmse" | "root_mean_squared_error" => Rmse,
        /// 1 − Σ(y − t)² / Σ(t − mean t)², the mean over the outputs
        "r2" | "r2_score" => R2,
        /// Share of the outputs above ½ whose target is 1.
        "precision" => Precision,
        /// Share of the targets 1 whose output is above ½.
        "recall" => Recall,
        /// Harmonic mean of precision and recall of each class, the mean over the classes.
        "f1" | "f1_score" => F1,
        /// Area under the ROC curve, over 200 thresholds.
        "auc" => Auc,
        /// Share of rows whose class is among their k (5) largest outputs.
        "top_k" | "top_k_categorical_accuracy" => TopK,
    }
}

/// Share of rows whose class is among their `k` largest outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopKSpec {
    #[serde(rename = "type")]
    #[schema(inline)]
    pub kind: TopKType,
    #[schema(minimum = 1, maximum = 1000, default = 5)]
    pub k: u32,
}

/// The one value of `type` in a TopKSpec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub enum TopKType {
    #[default]
    #[serde(rename = "top_k")]
    TopK,
}

/// A metric: its name, or `{"type": "top_k", "k": 3}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Metric {
    Name(MetricName),
    TopK(TopKSpec),
}

impl Metric {
    /// The name of its column in a history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name(name) => name.name(),
            Self::TopK(_) => MetricName::TopK.name(),
        }
    }

    /// Whether a larger figure is the better one.
    pub fn more_is_better(self) -> bool {
        !matches!(self, Self::Name(MetricName::Mae | MetricName::Mse | MetricName::Rmse))
    }

    pub fn read(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Self> {
        if !value.is_object() {
            return MetricName::read(reader, value, at).map(Self::Name);
        }
        let fields = reader.object(value, at, &["type", "k"])?;
        let name = reader.required(&fields, "type", MetricName::read)?;
        let k = reader.optional(&fields, "k", place);
        if name == MetricName::TopK {
            let kind = TopKType::TopK;
            return Some(Self::TopK(TopKSpec {
                kind,
                k: k.unwrap_or(5),
            }));
        }
        if fields.has("k") {
            reader.fault(fields.pointer_to("k"), format!("{} takes no k", name.name()));
        }
        Some(Self::Name(name))
    }
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Self {
        Self::Name(name)
    }
}
