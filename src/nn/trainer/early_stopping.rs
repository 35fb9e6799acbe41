//! Stops a training whose watched figure no longer improves.

use serde::{Deserialize, Serialize};

use crate::nn::spec::Metric;

/// When to stop early.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    /// A column of the history, such as `val_loss`.
    pub monitor: String,
    /// Epochs without improvement that end the training; 0 counts as 1.
    pub patience: u32,
    /// The least change that counts as an improvement.
    pub min_delta: f64,
    /// Whether the best epoch's weights are kept instead of the last one's, even when nothing stopped early.
    pub restore_best: bool,
}

/// The best value of the watched figure so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Negated where more is better; ∞ for what is not a number.
    best: Option<f64>,
    pub(super) best_epoch: u32,
    /// Epochs since then.
    waited: u32,
}

impl EarlyStopping {
    /// Whether a larger value of the figure is the better one, as the metric of that name says.
    fn more_is_better(&self, metrics: &[Metric]) -> bool {
        let name = self.monitor.strip_prefix("val_").unwrap_or(&self.monitor);
        metrics
            .iter()
            .any(|metric| metric.name() == name && metric.more_is_better())
    }

    /// Whether the epoch is the best so far. The first always is; after it a figure that is not a number never is, and any
    /// finite one is better than that. (In Keras nothing is: a first NaN stays the best.)
    ///
    /// Source: `keras/src/callbacks/early_stopping.py`.
    pub(super) fn improves(
        &self,
        watch: &mut Watch,
        metrics: &[Metric],
        epoch: u32,
        figures: &[(String, f64)],
    ) -> bool {
        let figure = figures.iter().find(|(name, _)| *name == self.monitor);
        let value = figure.map_or(f64::NAN, |(_, value)| *value);
        let value = if self.more_is_better(metrics) { -value } else { value };
        let improved = watch.best.is_none_or(|best| value + self.min_delta < best);
        match improved {
            true => {
                *watch = Watch {
                    best: Some(if value.is_nan() { f64::INFINITY } else { value }),
                    best_epoch: epoch,
                    waited: 0,
                }
            }
            false => watch.waited += 1,
        }
        improved
    }

    /// Whether to stop now.
    pub(super) fn is_over(&self, watch: &Watch) -> bool {
        watch.waited >= self.patience.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::MetricName;

    fn stops_at(stopping: &EarlyStopping, values: &[f64]) -> (Option<usize>, u32) {
        let metrics = [MetricName::Accuracy.into(), MetricName::Mae.into()];
        let mut watch = Watch::default();
        let stop = values.iter().enumerate().position(|(index, value)| {
            let figures = [("loss".to_owned(), 1.0), (stopping.monitor.clone(), *value)];
            stopping.improves(&mut watch, &metrics, index as u32 + 1, &figures);
            stopping.is_over(&watch)
        });
        (stop.map(|index| index + 1), watch.best_epoch)
    }

    fn stopping(monitor: &str, patience: u32, min_delta: f64) -> EarlyStopping {
        let monitor = monitor.to_owned();
        EarlyStopping {
            monitor,
            patience,
            min_delta,
            restore_best: false,
        }
    }

    #[test]
    fn patience_counts_epochs_without_improvement() {
        assert_eq!(
            stops_at(&stopping("val_loss", 2, 0.0), &[3.0, 2.0, 2.0, 2.5, 1.0]),
            (Some(4), 2)
        );
        assert_eq!(stops_at(&stopping("val_loss", 0, 0.0), &[3.0, 2.0, 2.0]), (Some(3), 2));
        assert_eq!(stops_at(&stopping("val_mae", 2, 0.0), &[3.0, 2.0, 2.5, 1.0]), (None, 4));
    }

    #[test]
    fn accuracy_improves_upwards_and_a_small_change_is_none() {
        assert_eq!(
            stops_at(&stopping("val_accuracy", 2, 0.0), &[0.5, 0.6, 0.5, 0.6]),
            (Some(4), 2)
        );
        assert_eq!(
            stops_at(&stopping("val_loss", 2, 0.5), &[3.0, 2.8, 2.6, 0.1]),
            (Some(3), 1)
        );
    }

    #[test]
    fn a_figure_that_is_not_a_number_is_the_best_only_as_long_as_there_is_no_other() {
        let (nan, two) = (f64::NAN, stopping("val_loss", 2, 0.0));
        assert_eq!(stops_at(&two, &[nan, 2.0, nan, nan]), (Some(4), 2));
        assert_eq!(stops_at(&two, &[nan, nan, nan]), (Some(3), 1));
        assert_eq!(stops_at(&stopping("val_accuracy", 1, 0.0), &[nan, 0.5, 0.6]), (None, 3));
    }

    #[test]
    fn the_first_figure_is_the_best_so_far_and_the_least_change_is_added_to_the_new_one() {
        assert_eq!(
            stops_at(&stopping("val_loss", 1, 0.0), &[f64::INFINITY, 2.0, 1.0]),
            (None, 3)
        );
        // 0.3 + 0.1 is not less than 0.4, though 0.4 − 0.1 is more than 0.3.
        assert_eq!(stops_at(&stopping("val_loss", 1, 0.1), &[0.4, 0.3, 0.2]), (Some(2), 1));
    }
}
