//! Elementary functions of f32, without branches: a loop over a slice becomes SIMD code.
//!
//! Errors were measured over all f32 (see the tests): at most 2 units in the last place, swish 2.2. The coefficients are
//! minimax fits of our own, made in f64 and rounded one after the other, lowest power first.

// Thresholds and coefficients are written as they were fitted; clippy would cut them.
#![allow(clippy::excessive_precision, reason = "the digits of the fit")]

use super::polynomial;

/// 1.5·2²³: a number of up to 2²² in size, added to this, is rounded to an integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts, the first so short that its products with exponents are exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// 2ⁿ for n from −126 to 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// `x = n·ln 2 + r` with |r| ≤ ln 2 / 2, for |x| < 2²⁰: n and e^r − 1, the latter to 2⁻²⁶ of itself.
#[inline(always)]
fn reduced_exp_m1(x: f32) -> (i32, f32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    // The first difference is exact; the rest of r joins the sum late, so as to be rounded only there.
    let high = n.mul_add(-LN_2_HIGH, x);
    let low = n * LN_2_LOW;
    let r = high - low;
    // In pairs, for a shorter chain.
    let square = r * r;
    let first = polynomial!(r; 0.499_999_97, 0.166_665_46);
    let second = polynomial!(r; 0.041_667_443, 0.008_366_253);
    let q = square.mul_add(square.mul_add(0.001_386_994_8, second), first);
    (
        (shifted.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32),
        high + q.mul_add(square, -low),
    )
}

/// eˣ
#[inline(always)]
pub(in super::super) fn exp(x: f32) -> f32 {
    // Beyond these the answers are ∞ and 0. Selections keep a NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let (n, p) = reduced_exp_m1(x);
    // In two steps, because 2ⁿ alone may be too small or too large for a number.
    let half = n >> 1;
    (1.0 + p) * power_of_two(half) * power_of_two(n - half)
}

/// eˣ for x ≤ 0
#[inline(always)]
fn exp_below_0(x: f32) -> f32 {
    let (n, p) = reduced_exp_m1(if x < -104.0 { -104.0 } else { x });
    // 2⁶⁴ times too large at first, which no n is too small for.
    (1.0 + p) * power_of_two(n + LIFT) * power_of_two(-LIFT)
}

const LIFT: i32 = 64;

/// eˣ − 1
#[inline(always)]
pub(in super::super) fn exp_m1(x: f32) -> f32 {
    let y = if x > 89.0 { 89.0 } else { x };
    let y = if y < -18.0 { -18.0 } else { y };
    let (n, p) = reduced_exp_m1(y);
    // Half of it, because 2¹²⁸ is too large.
    let scale = power_of_two(n - 1);
    let scaled = 2.0 * scale.mul_add(p, scale - 0.5);
    (if n == 0 { p } else { scaled }).copysign(x)
}

/// eˣ − 1 for x ≤ 0
#[inline(always)]
fn exp_m1_below_0(x: f32) -> f32 {
    let x = if x < -18.0 { -18.0 } else { x };
    let (n, p) = reduced_exp_m1(x);
    let scale = power_of_two(n);
    scale.mul_add(p, scale - 1.0)
}

/// `ln(u + c)` for a small correction c of u.
#[inline(always)]
fn ln_corrected(u: f32, c: f32) -> f32 {
    // u = m·2ᵉ with m from √½ to √2; numbers below the normal ones are lifted first.
    let low = u < f32::MIN_POSITIVE;
    let lifted = if low { u * 8_388_608.0 } else { u };
    let root = std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32;
    let e = (lifted.to_bits() as i32).wrapping_sub(root) >> 23;
    let m = f32::from_bits((lifted.to_bits() as i32).wrapping_sub(e << 23) as u32);
    // A correction matters only where u is neither tiny nor huge.
    let f = c.mul_add(power_of_two(if e > 100 { -100 } else { -e }), m - 1.0);
    let e = (if low { e - 23 } else { e }) as f32;
    // ln(1 + f) = f − f²/2 + f³·q(f)
    let q = polynomial!(
        f;
        0.333_333_31,
        -0.250_008_2,
        0.200_012_42,
        -0.166_234_08,
        0.142_015_77,
        -0.131_596_31,
        0.127_622_65,
        -0.076_364_383
    );
    let square = f * f;
    let tail = square.mul_add(-0.5, (square * f).mul_add(q, e * LN_2_LOW));
    let ln = e.mul_add(LN_2_HIGH, f + tail);
    let ln = if u == f32::INFINITY { u } else { ln };
    let ln = if u == 0.0 { f32::NEG_INFINITY } else { ln };
    if u >= 0.0 { ln } else { f32::NAN }
}

