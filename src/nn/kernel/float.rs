//! The number type of the core: f32 trains, f64 checks gradients by running the very same code.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::product::lanes::Lanes;

/// f32 or f64 with exactly the operations that have one right answer, or one answer of ours, on every machine.
///
/// `max`, `min` and comparisons are plain selections; the elementary functions are branch-free, so that a loop over a
/// slice becomes SIMD code and gives the same bits as a single call.
pub trait Float:
    Copy
    + Debug
    + Default
    + Display
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + SubAssign
    + Mul<Output = Self>
    + MulAssign
    + Div<Output = Self>
    + DivAssign
    + Neg<Output = Self>
    + Sum
{
    /// A register of AVX2.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<Self>;
    /// A register of AVX-512.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<Self>;

    const ZERO: Self;
    const ONE: Self;
    const INFINITY: Self;
    const NAN: Self;

    /// The nearest value (ties to even).
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// The nearest value; exact for `Self = f64`.
    fn from_f32(value: f32) -> Self;
    fn to_f32(self) -> f32;

    /// `self · a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn is_finite(self) -> bool;
    fn is_nan(self) -> bool;
    /// `self` if it is greater, else `other`; a NaN in `self` is lost, one in `other` kept.
    fn max(self, other: Self) -> Self;
    /// `self` if it is less, else `other`; a NaN in `self` is lost, one in `other` kept.
    fn min(self, other: Self) -> Self;

    /// eˣ
    fn exp(self) -> Self;
    /// eˣ − 1
    fn exp_m1(self) -> Self;
    /// The natural logarithm; −∞ at 0, NaN below.
    fn ln(self) -> Self;
    /// ln(1 + x)
    fn ln_1p(self) -> Self;
    fn tanh(self) -> Self;
    /// 2/√π ∫₀ˣ e^(−t²) dt
    fn erf(self) -> Self;
    /// 1 / (1 + e⁻ˣ)
    fn sigmoid(self) -> Self;
    /// ln(1 + eˣ)
    fn softplus(self) -> Self;
}

macro_rules! float {
    ($float:ident $avx2:ident $avx512:ident) => {
        impl Float for $float {
            #[cfg(target_arch = "x86_64")]
            type Avx2 = std::arch::x86_64::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = std::arch::x86_64::$avx512;

            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $float::INFINITY;
            const NAN: Self = $float::NAN;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                $float::from(value)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $float::mul_add(self, a, b)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $float::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $float::is_finite(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $float::is_nan(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            #[inline(always)]
            fn exp(self) -> Self {
                (self as f64).exp() as $float
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                (self as f64).exp_m1() as $float
            }
            #[inline(always)]
            fn ln(self) -> Self {
                (self as f64).ln() as $float
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                (self as f64).ln_1p() as $float
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                (self as f64).tanh() as $float
            }
            #[inline(always)]
            fn erf(self) -> Self {
                erf(self as f64) as $float
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                let e = Float::exp(-self.abs());
                let numerator = if self < 0.0 { e } else { 1.0 };
                numerator / (1.0 + e)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                Float::max(self, 0.0) + Float::ln_1p(Float::exp(-self.abs()))
            }
        }
    };
}
float!(f32 __m256 __m512);
float!(f64 __m256d __m512d);

/// The error function to 1 ulp or so: polynomials of fdlibm (`s_erf.c`, Sun Microsystems, 1993) on five ranges.
fn erf(x: f64) -> f64 {
    let poly = |t: f64, c: &[f64]| c.iter().rev().fold(0.0, |sum, &c| sum * t + c);
    let a = x.abs();
    let y = if a < 0.84375 {
        let z = x * x;
        let r = poly(
            z,
            &[
                1.28379167095512558561e-01,
                -3.25042107247001499370e-01,
                -2.84817495755985104766e-02,
                -5.77027029648944159157e-03,
                -2.37630166566501626084e-05,
            ],
        );
        let s = poly(
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
        return x + x * (r / s);
    } else if a < 1.25 {
        let s = a - 1.0;
        let p = poly(
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
        let q = poly(
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
        8.45062911510467529297e-01 + p / q
    } else if a < 6.0 {
        let s = 1.0 / (a * a);
        let (r, q) = if a < 1.0 / 0.35 {
            (
                poly(
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
                poly(
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
                poly(
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
                poly(
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
        1.0 - (-a * a - 0.5625 + r / q).exp() / a
    } else if a.is_nan() {
        return x;
    } else {
        1.0
    };
    y.copysign(x)
}
