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
    if x.len() <= FEW {
        return sum_of_few(x, f);
    }
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [F::ZERO; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    for width in [8, 4, 2, 1] {
        for j in 0..width {
            lanes[j] += lanes[j + width];
        }
    }
    lanes[0]
}

/// Rows as short as this are summed number by number: a softmax over a few classes has one after the other.
const FEW: usize = 4;

/// What is left of the lanes' tree for so few: `(x₀ + x₂) + (x₁ + x₃)`, where 0 stands for what isn't there.
#[inline(always)]
fn sum_of_few<F: Float>(x: &[F], f: impl Fn(F) -> F) -> F {
    let lane = |k: usize| x.get(k).map_or(F::ZERO, |&x| F::ZERO + f(x));
    (lane(0) + lane(2)) + (lane(1) + lane(3))
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

/// Whether every number is finite.
pub fn all_finite<F: Float>(x: &[F]) -> bool {
    struct AllFinite<'a, F>(&'a [F]);
    impl<F: Float> Kernel for AllFinite<'_, F> {
        type Output = bool;
        #[inline(always)]
        fn run(self) -> bool {
            // A sum doesn't end early, but goes many numbers at a time: a finite one times zero is zero, all others are NaN.
            sum_in_lanes(self.0, |x| x * F::ZERO) == F::ZERO
        }
    }
    dispatch(AllFinite(x))
}

/// `sums[k] ← sums[k] + xₖ`
pub fn add<F: Float>(sums: &mut [F], x: &[F]) {
    struct Add<'a, F>(&'a mut [F], &'a [F]);
    impl<F: Float> Kernel for Add<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().zip(self.1).for_each(|(sum, &x)| *sum += x);
        }
    }
    dispatch(Add(sums, x));
}

/// Columns whose sums are kept in registers while the rows go by.
const COLUMNS: usize = 32;

/// `sums[c] = Σₙ x[n,c]` for the rows n of `x`, each `sums.len()` wide, in order.
#[inline(always)]
fn sum_columns<F: Float>(x: &[F], sums: &mut [F]) {
    let width = sums.len();
    let mut column = 0;
    while column + COLUMNS <= width {
        let mut block = [F::ZERO; COLUMNS];
        for row in x.chunks_exact(width) {
            let row: &[F; COLUMNS] = row[column..].first_chunk().expect("that many columns are left");
            for j in 0..COLUMNS {
                block[j] += row[j];
            }
        }
        sums[column..column + COLUMNS].copy_from_slice(&block);
        column += COLUMNS;
    }
    let left = &mut sums[column..];
    if let [sum] = left {
        // In a register, too.
        *sum = x.chunks_exact(width).fold(F::ZERO, |sum, row| sum + row[column]);
        return;
    }
    left.fill(F::ZERO);
    for row in x.chunks_exact(width) {
        left.iter_mut().zip(&row[column..]).for_each(|(sum, &x)| *sum += x);
    }
}

/// `sums[c] = Σₙ x[n,c]` of the rows of `x`, each `sums.len()` wide, added in order.
pub fn column_sums<F: Float>(x: &[F], sums: &mut [F]) {
    struct ColumnSums<'a, F>(&'a [F], &'a mut [F]);
    impl<F: Float> Kernel for ColumnSums<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            sum_columns(self.0, self.1);
        }
    }
    dispatch(ColumnSums(x, sums));
}

/// The largest element; −∞ for none. A NaN may be passed over: what it is subtracted from keeps one.
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
            let SoftmaxRows(z, columns) = self;
            for row in z.chunks_exact_mut(columns) {
                let largest = largest(row);
                row.iter_mut().for_each(|z| *z -= largest);
            }
            // All exponentials in one loop: rows are often too short for SIMD.
            z.iter_mut().for_each(|z| *z = z.exp());
            for row in z.chunks_exact_mut(columns) {
                let sum = sum_in_lanes(row, |e| e);
                row.iter_mut().for_each(|e| *e /= sum);
            }
        }
    }
    dispatch(SoftmaxRows(z, columns));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::level::at_every_level;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count)
            .map(|k| ((k * 7919 + 13) % 1009) as f32 / 101.0 - 5.0)
            .collect()
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    /// The order as the module states it.
    fn sum_as_stated(x: &[f32]) -> f32 {
        let mut lanes = [0.0; 16];
        x.iter().enumerate().for_each(|(k, x)| lanes[k % 16] += x);
        for width in [8, 4, 2, 1] {
            (0..width).for_each(|j| lanes[j] += lanes[j + width]);
        }
        lanes[0]
    }

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        at_every_level(|level| {
            for count in (0..70).chain([1000]) {
                let x = numbers(count);
                assert!(all_finite(&x), "{count} numbers at {level:?}");
                for place in 0..count {
                    for other in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        let mut x = x.clone();
                        x[place] = other;
                        assert!(!all_finite(&x), "{other} at {place} of {count} at {level:?}");
                    }
                }
            }
            assert!(all_finite(&[f32::MAX; 50]) && all_finite(&[-f32::MAX; 50]));
        });
    }

    #[test]
    fn sums_have_the_stated_order_at_every_level() {
        at_every_level(|level| {
            for count in (0..70).chain([1000, 4099]) {
                let x = numbers(count);
                let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
                assert_eq!(
                    sum(&x).to_bits(),
                    sum_as_stated(&x).to_bits(),
                    "{count} numbers at {level:?}"
                );
                assert_eq!(
                    sum_of_squares(&x).to_bits(),
                    sum_as_stated(&squares).to_bits(),
                    "{count} at {level:?}"
                );
            }
        });
    }

    #[test]
    fn columns_are_summed_row_by_row_at_every_level() {
        at_every_level(|level| {
            for columns in (1..=70).chain([128, 130]) {
                let rows = 37;
                let x = numbers(rows * columns);
                let column = |c: usize| x.iter().copied().skip(c).step_by(columns);
                let expected: Vec<f32> = (0..columns).map(|c| column(c).sum()).collect();
                let mut sums = vec![f32::NAN; columns];
                column_sums(&x, &mut sums);
                assert_eq!(bits(&sums), bits(&expected), "{columns} columns at {level:?}");
            }
        });
    }

    #[test]
    fn a_softmax_sums_to_1_survives_large_logits_and_has_the_same_bits_at_every_level() {
        for columns in [1, 2, 3, 10, 16, 17, 100] {
            let mut results = Vec::new();
            at_every_level(|_| {
                let mut z: Vec<f32> = numbers(7 * columns).iter().map(|z| z * 1e3).collect();
                softmax_rows(&mut z, columns);
                for row in z.chunks(columns) {
                    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
                }
                results.push(bits(&z));
            });
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }

    #[test]
    fn a_nan_among_the_logits_shows() {
        let mut z = [1.0, f32::NAN, 2.0, 1.0, 2.0, 3.0];
        softmax_rows(&mut z, 3);
        assert!(z[..3].iter().all(|z| z.is_nan()) && z[3..].iter().all(|z| z.is_finite()));
    }
}
