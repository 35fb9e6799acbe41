//! The dense layer without its activation: y = x·w + b.

use std::ops::Range;

use super::Context;
use crate::nn::kernel::product::{d_wt, x_w, xt_d, xt_d_into};
use crate::nn::kernel::{Float, Team, Workspace, reduce};
use crate::nn::layout::Layout;
use crate::nn::optimizer::{Changing, LANES};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    inputs: usize,
    units: usize,
    kernel: Range<usize>,
    bias: Option<Range<usize>>,
}

/// Numbers of a kernel from which on its gradient is used at once.
const LARGE: usize = 1 << 16;

/// Numbers that each thread may copy or list for it: 4 MiB of f32.
const MOST_COPIED: usize = 1 << 20;

impl Dense {
    pub(super) fn new(layer: usize, layout: &Layout) -> Self {
        let kernel = layout.place(layer, "kernel").expect("every dense layer has a kernel");
        Self {
            inputs: kernel.shape[0],
            units: kernel.shape[1],
            kernel: kernel.range.clone(),
            bias: layout.place(layer, "bias").map(|bias| bias.range.clone()),
        }
    }

    pub(super) fn units(&self) -> usize {
        self.units
    }

    /// `y = x·w + b`: `x` (n,i), `w` (i,o), `b` (o), `y` (n,o). In training and in inference.
    pub(super) fn forward<F: Float>(&self, context: &mut Context<F>, x: &[F], y: &mut [F]) {
        let bias = self.bias.clone().map(|bias| &context.weights[bias]);
        let shape = [context.rows, self.inputs, self.units];
        x_w(
            x,
            &context.weights[self.kernel.clone()],
            shape,
            bias,
            y,
            context.products,
        );
    }

    /// Gradients of the dense layer.
    ///
    /// Forward was `y = x·w + b`; `x` (n,i) is what it saw, `d_y` (n,o) is ∂loss/∂y. Hence
    ///   d_w = xᵀ·d_y (i,o)    d_b = Σₙ d_y (o)    d_x = d_y·wᵀ (n,i)
    /// No 1/n here: the loss has already averaged, once for the whole network.
    pub(super) fn backward<F: Float>(
        &self,
        context: &mut Context<F>,
        x: &[F],
        d_y: &[F],
        d_x: Option<&mut [F]>,
        gradients: &mut [F],
    ) {
        let shape = [context.rows, self.inputs, self.units];
        xt_d(x, d_y, shape, &mut gradients[self.kernel.clone()], context.products);
        if let Some(bias) = self.bias.clone() {
            reduce::column_sums(d_y, &mut gradients[bias]);
        }
        if let Some(d_x) = d_x {
            self.input_gradient(context, d_y, d_x);
        }
    }

    /// Whether its kernel is so large that its gradient had better not go through memory, and the batch so small that each
    /// thread may have a copy of d_y.
    pub(super) fn gains_by_update_at_once(&self, rows: usize) -> bool {
        self.kernel.len() >= LARGE && self.units.is_multiple_of(LANES) && rows * self.units <= MOST_COPIED
    }

    /// [`Self::backward`], and the weights change: of the kernel some rows as soon as their gradient is known.
    pub(super) fn backward_and_update<F: Float>(
        &self,
        mut all: Changing<'_, F>,
        (rows, products): (usize, &mut Workspace<F>),
        x: &[F],
        d_y: &[F],
        d_x: Option<&mut [F]>,
        gradients: &mut [F],
    ) {
        if let Some(d_x) = d_x {
            let mut context = Context {
                rows,
                weights: all.weights(),
                products,
            };
            self.input_gradient(&mut context, d_y, d_x);
        }
        let kernel = all.slice(self.kernel.clone());
        xt_d_into(x, d_y, [rows, self.inputs, self.units], kernel, products);
        if let Some(bias) = self.bias.clone() {
            reduce::column_sums(d_y, &mut gradients[bias.clone()]);
            let bias = bias.start..bias.end.next_multiple_of(LANES);
            all.slice(bias.clone()).change_by(&gradients[bias], &Team::default());
        }
    }

    /// d_x = d_y·wᵀ (n,i)
    pub(super) fn input_gradient<F: Float>(&self, context: &mut Context<F>, d_y: &[F], d_x: &mut [F]) {
        let shape = [context.rows, self.inputs, self.units];
        let kernel = &context.weights[self.kernel.clone()];
        d_wt(d_y, kernel, shape, d_x, context.products);
    }
}
