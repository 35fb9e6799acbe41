//! Matrix products, row-major and contiguous. Axis letters: `n` rows of the batch, `i` inputs, `o` outputs.
//!
//! Every output element is one chain of fused multiply-adds over the inner index, in order, from zero or a bias:
//! `sum ← a·b + sum`, of which sparse products leave out steps that change nothing. How the work is cut into tiles and
//! threads never shows in the bits.

mod blocks;
mod column;
pub(super) mod lanes;
mod nonzeros;
mod outer;
mod pack;
mod sparse;
mod tile;

use blocks::{Destination, Problem, Room};
use column::MatrixColumn;
use lanes::Lanes;
use outer::outer;
use pack::Right;
use tile::Left;

use super::{Float, Kernel, Level, Stop, Team};

/// Room for packed panels, kept by the caller so that no call allocates once it has grown; and the team that shares out a
/// product that pays for it.
#[derive(Debug, Default)]
pub struct Workspace<F> {
    /// One for each thread that has taken part.
    rooms: Vec<Room<F>>,
    team: Team,
    skips_zeros: bool,
    stop: Option<Stop>,
}

impl<F: Float> Workspace<F> {
    /// Products on this thread only.
    pub fn serial() -> Self {
        Workspace {
            rooms: Vec::new(),
            team: Team::default(),
            skips_zeros: false,
            stop: None,
        }
    }

    /// Products that pay for it are shared out among a team.
    pub fn of_team(team: Team) -> Self {
        Workspace {
            team,
            ..Workspace::serial()
        }
    }

    /// Products leave out factors that are zero where so many are that it pays; for finite numbers the bits stay the same, but
    /// for the sign of a sum that is zero.
    pub fn skipping_zeros(self) -> Self {
        Workspace {
            skips_zeros: true,
            ..self
        }
    }

    /// Who shares out products from now on; the bits stay the same.
    pub fn set_team(&mut self, team: &Team) {
        self.team = team.clone();
    }

    /// How many threads may take part in a product of this size.
    fn threads(&self, [m, k, c]: [usize; 3]) -> usize {
        match m * k * c >= WORTH_A_THREAD {
            true => self.team.size(),
            false => 1,
        }
    }

    /// How many of some elements of `left` (m,k) are zero, if leaving them out of a product is allowed and pays.
    fn sampled_zeros(&self, left: &[F], size: [usize; 3]) -> Option<usize> {
        match self.skips_zeros {
            true => sparse::sampled_zeros(left, size),
            false => None,
        }
    }

    /// Products are given up, whatever is in their results then, soon after `stop`, if there is one, is asked for. Returns
    /// what was heeded before.
    pub fn heed(&mut self, stop: Option<Stop>) -> Option<Stop> {
        std::mem::replace(&mut self.stop, stop)
    }

    /// Whether what is computed here is to be given up.
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::is_asked)
    }

    /// Who shares out what is computed here.
    pub fn team(&self) -> &Team {
        &self.team
    }
}

/// Takes the elements of a result, row by row, instead of memory.
pub trait Sink<F>: Send {
    /// The one that takes the first `count`, and the one that takes the rest.
    fn split_at(self, count: usize) -> (Self, Self)
    where
        Self: Sized;

    /// The next elements.
    fn take(&mut self, elements: &[F]);
}

/// `out = bias + x·w`: (n,i)·(i,o) → (n,o), chains over i.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn x_w<F: Float>(
    x: &[F],
    w: &[F],
    [n, i, o]: [usize; 3],
    bias: Option<&[F]>,
    out: &mut [F],
    workspace: &mut Workspace<F>,
) {
    assert_eq!((x.len(), w.len(), out.len()), (n * i, i * o, n * o), "shapes of x·w");
    assert!(bias.is_none_or(|bias| bias.len() == o), "the length of the bias");
    if i == 1 {
        return outer(x, w, bias, out);
    }
    if o == 1 && MatrixColumn::<F>::pays(n) {
        return times_column(x, w, bias.map_or(F::ZERO, |bias| bias[0]), out, workspace);
    }
    let size = [n, i, o];
    let problem = if workspace.sampled_zeros(x, size).is_some() {
        Problem::new(Left::rows(x, i), Right::Rows(w), size).sparse()
    } else if is_narrow(o, n) {
        Problem::new(Left::columns(w, o), Right::Columns(x), [o, i, n]).transposed()
    } else {
        Problem::new(Left::rows(x, i), Right::Rows(w), size)
    };
    run(problem.with_bias(bias), Destination::Stored(out), workspace);
}

/// `out = xᵀ·d`: (i,n)·(n,o) → (i,o), chains over n.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn xt_d<F: Float>(x: &[F], d: &[F], [n, i, o]: [usize; 3], out: &mut [F], workspace: &mut Workspace<F>) {
    assert_eq!((x.len(), d.len(), out.len()), (n * i, n * o, i * o), "shapes of xᵀ·d");
    if n == 1 {
        return outer(x, d, None, out);
    }
    let [of_x, of_d] = [
        workspace.sampled_zeros(x, [i, n, o]),
        workspace.sampled_zeros(d, [o, n, i]),
    ];
    let problem = if of_d.is_some() && of_d >= of_x {
        Problem::new(Left::columns(d, o), Right::Rows(x), [o, n, i])
            .sparse()
            .transposed()
    } else if of_x.is_some() {
        Problem::new(Left::columns(x, i), Right::Rows(d), [i, n, o]).sparse()
    } else if is_narrow(o, i) {
        Problem::new(Left::columns(d, o), Right::Rows(x), [o, n, i]).transposed()
    } else {
        Problem::new(Left::columns(x, i), Right::Rows(d), [i, n, o])
    };
    run(problem, Destination::Stored(out), workspace);
}

