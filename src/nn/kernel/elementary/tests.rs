use super::{double, single};
use crate::nn::kernel::level::at_every_level;
use crate::nn::kernel::{Curve, Float, curve};

/// Every k-th f32 but for NaN, negative ones included: a prime, so that all exponents and low bits come up; each one with
/// `TRAINYARD_EVERY_F32=1` (an optimised build takes some minutes).
fn all_floats() -> impl Iterator<Item = f32> {
    let step = if std::env::var_os("TRAINYARD_EVERY_F32").is_some() {
        1
    } else {
        7919
    };
    (0..=u32::MAX).step_by(step).map(f32::from_bits).filter(|x| !x.is_nan())
}

/// The distance from `exact` in units in the last place of the f32 next to it.
fn ulps(x: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if x == nearest || !nearest.is_finite() && x.is_nan() == nearest.is_nan() && !x.is_finite() {
        return 0.0;
    }
    let exponent = (nearest.abs().to_bits() >> 23).max(1) as i32 - 127 - 23;
    (f64::from(x) - exact).abs() / f64::from(exponent).exp2()
}

fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for x in all_floats() {
        let error = ulps(f(x), exact(f64::from(x)));
        if error > worst.0 || error.is_nan() {
            worst = (error, x);
        }
    }
    worst
}

fn is_within(bound: f64, name: &str, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) {
    let (error, x) = worst(f, exact);
    eprintln!("{name}: {error:.3} ulp at {x:e}");
    assert!(error <= bound, "{name}({x:e}) is off by {error:.3} ulp");
}

fn value<C: Curve<f32>>(curve: C) -> impl Fn(f32) -> f32 {
    move |z| curve.at(z).0
}

fn exact_sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn elementary_functions_of_f32_are_within_2_ulp() {
    is_within(1.0, "exp", single::exp, f64::exp);
    is_within(2.0, "exp_m1", single::exp_m1, f64::exp_m1);
    is_within(1.0, "ln", single::ln, f64::ln);
    is_within(2.0, "ln_1p", single::ln_1p, f64::ln_1p);
    is_within(2.0, "tanh", single::tanh, f64::tanh);
    is_within(1.0, "erf", single::erf, double::erf);
}

#[test]
fn activations_of_f32_are_within_2_ulp_swish_within_2_2() {
    is_within(2.0, "sigmoid", single::sigmoid, exact_sigmoid);
    is_within(2.0, "softplus", single::softplus, |x| {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    });
    is_within(2.2, "swish", value(curve::Swish), |x| x.max(-1000.0) * exact_sigmoid(x));
    is_within(1.0, "gelu", value(curve::Gelu), |x| double::gelu(x).0);
    is_within(1.0, "mish", value(curve::Mish), |x| {
        x.max(-1000.0) * x.exp().ln_1p().tanh()
    });
}

#[test]
fn f64_functions_agree_with_known_values_and_the_standard_library() {
    // mpmath, 20 digits.
    for (x, erf, erfc) in ERF {
        assert!((double::erf(x) / erf - 1.0).abs() < 4e-16, "erf {x}");
        assert!((double::erfc(x) / erfc - 1.0).abs() < 2e-15, "erfc {x}");
        assert_eq!(double::erf(-x), -double::erf(x));
    }
    type Function = fn(f64) -> f64;
    let functions: [(&str, Function, Function); 5] = [
        ("exp", double::exp, f64::exp),
        ("exp_m1", double::exp_m1, f64::exp_m1),
        ("ln", double::ln, f64::ln),
        ("ln_1p", double::ln_1p, f64::ln_1p),
        ("tanh", double::tanh, f64::tanh),
    ];
    for (name, ours, std) in functions {
        for k in 0..200_000 {
            let x = (f64::from(k) / 1e4 - 10.0).powi(3) / 1.3 + 1e-9;
            let (ours, std) = (ours(x), std(x));
            let same = ours == std || ours.is_nan() && std.is_nan();
            assert!(
                same || (ours / std - 1.0).abs() < 1e-15 || (ours - std).abs() < 1e-320,
                "{name}({x}): {ours} {std}"
            );
        }
    }
}

