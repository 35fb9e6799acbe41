//! An activation as an operation of its own.

use crate::nn::activation::{Activation, with_curve};
use crate::nn::kernel::{Float, Kernel, curve, dispatch, reduce};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activate(pub(super) Activation);

impl Activate {
    /// `y = f(z)`; the trace is f′(z), for softmax y itself. `z`, `y` (n,o).
    pub(super) fn forward<F: Float>(&self, columns: usize, z: &mut [F], y: &mut [F]) {
        with_curve!(self.0, curve => curve::apply_with_slope(curve, z, y), softmax => {
            reduce::softmax_rows(z, columns);
            y.copy_from_slice(z);
        }, linear => y.copy_from_slice(z));
    }

    /// `d_z = d_y·f′(z)`; for softmax d_zⱼ = yⱼ·(d_yⱼ − Σₖ d_yₖ·yₖ).
    pub(super) fn backward<F: Float>(&self, columns: usize, trace: &[F], d: &mut [F]) {
        match self.0 {
            Activation::Linear => {}
            Activation::Softmax => dispatch(SoftmaxBackward { y: trace, d, columns }),
            _ => curve::backward(trace, d),
        }
    }

    /// `z ← f(z)`, with the bits of [`Self::forward`].
    pub(super) fn infer<F: Float>(&self, columns: usize, z: &mut [F]) {
        with_curve!(self.0, curve => curve::apply(curve, z), softmax => reduce::softmax_rows(z, columns), linear => ());
    }
}

struct SoftmaxBackward<'a, F> {
    y: &'a [F],
    d: &'a mut [F],
    columns: usize,
}

impl<F: Float> Kernel for SoftmaxBackward<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self
            .y
            .chunks_exact(self.columns)
            .zip(self.d.chunks_exact_mut(self.columns));
        for (y, d) in rows {
            let along = y.iter().zip(&*d).fold(F::ZERO, |sum, (&y, &d)| y.mul_add(d, sum));
            y.iter().zip(d).for_each(|(&y, d)| *d = y * (*d - along));
        }
    }
}