/// ln x
#[inline(always)]
pub(in super::super) fn ln(x: f32) -> f32 {
    ln_corrected(x, 0.0)
}

/// ln(1 + x)
#[inline(always)]
pub(in super::super) fn ln_1p(x: f32) -> f32 {
    let u = 1.0 + x;
    // What the sum has lost, exactly.
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    ln_corrected(u, lost).copysign(x)
}

/// `x + x³·p(x²)` to 0.6, from there on `1 − 2w / (1 + w)` with w = e^(−2|x|).
#[inline(always)]
pub(in super::super) fn tanh(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let p = polynomial!(s; -0.333_333_28, 0.133_331_12, -0.053_935_144, 0.021_638_69, -0.008_028_397, 0.002_010_665_8);
    let w = exp_below_0(-2.0 * t);
    let beyond = 1.0 - (w + w) / (1.0 + w);
    (if t <= 0.6 { (x * s).mul_add(p, x) } else { beyond }).copysign(x)
}

/// 1 / (1 + e⁻ˣ). With e = e^(−|x|) and q = e / (1 + e), at most ½, this is 1 − q above 0 and e·(1 − q) below.
#[inline(always)]
pub(in super::super) fn sigmoid(x: f32) -> f32 {
    let e = exp_below_0(-x.abs());
    let q = e / (1.0 + e);
    let base = if x < 0.0 { e } else { 1.0 };
    (-base).mul_add(q, base)
}

/// The first half of x·s with s = sigmoid x, and of its slope `s + x·s·(1 − s)`: x within bounds beyond which the answers
/// are 0 or x; and v in two parts, a power of two and the e^r − 1 of what is left.
///
/// With v = e^(−|x|) and q = v / (1 + v), at most ½, s and 1 − s are 1 − q and q above 0, q and 1 − q below; x·s is
/// `u − u·q` with u = x above 0 and x·v below.
#[inline(always)]
pub(in super::super) fn swish_begin(x: f32) -> [f32; 3] {
    let bounded = if x < -110.0 { -110.0 } else { x };
    let bounded = if bounded > 110.0 { 110.0 } else { bounded };
    let (n, p) = reduced_exp_m1(-bounded.abs());
    // v is scaled by 2⁶⁴, which no n is too small for.
    [bounded, power_of_two(n + LIFT), p]
}

/// The second half of swish.
#[inline(always)]
pub(in super::super) fn swish_finish(x: f32, [bounded, scale, p]: [f32; 3]) -> (f32, f32) {
    let below = bounded < 0.0;
    let v = scale.mul_add(p, scale);
    let q = v / (power_of_two(LIFT) + v);
    // Below 0 it is scaled as v is.
    let u = if below {
        bounded.mul_add(p, bounded) * scale
    } else {
        bounded
    };
    let value = (-u).mul_add(q, u) * if below { power_of_two(-LIFT) } else { 1.0 };
    let (s, rest) = if below { (q, 1.0 - q) } else { (1.0 - q, q) };
    (if x > 110.0 { x } else { value }, value.mul_add(rest, s))
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|))
#[inline(always)]
pub(in super::super) fn softplus(x: f32) -> f32 {
    let above = if x > 0.0 { x } else { 0.0 };
    above + ln_1p(exp_below_0(-x.abs()))
}

