//! The innermost loop: one tile of the result in registers, the inner index running past it.

use super::Float;
use super::lanes::Lanes;

/// The left operand: element (r, k) of it is `data[r·row + k·step]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, F> {
    data: &'a [F],
    row: usize,
    step: usize,
}

impl<'a, F: Float> Left<'a, F> {
    /// A matrix of rows `width` long, as it is.
    pub(super) fn rows(data: &'a [F], width: usize) -> Self {
        Left {
            data,
            row: width,
            step: 1,
        }
    }

    /// The transpose of a matrix of rows `width` long.
    pub(super) fn columns(data: &'a [F], width: usize) -> Self {
        Left {
            data,
            row: 1,
            step: width,
        }
    }

    /// The same from row `r` and inner index `k` on.
    #[inline(always)]
    pub(super) fn at(self, r: usize, k: usize) -> Self {
        let data = self.data.get(r * self.row + k * self.step..).unwrap_or_default();
        Left { data, ..self }
    }
}

/// Some rows of a panel of the right operand: row k of it starts at `data[k·stride]`.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a, F> {
    pub(super) data: &'a [F],
    pub(super) stride: usize,
}

/// Where a tile goes.
pub(super) struct Output<'a, F> {
    /// The result, from the tile's first element on.
    pub(super) out: &'a mut [F],
    /// Distance between rows and between columns.
    pub(super) strides: [usize; 2],
    /// How many columns of the tile the result has.
    pub(super) columns: usize,
    pub(super) begin: Begin<'a, F>,
}

/// What the sums of a tile begin with.
#[derive(Clone, Copy)]
pub(super) enum Begin<'a, F> {
    Zero,
    /// One value for each column of the tile.
    Row(&'a [F]),
    /// One value for each row of the tile.
    Column(&'a [F]),
    /// What the result holds.
    Continue,
}

/// The widest tile.
const WIDEST: usize = 64;

/// `out (MR, NV·V::N) = begin + a (MR,k) · b (k, NV·V::N)`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn tile<F: Float, V: Lanes<F>, const MR: usize, const NV: usize>(
    k: usize,
    a: Left<'_, F>,
    b: Panel<'_, F>,
    mut output: Output<'_, F>,
) {
    // SAFETY: the caller's promise.
    let mut sums = unsafe { output.begin::<V, MR, NV>() };
    if k > 0 {
        assert!(
            (MR - 1) * a.row + (k - 1) * a.step < a.data.len(),
            "the left side of a product"
        );
        assert!(
            (k - 1) * b.stride + NV * V::N <= b.data.len(),
            "the right side of a product"
        );
    }
    let (left, right) = (a.data.as_ptr(), b.data.as_ptr());
    for step in 0..k {
        // SAFETY: `step < k`, so these reads end at or before the last ones, which the asserts found inside the slices;
        // the instructions are the caller's promise.
        unsafe {
            let right: [V; NV] = load_all(right.add(step * b.stride));
            for (r, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*left.add(step * a.step + r * a.row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { output.store(sums) };
}

/// # Safety
/// The processor has the instructions of `V`, and `from` is good for reading `NV·V::N` numbers.
#[inline(always)]
unsafe fn load_all<F: Float, V: Lanes<F>, const NV: usize>(from: *const F) -> [V; NV] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut registers = [V::load(from); NV];
        for (v, register) in registers.iter_mut().enumerate().skip(1) {
            *register = V::load(from.add(v * V::N));
        }
        registers
    }
}

// The sums must stay in registers, so no loop that the compiler can't unroll may index them: what lies over the edge of
// the result goes through a buffer.
impl<F: Float> Output<'_, F> {
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn begin<V: Lanes<F>, const MR: usize, const NV: usize>(&self) -> [[V; NV]; MR] {
        let width = NV * V::N;
        let whole = self.columns == width;
        let [row, column] = self.strides;
        // SAFETY: each slice that is read has `width` elements; the instructions are the caller's promise.
        unsafe {
            let mut sums = [[V::splat(F::ZERO); NV]; MR];
            match self.begin {
                Begin::Zero => {}
                Begin::Row(bias) if whole => sums = [load_all(bias[..width].as_ptr()); MR],
                Begin::Row(bias) => {
                    let mut edge = [F::ZERO; WIDEST];
                    edge[..self.columns].copy_from_slice(&bias[..self.columns]);
                    sums = [load_all(edge[..width].as_ptr()); MR];
                }
                Begin::Column(bias) => {
                    for (sums, &bias) in sums.iter_mut().zip(&bias[..MR]) {
                        *sums = [V::splat(bias); NV];
                    }
                }
                Begin::Continue if whole && column == 1 => {
                    for (r, sums) in sums.iter_mut().enumerate() {
                        *sums = load_all(self.out[r * row..][..width].as_ptr());
                    }
                }
                Begin::Continue => {
                    let mut edge = [[F::ZERO; WIDEST]; MR];
                    for (r, edge) in edge.iter_mut().enumerate() {
                        let out = self.out[r * row..].iter().step_by(column);
                        edge[..self.columns]
                            .iter_mut()
                            .zip(out)
                            .for_each(|(edge, &out)| *edge = out);
                    }
                    for (sums, edge) in sums.iter_mut().zip(&edge) {
                        *sums = load_all(edge[..width].as_ptr());
                    }
                }
            }
            sums
        }
    }

    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn store<V: Lanes<F>, const MR: usize, const NV: usize>(&mut self, sums: [[V; NV]; MR]) {
        let width = NV * V::N;
        let [row, column] = self.strides;
        if self.columns == width && column == 1 {
            for (r, sums) in sums.into_iter().enumerate() {
                // SAFETY: the slice has `width` elements; the instructions are the caller's promise.
                unsafe { store_all(sums, self.out[r * row..][..width].as_mut_ptr()) };
            }
        } else {
            let mut edge = [[F::ZERO; WIDEST]; MR];
            for (sums, edge) in sums.into_iter().zip(&mut edge) {
                // SAFETY: as above.
                unsafe { store_all(sums, edge[..width].as_mut_ptr()) };
            }
            for (r, edge) in edge.iter().enumerate() {
                let out = self.out[r * row..].iter_mut().step_by(column);
                out.zip(&edge[..self.columns]).for_each(|(out, &edge)| *out = edge);
            }
        }
    }
}

/// # Safety
/// The processor has the instructions of `V`, and `to` is good for writing `NV·V::N` numbers.
#[inline(always)]
unsafe fn store_all<F: Float, V: Lanes<F>, const NV: usize>(registers: [V; NV], to: *mut F) {
    for (v, register) in registers.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { register.store(to.add(v * V::N)) };
    }
}
