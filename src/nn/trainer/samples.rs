//! Rows with their targets.

use std::ops::Range;

use ndarray::{Array1, Array2, CowArray, Ix1, Ix2};

use crate::nn::kernel::{Float, prefetch};
use crate::nn::pass::Room;
use crate::nn::spec::Plan;

/// Rows to train on or to measure with.
#[derive(Clone, Debug)]
pub struct Samples<F> {
    /// (n, inputs)
    pub x: Array2<F>,
    /// (n, outputs): one-hot, 0/1 or numbers, as the plan's target is.
    pub y: Array2<F>,
    /// (n): factors on the rows' losses.
    pub weights: Option<Array1<F>>,
}

/// Samples that lie row after row in memory, as the products want them; copied only where they didn't.
pub(super) struct Laid<'a, F> {
    x: CowArray<'a, F, Ix2>,
    y: CowArray<'a, F, Ix2>,
    weights: Option<CowArray<'a, F, Ix1>>,
}

impl<F: Float> Samples<F> {
    /// # Panics
    /// If there are no rows, or they don't fit the plan.
    pub(super) fn check(&self, plan: &Plan) {
        let (rows, columns) = self.x.dim();
        assert!(rows > 0, "at least one row");
        assert_eq!(columns, plan.inputs, "columns of x");
        assert_eq!(self.y.dim(), (rows, plan.outputs), "rows and columns of y");
        let weights = self.weights.as_ref().map_or(rows, Array1::len);
        assert_eq!(weights, rows, "a weight for each row");
    }

    pub(super) fn laid(&self) -> Laid<'_, F> {
        Laid {
            x: self.x.as_standard_layout(),
            y: self.y.as_standard_layout(),
            weights: self.weights.as_ref().map(|weights| weights.as_standard_layout()),
        }
    }

    /// The same samples, row after row in memory for good.
    pub(super) fn into_laid(self) -> Self {
        let standard = |array: Array2<F>| match array.is_standard_layout() {
            true => array,
            false => array.as_standard_layout().into_owned(),
        };
        Self {
            x: standard(self.x),
            y: standard(self.y),
            weights: self.weights.map(|weights| Array1::from_vec(weights.to_vec())),
        }
    }
}

/// Rows taken in a new order lie anywhere: how many copies earlier each is asked for.
const AHEAD: usize = 48;

/// Numbers at the beginning of a row that are asked for; what follows the processor fetches by itself.
const WAITED_FOR: usize = 64;

impl<F: Float> Laid<'_, F> {
    /// All of x, of y and of the weights.
    pub(super) fn slices(&self) -> (&[F], &[F], Option<&[F]>) {
        let laid = "laid row after row";
        let weights = self.weights.as_ref().map(|weights| weights.as_slice().expect(laid));
        (self.x.as_slice().expect(laid), self.y.as_slice().expect(laid), weights)
    }

    /// Copies rows, counted in `order` or, where that is empty, as they lie.
    pub(super) fn copy(&self, rows: Range<usize>, order: &[u32], room: Room<'_, F>) {
        let (x, y, weights) = self.slices();
        let (inputs, outputs) = (self.x.ncols(), self.y.ncols());
        if order.is_empty() {
            room.x.copy_from_slice(&x[rows.start * inputs..rows.end * inputs]);
            room.y.copy_from_slice(&y[rows.start * outputs..rows.end * outputs]);
            if let Some(weights) = weights {
                room.weights.copy_from_slice(&weights[rows]);
            }
            return;
        }
        let places = room
            .x
            .chunks_exact_mut(inputs)
            .zip(room.y.chunks_exact_mut(outputs))
            .zip(room.weights);
        let order = &order[rows];
        let (x, y) = (
            |row: u32| &x[row as usize * inputs..][..inputs],
            |row: u32| &y[row as usize * outputs..][..outputs],
        );
        for (place, ((to_x, to_y), to_weight)) in places.enumerate() {
            if let Some(&next) = order.get(place + AHEAD) {
                prefetch(&x(next)[..inputs.min(WAITED_FOR)]);
                prefetch(&y(next)[..1]);
            }
            let row = order[place];
            to_x.copy_from_slice(x(row));
            to_y.copy_from_slice(y(row));
            if let Some(weights) = weights {
                *to_weight = weights[row as usize];
            }
        }
    }
}
