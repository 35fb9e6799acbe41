//! What an epoch has added up so far.

use serde::{Deserialize, Serialize};

use crate::nn::clip::norm;
use crate::nn::kernel::Float;
use crate::nn::metric::Tally;
use crate::nn::spec::Plan;

/// Running sums over the batches of an epoch; part of a checkpoint, so that an epoch can be resumed in its middle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Epoch<F> {
    /// Batches done.
    pub(super) batch: usize,
    rows: usize,
    /// Σ rows·loss: an epoch's loss is the mean over its rows of the loss of their batch.
    loss: f64,
    tallies: Vec<Tally>,
    noise: Option<Noise<F>>,
}

/// Sums over the gradients of an epoch's batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Noise<F> {
    norms: f64,
    squares: f64,
    sum: Vec<F>,
}

impl<F: Float> Epoch<F> {
    pub(super) fn start(plan: &Plan) -> Self {
        Self {
            batch: 0,
            rows: 0,
            loss: 0.0,
            tallies: plan.metrics.iter().map(|metric| metric.start(plan.outputs)).collect(),
            noise: None,
        }
    }

    pub(super) fn add(&mut self, plan: &Plan, rows: usize, loss: f64, outputs: &[F], targets: &[F]) {
        self.add_loss(rows, loss);
        for (metric, tally) in plan.metrics.iter().zip(&mut self.tallies) {
            metric.add(tally, plan.outputs, outputs, targets);
        }
    }

    pub(super) fn add_loss(&mut self, rows: usize, loss: f64) {
        self.batch += 1;
        self.rows += rows;
        self.loss += rows as f64 * loss;
    }

    pub(super) fn add_gradients(&mut self, gradients: &[F]) {
        let nothing = || Noise {
            norms: 0.0,
            squares: 0.0,
            sum: vec![F::ZERO; gradients.len()],
        };
        let noise = self.noise.get_or_insert_with(nothing);
        let norm = norm(gradients);
        noise.norms += norm;
        noise.squares += norm * norm;
        noise.sum.iter_mut().zip(gradients).for_each(|(sum, g)| *sum += *g);
    }

    /// Loss and metrics, with a prefix for those of the validation.
    pub(super) fn figures(&self, plan: &Plan, prefix: &str) -> Vec<(String, f64)> {
        let loss = [("loss", self.loss / self.rows as f64)];
        let metrics = plan.metrics.iter().zip(&self.tallies);
        let metrics = metrics.map(|(metric, tally)| (metric.name(), metric.result(tally)));
        loss.into_iter()
            .chain(metrics)
            .map(|(name, figure)| (format!("{prefix}{name}"), figure))
            .collect()
    }

    /// The mean norm of the batches' gradients, and how far they lie from their mean:
    /// √(mean ‖g‖² − ‖mean g‖²) = √mean ‖g − mean g‖².
    pub(super) fn noise_figures(&self) -> Option<[(String, f64); 2]> {
        let noise = self.noise.as_ref()?;
        let batches = self.batch as f64;
        let mean_square = (norm(&noise.sum) / batches).powi(2);
        let spread = (noise.squares / batches - mean_square).max(0.0).sqrt();
        Some([
            ("gradient_norm".to_owned(), noise.norms / batches),
            ("gradient_noise".to_owned(), spread),
        ])
    }

    /// Whether it belongs to this plan.
    pub(super) fn fits(&self, plan: &Plan, weights: usize) -> bool {
        let fresh = Self::start(plan);
        let lengths = |epoch: &Self| epoch.tallies.iter().map(Tally::len).collect::<Vec<_>>();
        lengths(self) == lengths(&fresh) && self.noise.as_ref().is_none_or(|noise| noise.sum.len() == weights)
    }
}
