//! What each optimizer does to one weight w with gradient g; slots in the order the rule names them.

use super::update::Rule;
use crate::nn::kernel::Float;

/// `base` to a whole power by repeated squaring: the same bits on every machine.
pub(super) fn integer_power(base: f64, mut exponent: u32) -> f64 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

/// w ← w − rate·g
#[derive(Clone, Copy)]
pub(super) struct SgdRule<F> {
    pub(super) rate: F,
}

impl<F: Float> Rule<F, 0> for SgdRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, []: [F; 0]) -> (F, [F; 0]) {
        (w - self.rate * g, [])
    }
}

/// m ← momentum·m − rate·g; w ← w + m, or with Nesterov's look ahead w ← w + momentum·m − rate·g
#[derive(Clone, Copy)]
pub(super) struct MomentumRule<F> {
    pub(super) rate: F,
    pub(super) momentum: F,
    pub(super) nesterov: bool,
}

impl<F: Float> Rule<F, 1> for MomentumRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [m]: [F; 1]) -> (F, [F; 1]) {
        let m = m * self.momentum - g * self.rate;
        let ahead = m * self.momentum - g * self.rate;
        (w + if self.nesterov { ahead } else { m }, [m])
    }
}

/// m ← m + (g − m)·(1 − β₁); v ← v + (g² − v)·(1 − β₂); w ← w − rate·m/(√v + ε), rate with the bias correction in it
#[derive(Clone, Copy)]
pub(super) struct AdamRule<F> {
    pub(super) rate: F,
    pub(super) take_1: F,
    pub(super) take_2: F,
    pub(super) epsilon: F,
}

impl<F: Float> AdamRule<F> {
    #[inline(always)]
    fn moments(self, g: F, m: F, v: F) -> (F, F) {
        (
            (g - m).mul_add(self.take_1, m),
            g.mul_add(g, -v).mul_add(self.take_2, v),
        )
    }
}

impl<F: Float> Rule<F, 2> for AdamRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let (m, v) = self.moments(g, m, v);
        (w - m * self.rate / (v.sqrt() + self.epsilon), [m, v])
    }
}

/// Adam, but the largest v so far divides.
#[derive(Clone, Copy)]
pub(super) struct AmsgradRule<F>(pub(super) AdamRule<F>);

impl<F: Float> Rule<F, 3> for AmsgradRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [m, v, largest]: [F; 3]) -> (F, [F; 3]) {
        let (m, v) = self.0.moments(g, m, v);
        let largest = largest.max(v);
        (w - m * self.0.rate / (largest.sqrt() + self.0.epsilon), [m, v, largest])
    }
}

/// Adam's m and v; w ← w − rate·(mean_share·m + gradient_share·g)/(√(square_share·v) + ε)
///
/// With uₜ = β₁·(1 − ½·0.96ᵗ) and P the product of u up to t: mean_share = uₜ₊₁/(1 − P·uₜ₊₁), gradient_share =
/// (1 − uₜ)/(1 − P), square_share = 1/(1 − β₂ᵗ).
#[derive(Clone, Copy)]
pub(super) struct NadamRule<F> {
    pub(super) rate: F,
    pub(super) take_1: F,
    pub(super) take_2: F,
    pub(super) mean_share: F,
    pub(super) gradient_share: F,
    pub(super) square_share: F,
    pub(super) epsilon: F,
}

impl<F: Float> Rule<F, 2> for NadamRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let m = (g - m).mul_add(self.take_1, m);
        let v = g.mul_add(g, -v).mul_add(self.take_2, v);
        let ahead = self.mean_share * m + self.gradient_share * g;
        (
            w - ahead * self.rate / ((v * self.square_share).sqrt() + self.epsilon),
            [m, v],
        )
    }
}

/// m as Adam's; u ← max(β₂·u, |g|); w ← w − rate·m/(u + ε), rate with the bias correction in it
#[derive(Clone, Copy)]
pub(super) struct AdamaxRule<F> {
    pub(super) rate: F,
    pub(super) take_1: F,
    pub(super) keep_2: F,
    pub(super) epsilon: F,
}

impl<F: Float> Rule<F, 2> for AdamaxRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [m, u]: [F; 2]) -> (F, [F; 2]) {
        let m = (g - m).mul_add(self.take_1, m);
        let u = (self.keep_2 * u).max(g.abs());
        (w - self.rate * m / (u + self.epsilon), [m, u])
    }
}

/// a ← a + g²; w ← w − rate·g/√(a + ε)
#[derive(Clone, Copy)]
pub(super) struct AdagradRule<F> {
    pub(super) rate: F,
    pub(super) epsilon: F,
}

