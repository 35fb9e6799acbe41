//! How a job's thread ends, and the model it leaves.

use jiff::Timestamp;

use super::assignment::Assignment;
use super::flag::Wish;
use crate::data::encoder::Encoder;
use crate::domain::artifact::{self, Kind};
use crate::domain::id::ModelId;
use crate::domain::job::JobError;
use crate::domain::model::{Model, ModelParts, TaskKind};
use crate::nn::trainer::Trained;
use crate::store::NewModel;

#[derive(Debug)]
pub(super) enum Ending {
    Succeeded(Box<NewModel>),
    Failed {
        error: JobError,
        model: Option<Box<NewModel>>,
    },
    /// As its client asked.
    Cancelled(Option<Box<NewModel>>),
    /// Paused or released; without a checkpoint where nothing new was trained.
    Stopped {
        wish: Wish,
        checkpoint: Option<Vec<u8>>,
    },
    /// The job is no longer ours.
    Abandoned,
}

impl Ending {
    /// Paused or released before anything was trained: what is stored is all there is.
    pub(super) fn untrained(wish: Wish) -> Self {
        Self::Stopped { wish, checkpoint: None }
    }

    pub(super) fn failed(code: &str, detail: impl Into<String>) -> Self {
        let error = JobError {
            code: code.to_owned(),
            detail: detail.into(),
        };
        Self::Failed { error, model: None }
    }

    /// A fault of ours: the client learns no more than that, the log has why.
    pub(super) fn internal(why: &str) -> Self {
        tracing::error!(why, "a job failed through a fault of the server");
        Self::failed(
            "internal",
            "The server failed while it trained this job; the fault is not yours. Its log says why.",
        )
    }

    /// The loss or a weight was no longer finite in `epoch`; `model` has the finite weights of the end of the job's epoch
    /// `kept`.
    pub(super) fn diverged(epoch: u32, kept: u32, model: Box<NewModel>) -> Self {
        let when = match kept {
            0 => "before the first epoch".to_owned(),
            kept => format!("after epoch {kept}"),
        };
        let detail = format!(
            "The loss or a weight was no longer a finite number in epoch {epoch}. A lower learning rate, clipped gradients or standardized inputs usually help. The job's model has the weights from {when}, which are finite."
        );
        let error = JobError {
            code: "diverged".to_owned(),
            detail,
        };
        let model = Some(model);
        Self::Failed { error, model }
    }
}

/// The model of a job that is trained, as far as it is.
pub(super) fn new_model(assignment: &Assignment, encoder: &Encoder, trained: &Trained<f32>) -> Box<NewModel> {
    let (job, plan) = (&assignment.job, &assignment.plan);
    let weights = trained.network.weights();
    let classes = encoder.target().classes();
    let finite = |value: f64| value.is_finite().then_some(value);
    let model = Model {
        id: ModelId::generate(),
        name: job.name.clone(),
        task: if classes.is_some() {
            TaskKind::Classification
        } else {
            TaskKind::Regression
        },
        inputs: encoder.inputs(),
        target: job.spec.target.clone(),
        classes: classes.map(<[String]>::to_vec),
        parameters: plan.parameters(),
        metrics: trained
            .figures
            .iter()
            .map(|(name, value)| (name.clone(), finite(*value)))
            .collect(),
        epochs: assignment.first_epoch() + trained.epochs,
        job: Some(job.id),
        dataset: Some(job.spec.dataset),
        network: job.spec.model.clone(),
        preprocessing: job.spec.preprocessing.clone(),
        training: Some(job.spec.training.clone()),
        weights_sha256: artifact::weights_sha256(&weights),
        created_at: Timestamp::now(),
    };
    let parts = ModelParts {
        encoder: serde_json::to_string(encoder).expect("an encoder is JSON"),
        weights: artifact::seal(Kind::Weights, &weights),
        optimizer_state: artifact::seal(Kind::Optimizer, &trained.optimizer),
    };
    Box::new(NewModel { model, parts })
}
