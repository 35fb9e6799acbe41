//! The matrix products at the shapes of the training workloads, beside `gemm` and `matrixmultiply`, one thread each:
//! GFLOP/s and, at the end, the geometric means of the ratios. `TRAINYARD_SIMD=avx2|avx512` takes a level.
//!
//! `cargo bench --bench kernels`

use std::hint::black_box;
use std::time::Instant;

use trainyard::nn::kernel::Level;
use trainyard::nn::kernel::product::{Workspace, d_wt, x_w, xt_d};

/// `[n, i, o]` of each dense layer of W1 to W5.
const SHAPES: [[usize; 3]; 15] = [
    [150, 4, 64],
    [150, 64, 64],
    [150, 64, 3],
    [32, 13, 64],
    [32, 64, 64],
    [32, 64, 1],
    [506, 13, 64],
    [506, 64, 64],
    [506, 64, 1],
    [128, 784, 512],
    [128, 512, 512],
    [128, 512, 10],
    [1024, 28, 128],
    [1024, 128, 128],
    [1024, 128, 1],
];

/// A row-major matrix or its transpose: element (r, c) is `data[r·strides[0] + c·strides[1]]`.
#[derive(Clone, Copy)]
struct Operand<'a> {
    data: &'a [f32],
    strides: [usize; 2],
}

impl<'a> Operand<'a> {
    fn new(data: &'a [f32], width: usize) -> Self {
        Operand {
            data,
            strides: [width, 1],
        }
    }

    fn transposed(data: &'a [f32], width: usize) -> Self {
        Operand {
            data,
            strides: [1, width],
        }
    }

    fn holds(self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.strides[0] + (columns - 1) * self.strides[1] < self.data.len()
    }
}

fn other_gemm(a: Operand<'_>, b: Operand<'_>, [m, k, c]: [usize; 3], out: &mut [f32]) {
    assert!(a.holds(m, k) && b.holds(k, c) && out.len() == m * c);
    let [a_row, a_column] = a.strides.map(|stride| stride as isize);
    let [b_row, b_column] = b.strides.map(|stride| stride as isize);
    let serial = gemm::Parallelism::None;
    let (out, a, b) = (out.as_mut_ptr(), a.data.as_ptr(), b.data.as_ptr());
    // SAFETY: the operands hold (m,k) and (k,c) numbers at these strides and the result (m,c), as just checked.
    unsafe {
        gemm::gemm(
            m, c, k, out, 1, c as isize, false, a, a_column, a_row, b, b_column, b_row, 0.0, 1.0, false, false, false,
            serial,
        );
    }
}

fn other_matrixmultiply(a: Operand<'_>, b: Operand<'_>, [m, k, c]: [usize; 3], out: &mut [f32]) {
    assert!(a.holds(m, k) && b.holds(k, c) && out.len() == m * c);
    let [a_row, a_column] = a.strides.map(|stride| stride as isize);
    let [b_row, b_column] = b.strides.map(|stride| stride as isize);
    let (out, a, b) = (out.as_mut_ptr(), a.data.as_ptr(), b.data.as_ptr());
    // SAFETY: as above.
    unsafe {
        matrixmultiply::sgemm(
            m, k, c, 1.0, a, a_row, a_column, b, b_row, b_column, 0.0, out, c as isize, 1,
        );
    }
}

/// GFLOP/s of the contestants, measured in turns so that they meet the same disturbances; the median of many turns.
fn compare<const N: usize>(flops: f64, mut contestants: [&mut dyn FnMut(); N]) -> [f64; N] {
    const TURNS: usize = 101;
    let repeats = ((2e6 / flops) as usize).max(1);
    let mut seconds = [const { Vec::new() }; N];
    for _ in 0..TURNS {
        for (contestant, seconds) in contestants.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            (0..repeats).for_each(|_| contestant());
            seconds.push(start.elapsed().as_secs_f64() / repeats as f64);
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        flops / seconds[TURNS / 2] / 1e9
    })
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|k| (k * 7919 % 997) as f32 / 997.0 - 0.5).collect()
}

