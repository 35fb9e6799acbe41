//! Every gradient against central differences in f64: the core is generic over its float, so that this is the very
//! code that trains.

use ndarray::{Array1, Array2};
use serde_json::{Value, json};
use trainyard::nn::network::Network;
use trainyard::nn::rng::{Purpose, Random};
use trainyard::nn::spec::reader::Reader;
use trainyard::nn::spec::{Activation, LossSpec, ModelSpec, Plan, Target};

const ROWS: usize = 5;
const INPUTS: usize = 3;
/// Half the distance of the two points of a difference.
const STEP: f64 = 1e-5;
/// Most error of a gradient, relative to the largest of its array or to 0.01.
const TOLERANCE: f64 = 1e-6;

struct Problem {
    plan: Plan,
    network: Network<f64>,
    x: Array2<f64>,
    y: Array2<f64>,
    weights: Option<Array1<f64>>,
}

impl Problem {
    /// A small network of random weights and random rows that suit its loss.
    fn new(model: &Value, weighted: bool) -> Self {
        let mut reader = Reader::default();
        let spec = ModelSpec::read(&mut reader, model, "").expect("a spec");
        assert_eq!(reader.faults, [], "{model}");
        let plan = spec.plan("", INPUTS, Target::Columns(None)).expect("a plan");
        let mut random = Random::new(17, Purpose::Initialize, 1, 1);
        let mut number = |low: f64, high: f64| low + (high - low) * f64::from(random.uniform());
        let mut network = Network::initialize(&plan, 3);
        for layer in 0..plan.layers.len() {
            for name in ["bias", "gamma", "beta"] {
                let array = network.array_mut(layer, name).into_iter().flatten();
                array.for_each(|w| *w += number(-0.5, 0.5));
            }
        }
        let x = Array2::from_shape_fn((ROWS, INPUTS), |_| number(-2.0, 2.0));
        let y = match plan.loss {
            LossSpec::CategoricalCrossentropy(_) => Array2::from_shape_fn((ROWS, plan.outputs), |(row, column)| {
                f64::from(row % plan.outputs == column)
            }),
            LossSpec::BinaryCrossentropy(_) => {
                Array2::from_shape_fn((ROWS, plan.outputs), |(row, column)| f64::from((row + column) % 2 == 0))
            }
            LossSpec::Poisson(_) => Array2::from_shape_fn((ROWS, plan.outputs), |_| number(0.0, 3.0)),
            _ => Array2::from_shape_fn((ROWS, plan.outputs), |_| number(-2.0, 2.0)),
        };
        let weights = weighted.then(|| Array1::from_shape_fn(ROWS, |_| number(0.0, 2.0)));
        Self {
            plan,
            network,
            x,
            y,
            weights,
        }
    }

    fn loss(&self, network: &Network<f64>) -> (f64, trainyard::nn::gradients::Gradients<f64>) {
        let random = Random::new(5, Purpose::Dropout, 0, 0);
        let weights = self.weights.as_ref().map(|weights| weights.view());
        network
            .clone()
            .gradients(&self.plan, self.x.view(), self.y.view(), weights, &random)
    }

    /// Holds every weight's gradient against the difference of the losses on both sides of it.
    fn check(&self, what: &str) {
        let (loss, gradients) = self.loss(&self.network);
        assert!(loss.is_finite(), "{what}: the loss is {loss}");
        let mut checked = 0;
        for layer in 0..self.plan.layers.len() {
            for name in ["kernel", "bias", "gamma", "beta"] {
                let Some(found) = gradients.of(&self.network, layer, name) else {
                    continue;
                };
                let difference = |weight: usize| {
                    let beside = |step: f64| {
                        let mut network = self.network.clone();
                        network.array_mut(layer, name).expect("it has a gradient")[weight] += step;
                        self.loss(&network).0
                    };
                    (beside(STEP) - beside(-STEP)) / (2.0 * STEP)
                };
                let wanted: Vec<f64> = (0..found.len()).map(difference).collect();
                let largest = wanted.iter().fold(0.01f64, |largest, g| largest.max(g.abs()));
                for (weight, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                    let error = (found - wanted).abs() / largest;
                    assert!(
                        error < TOLERANCE,
                        "{what}: {layer}/{name}[{weight}] is {found}, not {wanted}"
                    );
                    checked += 1;
                }
            }
        }
        assert!(checked > 0, "{what}: nothing to check");
    }
}

fn dense(units: usize, activation: Activation) -> Value {
    json!({"type": "dense", "units": units, "activation": activation.name()})
}

