//! Training loops that a client writes.

use serde_json::{Value, json};
use tempfile::TempDir;
use trainyard::domain::artifact::weights_sha256;
use trainyard::domain::id::SessionId;
use trainyard::domain::problem::{Kind, Problem};
use trainyard::domain::session::Session;
use trainyard::domain::tenant::TenantId;
use trainyard::nn::spec::ModelSpec;
use trainyard::nn::weights::Tensor;
use trainyard::serving::{Detail, Prediction};
use trainyard::training::session::{
    Answer, Batch, Call, FromModel, GradientsAnswer, NewNetwork, NewSession, TrainOnBatchAnswer,
};

use crate::yard::{Yard, housing};

/// With dropout and moving averages, which a step must treat alike however it is asked for.
fn network() -> ModelSpec {
    let layers = json!([
        {"type": "dense", "units": 16, "activation": "swish", "kernel_l2": 0.001},
        {"type": "batch_normalization"},
        {"type": "dropout", "rate": 0.3},
        {"type": "dense", "units": 1},
    ]);
    serde_json::from_value(json!({"layers": layers, "loss": "mse", "optimizer": "adam"})).unwrap()
}

/// The housing table as it is: 13 columns, and the price.
fn houses() -> Batch {
    let text = std::str::from_utf8(housing()).unwrap();
    let rows: Vec<Vec<f32>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|field| field.parse().unwrap()).collect())
        .collect();
    let columns = |range: std::ops::Range<usize>| Tensor {
        shape: vec![rows.len(), range.len()],
        data: rows.iter().flat_map(|row| row[range.clone()].to_vec()).collect(),
    };
    Batch {
        x: columns(0..13),
        y: columns(13..14),
    }
}

async fn begin(yard: &Yard) -> SessionId {
    let new = NewSession::Network(NewNetwork {
        inputs: 13,
        model: Box::new(network()),
        seed: 7,
        initial_weights: None,
    });
    yard.sessions.create(&yard.tenant, new, None).await.unwrap().id
}

pub(crate) async fn change(yard: &Yard, id: SessionId, seq: Option<u64>, call: Call) -> Result<Answer, Problem> {
    let applied = yard.sessions.change(&yard.tenant, id, seq, call).await?;
    Ok(applied.answer)
}

