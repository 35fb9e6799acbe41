//! What a network is made of, as data and as Keras's table.

use std::collections::HashMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::layout::Layout;
use super::spec::{LayerSpec, Plan};

/// One layer of a summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryLayer {
    /// As Keras numbers them: `dense`, `dense_1`, …
    #[schema(example = "dense_1")]
    pub name: String,
    #[serde(rename = "type")]
    #[schema(example = "dense")]
    pub kind: String,
    /// Rows (null: any number of them) and columns.
    #[schema(example = json!([null, 64]))]
    pub output_shape: [Option<u64>; 2],
    pub parameters: u64,
}

/// Layers with their output shapes and numbers of weights, and the sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    pub layers: Vec<SummaryLayer>,
    pub total: u64,
    pub trainable: u64,
    pub non_trainable: u64,
    /// Of all weights, at 4 bytes each.
    pub size_bytes: u64,
}

/// Widths of the table's cells, their margins not counted.
const WIDTHS: [usize; 3] = [31, 22, 13];

impl Summary {
    pub(crate) fn new(plan: &Plan) -> Self {
        let layout = Layout::new(plan);
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut width = plan.inputs as u64;
        let describe = |(index, layer): (usize, &LayerSpec)| {
            if let LayerSpec::Dense(dense) = layer {
                width = u64::from(dense.units);
            }
            let kind = layer.name();
            let number = seen.entry(kind).or_default();
            let name = if *number == 0 {
                kind.to_owned()
            } else {
                format!("{kind}_{number}")
            };
            *number += 1;
            let parameters = layout.of_layer(index).map(|place| place.range.len() as u64).sum();
            SummaryLayer {
                name,
                kind: kind.to_owned(),
                output_shape: [None, Some(width)],
                parameters,
            }
        };
        let layers = plan.layers.iter().enumerate().map(describe).collect();
        let counts = plan.parameters();
        Self {
            layers,
            total: counts.total,
            trainable: counts.trainable,
            non_trainable: counts.non_trainable,
            size_bytes: 4 * counts.total,
        }
    }

    /// Keras 3's table, as `model.summary()` prints it.
    ///
    /// Source: `keras/src/utils/summary_utils.py`.
    pub fn to_table(&self, model_name: &str) -> String {
        let mut table = format!("Model: \"{model_name}\"\n");
        rule(&mut table, ["┏━", "━", "━┳━", "━┓"]);
        row(&mut table, "┃", ["Layer (type)", "Output Shape", "Param #"]);
        rule(&mut table, ["┡━", "━", "━╇━", "━┩"]);
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                rule(&mut table, ["├─", "─", "─┼─", "─┤"]);
            }
            let shape = layer
                .output_shape
                .map(|axis| axis.map_or("None".to_owned(), |axis| axis.to_string()));
            let shape = format!("({}, {})", shape[0], shape[1]);
            let (name, class) = (&layer.name, format!("({})", class_name(&layer.kind)));
            let parameters = with_commas(layer.parameters);
            let one_line = format!("{name} {class}");
            if one_line.chars().count() <= WIDTHS[0] {
                row(&mut table, "│", [&one_line, &shape, &parameters]);
            } else {
                row(&mut table, "│", [name, &shape, &parameters]);
                row(&mut table, "│", [&class, "", ""]);
            }
        }
        rule(&mut table, ["└─", "─", "─┴─", "─┘"]);
        for (what, count) in [
            ("Total", self.total),
            ("Trainable", self.trainable),
            ("Non-trainable", self.non_trainable),
        ] {
            let _ = writeln!(
                table,
                " {what} params: {} ({})",
                with_commas(count),
                readable_size(4 * count)
            );
        }
        table
    }
}

fn rule(table: &mut String, [left, line, middle, right]: [&str; 4]) {
    let [a, b, c] = WIDTHS.map(|width| line.repeat(width));
    let _ = writeln!(table, "{left}{a}{middle}{b}{middle}{c}{right}");
}

fn row(table: &mut String, bar: &str, [name, shape, parameters]: [&str; 3]) {
    let [a, b, c] = WIDTHS;
    let _ = writeln!(table, "{bar} {name:<a$} {bar} {shape:<b$} {bar} {parameters:>c$} {bar}");
}

/// `batch_normalization` → `BatchNormalization`.
fn class_name(kind: &str) -> String {
    let capitalize = |word: &str| word[..1].to_uppercase() + &word[1..];
    kind.split('_').map(capitalize).collect()
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn readable_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "KB", "MB", "GB", "TB"].iter();
    let mut unit = units.next().expect("there are five");
    for larger in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.2} {unit}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nn::spec::reader::Reader;
    use crate::nn::spec::{ModelSpec, Target};

    fn summary(inputs: usize, target: Target, layers: serde_json::Value) -> Summary {
        let spec = ModelSpec::read(&mut Reader::default(), &json!({"layers": layers}), "").unwrap();
        spec.plan("", inputs, target).unwrap().summary()
    }

    #[test]
    fn the_tutorials_housing_network_prints_as_in_keras() {
        let swish = json!({"type": "dense", "units": 64, "activation": "swish"});
        let summary = summary(
            13,
            Target::Regression,
            json!([swish, swish, {"type": "dense", "units": 1}]),
        );
        assert_eq!((summary.total, summary.size_bytes), (5121, 20_484));
        assert_eq!(
            summary.to_table("sequential"),
            "\
Model: \"sequential\"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 64)             │           896 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 64)             │         4,160 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_2 (Dense)                 │ (None, 1)              │            65 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 5,121 (20.00 KB)
 Trainable params: 5,121 (20.00 KB)
 Non-trainable params: 0 (0.00 B)
"
        );
    }

    #[test]
    fn long_layer_names_take_two_lines_as_in_keras() {
        let swish = json!({"type": "dense", "units": 64, "activation": "swish"});
        let softmax = json!({"type": "dense", "units": 3, "activation": "softmax"});
        let layers = json!([swish, "batch_normalization", swish, "batch_normalization", softmax]);
        let table = summary(4, Target::Classes(3), layers).to_table("sequential");
        for line in [
            "│ batch_normalization_1           │ (None, 64)             │           256 │\n\
             │ (BatchNormalization)            │                        │               │",
            " Total params: 5,187 (20.26 KB)\n Trainable params: 4,931 (19.26 KB)\n Non-trainable params: 256 (1.00 KB)",
        ] {
            assert!(table.contains(line), "{table}");
        }
    }

    #[test]
    fn counts_get_their_commas_and_sizes_their_units() {
        assert_eq!(
            [0, 12, 123, 1234, 655_495_536].map(with_commas),
            ["0", "12", "123", "1,234", "655,495,536"]
        );
        assert_eq!(readable_size(1024), "1.00 KB");
        assert_eq!(readable_size(4 * 655_495_536), "2.44 GB");
    }
}
