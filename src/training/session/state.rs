//! A session's network as its client's calls have left it.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::call::{Answer, Batch, Call, GradientsAnswer, Outputs, StepAnswer, TrainOnBatchAnswer};
use super::sequence::{Sequence, Turn};
use crate::domain::artifact::{self, ArtifactError, Kind as Artifact};
use crate::domain::problem::{Kind, Problem};
use crate::nn::gradients::Gradients;
use crate::nn::network::Network;
use crate::nn::optimizer::OptimizerState;
use crate::nn::rng::{Purpose, Random};
use crate::nn::spec::{Fault, Plan};
use crate::nn::trainer::{FitOptions, Samples, Step, Trainer};
use crate::nn::weights::{LayerWeights, Tensor};

/// Multiply-adds of one call: some tens of seconds on one core. Who wants more calls again.
const MAX_MULTIPLY_ADDS: u128 = 1_000_000_000_000;

/// What doesn't change while a session lives.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) plan: Plan,
    pub(super) seed: u64,
    pub(super) max_memory_bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) network: Network<f32>,
    pub(super) optimizer: OptimizerState<f32>,
    pub(super) sequence: Sequence,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    weights: Vec<LayerWeights>,
    optimizer: OptimizerState<f32>,
    sequence: Sequence,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("a stored session does not fit its network: {0:?}")]
    Unfit(Vec<Fault>),
}

impl State {
    pub(super) fn new(plan: &Plan, network: Network<f32>, optimizer: Option<OptimizerState<f32>>) -> Self {
        Self {
            optimizer: optimizer.unwrap_or_else(|| plan.optimizer.start(&network)),
            network,
            sequence: Sequence::default(),
        }
    }

    /// The bytes to store.
    pub(super) fn seal(&self) -> Vec<u8> {
        let stored = Stored {
            weights: self.network.weights(),
            optimizer: self.optimizer.clone(),
            sequence: self.sequence.clone(),
        };
        artifact::seal(Artifact::Session, &stored)
    }

    pub(super) fn open(plan: &Plan, bytes: &[u8]) -> Result<Self, StateError> {
        let stored: Stored = artifact::open(Artifact::Session, bytes)?;
        Ok(Self {
            network: Network::from_weights(plan, &stored.weights, "").map_err(StateError::Unfit)?,
            optimizer: stored.optimizer,
            sequence: stored.sequence,
        })
    }

    /// Outputs in inference mode; changes nothing.
    pub(super) fn predict(&self, setting: &Setting, x: Tensor) -> Result<Outputs, Problem> {
        let [x] = setting.matrices([(x, setting.plan.inputs, "/x")], 1)?;
        outputs(self.network.predict(x.view()))
    }

    /// The answer to a call and the state after it; no state where the call was applied before.
    pub(super) fn after(
        &self,
        setting: &Setting,
        seq: Option<u64>,
        call: Call,
    ) -> Result<(Answer, Option<Self>), Problem> {
        let seq = match self.sequence.turn(seq, &call)? {
            Turn::Again(answer) => return Ok((answer, None)),
            Turn::Now(seq) => seq,
        };
        let mut next = self.clone();
        let answer = next.apply(setting, seq, call)?;
        if !next.network.is_finite() {
            return Err(overflow(
                "The weights would no longer be finite numbers after this call",
            ));
        }
        next.sequence.record(answer.clone());
        Ok((answer, Some(next)))
    }

    fn apply(&mut self, setting: &Setting, seq: u64, call: Call) -> Result<Answer, Problem> {
        match call {
            Call::Forward { x } => {
                let [x] = setting.matrices([(x, setting.plan.inputs, "/x")], 1)?;
                let y = self.network.forward_in_training(x.view(), &self.random(setting));
                outputs(y).map(Answer::Forward)
            }
            Call::Gradients(batch) => self.gradients(setting, seq, batch).map(Answer::Gradients),
            Call::ApplyGradients { gradients } => {
                let gradients = Gradients::from_layers(&self.network, &gradients, "/gradients").map_err(invalid)?;
                self.network
                    .apply_gradients(&setting.plan, gradients, &mut self.optimizer);
                Ok(Answer::ApplyGradients(self.stepped(seq)))
            }
            Call::TrainOnBatch { batch, steps } => self
                .train_on_batch(setting, seq, batch, steps)
                .map(Answer::TrainOnBatch),
            Call::SetWeights { weights } => {
                self.network = Network::from_weights(&setting.plan, &weights, "/weights").map_err(invalid)?;
                Ok(Answer::SetWeights(self.stepped(seq)))
            }
        }
    }

