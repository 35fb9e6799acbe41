//! How a dense layer's kernel is drawn before training; the names and the arithmetic are Keras's.
//!
//! Everything is drawn in f32 with our own elementary functions: the same numbers on every machine, for f64 networks too.

use super::kernel::Float;
use super::rng::Random;
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::names;

names! {
    /// How a kernel (i,o) is drawn before training.
    "initializer" Initializer {
        /// uniform in ±√(6 / (i + o))
        "glorot_uniform" => GlorotUniform,
        /// truncated normal, variance 2 / (i + o)
        "glorot_normal" => GlorotNormal,
        /// uniform in ±√(6 / i)
        "he_uniform" => HeUniform,
        /// truncated normal, variance 2 / i
        "he_normal" => HeNormal,
        /// uniform in ±√(3 / i)
        "lecun_uniform" => LecunUniform,
        /// truncated normal, variance 1 / i
        "lecun_normal" => LecunNormal,
        /// uniform in ±0.05
        "random_uniform" => RandomUniform,
        /// normal, standard deviation 0.05
        "random_normal" => RandomNormal,
        /// normal, standard deviation 0.05, redrawn beyond two of them
        "truncated_normal" => TruncatedNormal,
        /// orthonormal rows, or columns where those are fewer
        "orthogonal" => Orthogonal,
        /// ones on the diagonal
        "identity" => Identity,
        "ones" => Ones,
        "zeros" => Zeros,
    }
}

/// The standard deviation that is left of a normal distribution cut at two of its own.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// Fills a kernel of `inputs` rows and `units` columns.
    ///
    /// Source: `keras/src/initializers/random_initializers.py`.
    pub(crate) fn fill(self, kernel: &mut [f32], inputs: usize, units: usize, random: &mut Random) {
        let (i, o) = (inputs as f64, units as f64);
        let mut uniform = |limit: f64| {
            let limit = limit as f32;
            kernel
                .iter_mut()
                .for_each(|w| *w = limit * (2.0 * random.uniform() - 1.0));
        };
        match self {
            Self::GlorotUniform => uniform((6.0 / (i + o)).sqrt()),
            Self::HeUniform => uniform((6.0 / i).sqrt()),
            Self::LecunUniform => uniform((3.0 / i).sqrt()),
            Self::RandomUniform => uniform(0.05),
            Self::GlorotNormal => truncated_normal(kernel, (2.0 / (i + o)).sqrt() / TRUNCATED_DEVIATION, random),
            Self::HeNormal => truncated_normal(kernel, (2.0 / i).sqrt() / TRUNCATED_DEVIATION, random),
            Self::LecunNormal => truncated_normal(kernel, (1.0 / i).sqrt() / TRUNCATED_DEVIATION, random),
            Self::TruncatedNormal => truncated_normal(kernel, 0.05, random),
            Self::RandomNormal => kernel.iter_mut().for_each(|w| *w = 0.05 * normal(random)),
            Self::Orthogonal => orthogonal(kernel, inputs, units, random),
            Self::Identity => {
                kernel.fill(0.0);
                kernel
                    .iter_mut()
                    .step_by(units + 1)
                    .take(inputs.min(units))
                    .for_each(|w| *w = 1.0);
            }
            Self::Ones => kernel.fill(1.0),
            Self::Zeros => kernel.fill(0.0),
        }
    }
}

/// A standard normal number, by Marsaglia's polar method: of our functions it needs the logarithm only.
fn normal(random: &mut Random) -> f32 {
    loop {
        let (u, v) = (2.0 * random.uniform() - 1.0, 2.0 * random.uniform() - 1.0);
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * Float::ln(square) / square).sqrt();
        }
    }
}

/// Normal numbers of standard deviation `deviation`, redrawn where they are more than two of them from 0.
fn truncated_normal(kernel: &mut [f32], deviation: f64, random: &mut Random) {
    for w in kernel {
        let inside = std::iter::repeat_with(|| normal(random)).find(|draw| draw.abs() <= 2.0);
        *w = deviation as f32 * inside.expect("repeats for ever");
    }
}

