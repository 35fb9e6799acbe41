//! What networks and jobs may be at most, within the bounds that the document sets for every server.

use crate::domain::job_request::{MAX_BATCH_SIZE, MAX_EPOCHS};
use crate::domain::job_spec::JobSpec;
use crate::domain::problem::{Kind, Problem};
use crate::nn::spec::{Fault, LayerSpec, MAX_LAYERS, MAX_WIDTH, ModelSpec, Plan};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    pub layers: usize,
    /// Of one dense layer.
    pub units: u32,
    /// All numbers of a network: each checkpoint writes them with the optimizer's state, and each model keeps them.
    pub parameters: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    pub network: NetworkLimits,
    pub epochs: u32,
    pub batch_size: u32,
    /// Together the jobs that train are estimated to need no more memory; a job that alone would is refused.
    pub memory_bytes: u64,
    /// Multiply-adds of all epochs of a job.
    pub multiply_adds: u128,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            layers: MAX_LAYERS,
            units: MAX_WIDTH as u32,
            parameters: 100_000_000,
        }
    }
}

impl Default for JobLimits {
    /// 4 GiB; 10¹⁷ multiply-adds, which are about a month of a core.
    fn default() -> Self {
        Self {
            network: NetworkLimits::default(),
            epochs: MAX_EPOCHS as u32,
            batch_size: MAX_BATCH_SIZE as u32,
            memory_bytes: 4 << 30,
            multiply_adds: 100_000_000_000_000_000,
        }
    }
}

impl NetworkLimits {
    /// What in a network as it was written is over the limits of its parts; pointers start with `at`.
    pub(super) fn faults(&self, spec: &ModelSpec, at: &str) -> Vec<Fault> {
        let layers = spec.layers.as_deref().unwrap_or_default();
        let mut faults = Vec::new();
        if layers.len() > self.layers {
            let said = format!(
                "may have at most {} layers on this server, not {}",
                self.layers,
                layers.len()
            );
            faults.push(Fault::new(format!("{at}/layers"), said));
        }
        for (index, layer) in layers.iter().enumerate() {
            if let LayerSpec::Dense(dense) = layer
                && dense.units > self.units
            {
                let said = format!("may be at most {} on this server, not {}", self.units, dense.units);
                faults.push(Fault::new(format!("{at}/layers/{index}/units"), said));
            }
        }
        faults
    }

    pub(super) fn check_parameters(&self, plan: &Plan) -> Result<(), Problem> {
        let found = plan.parameters().total;
        if found <= self.parameters {
            return Ok(());
        }
        let detail = format!(
            "The network has {found} parameters and may have {} on this server: take fewer units, layers or inputs.",
            self.parameters
        );
        Err(Problem::new(Kind::JobTooLarge, detail))
    }
}

impl JobLimits {
    /// What in a job is over the limits of its parts.
    pub(super) fn faults(&self, spec: &JobSpec) -> Vec<Fault> {
        // A continued network is none that its client can change.
        let mut faults = match spec.continue_from {
            None => self.network.faults(&spec.model, "/model"),
            Some(_) => Vec::new(),
        };
        let training = &spec.training;
        for (field, given, most) in [
            ("epochs", training.epochs, self.epochs),
            ("batch_size", training.batch_size, self.batch_size),
        ] {
            if given > most {
                let said = format!("may be at most {most} on this server, not {given}");
                faults.push(Fault::new(format!("/training/{field}"), said));
            }
        }
        faults
    }

    /// Whether a job's estimates are within the limits; gives its memory in bytes.
    pub(super) fn check_estimates(&self, memory_bytes: u128, multiply_adds: u128) -> Result<u64, Problem> {
        if multiply_adds > self.multiply_adds {
            let tera = |multiply_adds: u128| multiply_adds.div_ceil(1_000_000_000_000);
            let detail = format!(
                "This job would take about {}·10¹² multiply-adds and may take {}·10¹²: take fewer epochs, fewer units or fewer rows.",
                tera(multiply_adds),
                tera(self.multiply_adds)
            );
            return Err(Problem::new(Kind::JobTooLarge, detail));
        }
        let fits = u64::try_from(memory_bytes)
            .ok()
            .filter(|bytes| *bytes <= self.memory_bytes);
        fits.ok_or_else(|| {
            let mebibytes = |bytes: u128| bytes.div_ceil(1 << 20);
            let detail = format!(
                "This job would need about {} MiB of memory and may have {}: take fewer units, a smaller batch_size, fewer features or fewer rows.",
                mebibytes(memory_bytes),
                mebibytes(self.memory_bytes.into())
            );
            Problem::new(Kind::JobTooLarge, detail)
        })
    }
}
