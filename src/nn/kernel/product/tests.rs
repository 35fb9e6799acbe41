use super::*;
use crate::nn::kernel::level::at_every_level;
use crate::nn::kernel::with_helpers;

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
fn reference<F: Float>(a: &[F], b: &[F], [m, k, c]: [usize; 3], begin: impl Fn(usize) -> F) -> Vec<F> {
    let chain = |r: usize, col: usize| (0..k).fold(begin(col), |sum, j| a[r * k + j].mul_add(b[j * c + col], sum));
    (0..m * c).map(|e| chain(e / c, e % c)).collect()
}

type Product<F> = fn(&[F], &[F], [usize; 3], Option<&[F]>, &mut [F], &mut Workspace<F>);

/// A product as the tests call it: its two operands, and what `reference` makes of them.
struct Case<F> {
    name: &'static str,
    product: Product<F>,
    a: Vec<F>,
    b: Vec<F>,
    bias: Option<Vec<F>>,
    expected: Vec<F>,
}

fn cases<F: Float>(shape: [usize; 3]) -> [Case<F>; 4] {
    let [n, i, o] = shape;
    cases_of(shape, [numbers(n * i, 1), numbers(i * o, 2), numbers(n * o, 3)])
}

fn cases_of<F: Float>([n, i, o]: [usize; 3], [x, w, d]: [Vec<F>; 3]) -> [Case<F>; 4] {
    let case =
        |name, product, [a, b]: [&[F]; 2], [left, right]: [&[F]; 2], size @ [.., c]: [usize; 3], biased: bool| {
            let bias = biased.then(|| numbers(c, 4));
            Case {
                name,
                product,
                a: a.to_vec(),
                b: b.to_vec(),
                expected: reference(left, right, size, |column| {
                    bias.as_ref().map_or(F::ZERO, |bias| bias[column])
                }),
                bias,
            }
        };
    let (xt, wt) = (transpose(&x, n), transpose(&w, i));
    [
        case("x·w", x_w, [&x, &w], [&x, &w], [n, i, o], false),
        case("x·w + bias", x_w, [&x, &w], [&x, &w], [n, i, o], true),
        case(
            "xᵀ·d",
            |x, d, size, _, out, workspace| xt_d(x, d, size, out, workspace),
            [&x, &d],
            [&xt, &d],
            [i, n, o],
            false,
        ),
        case(
            "d·wᵀ",
            |d, w, size, _, out, workspace| d_wt(d, w, size, out, workspace),
            [&d, &w],
            [&d, &wt],
            [n, o, i],
            false,
        ),
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
    check_cases(&cases(shape), shape, workspace);
}

fn check_cases<F: Float>(cases: &[Case<F>], shape: [usize; 3], workspace: &mut Workspace<F>) {
    at_every_level(|level| cases.iter().for_each(|case| check_case(case, shape, level, workspace)));
}

fn check_case<F: Float>(case: &Case<F>, shape: [usize; 3], level: Level, workspace: &mut Workspace<F>) {
    let (a, b) = (fenced(&case.a), fenced(&case.b));
    let bias = case.bias.as_deref().map(fenced);
    let inside = |data: &[F]| FENCE..data.len() - FENCE;
    let (a, b, bias) = (
        &a[inside(&a)],
        &b[inside(&b)],
        bias.as_ref().map(|bias| &bias[inside(bias)]),
    );
    let mut out = fenced(&vec![F::NAN; case.expected.len()]);
    let range = inside(&out);
    for room in &mut workspace.rooms {
        room.left.fill(F::NAN);
        room.right.fill(F::NAN);
        room.result.fill(F::NAN);
        room.sums.fill(F::NAN);
        room.nonzeros.spoil();
    }
    (case.product)(a, b, shape, bias, &mut out[range.clone()], workspace);
    let bits = |number: &F| number.to_f64().to_bits();
    let (name, expected) = (case.name, &case.expected);
    assert!(
        out[range.clone()].iter().map(bits).eq(expected.iter().map(bits)),
        "{name} of {shape:?} at {level:?}: {:?}, not {expected:?}",
        &out[range]
    );
    let (before, behind) = (&out[..FENCE], &out[out.len() - FENCE..]);
    assert!(
        before.iter().all(|fence| fence.is_nan()),
        "{name} of {shape:?} wrote before"
    );
    assert!(
        behind.iter().all(|fence| fence.is_nan()),
        "{name} of {shape:?} wrote behind"
    );
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
    for shape in [
        [67, 300, 41],
        [163, 13, 64],
        [330, 70, 40],
        [20, 600, 3],
        [3, 257, 161],
        [49, 65, 330],
        [1, 200, 70],
        [2, 400, 70],
        [70, 200, 1],
        [70, 400, 2],
        [13, 9, 1],
        [40, 1, 9],
    ] {
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
        [50, 0, 1],
        [50, 1, 0],
    ] {
        check::<f32>(shape, &mut workspace);
    }
}

#[test]
fn threads_do_not_show_in_the_bits() {
    for threads in [1, 2, 3, 4] {
        with_helpers(threads - 1, |team| {
            for shape in [[331, 197, 113], [4101, 66, 1], [4101, 1, 66], [9, 30_000, 1]] {
                check::<f32>(shape, &mut Workspace::of_team(team.clone()));
            }
        });
    }
}

/// Numbers of which a share is zero here and there, and a row and a column (if `width` is more than 2) all over.
fn with_zeros<F: Float>(count: usize, width: usize, share: f64, seed: u64) -> Vec<F> {
    let mut data = numbers(count, seed);
    let chance = numbers::<f64>(count, seed + 100);
    for (k, (value, chance)) in data.iter_mut().zip(chance).enumerate() {
        let (row, column) = (k / width, k % width);
        if (chance * 1e3).rem_euclid(1.0) < share || row == 2 || width > 2 && column == 1 {
            // Either zero.
            *value = if k % 3 == 0 { -F::ZERO } else { F::ZERO };
        }
    }
    data
}

/// Shapes whose products are sparse where the numbers are, with several blocks of rows, of the inner index and of panels.
const SPARSE_SHAPES: [[usize; 3]; 7] = [
    [64, 64, 64],
    [65, 67, 101],
    [131, 97, 113],
    [128, 300, 392],
    [900, 71, 96],
    [70, 1100, 64],
    [1300, 64, 65],
];

#[test]
fn leaving_out_zeros_leaves_the_chain_in_order() {
    for (shape @ [n, i, o], [of_x, of_d]) in SPARSE_SHAPES
        .into_iter()
        .zip([[0.6, 0.0], [0.0, 0.6], [0.5, 0.9]].into_iter().cycle())
    {
        let sides = [
            with_zeros(n * i, i, of_x, 1),
            numbers(i * o, 2),
            with_zeros(n * o, o, of_d, 3),
        ];
        let cases = cases_of::<f32>(shape, sides);
        for helpers in [0, 2] {
            with_helpers(helpers, |team| {
                check_cases(&cases, shape, &mut Workspace::of_team(team.clone()).skipping_zeros());
            });
        }
    }
    let shape @ [n, i, o] = [131, 97, 113];
    let sides = [
        with_zeros(n * i, i, 0.6, 1),
        numbers(i * o, 2),
        with_zeros(n * o, o, 0.6, 3),
    ];
    check_cases(
        &cases_of::<f64>(shape, sides),
        shape,
        &mut Workspace::serial().skipping_zeros(),
    );
}

#[test]
fn zeros_are_found_where_they_are_many_and_nothing_is_multiplied_by_them() {
    let [n, i, o] = [128, 96, 80];
    // One column in three is there: as of a table's columns of ones and zeros.
    let x: Vec<f32> = (0..n * i).map(|k| f32::from(u8::from(k % i % 3 == 0))).collect();
    assert!(sparse::sampled_zeros(&x, [n, i, o]).is_some());
    assert_eq!(sparse::sampled_zeros(&numbers::<f32>(n * i, 1), [n, i, o]), None);
    // The first tenth of the columns, of as many rows as even steps would not go with.
    for rows in [89, 377, 610, 987, 1000, 1597] {
        let x: Vec<f32> = (0..rows * 1000).map(|k| f32::from(u8::from(k % 1000 >= 100))).collect();
        assert_eq!(sparse::sampled_zeros(&x, [rows, 1000, 64]), None, "{rows} rows");
        let x: Vec<f32> = x.iter().map(|x| 1.0 - x).collect();
        assert!(sparse::sampled_zeros(&x, [rows, 1000, 64]).is_some_and(|zeros| (100..128).contains(&zeros)));
    }
    // NaN would show.
    let w: Vec<f32> = (0..i * o)
        .map(|k| if k / o % 3 == 0 { 1.0 } else { f32::NAN })
        .collect();
    let mut out = vec![f32::NAN; n * o];
    x_w(
        &x,
        &w,
        [n, i, o],
        None,
        &mut out,
        &mut Workspace::serial().skipping_zeros(),
    );
    assert!(out.iter().all(|&sum| sum == 32.0));
    x_w(&x, &w, [n, i, o], None, &mut out, &mut Workspace::serial());
    assert!(out.iter().all(|sum| sum.is_nan()));
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
    for threads in [1, 3, 8] {
        for shape @ [n, i, o] in [
            [1, 40, 16],
            [7, 5, 16],
            [64, 130, 272],
            [300, 70, 528],
            [130, 400, 200],
            [0, 3, 16],
            [2, 1, 20000],
        ] {
            for share in [0.0, 0.6] {
                let (x, d): (Vec<f32>, Vec<f32>) = (numbers(n * i, 1), with_zeros(n * o, o, share, 2));
                at_every_level(|level| {
                    let mut stored = vec![f32::NAN; i * o];
                    let mut taken = stored.clone();
                    with_helpers(threads - 1, |team| {
                        let workspace = || Workspace::of_team(team.clone());
                        xt_d(&x, &d, shape, &mut stored, &mut workspace());
                        let mut workspace = workspace().skipping_zeros();
                        xt_d_into(&x, &d, shape, Place(&mut taken), &mut workspace);
                    });
                    let same = stored.iter().zip(&taken).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{shape:?} at {level:?} with {threads} threads");
                });
            }
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
        None,
        &mut [0.0; 4],
        &mut Workspace::serial(),
    );
}

#[test]
fn a_product_that_is_given_up_ends_before_its_next_block_of_rows() {
    for [n, i, o] in [[1000, 256, 32], [1000, 256, 1]] {
        let (x, w) = (numbers::<f32>(n * i, 1), numbers::<f32>(i * o, 2));
        let mut out = vec![f32::NAN; n * o];
        let mut workspace = Workspace::serial();
        workspace.heed(Some(Stop::at_look(2)));
        x_w(&x, &w, [n, i, o], None, &mut out, &mut workspace);
        assert!(out[0].is_finite() && out[n * o - 1].is_nan());
    }
}

#[test]
fn a_sparse_product_that_is_given_up_ends_before_its_next_panel_and_one_that_is_handed_over_goes_on() {
    let [n, i, o] = [128, 96, 200];
    let (x, w) = (with_zeros::<f32>(n * i, i, 0.6, 1), numbers(i * o, 2));
    let mut workspace = Workspace::serial().skipping_zeros();
    workspace.heed(Some(Stop::at_look(2)));
    let mut out = vec![f32::NAN; n * o];
    x_w(&x, &w, [n, i, o], None, &mut out, &mut workspace);
    assert!(out[0].is_finite() && out[n * o - 1].is_nan());
    let (x, d) = (numbers(n * i, 1), with_zeros::<f32>(n * o, o, 0.6, 2));
    let mut out = vec![f32::NAN; i * o];
    xt_d_into(&x, &d, [n, i, o], Place(&mut out), &mut workspace);
    assert!(out.iter().all(|sum| sum.is_finite()));
}
