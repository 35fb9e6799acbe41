//! From a job as its client wrote it to a job that can run, or every fault that keeps it from running.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::limits::JobLimits;
use super::tables::{self, Classes};
use crate::data::encoder::{Encoder, default_features, width_of};
use crate::domain::dataset::Dataset;
use crate::domain::job_request::JobRequest;
use crate::domain::job_spec::{JobSpec, PreprocessingSpec, TrainingSpec};
use crate::domain::model::{Model, ParameterCounts};
use crate::domain::problem::{Kind, Problem};
use crate::nn::spec::reader::nearest;
use crate::nn::spec::{Fault, ModelSpec, Plan, Target};
use crate::nn::summary::Summary;
use crate::nn::weights::LayerWeights;

/// The stored things a request names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) validation: Option<&'a Dataset>,
    pub(super) continued: Option<Continued<'a>>,
}

/// The model that a job goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continued<'a> {
    pub(super) model: &'a Model,
    pub(super) encoder: &'a Encoder,
}

/// A job that can run.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) spec: JobSpec,
    pub(super) plan: Plan,
    /// In the order of the network's outputs; `None` for a regression.
    pub(super) classes: Classes,
    /// The most memory it will need, by estimate.
    pub(super) memory_bytes: u64,
    pub(super) initial_weights: Option<Vec<LayerWeights>>,
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

impl From<Admitted> for DryRun {
    fn from(admitted: Admitted) -> Self {
        Self {
            summary: admitted.plan.summary(),
            parameters: admitted.plan.parameters(),
            spec: admitted.spec,
            classes: admitted.classes,
            memory_bytes: admitted.memory_bytes,
        }
    }
}

/// Checks a request against the tables it names and fills in every default.
///
/// Errors: `invalid-spec` with every fault, each with its pointer into the request; `job-too-large` when it would have
/// more parameters or take more memory or arithmetic than a job may.
pub(super) fn admit(mut request: JobRequest, named: Named<'_>, limits: &JobLimits) -> Result<Admitted, Problem> {
    let mut faults = Vec::new();
    let initial_weights = request.initial_weights.take();
    if let Some(continued) = named.continued {
        refuse_what_is_continued(&request, initial_weights.is_some(), continued.model, &mut faults);
    }
    let features_at = if request.features.is_some() {
        "/features"
    } else {
        "/dataset"
    };
    let mut spec = fill_in(request, initial_weights.is_some(), named);
    faults.extend(limits.faults(&spec));
    let checked = check(&spec, named, initial_weights.as_deref(), features_at);
    let (plan, classes) = match checked {
        Ok(checked) if faults.is_empty() => checked,
        checked => {
            faults.extend(checked.err().into_iter().flatten());
            return Err(Problem::faults(Kind::InvalidSpec, "The job can't run", faults));
        }
    };
    limits.network.check_parameters(&plan)?;
    let memory_bytes = limits.check_estimates(
        memory_bytes(&spec, &plan, named),
        multiply_adds(&spec.training, &plan, named),
    )?;
    spec.model = plan.spec();
    Ok(Admitted {
        memory_bytes,
        spec,
        plan,
        classes,
        initial_weights,
    })
}

/// The network and the classes (`None` for a regression) of a job, or all that keeps it from running.
pub(super) fn check(
    spec: &JobSpec,
    named: Named<'_>,
    initial_weights: Option<&[LayerWeights]>,
    features_at: &str,
) -> Result<(Plan, Classes), Vec<Fault>> {
    let mut faults = Vec::new();
    if let Some(place) = spec.features.iter().position(|feature| *feature == spec.target) {
        faults.push(Fault::new(
            format!("/features/{place}"),
            "is the target, which can't be a feature too",
        ));
    }
    let classes = tables::check(spec, named, &mut faults);
    let inputs = match named.continued {
        Some(continued) => Ok(continued.encoder.width()),
        None if spec.features.is_empty() => Err(vec![no_features()]),
        None => width_of(&named.dataset.columns, &spec.features, features_at),
    };
    let inputs = inputs.map_err(|found| faults.extend(found)).ok();

    // A network is checked as far as it can be even where the table is at fault.
    let target = match &classes {
        Some(None) => Target::Regression,
        Some(Some(classes)) => Target::Classes(classes.len()),
        None if spec.model.layers.is_some() => Target::Columns(None),
        None if spec.model.wants_classes() => Target::Classes(2),
        None => Target::Regression,
    };
    let plan = spec
        .model
        .plan("/model", inputs.unwrap_or(1), target)
        .map_err(|found| faults.extend(found))
        .ok();
    check_monitor(spec, plan.as_ref(), target, &mut faults);
    if let (Some(plan), Some(weights), Some(_)) = (&plan, initial_weights, inputs) {
        faults.extend(
            plan.check_weights(weights, "/initial_weights")
                .err()
                .into_iter()
                .flatten(),
        );
    }
    match (plan, classes) {
        (Some(plan), Some(classes)) if faults.is_empty() => Ok((plan, classes)),
        _ => Err(faults),
    }
}

