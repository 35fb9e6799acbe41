//! Matrix products, row-major and contiguous. Axis letters: `n` rows of the batch, `i` inputs, `o` outputs.
//!
//! Every output element is one chain of fused multiply-adds over the inner index, in order, from its starting value:
//! `sum ← a·b + sum`. How the work is cut into tiles and threads never shows in the bits.

use super::Float;

/// Room for packed panels, kept by the caller so that no call allocates once it has grown; and whether a product that
/// pays for it may use the threads of rayon's current pool.
#[derive(Debug, Default)]
pub struct Workspace<F> {
    panels: Vec<F>,
    parallel: bool,
}

impl<F: Float> Workspace<F> {
    /// Products on this thread only.
    pub fn serial() -> Self {
        Workspace {
            panels: Vec::new(),
            parallel: false,
        }
    }

    /// Products that pay for it are shared out among the threads of rayon's current pool.
    pub fn parallel() -> Self {
        Workspace {
            panels: Vec::new(),
            parallel: true,
        }
    }
}

/// What the chains of a product start from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, F> {
    /// From zero.
    Zero,
    /// From this row, the same for every row of the result: a bias.
    Row(&'a [F]),
    /// From what the result holds: the chains go on.
    Continue,
}

/// `out = start + x·w`: (n,i)·(i,o) → (n,o), chains over i.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn x_w<F: Float>(
    x: &[F],
    w: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((x.len(), w.len(), out.len()), (n * i, i * o, n * o), "shapes of x·w");
    let _ = workspace;
    begin(start, o, out);
    for r in 0..n {
        for k in 0..i {
            for c in 0..o {
                out[r * o + c] = x[r * i + k].mul_add(w[k * o + c], out[r * o + c]);
            }
        }
    }
}

/// `out = start + xᵀ·d`: (i,n)·(n,o) → (i,o), chains over n.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn xt_d<F: Float>(
    x: &[F],
    d: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((x.len(), d.len(), out.len()), (n * i, n * o, i * o), "shapes of xᵀ·d");
    let _ = workspace;
    begin(start, o, out);
    for k in 0..n {
        for r in 0..i {
            for c in 0..o {
                out[r * o + c] = x[k * i + r].mul_add(d[k * o + c], out[r * o + c]);
            }
        }
    }
}

/// `out = start + d·wᵀ`: (n,o)·(o,i) → (n,i), chains over o.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn d_wt<F: Float>(
    d: &[F],
    w: &[F],
    [n, i, o]: [usize; 3],
    start: Start<'_, F>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((d.len(), w.len(), out.len()), (n * o, i * o, n * i), "shapes of d·wᵀ");
    let _ = workspace;
    begin(start, i, out);
    for r in 0..n {
        for c in 0..i {
            for k in 0..o {
                out[r * i + c] = d[r * o + k].mul_add(w[c * o + k], out[r * i + c]);
            }
        }
    }
}

fn begin<F: Float>(start: Start<'_, F>, columns: usize, out: &mut [F]) {
    match start {
        Start::Zero => out.fill(F::ZERO),
        Start::Row(row) => {
            assert_eq!(row.len(), columns, "the starting row");
            out.chunks_exact_mut(columns).for_each(|out| out.copy_from_slice(row));
        }
        Start::Continue => {}
    }
}
