//! The innermost loop: one tile of the result in registers, the inner index running past it.

use std::ops::Range;

use super::Float;
use super::lanes::Lanes;
use super::pack::transpose;

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

    /// Whether the inner index jumps from row to row of the matrix.
    pub(super) fn is_against_the_grain(self) -> bool {
        self.step > 1
    }

    /// Fills `to` (k,HEIGHT) with the first HEIGHT rows of an operand whose neighbouring rows lie side by side.
    #[inline(always)]
    pub(super) fn pack<const HEIGHT: usize>(self, to: &mut [F]) {
        debug_assert_eq!(self.row, 1);
        for (k, to) in to.as_chunks_mut::<HEIGHT>().0.iter_mut().enumerate() {
            to.copy_from_slice(&self.data[k * self.step..][..HEIGHT]);
        }
    }

    /// A part of row `r` of an operand that lies as it is.
    #[inline(always)]
    pub(super) fn row(self, r: usize, inner: Range<usize>) -> &'a [F] {
        debug_assert_eq!(self.step, 1);
        &self.data[r * self.row..][inner]
    }

    /// Fills `to` (rows,length) with the first rows of an operand that lies against the grain.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub(super) unsafe fn transpose_into<V: Lanes<F>>(self, length: usize, to: &mut [F]) {
        debug_assert_eq!(self.row, 1);
        // SAFETY: the caller's promise.
        unsafe { transpose::<F, V>(self.data, [length, self.step], to, length) };
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

/// A result from some element on, of which several threads write each its own elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<F> {
    from: *mut F,
    length: usize,
}

// SAFETY: it is only an address; who writes there has promised that no one else does.
unsafe impl<F: Send> Send for Target<F> {}
// SAFETY: as above.
unsafe impl<F: Send> Sync for Target<F> {}

impl<F: Float> Target<F> {
    pub(super) fn new(result: &mut [F]) -> Self {
        Target {
            from: result.as_mut_ptr(),
            length: result.len(),
        }
    }

    /// The same from its element `index` on.
    #[inline(always)]
    pub(super) fn at(self, index: usize) -> Self {
        assert!(index < self.length, "a tile lies in its result");
        Target {
            // SAFETY: inside the result.
            from: unsafe { self.from.add(index) },
            length: self.length - index,
        }
    }

    /// Its address, good for `length` elements.
    #[inline(always)]
    pub(super) fn reach(self, length: usize) -> *mut F {
        assert!(length <= self.length, "what is written lies in its result");
        self.from
    }
}

