//! What batch normalization does to the columns of a share, block of columns by block.

use crate::nn::kernel::{Float, Kernel};

pub(super) struct Infer<'a, F> {
    pub(super) x: &'a mut [F],
    pub(super) mean: &'a [F],
    pub(super) variance: &'a [F],
    pub(super) gamma: &'a [F],
    pub(super) beta: &'a [F],
    pub(super) epsilon: F,
}

impl<F: Float> Kernel for Infer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let columns = self.gamma.len();
        let (mean, variance, beta) = (&self.mean[..columns], &self.variance[..columns], &self.beta[..columns]);
        for x in self.x.chunks_exact_mut(columns) {
            for column in 0..columns {
                let normalized = (x[column] - mean[column]) / (variance[column] + self.epsilon).sqrt();
                x[column] = normalized.mul_add(self.gamma[column], beta[column]);
            }
        }
    }
}

/// Work on the columns of a matrix, a block of them at a time.
pub(super) trait Columns {
    /// How many there are.
    fn count(&self) -> usize;

    /// Takes the N columns from `first` on. Must be `#[inline(always)]`.
    fn block<const N: usize>(&mut self, first: usize);
}

/// Takes all columns in blocks, whose constants and sums then stay in registers while the rows go by.
pub(super) struct InBlocks<W>(pub(super) W);

impl<W: Columns> Kernel for InBlocks<W> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let columns = self.0.count();
        let mut first = 0;
        while first + 32 <= columns {
            self.0.block::<32>(first);
            first += 32;
        }
        while first + 8 <= columns {
            self.0.block::<8>(first);
            first += 8;
        }
        while first < columns {
            self.0.block::<1>(first);
            first += 1;
        }
    }
}

/// The N numbers from `first` on.
#[inline(always)]
fn at<F: Copy, const N: usize>(numbers: &[F], first: usize) -> [F; N] {
    *numbers[first..].first_chunk().expect("a block lies within the columns")
}

#[inline(always)]
fn at_mut<F, const N: usize>(numbers: &mut [F], first: usize) -> &mut [F; N] {
    numbers[first..]
        .first_chunk_mut()
        .expect("a block lies within the columns")
}

/// `variances[c] = Σₙ (x − means[c])²`, row after row.
pub(super) struct Squares<'a, F> {
    pub(super) x: &'a [F],
    pub(super) means: &'a [F],
    pub(super) variances: &'a mut [F],
}

impl<F: Float> Columns for Squares<'_, F> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.means.len()
    }

    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let (mean, mut sum): ([F; N], [F; N]) = (at(self.means, first), [F::ZERO; N]);
        for x in self.x.chunks_exact(self.means.len()) {
            let x: [F; N] = at(x, first);
            for column in 0..N {
                let distance = x[column] - mean[column];
                sum[column] = distance.mul_add(distance, sum[column]);
            }
        }
        *at_mut(self.variances, first) = sum;
    }
}

pub(super) struct Normalize<'a, F> {
    pub(super) x: &'a mut [F],
    pub(super) y: &'a mut [F],
    pub(super) means: &'a [F],
    pub(super) scales: &'a [F],
    pub(super) gamma: &'a [F],
    pub(super) beta: &'a [F],
}

impl<F: Float> Columns for Normalize<'_, F> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.gamma.len()
    }

    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let columns = self.gamma.len();
        let (mean, scale): ([F; N], [F; N]) = (at(self.means, first), at(self.scales, first));
        let (gamma, beta): ([F; N], [F; N]) = (at(self.gamma, first), at(self.beta, first));
        let rows = self.x.chunks_exact_mut(columns).zip(self.y.chunks_exact_mut(columns));
        for (x, y) in rows {
            let (x, y): (&mut [F; N], &mut [F; N]) = (at_mut(x, first), at_mut(y, first));
            for column in 0..N {
                let normalized = (x[column] - mean[column]) * scale[column];
                x[column] = normalized;
                y[column] = normalized.mul_add(gamma[column], beta[column]);
            }
        }
    }
}

/// `d_gamma = Σₙ d·x̂`, `d_beta = Σₙ d`, row after row.
pub(super) struct Gradients<'a, F> {
    pub(super) normalized: &'a [F],
    pub(super) d: &'a [F],
    pub(super) d_gamma: &'a mut [F],
    pub(super) d_beta: &'a mut [F],
}

impl<F: Float> Columns for Gradients<'_, F> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.d_gamma.len()
    }

    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let columns = self.d_gamma.len();
        let (mut d_gamma, mut d_beta) = ([F::ZERO; N], [F::ZERO; N]);
        for (normalized, d) in self.normalized.chunks_exact(columns).zip(self.d.chunks_exact(columns)) {
            let (normalized, d): ([F; N], [F; N]) = (at(normalized, first), at(d, first));
            for column in 0..N {
                d_gamma[column] = d[column].mul_add(normalized[column], d_gamma[column]);
                d_beta[column] += d[column];
            }
        }
        *at_mut(self.d_gamma, first) = d_gamma;
        *at_mut(self.d_beta, first) = d_beta;
    }
}

pub(super) struct InputGradient<'a, F> {
    pub(super) normalized: &'a [F],
    pub(super) d: &'a mut [F],
    pub(super) scales: &'a [F],
    pub(super) gamma: &'a [F],
    pub(super) d_gamma: &'a [F],
    pub(super) d_beta: &'a [F],
    /// 1/n
    pub(super) inverse_rows: F,
}

impl<F: Float> Columns for InputGradient<'_, F> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.gamma.len()
    }

    #[inline(always)]
    fn block<const N: usize>(&mut self, first: usize) {
        let columns = self.gamma.len();
        let (d_gamma, d_beta): ([F; N], [F; N]) = (at(self.d_gamma, first), at(self.d_beta, first));
        let (gamma, scale): ([F; N], [F; N]) = (at(self.gamma, first), at(self.scales, first));
        let factor: [F; N] = std::array::from_fn(|column| gamma[column] * scale[column]);
        for (normalized, d) in self
            .normalized
            .chunks_exact(columns)
            .zip(self.d.chunks_exact_mut(columns))
        {
            let (normalized, d): ([F; N], &mut [F; N]) = (at(normalized, first), at_mut(d, first));
            for column in 0..N {
                let common = normalized[column].mul_add(d_gamma[column], d_beta[column]) * self.inverse_rows;
                d[column] = factor[column] * (d[column] - common);
            }
        }
    }
}
