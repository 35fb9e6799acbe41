//! A prediction with what each column of the row contributed to it.

use std::sync::Arc;

use ndarray::ArrayView1;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::predictor::Predictor;
use crate::data::encoder::Feature;
use crate::domain::problem::{Kind, Problem};
use crate::nn::network::Network;
use crate::nn::spec::Fault;

/// Multiply-adds of the attributions of one call: a second or two on one core. One instance is always allowed.
const MAX_MULTIPLY_ADDS: u128 = 10_000_000_000;
/// Rows that one attribution takes through the network, about; with a kinked activation up to four times as many.
const ROWS_OF_ONE: u64 = 4096;

/// What each column contributed to a prediction: integrated gradients from a baseline, the row whose every value is missing
/// (the mean of a number, the most frequent category). The contributions add up to value − baseline. Computed in 64 bits.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Attributions {
    /// What the model predicts for the baseline: the number, or the probability of this very label.
    #[schema(example = 0.33)]
    pub baseline: f64,
    /// What it predicts for the row.
    #[schema(example = 0.98)]
    pub value: f64,
    /// Each column's share of the difference; that of a category is the sum over its values.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub columns: Contributions,
}

/// Numbers by column, in the order of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    columns: Arc<[String]>,
    values: Vec<f64>,
}

impl Serialize for Contributions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().zip(&self.values))
    }
}

impl Attributions {
    /// Whether every number in it can be written.
    pub(super) fn is_finite(&self) -> bool {
        let values = self.columns.values.iter();
        values
            .chain([&self.baseline, &self.value])
            .all(|value| value.is_finite())
    }
}

/// Attributes the predictions of one model.
pub(super) struct Attributor {
    network: Network<f64>,
    baseline: Vec<f64>,
    columns: Arc<[String]>,
    /// Inputs of the network that each column gives.
    widths: Vec<usize>,
}

impl Predictor {
    /// Errors: `job-too-large` where so many instances would take too long.
    pub(super) fn attributor(&self, instances: usize) -> Result<Attributor, Problem> {
        let of_one = self.plan.multiply_adds(ROWS_OF_ONE).max(1);
        let most = (MAX_MULTIPLY_ADDS / of_one).max(1);
        if instances as u128 > most {
            let detail = format!("Attributions of {instances} instances take too long: send at most {most} at once.");
            return Err(Problem::new(Kind::JobTooLarge, detail));
        }
        let network = Network::from_weights(&self.plan, &self.network.weights(), "/weights");
        let features = self.encoder.fitted();
        let missing = Value::Array(vec![Value::Null; features.len()]);
        let (mut baseline, mut faults) = (Vec::new(), Vec::new());
        self.encoder
            .instance(&missing, "", &mut baseline, &mut faults, &mut Vec::new());
        let unfit = |faults: Vec<Fault>| Problem::internal(format!("a row without values: {faults:?}"));
        if !faults.is_empty() {
            return Err(unfit(faults));
        }
        Ok(Attributor {
            network: network.map_err(unfit)?,
            baseline: baseline.into_iter().map(f64::from).collect(),
            columns: features.iter().map(|feature| feature.name().to_owned()).collect(),
            widths: features.iter().map(Feature::width).collect(),
        })
    }
}

impl Attributor {
    /// Attributes the number, or the probability of class `label`, to the columns behind the network's inputs.
    pub(super) fn attribute(&self, inputs: ArrayView1<'_, f32>, label: Option<usize>) -> Attributions {
        let x: Vec<f64> = inputs.iter().copied().map(f64::from).collect();
        // A single output is the second class's probability; the first has the rest.
        let is_rest = self.network.outputs() == 1 && label == Some(0);
        let output = label.filter(|_| self.network.outputs() > 1).unwrap_or(0);
        let found = self.network.attribute(&x, &self.baseline, output);
        let (rest, sign) = if is_rest { (1.0, -1.0) } else { (0.0, 1.0) };
        let mut contributions = found.contributions.iter();
        let of_column = |width: &usize| sign * contributions.by_ref().take(*width).sum::<f64>();
        Attributions {
            baseline: rest + sign * found.baseline,
            value: rest + sign * found.output,
            columns: Contributions {
                values: self.widths.iter().map(of_column).collect(),
                columns: self.columns.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::{ModelSpec, Target};

    #[test]
    fn the_first_of_two_classes_owes_the_opposite_of_what_the_second_does() {
        let layers =
            r#"{"layers": [{"type": "dense", "units": 1, "activation": "sigmoid"}], "loss": "binary_crossentropy"}"#;
        let spec: ModelSpec = serde_json::from_str(layers).unwrap();
        let plan = spec.plan("", 3, Target::Classes(2)).unwrap();
        let attributor = Attributor {
            network: Network::initialize(&plan, 1),
            baseline: vec![0.5, 0.0, 1.0],
            columns: ["number", "category"].map(str::to_owned).into(),
            widths: vec![1, 2],
        };
        let x = ndarray::arr1(&[2.0, 1.0, 0.0]);
        let [first, second] = [0, 1].map(|label| attributor.attribute(x.view(), Some(label)));
        assert_eq!(
            (first.value, first.baseline),
            (1.0 - second.value, 1.0 - second.baseline)
        );
        let sum = |found: &Attributions| found.columns.values.iter().sum::<f64>();
        for found in [&first, &second] {
            assert!((sum(found) - (found.value - found.baseline)).abs() < 1e-6);
        }
        assert_eq!(
            first.columns.values,
            second.columns.values.iter().map(|share| -share).collect::<Vec<_>>()
        );
        let written = serde_json::to_value(&first).unwrap();
        assert_eq!(
            written["columns"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["number", "category"]
        );
    }
}
