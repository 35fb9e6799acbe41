//! The number type of the core: f32 trains, f64 checks gradients by running the very same code.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::elementary::{double, single};
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
    /// The greater of two, of which `other` is a number: a NaN in `self` stays.
    fn max(self, other: Self) -> Self;
    /// The lesser of two, of which `other` is a number: a NaN in `self` stays.
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
    /// The first half of x·sigmoid(x) and its slope: what the second goes on from.
    fn swish_begin(self) -> [Self; 3];
    /// The second half, for the same x: both answers.
    fn swish_finish(self, half: [Self; 3]) -> (Self, Self);
    /// x·tanh(softplus(x)), and its slope.
    fn mish(self) -> (Self, Self);
    /// x·Φ(x), Φ being the normal distribution's, and its slope.
    fn gelu(self) -> (Self, Self);
}

macro_rules! forward {
    ($place:ident: $name:ident($($argument:ident: $type:ty),*) -> $answer:ty) => {
        #[inline(always)]
        fn $name(self, $($argument: $type),*) -> $answer {
            $place::$name(self, $($argument),*)
        }
    };
}
macro_rules! float {
    ($float:ident $elementary:ident $avx2:ident $avx512:ident) => {
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
            fn max(self, other: Self) -> Self {
                if self < other { other } else { self }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self > other { other } else { self }
            }
            forward!($float: mul_add(a: Self, b: Self) -> Self);
            forward!($float: sqrt() -> Self);
            forward!($float: abs() -> Self);
            forward!($float: is_finite() -> bool);
            forward!($float: is_nan() -> bool);
            forward!($elementary: exp() -> Self);
            forward!($elementary: exp_m1() -> Self);
            forward!($elementary: ln() -> Self);
            forward!($elementary: ln_1p() -> Self);
            forward!($elementary: tanh() -> Self);
            forward!($elementary: erf() -> Self);
            forward!($elementary: sigmoid() -> Self);
            forward!($elementary: softplus() -> Self);
            forward!($elementary: swish_begin() -> [Self; 3]);
            forward!($elementary: swish_finish(half: [Self; 3]) -> (Self, Self));
            forward!($elementary: mish() -> (Self, Self));
            forward!($elementary: gelu() -> (Self, Self));
        }
    };
}

float!(f32 single __m256 __m512);
float!(f64 double __m256d __m512d);
