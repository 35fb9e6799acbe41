//! An activation as an operation of its own.

use std::ops::RangeInclusive;

use crate::nn::activation::{Activation, with_curve};
use crate::nn::kernel::{Float, Kernel, Team, curve, dispatch, reduce};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Activate(pub(super) Activation);

impl Activate {
    /// `y = f(z)`; the trace is f′(z), for softmax y itself. `z`, `y` (n,o).
    pub(super) fn forward<F: Float>(&self, team: &Team, columns: usize, z: &mut [F], y: &mut [F]) {
        with_curve!(self.0, curve => {
            in_pieces(team, z, y, |z, y| curve::apply_with_slope(curve, z, y));
        }, softmax => {
            reduce::softmax_rows(z, columns);
            y.copy_from_slice(z);
        }, linear => y.copy_from_slice(z));
    }

    /// `d_z = d_y·f′(z)`; for softmax d_zⱼ = yⱼ·(d_yⱼ − Σₖ d_yₖ·yₖ).
    pub(super) fn backward<F: Float>(&self, team: &Team, columns: usize, trace: &mut [F], d: &mut [F]) {
        match self.0 {
            Activation::Linear => {}
            Activation::Softmax => dispatch(SoftmaxBackward { y: trace, d, columns }),
            _ => in_pieces(team, trace, d, |trace, d| curve::backward(trace, d)),
        }
    }

    /// `z ← f(z)`, with the bits of [`Self::forward`].
    pub(super) fn infer<F: Float>(&self, columns: usize, z: &mut [F]) {
        with_curve!(self.0, curve => curve::apply(curve, z), softmax => reduce::softmax_rows(z, columns), linear => ());
    }
}

/// Numbers that a thread takes at a time: less work would not pay for the handing out.
const PIECE: RangeInclusive<usize> = 1 << 13..=1 << 14;

/// Does element by element what threads, if there are any, may share.
fn in_pieces<F: Float>(team: &Team, a: &mut [F], b: &mut [F], work: impl Fn(&mut [F], &mut [F]) + Sync) {
    let size = team.piece(a.len(), PIECE).next_multiple_of(64);
    if a.len() <= size {
        return work(a, b);
    }
    team.for_each(a.chunks_mut(size).zip(b.chunks_mut(size)), |(a, b)| work(a, b));
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
