//! Elementary functions of f64 after fdlibm (Sun Microsystems, 1993): e_exp.c, e_log.c, s_expm1.c, s_log1p.c, s_erf.c.
//! Within about an ulp, and nothing but additions, multiplications and divisions.

#![allow(clippy::excessive_precision, reason = "the digits of fdlibm")]

use std::f64::consts::LOG2_E;

const LN_2_HIGH: f64 = 6.93147180369123816490e-01;
const LN_2_LOW: f64 = 1.90821492927058770002e-10;

/// `c₀ + c₁·x + c₂·x² + …`
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

/// x·2ⁿ, in two steps so that no power is out of range.
fn scale(x: f64, n: i32) -> f64 {
    let power = |n: i32| f64::from_bits(((n + 1023) as u64) << 52);
    x * power(n / 2) * power(n - n / 2)
}

/// `x = n·ln 2 + high − low`, the rest at most ln 2 / 2 in size.
fn reduce(x: f64) -> (i32, f64, f64) {
    let n = (x * LOG2_E + 0.5f64.copysign(x)) as i32;
    (n, x - f64::from(n) * LN_2_HIGH, f64::from(n) * LN_2_LOW)
}

/// eˣ
pub(in super::super) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let (n, high, low) = reduce(x.clamp(-746.0, 710.0));
    let r = high - low;
    let t = r * r;
    let c = r - t * polynomial(
        t,
        &[
            1.66666666666666019037e-01,
            -2.77777777770155933842e-03,
            6.61375632143793436117e-05,
            -1.65339022054652515390e-06,
            4.13813679705723846039e-08,
        ],
    );
    scale(1.0 - ((low - r * c / (2.0 - c)) - high), n)
}

/// eˣ − 1
pub(in super::super) fn exp_m1(x: f64) -> f64 {
    if x.is_nan() || x.abs() < 1e-300 {
        return x;
    }
    if x < -40.0 {
        return -1.0;
    }
    let (n, high, low) = reduce(x.min(710.0));
    let r = high - low;
    let lost = (high - r) - low;
    let half = 0.5 * r;
    let square = r * half;
    let p = polynomial(
        square,
        &[
            1.0,
            -3.33333333333331316428e-02,
            1.58730158725481460165e-03,
            -7.93650757867487942473e-05,
            4.00821782732936239552e-06,
            -2.01099218183624371326e-07,
        ],
    );
    let t = 3.0 - p * half;
    let e = square * ((p - t) / (6.0 - r * t));
    if n == 0 {
        return r - (r * e - square);
    }
    let e = r * (e - lost) - lost - square;
    match n {
        -1 => 0.5 * (r - e) - 0.5,
        1 if r < -0.25 => -2.0 * (e - (r + 0.5)),
        1 => 1.0 + 2.0 * (r - e),
        _ if n <= -2 || n > 56 => scale(1.0 - (e - r), n) - 1.0,
        _ if n < 20 => scale((1.0 - scale(1.0, -n)) - (e - r), n),
        _ => scale(r - (e + scale(1.0, -n)) + 1.0, n),
    }
}

/// `ln(u + c)` for a small correction c of u > 0.
fn ln_corrected(u: f64, c: f64) -> f64 {
    let lift = if u < f64::MIN_POSITIVE { 54 } else { 0 };
    let bits = scale(u, lift).to_bits() as i64;
    let e = (bits - std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64) >> 52;
    let m = f64::from_bits((bits - (e << 52)) as u64);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * polynomial(
        z,
        &[
            6.666666666666735130e-01,
            3.999999999940941908e-01,
            2.857142874366239149e-01,
            2.222219843214978396e-01,
            1.818357216161805012e-01,
            1.531383769920937332e-01,
            1.479819860511658591e-01,
        ],
    );
    let half_square = 0.5 * f * f;
    let e = (e as i32 - lift) as f64;
    e * LN_2_HIGH - ((half_square - (s * (half_square + r) + (e * LN_2_LOW + c / u))) - f)
}

/// ln x
pub(in super::super) fn ln(x: f64) -> f64 {
    if x > 0.0 && x < f64::INFINITY {
        ln_corrected(x, 0.0)
    } else if x == 0.0 {
        f64::NEG_INFINITY
    } else if x > 0.0 {
        x
    } else {
        f64::NAN
    }
}

/// ln(1 + x)
pub(in super::super) fn ln_1p(x: f64) -> f64 {
    let u = 1.0 + x;
    if x.abs() < 1e-16 {
        x
    } else if u > 0.0 && u < f64::INFINITY {
        ln_corrected(u, if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) })
    } else {
        ln(u)
    }
}

/// tanh x = −m / (m + 2) with m = e^(−2|x|) − 1, and the sign of x.
pub(in super::super) fn tanh(x: f64) -> f64 {
    let m = exp_m1(-2.0 * x.abs());
    (m / (m + 2.0)).copysign(x)
}

/// 1 / (1 + e⁻ˣ)
pub(in super::super) fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// ln(1 + eˣ)
pub(in super::super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + ln_1p(exp(-x.abs()))
}

/// 2/√π ∫₀ˣ e^(−t²) dt
pub(in super::super) fn erf(x: f64) -> f64 {
    let t = x.abs();
    if t < 0.84375 {
        x + x * near_0(x * x)
    } else if t < 1.25 {
        (NEAR_1 + near_1(t - 1.0)).copysign(x)
    } else if x.is_nan() {
        x
    } else {
        (1.0 - tail(t)).copysign(x)
    }
}