    fn gradients(&mut self, setting: &Setting, seq: u64, batch: Batch) -> Result<GradientsAnswer, Problem> {
        let [x, y] = setting.batch(batch, 1)?;
        let random = self.random(setting);
        let (loss, gradients) = self.network.gradients(&setting.plan, x.view(), y.view(), None, &random);
        let gradient_norm = gradients.norm();
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(overflow(
                "The loss of this batch or its gradients are no finite numbers",
            ));
        }
        Ok(GradientsAnswer {
            loss,
            gradients: gradients.by_layer(&self.network),
            gradient_norm,
            seq,
        })
    }

    /// The steps are those of a job that trains these rows as one batch an epoch, to the bit.
    fn train_on_batch(
        &mut self,
        setting: &Setting,
        seq: u64,
        batch: Batch,
        steps: u32,
    ) -> Result<TrainOnBatchAnswer, Problem> {
        let [x, y] = setting.batch(batch, steps)?;
        let plan = Plan {
            metrics: Vec::new(),
            ..setting.plan.clone()
        };
        let options = FitOptions {
            epochs: steps,
            first_epoch: u32::try_from(self.optimizer.step).unwrap_or(u32::MAX),
            batch_size: x.nrows(),
            shuffle: false,
            seed: setting.seed,
            ..FitOptions::default()
        };
        let samples = Samples { x, y, weights: None };
        let mut trainer = Trainer::new(
            plan,
            self.network.clone(),
            Some(self.optimizer.clone()),
            samples,
            None,
            options,
        );
        let mut loss = Vec::with_capacity(steps as usize);
        while let Step::Epoch(report) = trainer.step() {
            loss.extend(report.figures.first().map(|(_, loss)| *loss));
        }
        if loss.len() < steps as usize {
            let step = loss.len() + 1;
            return Err(overflow(&format!(
                "The loss of step {step} of this call is no finite number"
            )));
        }
        let trained = trainer.finish();
        (self.network, self.optimizer) = (trained.network, trained.optimizer);
        let StepAnswer { step, seq } = self.stepped(seq);
        Ok(TrainOnBatchAnswer { loss, step, seq })
    }

    fn stepped(&self, seq: u64) -> StepAnswer {
        let step = self.optimizer.step;
        StepAnswer { step, seq }
    }

    /// What dropout drops in the next step: the same whoever asks, and however often.
    fn random(&self, setting: &Setting) -> Random {
        Random::new(setting.seed, Purpose::Dropout, self.optimizer.step, 0)
    }
}

impl Setting {
    fn batch(&self, batch: Batch, steps: u32) -> Result<[Array2<f32>; 2], Problem> {
        let (x, y) = ((batch.x, self.plan.inputs, "/x"), (batch.y, self.plan.outputs, "/y"));
        let matrices = self.matrices([x, y], steps)?;
        let [x, y] = &matrices;
        if x.nrows() == y.nrows() {
            return Ok(matrices);
        }
        let detail = format!(
            "must have as many rows as x, which has {}, not {}",
            x.nrows(),
            y.nrows()
        );
        Err(invalid(vec![Fault::new("/y", detail)]))
    }

    /// Each array as a matrix of so many columns, where the call is of a size that one call may have.
    fn matrices<const N: usize>(
        &self,
        arrays: [(Tensor, usize, &str); N],
        steps: u32,
    ) -> Result<[Array2<f32>; N], Problem> {
        let mut faults = Vec::new();
        let matrices = arrays.map(|(array, columns, at)| {
            matrix(array, columns)
                .map_err(|detail| faults.push(Fault::new(at, detail)))
                .unwrap_or_default()
        });
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        let rows = matrices.iter().map(|matrix| matrix.nrows() as u64).max().unwrap_or(0);
        if self.plan.memory_bytes(rows, rows) > u128::from(self.max_memory_bytes) {
            return Err(Problem::new(
                Kind::JobTooLarge,
                "The batch is too large for this network: send fewer rows.",
            ));
        }
        let work = self.plan.multiply_adds(rows);
        if work * u128::from(steps) > MAX_MULTIPLY_ADDS {
            let most = MAX_MULTIPLY_ADDS / work.max(1);
            let detail =
                format!("This is too much for one call: with this batch at most {most} steps, and call again.");
            return Err(Problem::new(Kind::JobTooLarge, detail));
        }
        Ok(matrices)
    }
}

fn matrix(array: Tensor, columns: usize) -> Result<Array2<f32>, String> {
    let Tensor { shape, data } = array;
    match shape[..] {
        [rows, width] if rows > 0 && width == columns => {
            if !data.iter().all(|value| value.is_finite()) {
                return Err("has values that are no finite numbers".to_owned());
            }
            Array2::from_shape_vec((rows, columns), data).map_err(|error| error.to_string())
        }
        _ => Err(format!(
            "must be rows of {columns} numbers each, at least one, not of shape {shape:?}"
        )),
    }
}

fn outputs(y: Array2<f32>) -> Result<Outputs, Problem> {
    if !y.iter().all(|value| value.is_finite()) {
        return Err(overflow("The outputs are no finite numbers"));
    }
    let y = Tensor {
        shape: y.shape().to_vec(),
        data: y.into_raw_vec_and_offset().0,
    };
    Ok(Outputs { y })
}

fn invalid(faults: Vec<Fault>) -> Problem {
    Problem::faults(Kind::InvalidFeatures, "The call can't be applied", faults)
}

fn overflow(what: &str) -> Problem {
    let detail = format!("{what}; nothing was changed. Take a lower learning rate, or set other weights.");
    Problem::new(Kind::InvalidFeatures, detail)
}