/// 2/√π ∫₀ˣ e^(−t²) dt: `x + x·p(x²)` to 0.93, from there on `1 − e^(−x − x·q(x))`.
#[inline(always)]
pub(in super::super) fn erf(x: f32) -> f32 {
    let t = x.abs();
    let s = x * x;
    let p = polynomial!(
        s;
        0.128_379_17,
        -0.376_126_29,
        0.112_836_257,
        -0.026_855_731,
        0.005_192_405,
        -0.000_804_976_97,
        7.996_65e-5
    );
    // From 4 on the answer is 1.
    let far = if t > 4.0 { 4.0 } else { t };
    let q = polynomial!(
        far;
        0.128_648_49,
        0.635_151_3,
        0.106_236_845,
        -0.023_762_02,
        0.003_642_429_4,
        -0.000_322_793_67,
        1.122_989e-5
    );
    let beyond = -exp_m1_below_0(-q.mul_add(far, far));
    (if t <= 0.93 { x.mul_add(p, x) } else { beyond }).copysign(x)
}

/// z·Φ(z) and its slope Φ(z) + z·φ(z), in f64, whose lanes are half as many but need no care:
/// `Φ(−t) = e^(−t²/2)·u·p(u)` with `u = 1 / (1 + 0.3·t)`, to 2⁻²⁷, for t from 0 to 20.
#[inline(always)]
pub(in super::super) fn gelu(z: f32) -> (f32, f32) {
    let t = f64::from(z.abs());
    // Beyond 20 nothing is left of Φ(−t) in f32.
    let t = if t > 20.0 { 20.0 } else { t };
    let e = exp_of_f64(-0.5 * t * t);
    let u = 1.0 / t.mul_add(0.3, 1.0);
    let p = polynomial!(
        u;
        0.119685802126221,
        0.11959185697417363,
        0.11004477871782141,
        0.0793944097353001,
        0.09291428942927123,
        -0.07275715948333486,
        0.18302408394811093,
        -0.22109396777376183,
        0.10917824491361573,
        -0.019982335658284084
    );
    let below = e * u * p;
    let density = t * e * 0.398_942_280_401_432_68;
    let above = (-t).mul_add(below, f64::from(z));
    let (value, slope) = if z < 0.0 {
        (-t * below, below - density)
    } else {
        (above, 1.0 - below + density)
    };
    (value as f32, slope as f32)
}

/// x·t with t = tanh(softplus x), and its slope `t + x·(1 − t²)·sigmoid x`, in f64 as `gelu` is.
///
/// With e = e^(−|x|) all are fractions: below 0 `t = (e² + 2e) / (e² + 2e + 2)`, above `(1 + 2e) / (1 + 2e + 2e²)`;
/// and `1 − t² = rest·(2·over + rest) / under²` without cancellation, rest being under − over.
#[inline(always)]
pub(in super::super) fn mish(x: f32) -> (f32, f32) {
    let y = f64::from(x);
    let y = if y < -200.0 { -200.0 } else { y };
    let bounded = if y > 200.0 { 200.0 } else { y };
    let e = exp_of_f64(-bounded.abs());
    let below = y < 0.0;
    let (over, rest) = if below {
        (e * (e + 2.0), 2.0)
    } else {
        (1.0 + 2.0 * e, 2.0 * e * e)
    };
    let under = 1.0 / (over + rest);
    let t = over * under;
    let sigmoid = (if below { e } else { 1.0 }) / (1.0 + e);
    let bend = rest * (over + over + rest) * under * under;
    ((y * t) as f32, (bounded * sigmoid).mul_add(bend, t) as f32)
}

/// eˣ to 2⁻³⁰ for x from −200 to 0.
#[inline(always)]
fn exp_of_f64(x: f64) -> f64 {
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let shifted = x.mul_add(std::f64::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = n.mul_add(-std::f64::consts::LN_2, x);
    let p = polynomial!(r; 1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40320.0);
    let scale = f64::from_bits(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(1023) << 52);
    p * scale
}
