//! The product of a column and a row, which needs neither tiles nor panels.

use crate::nn::kernel::{Float, Kernel, dispatch};

/// `out (m,c) = bias + column (m) · row (c)`
pub(super) fn outer<F: Float>(column: &[F], row: &[F], bias: Option<&[F]>, out: &mut [F]) {
    if !row.is_empty() {
        dispatch(Outer { column, row, bias, out });
    }
}

struct Outer<'a, F> {
    column: &'a [F],
    row: &'a [F],
    bias: Option<&'a [F]>,
    out: &'a mut [F],
}

impl<F: Float> Kernel for Outer<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let lines = self.out.chunks_exact_mut(self.row.len()).zip(self.column);
        match self.bias {
            None => lines.for_each(|(out, &left)| {
                out.iter_mut()
                    .zip(self.row)
                    .for_each(|(out, &right)| *out = left.mul_add(right, F::ZERO));
            }),
            Some(bias) => lines.for_each(|(out, &left)| {
                let line = out.iter_mut().zip(self.row).zip(bias);
                line.for_each(|((out, &right), &bias)| *out = left.mul_add(right, bias));
            }),
        }
    }
}