impl<F: Float> Rule<F, 1> for AdagradRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [a]: [F; 1]) -> (F, [F; 1]) {
        let a = g.mul_add(g, a);
        (w - self.rate * g / (a + self.epsilon).sqrt(), [a])
    }
}

/// a ← ρ·a + (1 − ρ)·g²; d = −√(b + ε)/√(a + ε)·g; b ← ρ·b + (1 − ρ)·d²; w ← w + rate·d
#[derive(Clone, Copy)]
pub(super) struct AdadeltaRule<F> {
    pub(super) rate: F,
    pub(super) keep: F,
    pub(super) take: F,
    pub(super) epsilon: F,
}

impl<F: Float> Rule<F, 2> for AdadeltaRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [a, b]: [F; 2]) -> (F, [F; 2]) {
        let a = self.keep * a + self.take * (g * g);
        let d = -((b + self.epsilon).sqrt() * g / (a + self.epsilon).sqrt());
        let b = self.keep * b + self.take * (d * d);
        (self.rate.mul_add(d, w), [a, b])
    }
}

/// v ← ρ·v + (1 − ρ)·g²; step = rate·g/√(v + ε); w ← w − step
#[derive(Clone, Copy)]
pub(super) struct RmspropRule<F> {
    pub(super) rate: F,
    pub(super) keep: F,
    pub(super) take: F,
    pub(super) momentum: F,
    pub(super) epsilon: F,
}

/// v − c², which is never negative but for rounding; NaN stays NaN. c² is rounded as v was: where both are of one gradient
/// nothing must be left, as ε is far less than a rounding error of a large square.
#[inline(always)]
fn spread<F: Float>(v: F, c: F) -> F {
    (v - c * c).max(F::ZERO)
}

/// m ← momentum·m + step; w ← w − m
#[derive(Clone, Copy)]
pub(super) struct RmspropMomentumRule<F>(RmspropRule<F>);

/// With c the decaying mean of g: step = rate·g/√(v − c² + ε)
#[derive(Clone, Copy)]
pub(super) struct RmspropCenteredRule<F>(RmspropRule<F>);

/// Both.
#[derive(Clone, Copy)]
pub(super) struct RmspropCenteredMomentumRule<F>(RmspropRule<F>);

impl<F: Float> RmspropRule<F> {
    pub(super) fn with_momentum(self) -> RmspropMomentumRule<F> {
        RmspropMomentumRule(self)
    }

    pub(super) fn centered(self) -> RmspropCenteredRule<F> {
        RmspropCenteredRule(self)
    }

    pub(super) fn centered_with_momentum(self) -> RmspropCenteredMomentumRule<F> {
        RmspropCenteredMomentumRule(self)
    }

    #[inline(always)]
    fn mean(self, old: F, new: F) -> F {
        self.keep * old + self.take * new
    }

    #[inline(always)]
    fn step(self, g: F, variance: F) -> F {
        self.rate * g / (variance + self.epsilon).sqrt()
    }
}

impl<F: Float> Rule<F, 1> for RmspropRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [v]: [F; 1]) -> (F, [F; 1]) {
        let v = self.mean(v, g * g);
        (w - self.step(g, v), [v])
    }
}

impl<F: Float> Rule<F, 2> for RmspropMomentumRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [v, m]: [F; 2]) -> (F, [F; 2]) {
        let v = self.0.mean(v, g * g);
        let m = self.0.momentum * m + self.0.step(g, v);
        (w - m, [v, m])
    }
}

impl<F: Float> Rule<F, 2> for RmspropCenteredRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [v, c]: [F; 2]) -> (F, [F; 2]) {
        let (v, c) = (self.0.mean(v, g * g), self.0.mean(c, g));
        (w - self.0.step(g, spread(v, c)), [v, c])
    }
}

impl<F: Float> Rule<F, 3> for RmspropCenteredMomentumRule<F> {
    #[inline(always)]
    fn at(self, w: F, g: F, [v, c, m]: [F; 3]) -> (F, [F; 3]) {
        let (v, c) = (self.0.mean(v, g * g), self.0.mean(c, g));
        let m = self.0.momentum * m + self.0.step(g, spread(v, c));
        (w - m, [v, c, m])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_one_gradient_is_nothing_and_what_is_no_number_stays_none() {
        let g = 30.1_f32;
        assert_eq!(spread(g * g, g), 0.0);
        assert_eq!(spread(1.0_f32, 1.001), 0.0);
        assert!(spread(f32::INFINITY, 1e30).is_nan());
    }
}