/// Left out, the features are all columns that can be one; written, an empty list was refused when it was read.
fn no_features() -> Fault {
    Fault::new("/dataset", "has no column to predict from besides the target")
}

/// What a continued model brings along can't be given anew.
fn refuse_what_is_continued(request: &JobRequest, initial_weights: bool, model: &Model, faults: &mut Vec<Fault>) {
    let given = [
        ("/features", request.features.is_some()),
        ("/model", request.model.is_some()),
        ("/preprocessing", request.numeric.is_some()),
        ("/initial_weights", initial_weights),
    ];
    for (pointer, _) in given.into_iter().filter(|(_, given)| *given) {
        faults.push(Fault::new(
            pointer,
            format!("must be left out: the job goes on with what {} has", model.id),
        ));
    }
    if request.target != model.target {
        faults.push(Fault::new(
            "/target",
            format!("must be {:?}, the target of {}", model.target, model.id),
        ));
    }
}

/// The job with every default filled in but those of the network.
///
/// A continued job takes over all options that are not written, except `epochs`: how many FURTHER epochs is not
/// something the earlier job said.
fn fill_in(request: JobRequest, initial_weights: bool, named: Named<'_>) -> JobSpec {
    let defaults = TrainingSpec::default();
    let Some(Continued { model, .. }) = named.continued else {
        let training = request.training.or(&defaults);
        let weight = training.sample_weight.as_deref();
        let features = request.features;
        return JobSpec {
            dataset: request.dataset,
            features: features.unwrap_or_else(|| default_features(&named.dataset.columns, &request.target, weight)),
            target: request.target,
            model: request.model.unwrap_or_default(),
            training,
            preprocessing: PreprocessingSpec {
                numeric: request.numeric.unwrap_or_default(),
            },
            initial_weights,
            continue_from: None,
        };
    };
    let base = TrainingSpec {
        epochs: defaults.epochs,
        ..model.training.clone().unwrap_or_default()
    };
    JobSpec {
        dataset: request.dataset,
        features: model.inputs.iter().map(|input| input.name.clone()).collect(),
        target: model.target.clone(),
        model: model.network.clone(),
        training: request.training.or(&base),
        preprocessing: model.preprocessing.clone(),
        initial_weights: false,
        continue_from: Some(model.id),
    }
}

fn check_monitor(spec: &JobSpec, plan: Option<&Plan>, target: Target, faults: &mut Vec<Fault>) {
    let training = &spec.training;
    let Some(monitor) = training.early_stopping.as_ref().map(|early| early.monitor.as_str()) else {
        return;
    };
    // The metrics stand even where the layers are at fault.
    let metrics = ModelSpec {
        metrics: spec.model.metrics.clone(),
        ..ModelSpec::default()
    };
    let Some(plan) = plan.cloned().or_else(|| metrics.plan("", 1, target).ok()) else {
        return;
    };
    let mut figures = plan.figure_names(training.validation.is_some());
    let reported = [
        (training.report_inference_loss, "inference_loss"),
        (training.report_gradient_noise, "gradient_norm"),
        (training.report_gradient_noise, "gradient_noise"),
    ];
    figures.extend(
        reported
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| name.to_owned()),
    );
    if figures.iter().any(|figure| figure == monitor) {
        return;
    }
    let known: Vec<&str> = figures.iter().map(String::as_str).collect();
    let hint = match nearest(monitor, &known) {
        _ if monitor.starts_with("val_") && training.validation.is_none() => {
            "give training.validation, or monitor one of the training's figures".to_owned()
        }
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the figures are {}", known.join(", ")),
    };
    faults.push(Fault::new(
        "/training/early_stopping/monitor",
        format!("is no figure of this job; {hint}"),
    ));
}

/// The table as it is read, then the matrices and the network's share, as if all of it were held at once.
fn memory_bytes(spec: &JobSpec, plan: &Plan, named: Named<'_>) -> u128 {
    let rows = named
        .dataset
        .rows
        .saturating_add(named.validation.map_or(0, |table| table.rows));
    let columns = spec.features.len() + 1 + usize::from(spec.training.sample_weight.is_some());
    let table = u128::from(rows) * columns as u128 * 4;
    table + plan.memory_bytes(rows, u64::from(spec.training.batch_size))
}

/// Every epoch trains on all rows and goes forward, a third of a step, through those of another table.
fn multiply_adds(training: &TrainingSpec, plan: &Plan, named: Named<'_>) -> u128 {
    let validation = named.validation.map_or(0, |table| plan.multiply_adds(table.rows) / 3);
    let epoch = plan.multiply_adds(named.dataset.rows).saturating_add(validation);
    epoch.saturating_mul(training.epochs.into())
}

#[cfg(test)]
mod tests;
