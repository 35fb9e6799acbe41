//! Sums whose order is fixed by the data's shape alone, and the row-wise functions built on them.
//!
//! A sum over a slice runs in [`LANES`] lanes: element k is added to lane k mod 16, and the lanes are added up as a
//! tree (lane j with lane j+8, then j+4, j+2, j+1). A sum over rows adds row by row, in order.

use super::{Float, Kernel, dispatch};

/// Lanes of a sum over a slice, at every SIMD level.
pub const LANES: usize = 16;

/// `Σ f(xₖ)` in lanes.
#[inline(always)]
pub(crate) fn sum_in_lanes<F: Float>(x: &[F], f: impl Fn(F) -> F) -> F {
    let mut lanes = [F::ZERO; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(lanes)
}

#[inline(always)]
fn fold<F: Float>(mut lanes: [F; LANES]) -> F {
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
    }
    lanes[0]
}

/// `Σ xₖ`
pub fn sum<F: Float>(x: &[F]) -> F {
    struct Sum<'a, F>(&'a [F]);
    impl<F: Float> Kernel for Sum<'_, F> {
        type Output = F;
        #[inline(always)]
        fn run(self) -> F {
            sum_in_lanes(self.0, |x| x)
        }
    }
    dispatch(Sum(x))
}

/// `Σ xₖ²`
pub fn sum_of_squares<F: Float>(x: &[F]) -> F {
    struct SumOfSquares<'a, F>(&'a [F]);
    impl<F: Float> Kernel for SumOfSquares<'_, F> {
        type Output = F;
        #[inline(always)]
        fn run(self) -> F {
            sum_in_lanes(self.0, |x| x * x)
        }
    }
    dispatch(SumOfSquares(x))
}

/// `sums[c] = Σₙ x[n,c]` of the rows of `x`, each `sums.len()` wide, added in order.
pub fn column_sums<F: Float>(x: &[F], sums: &mut [F]) {
    struct ColumnSums<'a, F>(&'a [F], &'a mut [F]);
    impl<F: Float> Kernel for ColumnSums<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let ColumnSums(x, sums) = self;
            sums.fill(F::ZERO);
            for row in x.chunks_exact(sums.len()) {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    *sum += x;
                }
            }
        }
    }
    dispatch(ColumnSums(x, sums));
}

/// Mean and biased variance of every column in two passes: `mean = Σₙ x / n`, `variance = Σₙ (x − mean)² / n`.
pub fn column_moments<F: Float>(x: &[F], mean: &mut [F], variance: &mut [F]) {
    struct ColumnMoments<'a, F>(&'a [F], &'a mut [F], &'a mut [F]);
    impl<F: Float> Kernel for ColumnMoments<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let ColumnMoments(x, mean, variance) = self;
            let columns = mean.len();
            let n = F::from_f64((x.len() / columns) as f64);
            mean.fill(F::ZERO);
            variance.fill(F::ZERO);
            for row in x.chunks_exact(columns) {
                for (sum, &x) in mean.iter_mut().zip(row) {
                    *sum += x;
                }
            }
            mean.iter_mut().for_each(|mean| *mean /= n);
            for row in x.chunks_exact(columns) {
                for ((sum, &mean), &x) in variance.iter_mut().zip(&*mean).zip(row) {
                    *sum = (x - mean).mul_add(x - mean, *sum);
                }
            }
            variance.iter_mut().for_each(|variance| *variance /= n);
        }
    }
    dispatch(ColumnMoments(x, mean, variance));
}

/// The largest element; −∞ for none, NaN wherever there is one.
#[inline(always)]
pub(crate) fn largest<F: Float>(x: &[F]) -> F {
    x.iter()
        .fold(-F::INFINITY, |largest, &x| if x <= largest { largest } else { x })
}

/// Softmax of every row of `z`, each `columns` wide, in place: `e^(zⱼ − max) / Σₖ e^(zₖ − max)`, the sum in lanes.
pub fn softmax_rows<F: Float>(z: &mut [F], columns: usize) {
    struct SoftmaxRows<'a, F>(&'a mut [F], usize);
    impl<F: Float> Kernel for SoftmaxRows<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for row in self.0.chunks_exact_mut(self.1) {
                let largest = largest(row);
                row.iter_mut().for_each(|z| *z = (*z - largest).exp());
                let sum = sum_in_lanes(row, |e| e);
                row.iter_mut().for_each(|e| *e /= sum);
            }
        }
    }
    dispatch(SoftmaxRows(z, columns));
}

/// `ln Σⱼ e^(zⱼ)` of every row of `z`, each `z.len() / out.len()` wide, without overflow.
pub fn log_sum_exp_rows<F: Float>(z: &[F], out: &mut [F]) {
    struct LogSumExpRows<'a, F>(&'a [F], &'a mut [F]);
    impl<F: Float> Kernel for LogSumExpRows<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let LogSumExpRows(z, out) = self;
            let columns = z.len() / out.len().max(1);
            for (out, row) in out.iter_mut().zip(z.chunks_exact(columns.max(1))) {
                let largest = largest(row);
                *out = largest + sum_in_lanes(row, |z| (z - largest).exp()).ln();
            }
        }
    }
    dispatch(LogSumExpRows(z, out));
}
