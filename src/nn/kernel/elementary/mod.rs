//! exp, ln and their kin: our own, so that they give the same bits on every machine, alone or in a SIMD loop.

pub(super) mod double;
pub(super) mod single;

#[cfg(test)]
mod tests;

/// `c₀ + c₁·x + c₂·x² + …`
macro_rules! polynomial {
    ($x:expr; $last:expr) => { $last };
    ($x:expr; $first:expr, $($more:expr),+ $(,)?) => {
        $x.mul_add($crate::nn::kernel::elementary::polynomial!($x; $($more),+), $first)
    };
}
use polynomial;
