//! From a job as its client wrote it to a job that can run, or every fault that keeps it from running.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::dataset::Dataset;
use crate::domain::job_spec::{JobRequest, JobSpec};
use crate::domain::model::{Model, ParameterCounts};
use crate::domain::problem::Problem;
use crate::nn::spec::Plan;
use crate::nn::summary::Summary;

/// The stored things a request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) validation: Option<&'a Dataset>,
    pub(crate) continued: Option<&'a Model>,
}

/// A job that can run.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) spec: JobSpec,
    pub(crate) plan: Plan,
    /// The classes in the order of the network's outputs; `None` for a regression.
    pub(crate) classes: Option<Vec<String>>,
    /// The most memory it will need, by estimate.
    pub(crate) memory_bytes: u64,
}

/// What a job would be, had it been submitted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// The job as it would run, defaults filled in.
    pub spec: JobSpec,
    /// The classes in the order of the network's outputs; null for a regression.
    pub classes: Option<Vec<String>>,
    pub summary: Summary,
    pub parameters: ParameterCounts,
    /// The most memory it would need, by estimate.
    pub memory_bytes: u64,
}

/// Checks a request against the tables it names and fills in every default.
///
/// Errors: `invalid-spec` with every fault, each with its pointer into the request; `job-too-large` when the
/// estimate is over `max_memory_bytes`.
pub(crate) fn admit(request: JobRequest, named: Named<'_>, max_memory_bytes: u64) -> Result<Admitted, Problem> {
    unimplemented!()
}