/// 1 − erf x, exact to the last digits where erf is almost 1.
pub(in super::super) fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x < 0.25 {
        1.0 - erf(x)
    } else if x < 0.84375 {
        0.5 - (x - 0.5 + x * near_0(x * x))
    } else if x < 1.25 {
        1.0 - NEAR_1 - near_1(x - 1.0)
    } else {
        tail(x)
    }
}

/// The first half of x·s with s = sigmoid x, and of its slope `s + x·s·(1 − s)`: a bounded x, s and 1 − s.
pub(in super::super) fn swish_begin(x: f64) -> [f64; 3] {
    // −∞ must not meet 0; far before this bound s is 0.
    let bounded = if x < -1000.0 { -1000.0 } else { x };
    [bounded, sigmoid(bounded), sigmoid(-bounded)]
}

/// The second half of swish.
pub(in super::super) fn swish_finish(x: f64, [bounded, s, rest]: [f64; 3]) -> (f64, f64) {
    let value = bounded * s;
    // Nor must ∞.
    (value, if x > 1000.0 { 1.0 } else { value.mul_add(rest, s) })
}

/// x·t with t = tanh(softplus x), and its slope `t + x·(1 − t²)·sigmoid x`.
pub(in super::super) fn mish(x: f64) -> (f64, f64) {
    let x = if x < -1000.0 { -1000.0 } else { x };
    let t = tanh(softplus(x));
    (
        x * t,
        if x > 1000.0 {
            1.0
        } else {
            t + x * (1.0 - t) * (1.0 + t) * sigmoid(x)
        },
    )
}

/// z·Φ(z) and its slope Φ(z) + z·φ(z).
pub(in super::super) fn gelu(z: f64) -> (f64, f64) {
    // −∞ must not meet 0.
    let z = if z < -40.0 { -40.0 } else { z };
    let cdf = 0.5 * erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
    let density = if z > 40.0 {
        0.0
    } else {
        0.398_942_280_401_432_68 * exp(-0.5 * z * z) * z
    };
    (z * cdf, cdf + density)
}

/// erf of the f32 nearest to 0.845, in which `near_1` is expanded.
const NEAR_1: f64 = 8.45062911510467529297e-01;

/// `erf(x)/x − 1` of z = x² below 0.84375².
fn near_0(z: f64) -> f64 {
    let p = polynomial(
        z,
        &[
            1.28379167095512558561e-01,
            -3.25042107247001499370e-01,
            -2.84817495755985104766e-02,
            -5.77027029648944159157e-03,
            -2.37630166566501626084e-05,
        ],
    );
    let q = polynomial(
        z,
        &[
            1.0,
            3.97917223959155352819e-01,
            6.50222499887672944485e-02,
            5.08130628187576562776e-03,
            1.32494738004321644526e-04,
            -3.96022827877536812320e-06,
        ],
    );
    p / q
}

/// `erf(1 + s) − NEAR_1` for s from −0.16 to 0.25.
fn near_1(s: f64) -> f64 {
    let p = polynomial(
        s,
        &[
            -2.36211856075265944077e-03,
            4.14856118683748331666e-01,
            -3.72207876035701323847e-01,
            3.18346619901161753674e-01,
            -1.10894694282396677476e-01,
            3.54783043256182359371e-02,
            -2.16637559486879084300e-03,
        ],
    );
    let q = polynomial(
        s,
        &[
            1.0,
            1.06420880400844228286e-01,
            5.40397917702171048937e-01,
            7.18286544141962662868e-02,
            1.26171219808761642112e-01,
            1.36370839120290507362e-02,
            1.19844998467991074170e-02,
        ],
    );
    p / q
}

/// `1 − erf(t) = e^(−t² − 0.5625 + p/q) / t` with p/q of 1/t², for t from 1.25 on; 0 from 28.
fn tail(t: f64) -> f64 {
    if t > 28.0 {
        return 0.0;
    }
    let s = 1.0 / (t * t);
    let (p, q) = if t < 1.0 / 0.35 {
        (
            polynomial(
                s,
                &[
                    -9.86494403484714822705e-03,
                    -6.93858572707181764372e-01,
                    -1.05586262253232909814e+01,
                    -6.23753324503260060396e+01,
                    -1.62396669462573470355e+02,
                    -1.84605092906711035994e+02,
                    -8.12874355063065934246e+01,
                    -9.81432934416914548592e+00,
                ],
            ),
            polynomial(
                s,
                &[
                    1.0,
                    1.96512716674392571292e+01,
                    1.37657754143519042600e+02,
                    4.34565877475229228821e+02,
                    6.45387271733267880336e+02,
                    4.29008140027567833386e+02,
                    1.08635005541779435134e+02,
                    6.57024977031928170135e+00,
                    -6.04244152148580987438e-02,
                ],
            ),
        )
    } else {
        (
            polynomial(
                s,
                &[
                    -9.86494292470009928597e-03,
                    -7.99283237680523006574e-01,
                    -1.77579549177547519889e+01,
                    -1.60636384855821916062e+02,
                    -6.37566443368389627722e+02,
                    -1.02509513161107724954e+03,
                    -4.83519191608651397019e+02,
                ],
            ),
            polynomial(
                s,
                &[
                    1.0,
                    3.03380607434824582924e+01,
                    3.25792512996573918826e+02,
                    1.53672958608443695994e+03,
                    3.19985821950859553908e+03,
                    2.55305040643316442583e+03,
                    4.74528541206955367215e+02,
                    -2.24409524465858183362e+01,
                ],
            ),
        )
    };
    // e^(−t²) with the square in two parts: the first is exact.
    let z = f64::from_bits(t.to_bits() & !0xffff_ffff);
    exp(-z * z - 0.5625) * exp((z - t) * (z + t) + p / q) / t
}
