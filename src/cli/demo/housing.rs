//! Exercise 2: what does a house cost? A regression in batches.

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Guide, heading};
use crate::cli::views::{Dataset, figure};

pub(super) const TARGET: &str = "medv";

/// 13-64-64-1 with swish.
pub(super) fn layers() -> Value {
    json!([
        {"type": "dense", "units": 64, "activation": "swish"},
        {"type": "dense", "units": 64, "activation": "swish"},
        {"type": "dense", "units": 1}
    ])
}

/// Trains and predicts; gives the id of the model.
pub(super) async fn regress(guide: &Guide, dataset: &Dataset) -> Result<String> {
    heading("Housing: 13 measures in, a price out, in batches of 32 of the 506 rows");
    let job = json!({
        "name": "housing", "dataset": dataset.id, "target": TARGET,
        "model": {"layers": layers(), "loss": "mse", "optimizer": "adam"},
        "training": {"epochs": 200, "batch_size": 32, "seed": 7}
    });
    let job = guide.train(&job).await?;
    let model = job.trained_model()?;
    guide.print_summary(model).await?;
    predict(guide, dataset, model).await?;
    Ok(model.to_owned())
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Predictions {
    predictions: Vec<Value>,
}

async fn predict(guide: &Guide, dataset: &Dataset, model: &str) -> Result<()> {
    let mut page: Rows = guide
        .client
        .get(&format!("/v1/datasets/{}/rows?limit=3", dataset.id))
        .await?;
    // The price is the table's last column; the others are the model's inputs, in order.
    let prices: Vec<Value> = page.rows.iter_mut().filter_map(Vec::pop).collect();
    let request = json!({"instances": page.rows});
    let answer: Predictions = guide
        .client
        .post(&format!("/v1/models/{model}/predict"), &request)
        .await?;
    println!("\nThe first rows, predicted by position:");
    for (price, prediction) in prices.iter().zip(&answer.predictions) {
        println!(
            "  predicted {:>8}   in the table {:>8}",
            figure(&prediction["value"]),
            figure(price)
        );
    }
    Ok(())
}