/// Where a tile goes.
pub(super) struct Output<'a, F> {
    /// The result, from the tile's first element on.
    pub(super) target: Target<F>,
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
/// The processor has the instructions of `V`; while this runs the result lives and nobody else reads or writes these
/// elements of it.
#[inline(always)]
pub(super) unsafe fn tile<F: Float, V: Lanes<F>, const MR: usize, const NV: usize>(
    k: usize,
    a: Left<'_, F>,
    b: Panel<'_, F>,
    output: Output<'_, F>,
) {
    assert!(
        output.columns > 0
            && (MR - 1) * output.strides[0] + (output.columns - 1) * output.strides[1] < output.target.length,
        "a tile lies in its result"
    );
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
pub(super) unsafe fn load_all<F: Float, V: Lanes<F>, const NV: usize>(from: *const F) -> [V; NV] {
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
// the result goes through a buffer. What copies between buffer and result is never inlined, or every tile would pay for its
// preparations; it takes plain values, for a reference would keep the `Output` of every tile in memory.
impl<F: Float> Output<'_, F> {
    /// The place of a row of the tile.
    ///
    /// # Safety
    /// The tile has the row.
    #[inline(always)]
    unsafe fn row(&self, r: usize) -> *mut F {
        // SAFETY: the tile lies in its result, as `tile` has seen to.
        unsafe { self.target.from.add(r * self.strides[0]) }
    }

    /// # Safety
    /// As for [`tile`], which has found the tile inside the result.
    #[inline(always)]
    unsafe fn begin<V: Lanes<F>, const MR: usize, const NV: usize>(&self) -> [[V; NV]; MR] {
        let width = NV * V::N;
        let whole = self.columns == width;
        // SAFETY: each slice that is read has `width` elements, each place is one of the tile's; the rest is the caller's
        // promise.
        unsafe {
            let mut sums = [[V::splat(F::ZERO); NV]; MR];
            match self.begin {
                Begin::Zero => {}
                Begin::Row(bias) if whole => sums = [load_all(bias[..width].as_ptr()); MR],
                Begin::Row(bias) => sums = [load_all(padded(&bias[..self.columns])[..width].as_ptr()); MR],
                Begin::Column(bias) => {
                    for (sums, &bias) in sums.iter_mut().zip(&bias[..MR]) {
                        *sums = [V::splat(bias); NV];
                    }
                }
                Begin::Continue if whole && self.strides[1] == 1 => {
                    for (r, sums) in sums.iter_mut().enumerate() {
                        *sums = load_all(self.row(r));
                    }
                }
                Begin::Continue => {
                    let edge: [_; MR] = gather(self.target.from, self.strides, self.columns);
                    for (sums, edge) in sums.iter_mut().zip(&edge) {
                        *sums = load_all(edge[..width].as_ptr());
                    }
                }
            }
            sums
        }
    }

    /// # Safety
    /// As for [`tile`], which has found the tile inside the result.
    #[inline(always)]
    unsafe fn store<V: Lanes<F>, const MR: usize, const NV: usize>(&self, sums: [[V; NV]; MR]) {
        let width = NV * V::N;
        if self.columns == width && self.strides[1] == 1 {
            for (r, sums) in sums.into_iter().enumerate() {
                // SAFETY: the tile's row has `width` elements side by side; the rest is the caller's promise.
                unsafe { store_all(sums, self.row(r)) };
            }
        } else {
            let mut edge = [[F::ZERO; WIDEST]; MR];
            for (sums, edge) in sums.into_iter().zip(&mut edge) {
                // SAFETY: the buffer has `width` elements; the instructions are the caller's promise.
                unsafe { store_all(sums, edge[..width].as_mut_ptr()) };
            }
            // SAFETY: the caller's promise.
            unsafe { scatter(&edge, self.target.from, self.strides, self.columns) };
        }
    }
}

/// The elements of a tile of so many columns, row by row, with zeros behind them.
///
/// # Safety
/// Each of them may be read: element (r, c) at `from + r·strides[0] + c·strides[1]`.
#[inline(never)]
unsafe fn gather<F: Float, const MR: usize>(from: *const F, strides: [usize; 2], columns: usize) -> [[F; WIDEST]; MR] {
    let mut edge = [[F::ZERO; WIDEST]; MR];
    for (r, edge) in edge.iter_mut().enumerate() {
        for (column, edge) in edge[..columns].iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *edge = unsafe { from.add(r * strides[0] + column * strides[1]).read() };
        }
    }
    edge
}

/// Writes the elements of a tile of so many columns where they belong.
///
/// # Safety
/// Each of them may be written: element (r, c) at `to + r·strides[0] + c·strides[1]`.
#[inline(never)]
unsafe fn scatter<F: Float, const MR: usize>(
    edge: &[[F; WIDEST]; MR],
    to: *mut F,
    strides: [usize; 2],
    columns: usize,
) {
    for (r, edge) in edge.iter().enumerate() {
        for (column, &edge) in edge[..columns].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.add(r * strides[0] + column * strides[1]).write(edge) };
        }
    }
}

/// `row` with zeros behind it.
#[inline(never)]
fn padded<F: Float>(row: &[F]) -> [F; WIDEST] {
    let mut edge = [F::ZERO; WIDEST];
    edge[..row.len()].copy_from_slice(row);
    edge
}

/// # Safety
/// The processor has the instructions of `V`, and `to` is good for writing `NV·V::N` numbers.
#[inline(always)]
pub(super) unsafe fn store_all<F: Float, V: Lanes<F>, const NV: usize>(registers: [V; NV], to: *mut F) {
    for (v, register) in registers.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { register.store(to.add(v * V::N)) };
    }
}
