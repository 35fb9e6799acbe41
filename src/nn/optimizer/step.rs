//! What a step changes the weights by: each optimizer's constants, worked out once.

use super::rules::{AdadeltaRule, AdagradRule, AdamRule, AdamaxRule, AmsgradRule, MomentumRule, NadamRule, SgdRule};
use super::rules::{RmspropRule, integer_power};
use super::{AdamSpec, AdamwSpec, OptimizerSpec, OptimizerState, Update};
use crate::nn::kernel::Float;

impl OptimizerSpec {
    /// Counts a step and works out what it does to each weight.
    ///
    /// Numerics: constants are worked out in f64 and rounded to F once a step, from decay rates rounded to f32 where
    /// Keras raises rounded ones to a power: 1 − 0.999 is then 0.00099998713, which shows in the rates of the first steps.
    /// Source: `keras/src/optimizers/*.py`; the paper's formulas may place epsilon elsewhere.
    pub(crate) fn begin_step<F: Float>(&self, state: &mut OptimizerState<F>) -> Update<F> {
        let rate = self.rate(state.step);
        let decay = F::from_f64(self.common().weight_decay.unwrap_or(0.0) * rate);
        state.step += 1;
        let number = F::from_f64;
        // Past 2³² steps the bias corrections are 1 in any case.
        let step = u32::try_from(state.step).unwrap_or(u32::MAX);
        match self {
            Self::Sgd(spec) if spec.momentum == 0.0 => Update::new(SgdRule { rate: number(rate) }, decay),
            Self::Sgd(spec) => {
                let rule = MomentumRule {
                    rate: number(rate),
                    momentum: number(rounded(spec.momentum)),
                    nesterov: spec.nesterov,
                };
                Update::new(rule, decay)
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
                    false => Update::new(rule, decay),
                    true => Update::new(AmsgradRule(rule), decay),
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
                Update::new(rule, decay)
            }
            Self::Adamax(spec) => {
                let rule = AdamaxRule {
                    rate: number(rate / (1.0 - integer_power(rounded(spec.beta_1), step))),
                    take_1: number(1.0 - spec.beta_1),
                    keep_2: number(spec.beta_2),
                    epsilon: number(spec.epsilon),
                };
                Update::new(rule, decay)
            }
            Self::Adagrad(spec) => {
                let rule = AdagradRule {
                    rate: number(rate),
                    epsilon: number(spec.epsilon),
                };
                Update::new(rule, decay)
            }
            Self::Adadelta(spec) => {
                let (keep, take) = (number(spec.rho), number(1.0 - spec.rho));
                let rule = AdadeltaRule {
                    rate: number(rate),
                    keep,
                    take,
                    epsilon: number(spec.epsilon),
                };
                Update::new(rule, decay)
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
                    (false, false) => Update::new(rule, decay),
                    (true, false) => Update::new(rule.with_momentum(), decay),
                    (false, true) => Update::new(rule.centered(), decay),
                    (true, true) => Update::new(rule.centered_with_momentum(), decay),
                }
            }
        }
    }
}

fn rounded(constant: f64) -> f64 {
    f64::from(constant as f32)
}
