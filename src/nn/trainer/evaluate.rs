//! Loss and metrics in inference mode.

use super::epoch::Epoch;
use super::samples::Samples;
use crate::nn::kernel::{Float, Stop};
use crate::nn::network::{Inference, Network};
use crate::nn::spec::Plan;

/// Rows that are measured at a time; fixed, because sums run over these blocks.
const BLOCK: usize = 256;

/// Loss (penalties included) and metrics of a network over the samples, in inference mode.
///
/// # Panics
/// If there are no rows, or they don't fit the plan.
pub fn evaluate<F: Float>(plan: &Plan, network: &Network<F>, samples: &Samples<F>) -> Vec<(String, f64)> {
    samples.check(plan);
    measure(plan, network, samples, true, &Stop::default()).figures(plan, "")
}

/// Takes the samples through the network; `metrics`: whether to count more than the loss. Once `stop` is asked for it
/// returns early, and what it has added up means nothing.
pub(super) fn measure<F: Float>(
    plan: &Plan,
    network: &Network<F>,
    samples: &Samples<F>,
    metrics: bool,
    stop: &Stop,
) -> Epoch<F> {
    let mut epoch = Epoch::start(plan);
    let laid = samples.laid();
    let (x, targets, weights) = laid.slices();
    let rows = samples.x.nrows();
    let block = rows.min(BLOCK);
    let mut inference = Inference::new(network, block);
    let (mut d, mut values) = (vec![F::ZERO; block * plan.outputs], vec![F::ZERO; block * plan.outputs]);
    let penalty = network.penalty();
    for first in (0..rows).step_by(block) {
        if stop.is_asked() {
            break;
        }
        let end = (first + block).min(rows);
        let inputs = first * plan.inputs..end * plan.inputs;
        inference.input(inputs.len()).copy_from_slice(&x[inputs]);
        let y = inference.run(network, network.scored(&plan.loss), end - first);
        let (d, values) = (&mut d[..y.len()], &mut values[..y.len()]);
        let targets = &targets[first * plan.outputs..end * plan.outputs];
        let weights = weights.map(|weights| &weights[first..end]);
        let total = plan
            .loss
            .score([end - first, plan.outputs], y, targets, weights, d, values);
        let loss = total / (end - first) as f64 + penalty;
        match metrics {
            true => epoch.add(plan, end - first, loss, y, targets),
            false => epoch.add_loss(end - first, loss),
        }
    }
    epoch
}
