//! What the client verbs read of the server's answers: of each only the fields that they show.

use std::fmt;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
pub(super) struct Dataset {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) missing: u64,
    /// Of a number column.
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    /// Of a category column.
    pub(super) categories: Option<Vec<Category>>,
}

/// `꽃잎길이 4.3–7.9`, `품종 (setosa, versicolor, virginica)`
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let (Some(min), Some(max)) = (self.min, self.max) {
            write!(f, " {min}–{max}")?;
        }
        if let Some(categories) = &self.categories {
            let shown: Vec<&str> = categories
                .iter()
                .take(5)
                .map(|category| category.value.as_str())
                .collect();
            let more = if categories.len() > shown.len() { ", …" } else { "" };
            write!(f, " ({}{more})", shown.join(", "))?;
        }
        match self.missing {
            0 => Ok(()),
            missing => write!(f, ", {missing} missing"),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) value: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) model: Option<String>,
    pub(super) progress: Progress,
    pub(super) error: Option<JobError>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

impl Job {
    /// Seconds it trained, the wait in the queue not counted.
    pub(super) fn seconds(&self) -> f64 {
        match (self.started_at, self.finished_at) {
            (Some(start), Some(end)) => (end - start).total(jiff::Unit::Second).unwrap_or_default(),
            _ => 0.0,
        }
    }

    /// The id of the model; an error when there is none.
    pub(super) fn trained_model(&self) -> Result<&str> {
        match (&self.model, &self.error) {
            (Some(model), None) => Ok(model),
            (_, Some(error)) => bail!("job {} {}: {} ({})", self.id, self.status, error.detail, error.code),
            (None, None) => bail!("job {} was {} before its first epoch was done", self.id, self.status),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Progress {
    pub(super) epoch: u64,
    pub(super) epochs: u64,
    pub(super) batches_per_epoch: Option<u64>,
    pub(super) metrics: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct JobError {
    pub(super) code: String,
    pub(super) detail: String,
}

/// One figure for people: enough digits to compare, no more.
pub(super) fn figure(value: &Value) -> String {
    match value.as_f64() {
        None => "–".to_owned(),
        Some(number) if number != 0.0 && number.abs() < 0.001 => format!("{number:.2e}"),
        Some(number) if number.abs() < 100.0 => format!("{number:.4}"),
        Some(number) => format!("{number:.1}"),
    }
}

/// `loss 0.0131  accuracy 1.0000`
pub(super) fn figures(metrics: &Map<String, Value>) -> String {
    let one = |(name, value): (&String, &Value)| format!("{name} {}", figure(value));
    metrics.iter().map(one).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_keep_their_digits_and_a_missing_one_is_a_dash() {
        let shown = [
            json!(0.0),
            json!(0.98765),
            json!(0.00001234),
            json!(584.66),
            json!(null),
        ]
        .map(|value| figure(&value));
        assert_eq!(shown, ["0.0000", "0.9877", "1.23e-5", "584.7", "–"]);
    }
}
