use super::*;
use crate::nn::kernel::level::at_every_level;

/// Numbers of every size, from a small generator.
fn numbers<F: Float>(count: usize, seed: u64) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..count)
        .map(|_| F::from_f64((next() - 0.5) * (next() * 8.0).exp2()))
        .collect()
}

fn transpose<F: Float>(x: &[F], rows: usize) -> Vec<F> {
    let columns = x.len() / rows.max(1);
    (0..x.len()).map(|k| x[k % rows * columns + k / rows]).collect()
}

/// The definition: chains from the starting value, in order.
fn reference<F: Float>(a: &[F], b: &[F], [m, k, c]: [usize; 3], begin: impl Fn(usize, usize) -> F) -> Vec<F> {
    let chain = |r: usize, col: usize| (0..k).fold(begin(r, col), |sum, j| a[r * k + j].mul_add(b[j * c + col], sum));
    (0..m * c).map(|e| chain(e / c, e % c)).collect()
}

type Product<F> = fn(&[F], &[F], [usize; 3], Start<'_, F>, &mut [F], &mut Workspace<F>);

/// A product as the tests call it: its two operands, and what `reference` makes of them.
struct Case<F> {
    name: &'static str,
    product: Product<F>,
    a: Vec<F>,
    b: Vec<F>,
    columns: usize,
    begin: Vec<F>,
    row: Vec<F>,
    expected: [Vec<F>; 3],
}

fn cases<F: Float>([n, i, o]: [usize; 3]) -> [Case<F>; 3] {
    let (x, w, d) = (numbers(n * i, 1), numbers(i * o, 2), numbers(n * o, 3));
    let case = |name, product, a: &[F], b: &[F], left: &[F], right: &[F], [m, k, c]: [usize; 3]| {
        let (row, begin) = (numbers(c, 4), numbers(m * c, 5));
        let expected = [
            reference(left, right, [m, k, c], |_, _| F::ZERO),
            reference(left, right, [m, k, c], |_, c| row[c]),
            reference(left, right, [m, k, c], |r, col| begin[r * c + col]),
        ];
        Case {
            name,
            product,
            a: a.to_vec(),
            b: b.to_vec(),
            columns: c,
            begin,
            row,
            expected,
        }
    };
    [
        case("x·w", x_w, &x, &w, &x, &w, [n, i, o]),
        case("xᵀ·d", xt_d, &x, &d, &transpose(&x, n), &d, [i, n, o]),
        case("d·wᵀ", d_wt, &d, &w, &d, &transpose(&w, i), [n, o, i]),
    ]
}

/// `data` in the middle of NaN: what is read beyond it shows in the result.
fn fenced<F: Float>(data: &[F]) -> Vec<F> {
    let fence = [F::NAN; FENCE];
    [&fence, data, &fence].concat()
}

const FENCE: usize = 70;

/// Checks a shape bit for bit, with fences around every buffer and nothing but NaN in the workspace.
fn check<F: Float>(shape: [usize; 3], workspace: &mut Workspace<F>) {
    let cases = cases(shape);
    at_every_level(|level| cases.iter().for_each(|case| check_case(case, shape, level, workspace)));
}

fn check_case<F: Float>(case: &Case<F>, shape: [usize; 3], level: Level, workspace: &mut Workspace<F>) {
    let (a, b, row) = (fenced(&case.a), fenced(&case.b), fenced(&case.row));
    let inside = |data: &[F]| FENCE..data.len() - FENCE;
    let (a, b, row) = (&a[inside(&a)], &b[inside(&b)], &row[inside(&row)]);
    assert_eq!(row.len(), case.columns);
    for (start, expected) in [Start::Zero, Start::Row(row), Start::Continue]
        .into_iter()
        .zip(&case.expected)
    {
        let mut out = fenced(&case.begin);
        let range = inside(&out);
        for room in &mut workspace.rooms {
            room.left.fill(F::NAN);
            room.right.fill(F::NAN);
            room.result.fill(F::NAN);
        }
        (case.product)(a, b, shape, start, &mut out[range.clone()], workspace);
        let same = out[range.clone()]
            .iter()
            .zip(expected)
            .all(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits());
        assert!(
            same,
            "{} of {shape:?} at {level:?}, {start:?}: {:?}, not {expected:?}",
            case.name, &out[range]
        );
        assert!(
            out[..FENCE].iter().all(|fence| fence.is_nan()),
            "{} of {shape:?} wrote before",
            case.name
        );
        assert!(
            out[out.len() - FENCE..].iter().all(|fence| fence.is_nan()),
            "{} of {shape:?} wrote behind",
            case.name
        );
    }
}

#[test]
fn every_size_to_40_in_each_dimension_is_the_chain_in_order_and_stays_inside_its_buffers() {
    let mut shapes = Vec::new();
    for size in 1..=40 {
        for a in [1, 3, 16, 33] {
            for b in [1, 2, 7, 18] {
                shapes.extend([[size, a, b], [a, size, b], [a, b, size]]);
            }
        }
    }
    let mut workspace = Workspace::serial();
    for shape in shapes {
        check::<f32>(shape, &mut workspace);
    }
}

#[test]
fn sizes_around_the_blocks_are_the_chain_in_order() {
    let mut workspace = Workspace::serial();
    for shape in [[67, 300, 41], [130, 13, 64], [20, 600, 3], [3, 257, 129], [49, 65, 130]] {
        check::<f32>(shape, &mut workspace);
        check::<f64>(shape, &mut Workspace::serial());
    }
}

#[test]
fn an_empty_inner_side_leaves_the_start_and_an_empty_result_is_nothing() {
    let mut workspace = Workspace::serial();
    for shape in [
        [0, 3, 4],
        [3, 0, 4],
        [3, 4, 0],
        [0, 0, 0],
        [50, 0, 2],
        [2, 50, 0],
        [0, 3, 20],
        [0, 70, 600],
        [60, 0, 90],
    ] {
        check::<f32>(shape, &mut workspace);
    }
}

#[test]
fn threads_do_not_show_in_the_bits() {
    for threads in [1, 2, 3, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| check::<f32>([131, 97, 113], &mut Workspace::parallel()));
    }
}

