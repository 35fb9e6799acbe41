//! The optimizers: a configuration, explicit state slots and a pure update.

mod rules;
mod update;

use serde::{Deserialize, Serialize};

use super::clip::clip;
use super::kernel::Float;
use super::network::Network;
use rules::{AdadeltaRule, AdagradRule, AdamRule, AdamaxRule, AmsgradRule, MomentumRule, NadamRule, SgdRule};
use rules::{RmspropRule, integer_power};
use update::update;

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
pub struct OptimizerState<F> {
    /// Updates done.
    pub step: u64,
    /// Arrays laid out as the weights are: for adam the means of g and of g².
    pub(crate) slots: Vec<Vec<F>>,
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
        let slots = vec![vec![first; network.trainable.len()]; self.slots()];
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

    /// Clips the gradients and changes the weights by them; `gradients` are used up.
    ///
    /// Numerics: constants are worked out in f64 and rounded to F once a step, from decay rates rounded to f32 where
    /// Keras raises rounded ones to a power: 1 − 0.999 is then 0.00099998713, which shows in the rates of the first steps.
    /// Source: `keras/src/optimizers/*.py`; the paper's formulas may place epsilon elsewhere.
    pub(crate) fn apply<F: Float>(
        &self,
        network: &mut Network<F>,
        gradients: &mut [F],
        state: &mut OptimizerState<F>,
        parallel: bool,
    ) {
        let common = self.common();
        clip(&common, &network.layout, gradients);
        let rate = self.rate(state.step);
        let decay = F::from_f64(common.weight_decay.unwrap_or(0.0) * rate);
        state.step += 1;
        let weights = &mut network.trainable[..];
        let number = F::from_f64;
        // Past 2³² steps the bias corrections are 1 in any case.
        let step = u32::try_from(state.step).unwrap_or(u32::MAX);
        let mut slots = state.slots.iter_mut().map(|slot| &mut slot[..]);
        let mut slot = || slots.next().expect("a state fits its optimizer");
        match self {
            Self::Sgd(spec) if spec.momentum == 0.0 => {
                update(SgdRule { rate: number(rate) }, decay, weights, gradients, [], parallel);
            }
            Self::Sgd(spec) => {
                let rule = MomentumRule {
                    rate: number(rate),
                    momentum: number(rounded(spec.momentum)),
                    nesterov: spec.nesterov,
                };
                update(rule, decay, weights, gradients, [slot()], parallel);
            }
            Self::Adam(AdamSpec {
                beta_1,
                beta_2,
                epsilon,
                amsgrad,
                ..
            })
            | Self::Adamw(AdamwSpec {
                beta_1,
                beta_2,
                epsilon,
                amsgrad,
                ..
            }) => {
                let left = |beta: f64| 1.0 - integer_power(rounded(beta), step);
                let correction = left(*beta_2).sqrt() / left(*beta_1);
                let rule = AdamRule {
                    rate: number(rate * correction),
                    take_1: number(1.0 - beta_1),
                    take_2: number(1.0 - beta_2),
                    epsilon: number(*epsilon),
                };
                match amsgrad {
                    false => update(rule, decay, weights, gradients, [slot(), slot()], parallel),
                    true => update(
                        AmsgradRule(rule),
                        decay,
                        weights,
                        gradients,
                        [slot(), slot(), slot()],
                        parallel,
                    ),
                }
            }
            Self::Nadam(spec) => {
                let (beta_1, beta_2) = (rounded(spec.beta_1), rounded(spec.beta_2));
                let momentum = |step: u32| beta_1 * (1.0 - 0.5 * integer_power(rounded(0.96), step));
                let (now, next) = (momentum(step), momentum(step.saturating_add(1)));
                state.product *= now;
                let rule = NadamRule {
                    rate: number(rate),
                    take_1: number(1.0 - beta_1),
                    take_2: number(1.0 - beta_2),
                    mean_share: number(next / (1.0 - state.product * next)),
                    gradient_share: number((1.0 - now) / (1.0 - state.product)),
                    square_share: number(1.0 / (1.0 - integer_power(beta_2, step))),
                    epsilon: number(spec.epsilon),
                };
                update(rule, decay, weights, gradients, [slot(), slot()], parallel);
            }
            Self::Adamax(spec) => {
                let rule = AdamaxRule {
                    rate: number(rate / (1.0 - integer_power(rounded(spec.beta_1), step))),
                    take_1: number(1.0 - spec.beta_1),
                    keep_2: number(spec.beta_2),
                    epsilon: number(spec.epsilon),
                };
                update(rule, decay, weights, gradients, [slot(), slot()], parallel);
            }
            Self::Adagrad(spec) => {
                let rule = AdagradRule {
                    rate: number(rate),
                    epsilon: number(spec.epsilon),
                };
                update(rule, decay, weights, gradients, [slot()], parallel);
            }
            Self::Adadelta(spec) => {
                let (keep, take) = (number(spec.rho), number(1.0 - spec.rho));
                let rule = AdadeltaRule {
                    rate: number(rate),
                    keep,
                    take,
                    epsilon: number(spec.epsilon),
                };
                update(rule, decay, weights, gradients, [slot(), slot()], parallel);
            }
            Self::Rmsprop(spec) => {
                let rule = RmspropRule {
                    rate: number(rate),
                    keep: number(spec.rho),
                    take: number(1.0 - spec.rho),
                    momentum: number(spec.momentum),
                    epsilon: number(spec.epsilon),
                };
                match (spec.momentum > 0.0, spec.centered) {
                    (false, false) => update(rule, decay, weights, gradients, [slot()], parallel),
                    (true, false) => {
                        update(
                            rule.with_momentum(),
                            decay,
                            weights,
                            gradients,
                            [slot(), slot()],
                            parallel,
                        );
                    }
                    (false, true) => update(rule.centered(), decay, weights, gradients, [slot(), slot()], parallel),
                    (true, true) => {
                        let rule = rule.centered_with_momentum();
                        update(rule, decay, weights, gradients, [slot(), slot(), slot()], parallel);
                    }
                }
            }
        }
    }
}

fn rounded(constant: f64) -> f64 {
    f64::from(constant as f32)
}
