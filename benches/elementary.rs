//! The elementwise functions, sums and updates, per element: `cargo bench --bench elementary`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trainyard::nn::kernel::{Curve, curve, reduce};

const ELEMENTS: usize = 8192;
const COLUMNS: usize = 64;

fn numbers() -> Vec<f32> {
    (0..ELEMENTS).map(|k| (k * 7919 % 997) as f32 / 100.0 - 5.0).collect()
}

/// The value alone, as in inference, and with the slope, as in training.
fn activation<C: Curve<f32>>(criterion: &mut Criterion, name: &str, curve: C) {
    let numbers = numbers();
    let (mut z, mut y) = (numbers.clone(), numbers.clone());
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    group.bench_function("value", |bench| {
        bench.iter(|| {
            z.copy_from_slice(&numbers);
            curve::apply(curve, black_box(&mut z));
        });
    });
    group.bench_function("value and slope", |bench| {
        bench.iter(|| {
            z.copy_from_slice(&numbers);
            curve::apply_with_slope(curve, black_box(&mut z), black_box(&mut y));
        });
    });
}

fn activations(criterion: &mut Criterion) {
    activation(criterion, "relu", curve::Relu);
    activation(criterion, "elu", curve::Elu { alpha: 1.0, scale: 1.0 });
    activation(criterion, "sigmoid", curve::Sigmoid);
    activation(criterion, "tanh", curve::Tanh);
    activation(criterion, "swish", curve::Swish);
    activation(criterion, "softplus", curve::Softplus);
    activation(criterion, "gelu", curve::Gelu);
    activation(criterion, "mish", curve::Mish);
}

fn sums(criterion: &mut Criterion) {
    let x = numbers();
    let mut columns = vec![0.0; COLUMNS];
    let mut group = criterion.benchmark_group("sums");
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    group.bench_function("sum", |bench| bench.iter(|| reduce::sum(black_box(&x))));
    group.bench_function("columns", |bench| {
        bench.iter(|| reduce::column_sums(black_box(&x), &mut columns))
    });
    for columns in [4, 16, 64] {
        let mut z = x.clone();
        group.bench_function(format!("softmax of {columns}"), |bench| {
            bench.iter(|| {
                z.copy_from_slice(&x);
                reduce::softmax_rows(black_box(&mut z), columns);
            });
        });
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = benches;
    config = quick();
    targets = activations, sums
}
criterion_main!(benches);