/// Puts what it takes into its place.
struct Place<'a, F>(&'a mut [F]);

impl<'a, F: Float> Sink<F> for Place<'a, F> {
    fn split_at(self, count: usize) -> (Self, Self) {
        let (first, rest) = self.0.split_at_mut(count);
        (Place(first), Place(rest))
    }

    fn take(&mut self, elements: &[F]) {
        let (now, rest) = std::mem::take(&mut self.0).split_at_mut(elements.len());
        now.copy_from_slice(elements);
        self.0 = rest;
    }
}

#[test]
fn what_is_handed_over_is_what_would_be_stored() {
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for shape @ [n, i, o] in [
            [1, 40, 16],
            [7, 5, 16],
            [64, 130, 272],
            [300, 70, 528],
            [0, 3, 16],
            [2, 1, 20000],
        ] {
            let (x, d): (Vec<f32>, Vec<f32>) = (numbers(n * i, 1), numbers(n * o, 2));
            at_every_level(|level| {
                let mut workspace = Workspace::parallel();
                let mut stored = vec![f32::NAN; i * o];
                let mut taken = stored.clone();
                pool.install(|| {
                    xt_d(&x, &d, shape, Start::Zero, &mut stored, &mut workspace);
                    xt_d_into(&x, &d, shape, Place(&mut taken), &mut workspace);
                });
                let same = stored.iter().zip(&taken).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{shape:?} at {level:?} with {threads} threads");
            });
        }
    }
}

#[test]
#[should_panic(expected = "shapes of x·w")]
fn a_slice_of_the_wrong_length_is_refused() {
    x_w(
        &[1.0; 6],
        &[1.0; 5],
        [2, 3, 2],
        Start::Zero,
        &mut [0.0; 4],
        &mut Workspace::serial(),
    );
}

#[test]
fn a_product_that_is_given_up_ends_before_its_next_block_of_rows() {
    let [n, i, o] = [1000, 256, 32];
    let (x, w) = (numbers::<f32>(n * i, 1), numbers::<f32>(i * o, 2));
    let mut out = vec![f32::NAN; n * o];
    let mut workspace = Workspace::serial();
    workspace.heed(Some(Stop::at_look(2)));
    x_w(&x, &w, [n, i, o], Start::Zero, &mut out, &mut workspace);
    assert!(out[0].is_finite() && out[n * o - 1].is_nan());
}