/// The layers that may stand between two dense ones.
fn between() -> Vec<(&'static str, Value)> {
    vec![
        ("nothing", json!([])),
        ("batch_normalization", json!(["batch_normalization"])),
        ("layer_normalization", json!(["layer_normalization"])),
        ("dropout", json!([{"type": "dropout", "rate": 0.4}])),
        ("activation", json!([{"type": "activation", "activation": "softmax"}])),
    ]
}

/// Each loss with an activation of the last layer that suits it, and so many outputs.
fn losses() -> Vec<(Value, Activation, usize)> {
    vec![
        (json!("mse"), Activation::Linear, 2),
        (json!("mae"), Activation::Linear, 2),
        (json!({"type": "huber", "delta": 0.7}), Activation::Linear, 2),
        (json!("log_cosh"), Activation::Linear, 2),
        (json!("poisson"), Activation::Softplus, 2),
        (json!("binary_crossentropy"), Activation::Sigmoid, 1),
        (
            json!({"type": "binary_crossentropy", "label_smoothing": 0.2}),
            Activation::Sigmoid,
            3,
        ),
        (json!("categorical_crossentropy"), Activation::Softmax, 3),
        (
            json!({"type": "categorical_crossentropy", "label_smoothing": 0.2}),
            Activation::Softmax,
            4,
        ),
    ]
}

#[test]
fn every_activation_with_every_layer_and_every_loss_has_the_right_gradients() {
    let named: Vec<&str> = LossSpec::NAMES.to_vec();
    let covered = |name: &&str| losses().iter().any(|(loss, ..)| loss == *name || loss["type"] == *name);
    assert!(named.iter().all(covered), "a loss is missing here");
    for &activation in Activation::ALL {
        for (layer, layers) in between() {
            for (loss, last, outputs) in losses() {
                let mut all = vec![dense(4, activation)];
                all.extend(layers.as_array().expect("layers").iter().cloned());
                all.push(dense(outputs, last));
                let what = format!("{} → {layer} → {loss}", activation.name());
                Problem::new(&json!({"layers": all, "loss": loss}), false).check(&what);
            }
        }
    }
}

#[test]
fn every_last_activation_with_every_loss_that_takes_it_has_the_right_gradients() {
    for &activation in Activation::ALL {
        for loss in ["mse", "mae", "huber", "log_cosh", "poisson"] {
            let positive = [Activation::Sigmoid, Activation::Softmax, Activation::Softplus];
            if loss == "poisson" && !positive.contains(&activation) {
                continue;
            }
            let what = format!("{} → {loss}", activation.name());
            let layers = json!([dense(3, Activation::Tanh), dense(2, activation)]);
            Problem::new(&json!({"layers": layers, "loss": loss}), false).check(&what);
            let layers = json!([dense(2, Activation::Linear), {"type": "activation", "activation": activation.name()}]);
            Problem::new(&json!({"layers": layers, "loss": loss}), true).check(&format!("layer of {what}"));
        }
    }
}

#[test]
fn sample_weights_and_penalties_have_the_right_gradients() {
    for (loss, last, outputs) in losses() {
        let mut first = dense(4, Activation::Swish);
        first["kernel_l1"] = json!(0.03);
        let mut second = dense(outputs, last);
        second["kernel_l2"] = json!(0.05);
        second["kernel_l1"] = json!(0.01);
        second["use_bias"] = json!(false);
        let model = json!({"layers": [first, second], "loss": loss});
        Problem::new(&model, true).check(&format!("weighted and penalized {loss}"));
    }
}

#[test]
fn layers_that_stand_first_or_one_upon_the_other_have_the_right_gradients() {
    let softmax = json!({"type": "activation", "activation": "softmax"});
    let swish = json!({"type": "activation", "activation": "swish"});
    let out = dense(2, Activation::Linear);
    for layers in [
        json!(["batch_normalization", out]),
        json!(["layer_normalization", out]),
        json!([swish, out]),
        json!([{"type": "dropout", "rate": 0.3}, out]),
        json!([softmax, out]),
        json!([softmax, "batch_normalization", softmax, swish, swish, out]),
        json!(["batch_normalization", "batch_normalization", "layer_normalization", out]),
        json!([dense(4, Activation::Softmax), swish, {"type": "dropout", "rate": 0.3}, swish, softmax, out]),
        json!([dense(4, Activation::Relu), out, "batch_normalization"]),
        json!([out, "layer_normalization", {"type": "dropout", "rate": 0.3}]),
    ] {
        Problem::new(&json!({"layers": layers, "loss": "mse"}), false).check(&layers.to_string());
    }
}
