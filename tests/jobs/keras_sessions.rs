//! The loop over a session against Keras's own.

use serde_json::Value;
use tempfile::TempDir;
use trainyard::domain::id::SessionId;
use trainyard::nn::weights::{LayerWeights, Tensor};
use trainyard::training::session::{Answer, Batch, Call, NewNetwork, NewSession};

use crate::sessions::{change, gradients};
use crate::yard::Yard;

/// A recorded run of Keras, and a session that begins as it did.
struct Reference {
    case: Value,
    x: Tensor,
    y: Tensor,
    id: SessionId,
}

impl Reference {
    async fn begin(yard: &Yard, case: &str) -> Self {
        let case: Value = serde_json::from_str(case).unwrap();
        let x: Tensor = read(&case["x"]);
        let new = NewSession::Network(NewNetwork {
            inputs: x.shape[1],
            model: read(&case["spec"]),
            seed: 0,
            initial_weights: Some(read(&case["initial_weights"])),
        });
        let id = yard.sessions.create(&yard.tenant, new, None).await.unwrap().id;
        let y = read(&case["y"]);
        Self { case, x, y, id }
    }

    fn batch(&self) -> Batch {
        let head = |tensor: &Tensor| {
            let rows = tensor.shape[0].min(self.case["batch_size"].as_u64().unwrap() as usize);
            let data = tensor.data[..rows * tensor.shape[1]].to_vec();
            let shape = vec![rows, tensor.shape[1]];
            Tensor { shape, data }
        };
        let (x, y) = (head(&self.x), head(&self.y));
        Batch { x, y }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// The largest error of any array, relative to `scale` of its largest number.
fn worst(got: &[LayerWeights], expected: &Value, scale: impl Fn(f32, f32) -> f32) -> f32 {
    let expected: Vec<LayerWeights> = read(expected);
    let arrays = |layers: &[LayerWeights]| -> Vec<Tensor> {
        layers
            .iter()
            .flat_map(|layer| layer.0.iter().map(|(_, tensor)| tensor.clone()))
            .collect()
    };
    let (got, expected) = (arrays(got), arrays(&expected));
    assert_eq!(got.len(), expected.len());
    let errors = got.iter().zip(&expected).flat_map(|(got, expected)| {
        let largest = expected.data.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let error = |(got, expected): (&f32, &f32)| (got - expected).abs() / scale(*expected, largest);
        got.data.iter().zip(&expected.data).map(error).collect::<Vec<f32>>()
    });
    errors.fold(0.0, f32::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn gradients_are_keras_s() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    for case in [
        include_str!("../keras-parity/iris_swish_bn_softmax_adam.json"),
        include_str!("../keras-parity/boston_gelu_adagrad.json"),
        include_str!("../keras-parity/breast_sigmoid_bce_rmsprop.json"),
    ] {
        let reference = Reference::begin(&yard, case).await;
        let first = gradients(&yard, reference.id, reference.batch()).await;
        let expected = &reference.case["first_batch"];
        let loss = expected["loss"].as_f64().unwrap();
        assert!(
            (first.loss - loss).abs() < 1e-5 * loss.abs().max(0.1),
            "{} {loss}",
            first.loss
        );
        assert!(
            worst(&first.gradients, &expected["gradients"], |_, largest| largest) < 1e-5,
            "{}",
            reference.case["name"]
        );
    }
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_over_full_batches_is_keras_s_fit() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let case = include_str!("../keras-parity/iris_swish_bn_softmax_adam.json");
    let reference = Reference::begin(&yard, case).await;
    let expected: Vec<f64> = read(&reference.case["history"]["loss"]);
    for expected in expected {
        let call = Call::TrainOnBatch {
            batch: reference.batch(),
            steps: 1,
        };
        let Answer::TrainOnBatch(answer) = change(&yard, reference.id, None, call).await.unwrap() else {
            panic!("another answer");
        };
        assert!(
            (answer.loss[0] - expected).abs() < 1e-5 * expected.max(0.1),
            "{:?} {expected}",
            answer.loss
        );
    }
    let weights = yard.sessions.weights(&yard.tenant, reference.id).await.unwrap();
    assert!(
        worst(&weights, &reference.case["final_weights"], |expected, _| expected
            .abs()
            .max(0.1))
            < 2e-4
    );
    yard.stop().await;
}
