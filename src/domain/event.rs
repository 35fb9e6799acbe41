//! What happened to a job, numbered from 1 in the order it was stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An epoch was finished: its number and figures.
    Epoch,
    /// The job's status changed.
    Status,
    /// The job reached a final status; nothing follows.
    Done,
}

impl EventKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Status => "status",
            Self::Done => "done",
        }
    }
}

/// One stored event of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, … within the job, without gaps.
    pub number: u64,
    pub kind: EventKind,
    /// What the event stream sends as `data`.
    pub data: serde_json::Value,
}

/// The figures of one finished epoch, in the order the history shows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 1.
    pub epoch: u32,
    /// `loss`, then the metrics, then their `val_` counterparts; a figure that is not finite is `None`.
    pub figures: Vec<(String, Option<f64>)>,
}