#[test]
fn edges_are_right() {
    fn check<F: Float>() {
        let far = F::INFINITY;
        let z = |x: f64| F::from_f64(x);
        let cases: [(&str, F, f64); 33] = [
            ("exp", far.exp(), f64::INFINITY),
            ("exp", (-far).exp(), 0.0),
            ("exp", z(-0.0).exp(), 1.0),
            ("exp_m1", far.exp_m1(), f64::INFINITY),
            ("exp_m1", (-far).exp_m1(), -1.0),
            ("exp_m1", z(-0.0).exp_m1(), -0.0),
            ("ln", far.ln(), f64::INFINITY),
            ("ln", z(0.0).ln(), f64::NEG_INFINITY),
            ("ln", z(1.0).ln(), 0.0),
            ("ln_1p", far.ln_1p(), f64::INFINITY),
            ("ln_1p", z(-1.0).ln_1p(), f64::NEG_INFINITY),
            ("ln_1p", z(-0.0).ln_1p(), -0.0),
            ("tanh", far.tanh(), 1.0),
            ("tanh", (-far).tanh(), -1.0),
            ("tanh", z(-0.0).tanh(), -0.0),
            ("erf", far.erf(), 1.0),
            ("erf", (-far).erf(), -1.0),
            ("erf", z(-0.0).erf(), -0.0),
            ("sigmoid", far.sigmoid(), 1.0),
            ("sigmoid", (-far).sigmoid(), 0.0),
            ("softplus", far.softplus(), f64::INFINITY),
            ("softplus", (-far).softplus(), 0.0),
            ("swish", curve::Swish.at(far).0, f64::INFINITY),
            ("swish", curve::Swish.at(-far).0, -0.0),
            ("swish′", curve::Swish.at(far).1, 1.0),
            ("swish′", curve::Swish.at(-far).1, 0.0),
            ("swish′", curve::Swish.at(z(1e30)).1, 1.0),
            ("swish′", curve::Swish.at(z(-0.0)).1, 0.5),
            ("mish", curve::Mish.at(far).0, f64::INFINITY),
            ("mish", curve::Mish.at(-far).0, -0.0),
            ("gelu", curve::Gelu.at(far).0, f64::INFINITY),
            ("gelu", curve::Gelu.at(-far).0, -0.0),
            ("relu", curve::Relu.at(-far).0, 0.0),
        ];
        for (name, ours, right) in cases {
            assert_eq!(bits(ours), right.to_bits(), "{name}: {ours}, not {right}");
        }
        for x in [F::NAN, z(-1.5).ln(), z(-2.0).ln_1p()] {
            assert!(x.is_nan());
            assert!(
                [
                    x.exp(),
                    x.exp_m1(),
                    x.ln(),
                    x.ln_1p(),
                    x.tanh(),
                    x.erf(),
                    x.sigmoid(),
                    x.softplus(),
                    x.gelu().0,
                    x.gelu().1,
                    curve::Swish.at(x).0,
                    curve::Swish.at(x).1,
                    x.mish().0,
                    x.mish().1
                ]
                .iter()
                .all(|y| y.is_nan())
            );
        }
    }
    check::<f32>();
    check::<f64>();
}

/// Values and slopes of a curve from slices of many lengths, at every level, with those of single calls.
fn same_bits_alone_and_in_a_slice<F: Float, C: Curve<F>>(curve: C, z: &[F]) {
    let same = |a: F, b: F| bits(a) == bits(b) || a.is_nan() && b.is_nan();
    at_every_level(|level| {
        for length in [0, 1, 127, 128, 129, 256, 257, z.len()] {
            let z = &z[..length];
            let (mut alone, mut slope, mut y) = (z.to_vec(), z.to_vec(), vec![F::ZERO; length]);
            curve::apply(curve, &mut alone);
            curve::apply_with_slope(curve, &mut slope, &mut y);
            for (k, &z) in z.iter().enumerate() {
                let (value, derivative) = curve.at(z);
                assert!(
                    same(value, y[k]) && same(value, alone[k]) && same(derivative, slope[k]),
                    "{z} of {length} at {level:?}"
                );
            }
        }
    });
}

/// The bits of the same number in f64.
fn bits<F: Float>(x: F) -> u64 {
    x.to_f64().to_bits()
}

