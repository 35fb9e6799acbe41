//! The metrics: figures for people, beside the loss.

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::kernel::Float;

use crate::nn::spec::bounds::place;
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{name_or_object_schema, names, push_schema};

names! {
    /// A figure beside the loss; t are the targets, y the network's outputs.
    "metric" MetricName {
        /// Share of rows whose largest output is their class; with one output: that is on its side of ½.
        "accuracy" | "acc" => Accuracy,
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
        /// Harmonic mean of precision and recall of each class, the mean over the classes. A row counts for each class that has
        /// its largest output, and for none if that is 0; with one output for the class if it is above ½.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Metric {
    Name(MetricName),
    TopK(TopKSpec),
}

impl PartialSchema for Metric {
    fn schema() -> RefOr<Schema> {
        let names: Vec<&str> = MetricName::ALL.iter().map(|name| name.name()).collect();
        name_or_object_schema(&names, "TopKSpec")
    }
}

impl ToSchema for Metric {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        push_schema::<TopKSpec>(schemas);
    }
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

    /// Whether it counts classes, so that it says nothing about numbers.
    pub(crate) fn is_for_classes(self) -> bool {
        !matches!(
            self,
            Self::Name(MetricName::Mae | MetricName::Mse | MetricName::Rmse | MetricName::R2)
        )
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

/// What a metric has counted so far; the figures that batches add up to, in f64.
///
/// What the numbers mean depends on the metric:
///   accuracy, mae, mse, rmse, top_k: a sum and how many were summed
///   precision, recall: hits and how many there could have been
///   f1: for each class hits, predictions and targets
///   auc: predictions by threshold, of targets 1 and then of the others
///   r2: for each column Σ(t − t₀), Σ(t − t₀)², Σ(y − t)² and t₀, the first target, so that equal targets have no variance
///     but 0; then the rows
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally(Vec<f64>);

impl Tally {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Thresholds of the ROC curve.
const THRESHOLDS: usize = 200;

/// What f1 takes for an output of 0. Source: `keras/src/metrics/f_score_metrics.py`.
const NO_OUTPUT: f64 = 1e-9;

impl Metric {
    pub(crate) fn start(self, columns: usize) -> Tally {
        let length = match self {
            Self::Name(MetricName::F1) => 3 * columns,
            Self::Name(MetricName::R2) => 4 * columns + 1,
            Self::Name(MetricName::Auc) => 2 * THRESHOLDS,
            _ => 2,
        };
        Tally(vec![0.0; length])
    }

    /// Counts rows in: outputs `y` and targets `t`, both (n,o).
    pub(crate) fn add<F: Float>(self, tally: &mut Tally, columns: usize, y: &[F], t: &[F]) {
        let totals = &mut tally.0[..];
        let rows = || y.chunks_exact(columns).zip(t.chunks_exact(columns));
        let each = || y.iter().zip(t);
        let half = F::from_f64(0.5);
        match self {
            Self::Name(MetricName::Accuracy) => {
                let hits = match columns {
                    1 => each()
                        .filter(|(y, t)| (**y > half) == (**t == F::ONE) && is_label(**t))
                        .count(),
                    _ => rows().filter(|(y, t)| largest(y) == largest(t)).count(),
                };
                totals[0] += hits as f64;
                totals[1] += (y.len() / columns) as f64;
            }
            Self::Name(MetricName::Mae) => {
                totals[0] += each().map(|(y, t)| (*y - *t).abs().to_f64()).sum::<f64>();
                totals[1] += y.len() as f64;
            }
            Self::Name(MetricName::Mse | MetricName::Rmse) => {
                totals[0] += each().map(|(y, t)| (*y - *t).to_f64().powi(2)).sum::<f64>();
                totals[1] += y.len() as f64;
            }
            Self::Name(MetricName::R2) => {
                let (columns, count) = totals.split_at_mut(4 * columns);
                for (y, t) in rows() {
                    for (sums, (y, t)) in columns.chunks_exact_mut(4).zip(y.iter().zip(t)) {
                        if count[0] == 0.0 {
                            sums[3] = t.to_f64();
                        }
                        let (error, from_first) = ((*y - *t).to_f64(), t.to_f64() - sums[3]);
                        sums[0] += from_first;
                        sums[1] += from_first * from_first;
                        sums[2] += error * error;
                    }
                    count[0] += 1.0;
                }
            }
            Self::Name(MetricName::Precision) => {
                totals[0] += each().filter(|(y, t)| **y > half && **t == F::ONE).count() as f64;
                totals[1] += each().filter(|(y, _)| **y > half).count() as f64;
            }
            Self::Name(MetricName::Recall) => {
                totals[0] += each().filter(|(y, t)| **y > half && **t == F::ONE).count() as f64;
                totals[1] += each().filter(|(_, t)| **t == F::ONE).count() as f64;
            }
            Self::Name(MetricName::F1) => {
                for (y, t) in rows() {
                    let most = y[largest(y)];
                    for (class, (y, t)) in y.iter().zip(t).enumerate() {
                        let says = match columns {
                            1 => *y > half,
                            _ => *y >= most && y.abs().to_f64() > NO_OUTPUT,
                        };
                        let counts = &mut totals[3 * class..3 * class + 3];
                        counts[0] += f64::from(says && *t == F::ONE);
                        counts[1] += f64::from(says);
                        counts[2] += f64::from(*t == F::ONE);
                    }
                }
            }
            Self::Name(MetricName::Auc) => {
                for (y, t) in each() {
                    let place = (y.to_f64().clamp(0.0, 1.0) * (THRESHOLDS - 1) as f64).ceil() - 1.0;
                    let side = if *t == F::ZERO { THRESHOLDS } else { 0 };
                    // A NaN counts for the lowest threshold: its loss has ended the run anyway.
                    totals[side + place.max(0.0) as usize] += 1.0;
                }
            }
            Self::Name(MetricName::TopK) => self.add_top_k(5, totals, columns, y, t),
            Self::TopK(spec) => self.add_top_k(spec.k as usize, totals, columns, y, t),
        }
    }

    fn add_top_k<F: Float>(self, k: usize, totals: &mut [f64], columns: usize, y: &[F], t: &[F]) {
        for (y, t) in y.chunks_exact(columns).zip(t.chunks_exact(columns)) {
            let class = y[largest(t)];
            let above = y.iter().filter(|y| **y > class).count();
            totals[0] += f64::from(above < k && !class.is_nan());
            totals[1] += 1.0;
        }
    }

    /// The figure for everything that was counted; 0 where it would be 0/0, as in Keras.
    pub(crate) fn result(self, tally: &Tally) -> f64 {
        let totals = &tally.0[..];
        match self {
            Self::Name(MetricName::Rmse) => ratio(totals[0], totals[1]).sqrt(),
            Self::Name(MetricName::R2) => {
                let (columns, rows) = totals.split_at(totals.len() - 1);
                let score = |sums: &[f64]| {
                    let variance = sums[1] - sums[0] * ratio(sums[0], rows[0]);
                    if variance > 0.0 { 1.0 - sums[2] / variance } else { 0.0 }
                };
                mean(columns.chunks_exact(4).map(score))
            }
            Self::Name(MetricName::F1) => mean(totals.chunks_exact(3).map(|counts| {
                // 2·precision·recall/(precision + recall)
                ratio(2.0 * counts[0], counts[1] + counts[2])
            })),
            Self::Name(MetricName::Auc) => {
                let (of_ones, of_zeros) = totals.split_at(THRESHOLDS);
                let (ones, zeros): (f64, f64) = (of_ones.iter().sum(), of_zeros.iter().sum());
                let mut hits = 0.0;
                let strip = |(one, zero): (&f64, &f64)| {
                    let before = hits;
                    hits += one;
                    ratio(*zero, zeros) * ratio(before + hits, 2.0 * ones)
                };
                of_ones.iter().zip(of_zeros).rev().map(strip).sum()
            }
            _ => ratio(totals[0], totals[1]),
        }
    }
}

/// Position of the first of the largest.
fn largest<F: Float>(row: &[F]) -> usize {
    row.iter()
        .enumerate()
        .fold(0, |best, (index, value)| if *value > row[best] { index } else { best })
}

fn is_label<F: Float>(t: F) -> bool {
    t == F::ZERO || t == F::ONE
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    ratio(values.sum(), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_targets_have_no_r2_and_almost_equal_ones_have_theirs() {
        let r2 = |targets: &[f64], outputs: &[f64]| {
            let metric = Metric::Name(MetricName::R2);
            let mut tally = metric.start(1);
            for (y, t) in outputs.chunks(3).zip(targets.chunks(3)) {
                metric.add(&mut tally, 1, y, t);
            }
            metric.result(&tally)
        };
        assert_eq!(r2(&[0.1; 10], &[0.2; 10]), 0.0);
        let steps = |from: f64| (0..10).map(|step| from + f64::from(step)).collect::<Vec<_>>();
        // Σ(y − t)² = 10, Σ(t − mean t)² = 82.5
        let expected = 1.0 - 10.0 / 82.5;
        assert!((r2(&steps(0.0), &steps(1.0)) - expected).abs() < 1e-12);
        assert!((r2(&steps(1e9), &steps(1e9 + 1.0)) - expected).abs() < 1e-12);
    }
}