fn main() {
    println!("{:?}: GFLOP/s of ours, gemm, matrixmultiply\n", Level::current());
    println!(
        "{:>16}  {:^24}  {:^24}  {:^24}",
        "n, i, o", "x·w + bias", "xᵀ·d", "d·wᵀ"
    );
    let mut logarithms = [[0.0; 2]; 3];
    for shape @ [n, i, o] in SHAPES {
        let (x, w, d, bias) = (numbers(n * i), numbers(i * o), numbers(n * o), numbers(o));
        let (mut y, mut d_w, mut d_x) = (vec![0.0; n * o], vec![0.0; i * o], vec![0.0; n * i]);
        let mut workspace = Workspace::serial();
        let flops = 2.0 * (n * i * o) as f64;
        let run =
            |ours: &mut dyn FnMut(&mut [f32]), a: Operand<'_>, b: Operand<'_>, size: [usize; 3], out: &mut [f32]| {
                let (mut first, mut second, mut third) = (out.to_vec(), out.to_vec(), out.to_vec());
                compare(
                    flops,
                    [
                        &mut || ours(black_box(&mut first)),
                        &mut || other_gemm(a, b, size, black_box(&mut second)),
                        &mut || other_matrixmultiply(a, b, size, black_box(&mut third)),
                    ],
                )
            };
        let products = [
            run(
                &mut |out| x_w(&x, &w, shape, Some(&bias), out, &mut workspace),
                Operand::new(&x, i),
                Operand::new(&w, o),
                [n, i, o],
                &mut y,
            ),
            run(
                &mut |out| xt_d(&x, &d, shape, out, &mut workspace),
                Operand::transposed(&x, i),
                Operand::new(&d, o),
                [i, n, o],
                &mut d_w,
            ),
            run(
                &mut |out| d_wt(&d, &w, shape, out, &mut workspace),
                Operand::new(&d, o),
                Operand::transposed(&w, o),
                [n, o, i],
                &mut d_x,
            ),
        ];
        print!("{:>16}", format!("{n}, {i}, {o}"));
        for ([ours, gemm, matrixmultiply], logarithms) in products.into_iter().zip(&mut logarithms) {
            print!("  {ours:7.1} {gemm:7.1} {matrixmultiply:7.1} ");
            logarithms[0] += (ours / gemm).ln();
            logarithms[1] += (ours / matrixmultiply).ln();
        }
        println!();
    }
    let mean = |sum: f64, count: usize| (sum / count as f64).exp();
    println!("\ngeometric mean of the ratios, ours over");
    for (name, which) in [("gemm", 0), ("matrixmultiply", 1)] {
        let [x_w, xt_d, d_wt] = logarithms.map(|sums| mean(sums[which], SHAPES.len()));
        let all = mean(logarithms.iter().map(|sums| sums[which]).sum(), 3 * SHAPES.len());
        println!("{name:>16}  x·w {x_w:.2}  xᵀ·d {xt_d:.2}  d·wᵀ {d_wt:.2}  all {all:.2}");
    }
    leaving_out_zeros();
}

/// A product on its way into a result.
type Product<'a> = dyn Fn(&mut [f32], &mut Workspace<f32>) + 'a;

/// What leaving out zeros brings: GFLOP/s of the dense product's work, with them and without.
fn leaving_out_zeros() {
    let shape @ [n, i, o] = [128, 512, 512];
    println!("\n{n}, {i}, {o}, zeros here and there: multiplied, left out\n");
    println!("{:>16}  {:^16}  {:^16}  {:^16}", "zeros", "x·w", "xᵀ·d", "d·wᵀ");
    for percent in [40, 50, 66, 80, 95] {
        let sparse = |count: usize| -> Vec<f32> {
            let kept = |k: usize| k.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff >= 0xffff * percent / 100;
            let numbers = numbers(count).into_iter().enumerate();
            numbers.map(|(k, number)| if kept(k) { number } else { 0.0 }).collect()
        };
        let (x, w, d) = (sparse(n * i), numbers(i * o), sparse(n * o));
        let dense = numbers(n * i);
        let (mut dense_ones, mut sparse_ones) = (Workspace::serial(), Workspace::serial().skipping_zeros());
        let (mut out, mut other) = (vec![0.0; 512 * 512], vec![0.0; 512 * 512]);
        let products: [&Product<'_>; 3] = [
            &|out, workspace| x_w(&x, &w, shape, None, &mut out[..n * o], workspace),
            &|out, workspace| xt_d(&dense, &d, shape, out, workspace),
            &|out, workspace| d_wt(&d, &w, shape, &mut out[..n * i], workspace),
        ];
        print!("{:>16}", format!("{percent} %"));
        for product in products {
            let [multiplied, left_out] = compare(
                2.0 * (n * i * o) as f64,
                [&mut || product(black_box(&mut out), &mut dense_ones), &mut || {
                    product(black_box(&mut other), &mut sparse_ones)
                }],
            );
            print!("  {multiplied:7.1} {left_out:7.1} ");
        }
        println!();
    }
}