/// Numbers at which curves change, and then many others.
fn numbers_for_slices<F: Float>() -> Vec<F> {
    let edges = [
        0.0,
        1e-40,
        0.6,
        1.0,
        87.5,
        109.99999,
        110.0,
        110.00001,
        999.0,
        1000.0,
        1001.0,
        f64::INFINITY,
    ];
    let edges = edges
        .into_iter()
        .flat_map(|x| [x, -x])
        .chain([f64::NAN])
        .map(F::from_f64);
    edges.chain(all_floats().step_by(101).map(F::from_f32)).collect()
}

#[test]
fn a_value_has_the_same_bits_alone_and_in_a_slice_at_every_level() {
    let z = numbers_for_slices::<f32>();
    same_bits_alone_and_in_a_slice(curve::Relu, &z);
    same_bits_alone_and_in_a_slice(curve::LeakyRelu(0.2), &z);
    same_bits_alone_and_in_a_slice(curve::Elu { alpha: 1.0, scale: 1.0 }, &z);
    same_bits_alone_and_in_a_slice(curve::Gelu, &z);
    same_bits_alone_and_in_a_slice(curve::Swish, &z);
    same_bits_alone_and_in_a_slice(curve::Mish, &z);
    same_bits_alone_and_in_a_slice(curve::Sigmoid, &z);
    same_bits_alone_and_in_a_slice(curve::Tanh, &z);
    same_bits_alone_and_in_a_slice(curve::Softplus, &z);
    same_bits_alone_and_in_a_slice(curve::Swish, &numbers_for_slices::<f64>());
}

fn slope_is_the_derivative<C: Curve<f64>>(name: &str, curve: C) {
    for k in -800..=800 {
        let z = f64::from(k) / 50.0 + 1e-3;
        let h = 1e-5 * z.abs().max(1.0);
        let difference = (curve.at(z + h).0 - curve.at(z - h).0) / (2.0 * h);
        let slope = curve.at(z).1;
        assert!(
            (slope - difference).abs() < 1e-8,
            "{name}′({z}) = {slope}, the difference quotient is {difference}"
        );
    }
}

#[test]
fn slopes_are_derivatives() {
    slope_is_the_derivative("relu", curve::Relu);
    slope_is_the_derivative("leaky_relu", curve::LeakyRelu(0.2));
    slope_is_the_derivative("elu", curve::Elu { alpha: 1.3, scale: 1.1 });
    slope_is_the_derivative("gelu", curve::Gelu);
    slope_is_the_derivative("swish", curve::Swish);
    slope_is_the_derivative("mish", curve::Mish);
    slope_is_the_derivative("sigmoid", curve::Sigmoid);
    slope_is_the_derivative("tanh", curve::Tanh);
    slope_is_the_derivative("softplus", curve::Softplus);
}

#[test]
fn slopes_of_f32_are_those_of_f64() {
    fn check<C: Curve<f32> + Curve<f64>>(curve: C) {
        for k in -2000..=2000 {
            let z = k as f32 / 100.0 + 1e-4;
            let (ours, exact) = (Curve::<f32>::at(curve, z).1, Curve::<f64>::at(curve, f64::from(z)).1);
            assert!(
                (f64::from(ours) - exact).abs() < 4e-7,
                "slope at {z}: {ours}, not {exact}"
            );
        }
    }
    check(curve::Gelu);
    check(curve::Swish);
    check(curve::Mish);
    check(curve::Sigmoid);
    check(curve::Tanh);
    check(curve::Softplus);
}

/// x, erf x, erfc x.
#[expect(clippy::excessive_precision, reason = "to 17 digits, as the reference gave them")]
const ERF: [(f64, f64, f64); 10] = [
    (1e-10, 1.1283791670955126e-10, 0.99999999988716208),
    (0.1, 0.1124629160182849, 0.8875370839817151),
    (0.5, 0.52049987781304654, 0.47950012218695346),
    (0.84, 0.76514271145499452, 0.23485728854500548),
    (0.9, 0.79690821242283214, 0.20309178757716786),
    (1.2, 0.91031397822963537, 0.089686021770364632),
    (1.3, 0.93400794494065245, 0.065992055059347554),
    (2.5, 0.99959304798255504, 4.0695201744495894e-4),
    (3.7, 0.99999983284894209, 1.6715105790914598e-7),
    (5.5, 0.99999999999999264, 7.3578479179743981e-15),
];
