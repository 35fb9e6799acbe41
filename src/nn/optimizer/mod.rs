//! The optimizers: a configuration, explicit state slots and a pure update.

mod rules;
mod step;
mod update;

use serde::{Deserialize, Serialize};

use super::clip::clip;
use super::kernel::{Buffer, Float, Team};
use super::network::Network;
pub(crate) use update::{Changing, LANES, Part, Update};

use crate::nn::schedule::{ScheduleOrName, ScheduleSpec};
use crate::nn::spec::bounds::{boolean, epsilon, factor, factor_or_null, fraction, positive_or_null, rate, share};
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{ReadField, vocabulary};

/// What every optimizer has beside its own constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Common<'a> {
    pub learning_rate: f64,
    pub weight_decay: Option<f64>,
    pub clipnorm: Option<f64>,
    pub clipvalue: Option<f64>,
    pub global_clipnorm: Option<f64>,
    pub schedule: Option<&'a ScheduleSpec>,
}

/// A [`vocabulary`] whose words all have the fields of [`Common`].
macro_rules! optimizers {
    (
        $(
            $(#[$meta:meta])*
            $name:literal => $variant:ident($entry:ident, $tag:ident)
            learning_rate = $learning_rate:expr, weight_decay = $weight_decay:expr,
            { $( $(#[$field_meta:meta])* $field:ident: $field_type:ty [$read:expr] = $default:expr, )* }
        )+
    ) => {
        vocabulary! {
            /// How gradients change the weights; g is a gradient, w a weight.
            "optimizer" OptimizerOrName OptimizerSpec {
                $(
                    $(#[$meta])*
                    $name => $variant($entry, $tag)
                    optional {
                        /// Above 0; 0 only where a schedule warms up from it.
                        #[schema(minimum = 0, maximum = 1000, example = 0.001)]
                        learning_rate: f64 [rate] = $learning_rate,
                        $( $(#[$field_meta])* $field: $field_type [$read] = $default, )*
                        /// Before each update every weight shrinks by this times the learning rate.
                        #[schema(minimum = 0)]
                        weight_decay: Option<f64> [factor_or_null] = $weight_decay,
                        /// Most L2 norm of each weight array's gradient. At most one of the three clips.
                        #[schema(exclusive_minimum = 0)]
                        clipnorm: Option<f64> [positive_or_null] = None,
                        /// Most absolute value of each element of the gradients.
                        #[schema(exclusive_minimum = 0)]
                        clipvalue: Option<f64> [positive_or_null] = None,
                        /// Most L2 norm of all gradients together.
                        #[schema(exclusive_minimum = 0)]
                        global_clipnorm: Option<f64> [positive_or_null] = None,
                        /// How the learning rate changes with the steps.
                        #[schema(value_type = Option<ScheduleOrName>)]
                        schedule: Option<ScheduleSpec> [schedule_or_null] = None,
                    }
                )+
            }
        }

        impl OptimizerSpec {
            /// What it shares with every other optimizer.
            pub fn common(&self) -> Common<'_> {
                match self {
                    $(Self::$variant(spec) => Common {
                        learning_rate: spec.learning_rate,
                        weight_decay: spec.weight_decay,
                        clipnorm: spec.clipnorm,
                        clipvalue: spec.clipvalue,
                        global_clipnorm: spec.global_clipnorm,
                        schedule: spec.schedule.as_ref(),
                    },)+
                }
            }
        }
    };
}

optimizers! {
    /// m ← momentum·m − rate·g, w ← w + m; nesterov: w ← w + momentum·m − rate·g
    "sgd" => Sgd(SgdSpec, SgdType)
    learning_rate = 0.01, weight_decay = None,
    {
        #[schema(minimum = 0, maximum = 1)]
        momentum: f64 [fraction] = 0.0,
        nesterov: bool [boolean] = false,
    }
    /// m, v: decaying means of g, g²; w ← w − rate·√(1 − beta_2ᵗ)/(1 − beta_1ᵗ) · m/(√v + epsilon)
    "adam" => Adam(AdamSpec, AdamType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_1: f64 [share] = 0.9,
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_2: f64 [share] = 0.999,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
        /// Whether the largest v so far divides instead of the current one.
        amsgrad: bool [boolean] = false,
    }
    /// Adam with weight decay.
    "adamw" => Adamw(AdamwSpec, AdamwType)
    learning_rate = 0.001, weight_decay = Some(0.004),
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_1: f64 [share] = 0.9,
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_2: f64 [share] = 0.999,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
        /// Whether the largest v so far divides instead of the current one.
        amsgrad: bool [boolean] = false,
    }
    /// Adam with Nesterov momentum.
    "nadam" => Nadam(NadamSpec, NadamType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_1: f64 [share] = 0.9,
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_2: f64 [share] = 0.999,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
    }
    /// u ← max(beta_2·u, |g|); w ← w − rate/(1 − beta_1ᵗ) · m/(u + epsilon)
    "adamax" => Adamax(AdamaxSpec, AdamaxType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_1: f64 [share] = 0.9,
        #[schema(minimum = 0, exclusive_maximum = 1)]
        beta_2: f64 [share] = 0.999,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
    }
    /// a ← a + g²; w ← w − rate·g/√(a + epsilon)
    "adagrad" => Adagrad(AdagradSpec, AdagradType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0)]
        initial_accumulator_value: f64 [factor] = 0.1,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
    }
    /// d = −√(b + epsilon)/√(a + epsilon)·g with a, b: decaying means of g², d²; w ← w + rate·d
    "adadelta" => Adadelta(AdadeltaSpec, AdadeltaType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        rho: f64 [share] = 0.95,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
    }
    /// v: decaying mean of g²; w ← w − rate·g/√(v + epsilon), with momentum where asked
    "rmsprop" => Rmsprop(RmspropSpec, RmspropType)
    learning_rate = 0.001, weight_decay = None,
    {
        #[schema(minimum = 0, exclusive_maximum = 1)]
        rho: f64 [share] = 0.9,
        #[schema(minimum = 0, maximum = 1)]
        momentum: f64 [fraction] = 0.0,
        #[schema(exclusive_minimum = 0, maximum = 1)]
        epsilon: f64 [epsilon] = 1e-7,
        /// Whether the square of the mean gradient is taken from v.
        centered: bool [boolean] = false,
    }
}

fn schedule_or_null(reader: &mut Reader, value: &serde_json::Value, at: &str) -> Option<Option<ScheduleSpec>> {
    ScheduleSpec::read(reader, value, at).map(Some)
}

/// What an optimizer remembers between steps: a value, so that a checkpoint can hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: Clone + Deserialize<'de>"))]
pub struct OptimizerState<F> {
    /// Updates done.
    pub step: u64,
    /// Arrays laid out as the weights are: for adam the means of g and of g².
    pub(crate) slots: Vec<Buffer<F>>,
    /// Nadam's product of its momentum factors so far; 1 for all others.
    pub(crate) product: f64,
}

impl<F: Float> OptimizerState<F> {
    /// Takes over another state of the same optimizer without allocating anew.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.step = other.step;
        self.product = other.product;
        self.slots
            .iter_mut()
            .zip(&other.slots)
            .for_each(|(slot, other)| slot.copy_from_slice(other));
    }

    /// All `weights` with what the state holds for them.
    pub(crate) fn part<'a>(&'a mut self, weights: &'a mut [F]) -> Part<'a, F> {
        Part::new(weights, &mut self.slots)
    }

    /// Whether it is a state of this optimizer for so many weights.
    pub(crate) fn fits(&self, optimizer: &OptimizerSpec, weights: usize) -> bool {
        self.slots.len() == optimizer.slots() && self.slots.iter().all(|slot| slot.len() == weights)
    }
}

impl OptimizerSpec {
    /// How many arrays it keeps beside the weights.
    pub(crate) fn slots(&self) -> usize {
        match self {
            Self::Sgd(spec) => usize::from(spec.momentum != 0.0),
            Self::Adam(AdamSpec { amsgrad, .. }) | Self::Adamw(AdamwSpec { amsgrad, .. }) => 2 + usize::from(*amsgrad),
            Self::Nadam(_) | Self::Adamax(_) | Self::Adadelta(_) => 2,
            Self::Adagrad(_) => 1,
            Self::Rmsprop(spec) => 1 + usize::from(spec.momentum > 0.0) + usize::from(spec.centered),
        }
    }

    /// The state before the first step of a network.
    pub fn start<F: Float>(&self, network: &Network<F>) -> OptimizerState<F> {
        let first = match self {
            Self::Adagrad(spec) => F::from_f64(spec.initial_accumulator_value),
            _ => F::ZERO,
        };
        let slots = vec![Buffer::filled(first, network.trainable.len()); self.slots()];
        OptimizerState {
            step: 0,
            slots,
            product: 1.0,
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let common = self.common();
        common.schedule.map_or(common.learning_rate, |schedule| {
            schedule.rate(common.learning_rate, step)
        })
    }

    /// Whether gradients are changed before they change the weights.
    pub(crate) fn clips(&self) -> bool {
        let common = self.common();
        common.clipnorm.is_some() || common.clipvalue.is_some() || common.global_clipnorm.is_some()
    }

    /// Clips the gradients and changes the weights by them; `gradients` are used up.
    pub(crate) fn apply<F: Float>(
        &self,
        network: &mut Network<F>,
        gradients: &mut [F],
        state: &mut OptimizerState<F>,
        team: &Team,
    ) {
        clip(&self.common(), &network.layout, gradients);
        let update = self.begin_step(state);
        update.apply(state.part(&mut network.trainable), gradients, team);
    }
}
