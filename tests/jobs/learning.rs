//! What undisturbed jobs come to.

use serde_json::json;
use tempfile::TempDir;
use trainyard::serving::{Detail, Prediction};

use crate::yard::{Yard, eventful_job, iris, iris_job};

#[tokio::test(flavor = "multi_thread")]
async fn irises_are_learnt_as_in_the_tutorial_and_predicted_by_name_and_by_position() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await;
    let job = yard.train(&iris_job(dataset.id, 500)).await;
    let figure = |name: &str| job.progress.metrics[name].as_f64().unwrap();
    assert!(
        figure("accuracy") >= 0.99 && figure("loss") < 0.02,
        "{:?}",
        job.progress
    );
    assert_eq!(
        (job.progress.epoch, job.progress.epochs, job.progress.batches_per_epoch),
        (500, 500, Some(1))
    );
    assert_eq!(yard.epochs(job.id).await, (1..=500).collect::<Vec<u32>>());

    let model = yard.model(&job).await;
    assert_eq!(
        model.classes.as_deref(),
        Some(["setosa", "versicolor", "virginica"].map(String::from).as_slice())
    );
    assert_eq!(
        (model.parameters.total, model.parameters.non_trainable, model.epochs),
        (5187, 256, 500)
    );
    let predictor = yard.serving.get(&yard.tenant, model.id).await.unwrap();
    let by_name = json!({"꽃잎길이": 5.1, "꽃잎폭": 3.5, "꽃받침길이": 1.4, "꽃받침폭": 0.2});
    let answer = predictor
        .predict(&[by_name, json!([5.1, 3.5, 1.4, 0.2])], "/instances", Detail::default())
        .unwrap();
    let [Prediction::Class(named), Prediction::Class(placed)] = answer.predictions.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!(named, placed);
    assert_eq!(named.label.as_str(), "setosa");
    assert!(named.probabilities.values()[0] > 0.9);

    let evaluation = yard
        .serving
        .evaluation(&yard.tenant, model.id, dataset.id)
        .await
        .unwrap();
    let evaluation = evaluation().unwrap();
    // The moving averages of BatchNormalization lag behind: outside training it is a little worse, as in Keras.
    assert!(evaluation.metrics["accuracy"].unwrap() > 0.9, "{evaluation:?}");
    let matrix = evaluation.confusion_matrix.unwrap().matrix;
    assert_eq!(
        matrix.iter().map(|row| row.iter().sum::<u64>()).collect::<Vec<u64>>(),
        [50, 50, 50]
    );
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_epochs_and_twenty_more_are_five_hundred_and_twenty_to_the_bit() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await.id;
    let first = yard.train(&iris_job(dataset, 500)).await;
    let further =
        json!({"dataset": dataset, "target": "품종", "continue_from": first.model, "training": {"epochs": 20}});
    let further = yard.model(&yard.train(&further).await).await;
    let at_once = yard.model(&yard.train(&iris_job(dataset, 520)).await).await;
    assert_eq!((further.epochs, at_once.epochs), (520, 520));
    assert_eq!(further.weights_sha256, at_once.weights_sha256);
    assert_eq!(further.metrics, at_once.metrics);
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_side_by_side_end_with_the_weights_of_jobs_alone() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let dataset = yard.upload(iris()).await.id;
    let alone = yard
        .model(&yard.train(&eventful_job(dataset, 30)).await)
        .await
        .weights_sha256;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(yard.submit(&eventful_job(dataset, 30)).await);
    }
    for id in jobs {
        let job = yard.done(id).await;
        assert_eq!(yard.model(&job).await.weights_sha256, alone);
    }
    yard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_tells_the_loss_outside_training_and_how_much_the_batches_disagree_when_asked() {
    let folder = TempDir::new().unwrap();
    let yard = Yard::open(folder.path()).await;
    let mut request = iris_job(yard.upload(iris()).await.id, 3);
    request["training"]["report_inference_loss"] = true.into();
    request["training"]["report_gradient_noise"] = true.into();
    request["training"]["batch_size"] = 32.into();
    let job = yard.train(&request).await;
    let rows = yard.store.history(&yard.tenant, job.id, 0, 10).await.unwrap();
    for row in rows {
        let names: Vec<&str> = row.figures.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["loss", "accuracy", "inference_loss", "gradient_norm", "gradient_noise"]
        );
        assert!(
            row.figures
                .iter()
                .all(|(_, value)| value.is_some_and(|value| value > 0.0)),
            "{row:?}"
        );
    }
    yard.stop().await;
}
