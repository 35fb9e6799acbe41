//! Exercise 1: which of three irises is it? A classification with batch normalization.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Guide, by_hand, heading};
use crate::cli::views::Dataset;

const TARGET: &str = "품종";

/// Trains, trains on, predicts, and redoes a prediction by hand; gives the id of the last model.
pub(super) async fn classify(guide: &Guide, dataset: &Dataset) -> Result<String> {
    heading("Iris: 4 measures in, 3 species out, 500 epochs over all 150 rows at once");
    let job = json!({
        "name": "iris", "dataset": dataset.id, "target": TARGET,
        "model": {
            "layers": [
                {"type": "dense", "units": 64}, "batch_normalization", {"type": "activation", "activation": "swish"},
                {"type": "dense", "units": 64}, "batch_normalization", {"type": "activation", "activation": "swish"},
                {"type": "dense", "units": 3, "activation": "softmax"}
            ],
            "loss": "categorical_crossentropy", "optimizer": "adam", "metrics": ["accuracy"]
        },
        "training": {"epochs": 500, "batch_size": 150, "seed": 7},
        "preprocessing": {"numeric": "none"}
    });
    let first = guide.train(&job).await?;
    let first_model = first.trained_model()?;
    let further = json!({
        "name": "iris, 20 epochs more", "dataset": dataset.id, "target": TARGET,
        "continue_from": first_model, "training": {"epochs": 20}
    });
    let further = guide.train(&further).await?;
    let model = further.trained_model()?;
    guide.print_summary(model).await?;
    predict(guide, dataset, model).await?;
    Ok(model.to_owned())
}

#[derive(Deserialize)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Predictions {
    predictions: Vec<Value>,
}

async fn predict(guide: &Guide, dataset: &Dataset, model: &str) -> Result<()> {
    let mut instances = Vec::new();
    for offset in [0, 50, 100] {
        let path = format!("/v1/datasets/{}/rows?offset={offset}&limit=1", dataset.id);
        let page: Rows = guide.client.get(&path).await?;
        let row = page.rows.into_iter().next().context("the table has no such row")?;
        let named = page.columns.into_iter().zip(row).filter(|(name, _)| name != TARGET);
        instances.push(named.collect::<Map<_, _>>());
    }
    let path = format!("/v1/models/{model}/predict");
    let request = json!({"instances": instances, "explain": true});
    let answer: Predictions = guide.client.post(&path, &request).await?;
    println!("\nA row of each species, predicted by column name:");
    for (instance, prediction) in instances.iter().zip(&answer.predictions) {
        print_prediction(instance, prediction);
    }
    let explained = answer.predictions.first().context("no prediction came back")?;
    by_hand::softmax(guide, model, explained).await
}

fn print_prediction(instance: &Map<String, Value>, prediction: &Value) {
    let measures: Vec<String> = instance.values().map(Value::to_string).collect();
    let probabilities = prediction["probabilities"].as_object().into_iter().flatten();
    let probabilities: Vec<String> = probabilities
        .map(|(class, share)| format!("{class} {:.4}", share.as_f64().unwrap_or_default()))
        .collect();
    let label = prediction["label"].as_str().unwrap_or_default();
    println!(
        "  {:<18} → {label:<11} ({})",
        measures.join(" "),
        probabilities.join(", ")
    );
}