/// `xᵀ·d` as [`xt_d`] makes it from zero, handed over: each element once, some rows as soon as they are ready. It is never
/// given up.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn xt_d_into<F: Float, S: Sink<F>>(x: &[F], d: &[F], [n, i, o]: [usize; 3], sink: S, workspace: &mut Workspace<F>) {
    assert_eq!((x.len(), d.len()), (n * i, n * o), "shapes of xᵀ·d");
    let problem = match workspace.sampled_zeros(d, [o, n, i]) {
        Some(_) if sparse::is_listed_whole([o, n, i]) => Problem::new(Left::columns(d, o), Right::Rows(x), [o, n, i])
            .sparse()
            .transposed(),
        _ => Problem::new(Left::columns(x, i), Right::Rows(d), [i, n, o]),
    };
    let most = if problem.sparse { i / sparse::FEWEST_COLUMNS } else { i };
    let pieces = workspace.threads([i, n, o]).min(most);
    let mut sinks = Vec::with_capacity(pieces);
    let mut rest = sink;
    for p in 0..pieces {
        let rows = i * p / pieces..i * (p + 1) / pieces;
        let (sink, others) = rest.split_at(rows.len() * o);
        sinks.push((rows, sink));
        rest = others;
    }
    let sinks = sinks
        .iter_mut()
        .map(|(rows, sink)| (rows.clone(), sink as &mut dyn Sink<F>));
    run(problem, Destination::Taken(sinks.collect()), workspace);
}

/// `out = d·wᵀ`: (n,o)·(o,i) → (n,i), chains over o.
///
/// # Panics
/// If a slice has not the length its shape says.
pub fn d_wt<F: Float>(d: &[F], w: &[F], [n, i, o]: [usize; 3], out: &mut [F], workspace: &mut Workspace<F>) {
    assert_eq!((d.len(), w.len(), out.len()), (n * o, i * o, n * i), "shapes of d·wᵀ");
    if o == 1 {
        return outer(d, w, None, out);
    }
    if i == 1 && MatrixColumn::<F>::pays(n) {
        return times_column(d, w, F::ZERO, out, workspace);
    }
    let size = [n, o, i];
    let problem = if workspace.sampled_zeros(d, size).is_some() {
        Problem::new(Left::rows(d, o), Right::Columns(w), size).sparse()
    } else if is_narrow(i, n) {
        Problem::new(Left::rows(w, o), Right::Columns(d), [i, o, n]).transposed()
    } else {
        Problem::new(Left::rows(d, o), Right::Columns(w), size)
    };
    run(problem, Destination::Stored(out), workspace);
}

/// `out (n) = begin + matrix (n,k) · weights (k)`
fn times_column<F: Float>(matrix: &[F], weights: &[F], begin: F, out: &mut [F], workspace: &Workspace<F>) {
    let threads = workspace.threads([out.len(), weights.len(), 1]);
    let product = MatrixColumn {
        matrix,
        weights,
        begin,
        out,
        stop: workspace.stop.as_ref(),
    };
    product.run(threads, &workspace.team);
}

/// A narrow result is computed as its transpose, so that the SIMD lanes run along the long side.
fn is_narrow(columns: usize, rows: usize) -> bool {
    columns < 8 && columns < rows
}

/// The tile is as large as the level's registers allow: 6×16 f32 for the 16 registers of AVX2 (and the 32 of NEON, half
/// as wide), 8×32 for AVX-512, 8×16 if there are no more columns; long and flat if there is one row or two, to have
/// enough chains under way.
fn run<'a, F: Float>(mut problem: Problem<'a, F>, destination: Destination<'_, F>, workspace: &'a mut Workspace<F>) {
    let [m, _, c] = problem.size;
    if m == 0 || c == 0 {
        return;
    }
    problem.threads = workspace.threads(problem.size);
    let Workspace { rooms, stop, team, .. } = workspace;
    problem.stop = match destination {
        Destination::Stored(_) => stop.as_ref(),
        Destination::Taken(_) => None,
    };
    if problem.sparse {
        return sparse::run(problem, destination, (rooms, team));
    }
    // SAFETY: a level is current only where the processor has its instructions.
    unsafe {
        match (Level::current(), m) {
            (Level::Portable, _) => problem.run::<[F; 8], 6, 2>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (_, 1) if c <= 4 * F::Avx2::N => problem.run::<F::Avx2, 1, 4>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (_, 1) => problem.run::<F::Avx2, 1, 8>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (_, 2) => problem.run::<F::Avx2, 2, 4>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, _) => problem.run::<F::Avx2, 6, 2>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) if c <= F::Avx512::N => problem.run::<F::Avx512, 8, 1>(destination, (rooms, team)),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, _) => problem.run::<F::Avx512, 8, 2>(destination, (rooms, team)),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only x86-64 has other levels"),
        }
    }
}

/// Multiply-adds from which a second thread pays.
const WORTH_A_THREAD: usize = 1 << 18;

#[cfg(test)]
mod tests;
