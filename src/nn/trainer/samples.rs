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

/// Bytes of a table that a core's second-level cache holds anyway.
const NEAR: usize = 1 << 20;

/// The rows of a larger one, taken in a new order, lie anywhere: how many copies earlier each is asked for.
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
        let order = &order[rows];
        let of_x = |row: u32| &x[row as usize * inputs..][..inputs];
        let of_y = |row: u32| &y[row as usize * outputs..][..outputs];
        let ask_for = |row: &u32| {
            prefetch(&of_x(*row)[..inputs.min(WAITED_FOR)]);
            prefetch(&of_y(*row)[..1]);
        };
        let far = if size_of_val(x) + size_of_val(y) > NEAR {
            order
        } else {
            &[]
        };
        far.iter().take(AHEAD).for_each(ask_for);
        let places = room
            .x
            .chunks_exact_mut(inputs)
            .zip(room.y.chunks_exact_mut(outputs))
            .zip(room.weights);
        for (place, ((to_x, to_y), to_weight)) in places.enumerate() {
            far.get(place + AHEAD).into_iter().for_each(ask_for);
            let row = order[place];
            copy_row(of_x(row), to_x);
            copy_row(of_y(row), to_y);
            if let Some(weights) = weights {
                *to_weight = weights[row as usize];
            }
        }
    }
}

/// `to.copy_from_slice(from)`, without a call for one number or a few chunks of them, where the call is most of the time.
#[inline(always)]
fn copy_row<F: Float>(from: &[F], to: &mut [F]) {
    debug_assert_eq!(from.len(), to.len());
    match (from, to) {
        ([from], [to]) => *to = *from,
        (from, to) if (CHUNK..=FEW).contains(&from.len()) => {
            let chunks = from.as_chunks().0.iter().zip(to.as_chunks_mut::<CHUNK>().0);
            chunks.for_each(|(from, to)| *to = *from);
            let ends = (from.last_chunk(), to.last_chunk_mut::<CHUNK>());
            if let (Some(from), Some(to)) = ends {
                *to = *from;
            }
        }
        (from, to) => to.copy_from_slice(from),
    }
}

/// Most numbers of a row that is copied in chunks.
const FEW: usize = 64;

/// Numbers that are copied at once.
const CHUNK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied_as_they_are_counted_whatever_their_width() {
        for (rows, inputs, outputs) in [
            (9, 1, 1),
            (9, 7, 2),
            (200, 8, 1),
            (200, 13, 3),
            (90, 64, 8),
            (90, 65, 9),
            (20_000, 28, 1),
        ] {
            let number = |k: (usize, usize)| (k.0 * 100 + k.1) as f32;
            let samples = Samples {
                x: Array2::from_shape_fn((rows, inputs), number),
                y: Array2::from_shape_fn((rows, outputs), number),
                weights: Some(Array1::from_shape_fn(rows, |row| row as f32)),
            };
            let mut order: Vec<u32> = (0..rows as u32).rev().collect();
            order.rotate_left(rows / 3);
            for order in [&order[..], &[]] {
                let taken = rows / 2..rows - 1;
                let count = taken.len();
                let (mut x, mut y) = (vec![-1.0; count * inputs], vec![-1.0; count * outputs]);
                let mut weights = vec![-1.0; count];
                let room = Room {
                    x: &mut x,
                    y: &mut y,
                    weights: &mut weights,
                };
                samples.laid().copy(taken.clone(), order, room);
                for (place, row) in taken.enumerate() {
                    let row = order.get(row).map_or(row, |row| *row as usize);
                    assert_eq!(
                        x[place * inputs..][..inputs],
                        samples.x.row(row).to_vec(),
                        "{inputs} inputs"
                    );
                    assert_eq!(
                        y[place * outputs..][..outputs],
                        samples.y.row(row).to_vec(),
                        "{outputs} outputs"
                    );
                    assert_eq!(weights[place], row as f32);
                }
            }
        }
    }
}
