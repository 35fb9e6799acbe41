//! A claimed job with all that its worker needs before it begins.

use super::admission::{Named, check};
use super::base::{Base, BaseError};
use super::checkpoint::{Identity, Saved};
use super::flag::Flag;
use super::samples::{Prepared, Reading, SamplesError};
use crate::data::encoder::{TargetEncoding, TargetSpec};
use crate::domain::artifact::{self, ArtifactError, Kind};
use crate::domain::dataset::Dataset;
use crate::domain::id::DatasetId;
use crate::domain::job::Job;
use crate::domain::job_spec::ValidationSpec;
use crate::nn::spec::{Fault, Plan};
use crate::nn::trainer::{EarlyStopping, FitOptions};
use crate::nn::weights::LayerWeights;
use crate::store::{Claim, Store, StoreError};

pub(super) struct Assignment {
    store: Store,
    pub(super) job: Job,
    pub(super) plan: Plan,
    target: TargetSpec,
    pub(super) identity: Identity,
    pub(super) base: Option<Base>,
    pub(super) initial_weights: Option<Vec<LayerWeights>>,
    dataset: Dataset,
    validation: Option<Dataset>,
    /// Where an earlier attempt, or the one before a pause, left off.
    pub(super) saved: Option<Saved>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum AssignmentError {
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Base(BaseError),
    #[error("it could not be loaded: {0}")]
    Loading(tokio::task::JoinError),
    #[error("the {0} is gone though the job needs it")]
    Gone(&'static str),
    #[error("an admitted job no longer fits its tables: {0:?}")]
    Unfit(Vec<Fault>),
}

impl From<StoreError> for AssignmentError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<BaseError> for AssignmentError {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Store(error) => Self::Store(error),
            other => Self::Base(other),
        }
    }
}

impl Assignment {
    pub(super) async fn load(store: &Store, claim: &Claim) -> Result<Self, AssignmentError> {
        let (tenant, spec) = (&claim.tenant, &claim.job.spec);
        let dataset = async |id: DatasetId| {
            store
                .get_dataset(tenant, id)
                .await?
                .ok_or(AssignmentError::Gone("dataset"))
        };
        let training = dataset(spec.dataset).await?;
        let validation = match &spec.training.validation {
            Some(ValidationSpec::Dataset(named)) => Some(dataset(named.dataset).await?),
            _ => None,
        };
        let base = match spec.continue_from {
            Some(id) => Some(
                Base::load(store, tenant, id)
                    .await?
                    .ok_or(AssignmentError::Gone("continued model"))?,
            ),
            None => None,
        };
        let named = Named {
            dataset: &training,
            validation: validation.as_ref(),
            continued: base.as_ref().map(Base::as_continued),
        };
        let (plan, classes) = check(spec, named, None, "/features").map_err(AssignmentError::Unfit)?;
        let identity = Identity::new(&plan, spec, &training);
        let saved = newest_readable(store, claim, &identity).await?;
        log_cost(&claim.job, saved.as_ref());
        Ok(Self {
            saved,
            store: store.clone(),
            job: claim.job.clone(),
            target: TargetSpec {
                column: spec.target.clone(),
                encoding: encoding(&plan, classes),
            },
            plan,
            identity,
            base,
            initial_weights: open_weights(claim.initial_weights.as_deref())?,
            dataset: training,
            validation,
        })
    }

    /// Epochs that the continued model has seen.
    pub(super) fn first_epoch(&self) -> u32 {
        self.base.as_ref().map_or(0, |base| base.model.epochs)
    }

    pub(super) fn fit_options(&self) -> FitOptions {
        let training = &self.job.spec.training;
        FitOptions {
            epochs: training.epochs,
            first_epoch: self.first_epoch(),
            batch_size: training.batch_size as usize,
            shuffle: training.shuffle,
            seed: training.seed,
            early_stopping: training.early_stopping.as_ref().map(|early| EarlyStopping {
                monitor: early.monitor.clone(),
                patience: early.patience,
                min_delta: early.min_delta,
                restore_best: early.restore_best,
            }),
            report_inference_loss: training.report_inference_loss,
            report_gradient_noise: training.report_gradient_noise,
        }
    }

    /// Reads the tables; fails soon after the flag asks for anything.
    pub(super) fn read(&self, flag: &Flag) -> Result<Prepared, SamplesError> {
        let reading = Reading {
            store: &self.store,
            spec: &self.job.spec,
            dataset: &self.dataset,
            validation: self.validation.as_ref(),
            flag,
        };
        reading.prepare(self.target.clone(), self.base.as_ref().map(|base| base.encoder.clone()))
    }
}

/// Tells who runs the server what an interruption cost.
fn log_cost(job: &Job, saved: Option<&Saved>) {
    let from = saved.map_or(0, |saved| saved.trainer.epochs());
    if job.attempt > 1 {
        let again = job.progress.epoch.saturating_sub(from);
        tracing::info!(job = %job.id, attempt = job.attempt, from, again, "a job goes on; epochs to train again");
    }
}

/// The newest checkpoint that can be read. One that can't costs time, never the result: the epochs are trained again.
async fn newest_readable(store: &Store, claim: &Claim, identity: &Identity) -> Result<Option<Saved>, StoreError> {
    let readable = |bytes: &Vec<u8>| {
        let opened = identity.open(bytes);
        opened
            .map_err(|error| tracing::error!(job = %claim.job.id, %error, "a checkpoint can't be used"))
            .ok()
    };
    let Some(newest) = &claim.checkpoint else {
        return Ok(None);
    };
    match readable(newest) {
        Some(saved) => Ok(Some(saved)),
        None => Ok(store.earlier_checkpoint(claim).await?.as_ref().and_then(readable)),
    }
}

fn open_weights(sealed: Option<&[u8]>) -> Result<Option<Vec<LayerWeights>>, ArtifactError> {
    sealed.map(|bytes| artifact::open(Kind::Weights, bytes)).transpose()
}

/// Two classes may share one output.
fn encoding(plan: &Plan, classes: Option<Vec<String>>) -> TargetEncoding {
    match classes {
        None => TargetEncoding::Number,
        Some(classes) if plan.outputs == 1 => TargetEncoding::Binary { classes },
        Some(classes) => TargetEncoding::OneHot { classes },
    }
}