async fn train(yard: &Yard, id: SessionId, steps: u32) -> TrainOnBatchAnswer {
    let call = Call::TrainOnBatch { batch: houses(), steps };
    match change(yard, id, None, call).await.unwrap() {
        Answer::TrainOnBatch(answer) => answer,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn gradients(yard: &Yard, id: SessionId, batch: Batch) -> GradientsAnswer {
    match change(yard, id, None, Call::Gradients(batch)).await.unwrap() {
        Answer::Gradients(answer) => answer,
        other => panic!("{other:?}"),
    }
}

async fn hash(yard: &Yard, id: SessionId) -> String {
    weights_sha256(&yard.sessions.weights(&yard.tenant, id).await.unwrap())
}

async fn shown(yard: &Yard, id: SessionId) -> Session {
    yard.sessions.get(&yard.tenant, id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_step_by_step_in_one_call_and_as_a_job_ends_with_the_same_weights() {
    const STEPS: u32 = 12;
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(housing()).await.id;
    let job = yard
        .train(&json!({
            "dataset": dataset, "target": "medv", "model": network(),
            "training": {"epochs": STEPS, "batch_size": 506, "shuffle": false, "seed": 7},
            "preprocessing": {"numeric": "none"},
        }))
        .await;
    let of_job = yard.model(&job).await.weights_sha256;

    let at_once = begin(&yard).await;
    let losses = train(&yard, at_once, STEPS).await.loss;
    assert_eq!(hash(&yard, at_once).await, of_job);
    let saved = yard
        .sessions
        .save(&yard.tenant, at_once, Some("by hand".to_owned()), u64::MAX, None)
        .await
        .unwrap();
    assert_eq!(
        (saved.weights_sha256.as_str(), saved.name.as_str(), saved.job),
        (of_job.as_str(), "by hand", None)
    );

    let by_steps = begin(&yard).await;
    for (step, loss) in (1..).zip(losses) {
        let answer = gradients(&yard, by_steps, houses()).await;
        assert!((answer.loss - loss).abs() <= 1e-12 * loss, "{} {loss}", answer.loss);
        let gradients = answer.gradients;
        let applied = change(&yard, by_steps, None, Call::ApplyGradients { gradients })
            .await
            .unwrap();
        assert!(
            matches!(applied, Answer::ApplyGradients(applied) if applied.step == step),
            "step {step}"
        );
    }
    assert_eq!(hash(&yard, by_steps).await, of_job);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_after_a_restart_and_a_call_sent_again_gets_its_first_answer() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let id = begin(&yard).await;
    let batch = houses();
    let call = Call::TrainOnBatch {
        batch: batch.clone(),
        steps: 3,
    };
    let first = change(&yard, id, Some(1), call.clone()).await.unwrap();
    let second = change(&yard, id, Some(2), Call::Gradients(batch)).await.unwrap();
    let (before, weights) = (shown(&yard, id).await, hash(&yard, id).await);
    assert_eq!((before.seq, before.step), (2, 3));
    yard.stop().await;

    let yard = Yard::open(folder.path()).await;
    let after = shown(&yard, id).await;
    assert_eq!((after.seq, after.step, hash(&yard, id).await), (2, 3, weights.clone()));
    assert_eq!(change(&yard, id, Some(1), call.clone()).await.unwrap(), first);
    assert_eq!(
        change(&yard, id, Some(2), Call::Gradients(houses())).await.unwrap(),
        second
    );
    assert_eq!(hash(&yard, id).await, weights);
    let gap = change(&yard, id, Some(9), call.clone()).await.unwrap_err();
    assert_eq!((gap.kind, gap.detail.contains("seq 3")), (Kind::Conflict, true));
    change(&yard, id, Some(3), call).await.unwrap();
    assert_ne!(hash(&yard, id).await, weights);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_with_one_number_are_one_call() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let (once, twenty) = (begin(&yard).await, begin(&yard).await);
    train(&yard, once, 1).await;
    let call = Call::TrainOnBatch {
        batch: houses(),
        steps: 1,
    };
    let calls = (0..20).map(|_| change(&yard, twenty, Some(1), call.clone()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(
        answers
            .windows(2)
            .all(|pair| pair[0].as_ref().unwrap() == pair[1].as_ref().unwrap())
    );
    assert_eq!(hash(&yard, twenty).await, hash(&yard, once).await);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_applied_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let id = begin(&yard).await;
    train(&yard, id, 1).await;
    let (seq, weights) = (
        shown(&yard, id).await.seq,
        yard.sessions.weights(&yard.tenant, id).await.unwrap(),
    );
    let Batch { x, y } = houses();
    let narrow = Tensor {
        shape: vec![1, 12],
        data: vec![0.0; 12],
    };
    let infinite = Tensor {
        shape: vec![1, 13],
        data: vec![f32::INFINITY; 13],
    };
    let one = Tensor {
        shape: vec![1, 1],
        data: vec![1.0],
    };
    let huge = Tensor {
        shape: vec![506, 1],
        data: vec![3e38; 506],
    };
    let on = |x: Tensor, y: Tensor, steps| Call::TrainOnBatch {
        batch: Batch { x, y },
        steps,
    };
    let calls = [
        (on(narrow, one.clone(), 1), Kind::InvalidFeatures),
        (on(infinite, one.clone(), 1), Kind::InvalidFeatures),
        (on(x.clone(), one, 1), Kind::InvalidFeatures),
        (on(x.clone(), huge, 1), Kind::InvalidFeatures),
        (on(x, y, u32::MAX), Kind::JobTooLarge),
        (Call::ApplyGradients { gradients: Vec::new() }, Kind::InvalidFeatures),
        (
            Call::SetWeights {
                weights: weights[1..].to_vec(),
            },
            Kind::InvalidFeatures,
        ),
    ];
    for (call, kind) in calls {
        let said = format!("{call:?}").chars().take(80).collect::<String>();
        let problem = change(&yard, id, None, call).await.expect_err(&said);
        assert_eq!(problem.kind, kind, "{said}: {problem:?}");
    }
    assert_eq!(shown(&yard, id).await.seq, seq);
    assert_eq!(yard.sessions.weights(&yard.tenant, id).await.unwrap(), weights);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_a_model_goes_on_with_its_optimizer_and_saves_a_model_that_predicts_raw_values() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(housing()).await.id;
    let job = yard
        .train(&json!({"dataset": dataset, "target": "medv", "model": network(), "training": {"epochs": 3}}))
        .await;
    let model = yard.model(&job).await;
    let session = yard
        .sessions
        .create(
            &yard.tenant,
            NewSession::Model(FromModel {
                from_model: model.id,
                seed: 0,
            }),
            None,
        )
        .await
        .unwrap();
    assert_eq!(
        (session.inputs, session.from_model, session.step),
        (13, Some(model.id), 3 * 16)
    );
    assert_eq!(hash(&yard, session.id).await, model.weights_sha256);
    train(&yard, session.id, 1).await;
    let saved = yard
        .sessions
        .save(&yard.tenant, session.id, None, u64::MAX, None)
        .await
        .unwrap();
    assert_eq!(
        (&saved.inputs, &saved.target, saved.dataset),
        (&model.inputs, &model.target, Some(dataset))
    );
    assert_ne!(saved.weights_sha256, model.weights_sha256);
    let predictor = yard.serving.get(&yard.tenant, saved.id).await.unwrap();
    let row: Vec<Value> = houses().x.data[..13].iter().map(|value| json!(value)).collect();
    let answer = predictor
        .predict(
            &[Value::Array(row)],
            "/instances",
            Detail {
                explain: true,
                ..Detail::default()
            },
        )
        .unwrap();
    assert!(matches!(&answer.predictions[0], Prediction::Value(value) if value.explanation.inputs.is_some()));
    // A model that no job made can be trained on by one.
    let further = json!({"dataset": dataset, "target": "medv", "continue_from": saved.id, "training": {"epochs": 1}});
    yard.train(&further).await;
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_sessions_and_sees_no_other_s() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let ids = [begin(&yard).await, begin(&yard).await, begin(&yard).await];
    let new = || {
        NewSession::Network(NewNetwork {
            inputs: 13,
            model: Box::new(network()),
            seed: 7,
            initial_weights: None,
        })
    };
    let full = yard.sessions.create(&yard.tenant, new(), None).await.unwrap_err();
    assert_eq!(full.kind, Kind::TooManyRequests);
    let stranger = TenantId::new("stranger");
    assert_eq!(
        yard.sessions.get(&stranger, ids[0]).await.unwrap_err().kind,
        Kind::NotFound
    );
    assert_eq!(
        yard.sessions.delete(&stranger, ids[0]).await.unwrap_err().kind,
        Kind::NotFound
    );
    yard.sessions.delete(&yard.tenant, ids[0]).await.unwrap();
    assert_eq!(
        yard.sessions.get(&yard.tenant, ids[0]).await.unwrap_err().kind,
        Kind::NotFound
    );
    yard.sessions.create(&yard.tenant, new(), None).await.unwrap();
    yard.stop().await;
}
