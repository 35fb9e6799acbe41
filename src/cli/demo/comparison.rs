//! Exercise 3 and 4: the same network with other optimizers and other batch sizes, side by side.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Guide, heading, housing};
use crate::cli::follow::Follower;
use crate::cli::views::{Dataset, Job, figure};

const EPOCHS: u64 = 100;

pub(super) async fn optimizers(guide: &Guide, dataset: &Dataset) -> Result<()> {
    heading("Four optimizers, the same network and data, 100 epochs");
    let variants = [
        ("sgd", json!({"type": "sgd", "learning_rate": 0.001})),
        (
            "momentum",
            json!({"type": "sgd", "learning_rate": 0.001, "momentum": 0.9}),
        ),
        ("adagrad", json!({"type": "adagrad", "learning_rate": 0.01})),
        ("adam", json!({"type": "adam", "learning_rate": 0.001})),
    ];
    let jobs = variants.map(|(name, optimizer)| job(dataset, name, optimizer, 32));
    for run in side_by_side(guide, jobs).await? {
        let (name, last, seconds) = (&run.name, figure(&run.progress.metrics["loss"]), run.seconds());
        println!("  {name:<16} last loss {last:>9}   {seconds:.2} s");
    }
    Ok(())
}

pub(super) async fn batch_sizes(guide: &Guide, dataset: &Dataset) -> Result<()> {
    heading(
        "Four batch sizes with adam, 100 epochs: small ones get far and shake, large ones are calm and slow to learn",
    );
    let jobs = [8, 32, 128, 506].map(|size| job(dataset, &format!("batches of {size}"), json!("adam"), size));
    for run in side_by_side(guide, jobs).await? {
        let history: History = guide.client.get(&format!("/v1/jobs/{}/history", run.id)).await?;
        let steps = run.progress.batches_per_epoch.unwrap_or_default() * EPOCHS;
        let (name, last) = (&run.name, figure(&run.progress.metrics["loss"]));
        let rises = rises(&history.loss);
        let seconds = run.seconds();
        println!(
            "  {name:<16} {steps:>5} steps   last loss {last:>9}   the loss rose {rises:>2} times   {seconds:.2} s"
        );
    }
    Ok(())
}

fn job(dataset: &Dataset, name: &str, optimizer: Value, batch_size: u64) -> Value {
    json!({
        "name": name, "dataset": dataset.id, "target": housing::TARGET,
        "model": {"layers": housing::layers(), "loss": "mse", "optimizer": optimizer},
        "training": {"epochs": EPOCHS, "batch_size": batch_size, "seed": 7}
    })
}

/// Submits all of them, then follows all at once; the server trains as many at a time as it has workers.
async fn side_by_side<const N: usize>(guide: &Guide, jobs: [Value; N]) -> Result<Vec<Job>> {
    let follower = Follower::on_stderr();
    let mut running = JoinSet::new();
    for (index, job) in jobs.iter().enumerate() {
        let (client, follower) = (guide.client.clone(), follower.clone());
        let job = client.submit(job).await?;
        running.spawn(async move { (index, follower.follow(&client, job).await) });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(index, _)| *index);
    println!();
    done.into_iter()
        .map(|(_, job)| job)
        .collect::<Result<_>>()
        .context("a job could not be followed")
}

#[derive(Deserialize)]
struct History {
    loss: Vec<Option<f64>>,
}

/// How often the loss was higher than in the epoch before.
fn rises(loss: &[Option<f64>]) -> usize {
    loss.windows(2).filter(|pair| pair[1] > pair[0]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_a_loss_above_the_one_before() {
        assert_eq!(rises(&[Some(3.0), Some(5.0), Some(5.0), Some(4.0), Some(4.5)]), 2);
        assert_eq!(rises(&[Some(3.0)]), 0);
    }
}
