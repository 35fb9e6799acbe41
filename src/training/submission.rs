//! A job on its way in: what it names is looked up, it is checked, it is queued.

use super::admission::{Admitted, DryRun, Named, admit};
use super::base::Base;
use super::runner::Runner;
use crate::domain::artifact::{self, Kind as Artifact};
use crate::domain::dataset::Dataset;
use crate::domain::id::{DatasetId, JobId, ModelId};
use crate::domain::job::Job;
use crate::domain::job_request::{FaultyRequest, JobRequest};
use crate::domain::job_spec::{JobSpec, ValidationSpec};
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::nn::spec::Fault;
use crate::nn::weights::LayerWeights;
use crate::store::{Keep, NewJob, Room, StoreError, Submission, aside};

impl Runner {
    /// Checks a job, stores it as queued and has it started when its turn comes; `storage_bytes` are what its tenant may
    /// have.
    pub async fn submit(
        &self,
        tenant: &TenantId,
        mut request: JobRequest,
        storage_bytes: u64,
        keep: Option<Keep<Job>>,
    ) -> Result<Job, Problem> {
        let (id, name) = (JobId::generate(), request.name.take());
        let (admitted, dataset) = self.admit(tenant, request).await?;
        let new = NewJob {
            id,
            name: name.unwrap_or_else(|| JobSpec::default_name(&dataset.name, id)),
            spec: admitted.spec,
            initial_weights: match admitted.initial_weights {
                Some(weights) => Some(seal(weights).await?),
                None => None,
            },
            memory_bytes: admitted.memory_bytes,
        };
        let room = Room {
            waiting: self.0.options.max_waiting,
            storage_bytes,
        };
        match self.0.store.insert_job(tenant, new, room, keep.as_ref()).await? {
            Submission::Queued(job) => {
                self.0.changed(id);
                self.0.wake();
                Ok(*job)
            }
            Submission::QueueFull { waiting } => {
                let detail = format!(
                    "{waiting} jobs wait already, paused ones included, which is the limit: send this one again later."
                );
                Err(Problem::new(Kind::TooManyRequests, detail))
            }
            Submission::NoRoom { used_bytes } => Err(Problem::no_room(used_bytes, storage_bytes)),
            Submission::DatasetGone(id) => Err(refused(vec![no_dataset("/dataset", id)])),
            Submission::ModelGone(id) => Err(refused(vec![no_model(id)])),
        }
    }

    /// Checks a job and says what it would be; stores nothing.
    pub async fn dry_run(&self, tenant: &TenantId, request: JobRequest) -> Result<DryRun, Problem> {
        Ok(self.admit(tenant, request).await?.0.into())
    }

    /// All that is wrong with a document that could not be read as a whole: what reading found, and what the tables it
    /// names show of the rest.
    pub async fn refuse(&self, tenant: &TenantId, faulty: FaultyRequest) -> Problem {
        let mut faults = faulty.faults;
        if let Some(rest) = faulty.rest
            && let Err(problem) = self.admit(tenant, *rest).await
        {
            faults.extend(problem.faults);
        }
        refused(faults)
    }

    /// Looks up what the request names, and checks it.
    async fn admit(&self, tenant: &TenantId, request: JobRequest) -> Result<(Admitted, Dataset), Problem> {
        let store = &self.0.store;
        let mut faults = Vec::new();
        let dataset = store.get_dataset(tenant, request.dataset).await?;
        if dataset.is_none() {
            faults.push(no_dataset("/dataset", request.dataset));
        }
        let mut base = None;
        if let Some(id) = request.continue_from {
            base = Base::load(store, tenant, id).await?;
            faults.extend(base.is_none().then(|| no_model(id)));
        }
        // A continued job validates as the earlier one did, unless it says otherwise.
        let inherited = base
            .as_ref()
            .and_then(|base| base.model.training.as_ref()?.validation.as_ref());
        let mut validation = None;
        if let Some(ValidationSpec::Dataset(named)) = request.training.validation.as_ref().or(inherited) {
            validation = store.get_dataset(tenant, named.dataset).await?;
            faults.extend(
                validation
                    .is_none()
                    .then(|| no_dataset("/training/validation/dataset", named.dataset)),
            );
        }
        let Some(dataset) = dataset.filter(|_| faults.is_empty()) else {
            return Err(refused(faults));
        };
        let named = Named {
            dataset: &dataset,
            validation: validation.as_ref(),
            continued: base.as_ref().map(Base::as_continued),
        };
        let admitted = admit(request, named, &self.0.options.limits)?;
        Ok((admitted, dataset))
    }
}

async fn seal(weights: Vec<LayerWeights>) -> Result<Vec<u8>, StoreError> {
    let tensors = weights.iter().flat_map(|layer| &layer.0);
    let size = tensors.map(|(_, tensor)| size_of_val(&tensor.data[..])).sum();
    aside(size, move || artifact::seal(Artifact::Weights, &weights)).await
}

fn refused(faults: Vec<Fault>) -> Problem {
    Problem::faults(Kind::InvalidSpec, "The job can't run", faults)
}

fn no_dataset(at: &str, id: DatasetId) -> Fault {
    Fault::new(at, format!("there is no dataset {id}"))
}

fn no_model(id: ModelId) -> Fault {
    Fault::new("/continue_from", format!("there is no model {id}"))
}