/// Orthonormal vectors along the shorter axis: normal numbers, made orthogonal one by one (Gram and Schmidt, twice).
fn orthogonal(kernel: &mut [f32], inputs: usize, units: usize, random: &mut Random) {
    let (count, length) = (inputs.min(units), inputs.max(units));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..length).map(|_| f64::from(normal(random))).collect();
        for known in vectors.iter().chain(vectors.iter()) {
            let along = dot(known, &vector);
            vector.iter_mut().zip(known).for_each(|(v, k)| *v -= along * k);
        }
        let norm = dot(&vector, &vector).sqrt();
        // A vector that lay almost in the span of the others would be noise: draw another.
        if norm > 1e-6 {
            vector.iter_mut().for_each(|v| *v /= norm);
            vectors.push(vector);
        }
    }
    let (vector_stride, element_stride) = if inputs < units { (units, 1) } else { (1, units) };
    for (v, vector) in vectors.iter().enumerate() {
        for (e, element) in vector.iter().enumerate() {
            kernel[v * vector_stride + e * element_stride] = *element as f32;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng::Purpose;

    fn drawn(initializer: Initializer, inputs: usize, units: usize) -> Vec<f32> {
        let mut kernel = vec![f32::NAN; inputs * units];
        initializer.fill(
            &mut kernel,
            inputs,
            units,
            &mut Random::new(1, Purpose::Initialize, 0, 0),
        );
        kernel
    }

    #[test]
    fn every_initializer_has_its_bounds_and_its_deviation() {
        // (most absolute value, standard deviation) for a kernel of 100×300.
        let expected = |initializer| match initializer {
            Initializer::GlorotUniform => ((6.0f64 / 400.0).sqrt(), (2.0f64 / 400.0).sqrt()),
            Initializer::GlorotNormal => (2.0 * (2.0f64 / 400.0).sqrt() / 0.8796, (2.0f64 / 400.0).sqrt()),
            Initializer::HeUniform => ((6.0f64 / 100.0).sqrt(), (2.0f64 / 100.0).sqrt()),
            Initializer::HeNormal => (2.0 * (2.0f64 / 100.0).sqrt() / 0.8796, (2.0f64 / 100.0).sqrt()),
            Initializer::LecunUniform => ((3.0f64 / 100.0).sqrt(), 0.1),
            Initializer::LecunNormal => (2.0 * 0.1 / 0.8796, 0.1),
            Initializer::RandomUniform => (0.05, 0.05 / 3.0f64.sqrt()),
            Initializer::RandomNormal => (0.3, 0.05),
            Initializer::TruncatedNormal => (0.1, 0.05 * 0.8796),
            Initializer::Orthogonal => (1.0, (1.0f64 / 300.0).sqrt()),
            Initializer::Identity => (1.0, (1.0f64 / 300.0).sqrt()),
            Initializer::Ones => (1.0, 1.0),
            Initializer::Zeros => (0.0, 0.0),
        };
        for &initializer in Initializer::ALL {
            let kernel = drawn(initializer, 100, 300);
            let (bound, deviation) = expected(initializer);
            let largest = kernel.iter().fold(0.0f64, |largest, w| largest.max(f64::from(w.abs())));
            let square = kernel.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / kernel.len() as f64;
            assert!(largest <= bound * 1.0001, "{initializer:?}: {largest} > {bound}");
            assert!(
                (square.sqrt() - deviation).abs() <= 0.02 * deviation,
                "{initializer:?}: {}",
                square.sqrt()
            );
        }
    }

    #[test]
    fn an_orthogonal_kernel_has_orthonormal_vectors_along_its_shorter_axis() {
        for (inputs, units) in [(5, 9), (9, 5), (4, 4), (1, 3)] {
            let kernel = drawn(Initializer::Orthogonal, inputs, units);
            let at = |vector: usize, element: usize| match inputs < units {
                true => f64::from(kernel[vector * units + element]),
                false => f64::from(kernel[element * units + vector]),
            };
            for a in 0..inputs.min(units) {
                for b in 0..=a {
                    let product: f64 = (0..inputs.max(units)).map(|e| at(a, e) * at(b, e)).sum();
                    let wanted = if a == b { 1.0 } else { 0.0 };
                    assert!((product - wanted).abs() < 1e-6, "{inputs}×{units}: {a}·{b} = {product}");
                }
            }
        }
    }
}
