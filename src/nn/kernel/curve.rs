//! Activations that work element by element, as curves: a value and a slope at every point.
//!
//! Training keeps the slope (in the place of `z`, which is not needed any more), so that the backward pass of any
//! activation is one multiplication.

use super::{Float, Kernel, dispatch};

/// A function of one number together with its derivative.
pub trait Curve<F: Float>: Copy {
    /// `(f(z), f′(z))`. Must be `#[inline(always)]` and without branches; what a caller drops is not computed.
    fn at(self, z: F) -> (F, F);

    /// `z ← f(z)` for all. Whoever writes it anew keeps the bits of [`Self::at`].
    #[inline(always)]
    fn values(self, z: &mut [F]) {
        for z in z {
            *z = self.at(*z).0;
        }
    }

    /// `y = f(z)`, `z ← f′(z)` for all, of which there are as many in both. The same holds for it.
    #[inline(always)]
    fn values_and_slopes(self, z: &mut [F], y: &mut [F]) {
        for (z, y) in z.iter_mut().zip(y) {
            (*y, *z) = self.at(*z);
        }
    }
}

/// Inference: `z ← f(z)`.
pub fn apply<F: Float, C: Curve<F>>(curve: C, z: &mut [F]) {
    struct Apply<'a, F, C>(C, &'a mut [F]);
    impl<F: Float, C: Curve<F>> Kernel for Apply<'_, F, C> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            self.0.values(self.1);
        }
    }
    dispatch(Apply(curve, z));
}

/// Training: `y = f(z)`, `z ← f′(z)`. The value has the same bits as [`apply`]'s.
///
/// # Panics
/// If the lengths differ.
pub fn apply_with_slope<F: Float, C: Curve<F>>(curve: C, z: &mut [F], y: &mut [F]) {
    struct ApplyWithSlope<'a, F, C>(C, &'a mut [F], &'a mut [F]);
    impl<F: Float, C: Curve<F>> Kernel for ApplyWithSlope<'_, F, C> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            self.0.values_and_slopes(self.1, self.2);
        }
    }
    assert_eq!(z.len(), y.len(), "an activation keeps the shape");
    dispatch(ApplyWithSlope(curve, z, y));
}

/// Backward: `d ← d · f′(z)` with the slopes that [`apply_with_slope`] left.
///
/// # Panics
/// If the lengths differ.
pub fn backward<F: Float>(slope: &[F], d: &mut [F]) {
    struct Backward<'a, F>(&'a [F], &'a mut [F]);
    impl<F: Float> Kernel for Backward<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for (d, &slope) in self.1.iter_mut().zip(self.0) {
                *d *= slope;
            }
        }
    }
    assert_eq!(slope.len(), d.len(), "an activation keeps the shape");
    dispatch(Backward(slope, d));
}

/// `max(z, 0)`; slope 0 at 0.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl<F: Float> Curve<F> for Relu {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        // Written so that NaN stays NaN.
        if z <= F::ZERO { (F::ZERO, F::ZERO) } else { (z, F::ONE) }
    }
}

/// `z` above 0, `slope · z` below.
#[derive(Clone, Copy, Debug)]
pub struct LeakyRelu<F>(pub F);

impl<F: Float> Curve<F> for LeakyRelu<F> {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        let slope = if z > F::ZERO { F::ONE } else { self.0 };
        (z * slope, slope)
    }
}

/// `scale · (z above 0, alpha · (eᶻ − 1) below)`: ELU with scale 1, SELU with both of its own.
#[derive(Clone, Copy, Debug)]
pub struct Elu<F> {
    pub alpha: F,
    pub scale: F,
}

impl<F: Float> Curve<F> for Elu<F> {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        let below = self.alpha * z.min(F::ZERO).exp_m1();
        let (y, slope) = if z > F::ZERO {
            (z, F::ONE)
        } else {
            (below, below + self.alpha)
        };
        (self.scale * y, self.scale * slope)
    }
}

/// `z · Φ(z)` with the normal distribution's Φ, exact (erf), not its tanh imitation. f′ = Φ(z) + z·φ(z).
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

impl<F: Float> Curve<F> for Gelu {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        z.gelu()
    }
}

/// `z · sigmoid(z)` (SiLU). f′ = s + z·s·(1 − s).
#[derive(Clone, Copy, Debug)]
pub struct Swish;

impl<F: Float> Curve<F> for Swish {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        z.swish_finish(z.swish_begin())
    }

    #[inline(always)]
    fn values(self, z: &mut [F]) {
        let mut halves = Halves::new();
        for z in z.chunks_mut(BLOCK) {
            halves.begin(z);
            halves.finish_values(z);
        }
    }

    #[inline(always)]
    fn values_and_slopes(self, z: &mut [F], y: &mut [F]) {
        let mut halves = Halves::new();
        for (z, y) in z.chunks_mut(BLOCK).zip(y.chunks_mut(BLOCK)) {
            halves.begin(z);
            halves.finish_both(z, y);
        }
    }
}

/// Numbers that go through each half of swish in turn: what lies between stays in the first-level cache.
const BLOCK: usize = 128;

/// What the first half of swish has left of a block of numbers for the second.
///
/// Where each operation waits for the one before, a processor goes on with the numbers behind, but it looks only so far ahead. In
/// loops of half as many operations it sees twice as many numbers: with AVX2 swish takes a fifth less time. A register's worth
/// lies on one line of the cache.
#[repr(align(64))]
struct Halves<F>([[F; BLOCK]; 3]);

impl<F: Float> Halves<F> {
    #[inline(always)]
    fn new() -> Self {
        Self([[F::ZERO; BLOCK]; 3])
    }

    #[inline(always)]
    fn begin(&mut self, z: &[F]) {
        let [a, b, c] = &mut self.0;
        for (((z, a), b), c) in z.iter().zip(a).zip(b).zip(c) {
            [*a, *b, *c] = z.swish_begin();
        }
    }

    /// `z ← f(z)`, by way of a buffer: f(z) may be z itself, and the compiler would store only the others, by masked stores,
    /// which are slow.
    #[inline(always)]
    fn finish_values(&mut self, z: &mut [F]) {
        let [a, b, c] = &mut self.0;
        for (((z, a), b), c) in z.iter().zip(&mut *a).zip(&*b).zip(&*c) {
            *a = z.swish_finish([*a, *b, *c]).0;
        }
        z.copy_from_slice(&a[..z.len()]);
    }

    /// `y = f(z)`, `z ← f′(z)`.
    #[inline(always)]
    fn finish_both(&self, z: &mut [F], y: &mut [F]) {
        let [a, b, c] = &self.0;
        for ((((z, y), a), b), c) in z.iter_mut().zip(y).zip(a).zip(b).zip(c) {
            (*y, *z) = z.swish_finish([*a, *b, *c]);
        }
    }
}

/// `z · tanh(softplus(z))`. With t = tanh(softplus(z)): f′ = t + z·(1 − t²)·sigmoid(z).
#[derive(Clone, Copy, Debug)]
pub struct Mish;

impl<F: Float> Curve<F> for Mish {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        z.mish()
    }
}

/// `1 / (1 + e⁻ᶻ)`. f′ = s·(1 − s).
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl<F: Float> Curve<F> for Sigmoid {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        let s = z.sigmoid();
        (s, s * (F::ONE - s))
    }
}

/// Hyperbolic tangent. f′ = 1 − t².
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl<F: Float> Curve<F> for Tanh {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        let t = z.tanh();
        (t, F::ONE - t * t)
    }
}

/// `ln(1 + eᶻ)`. f′ = sigmoid(z).
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

impl<F: Float> Curve<F> for Softplus {
    #[inline(always)]
    fn at(self, z: F) -> (F, F) {
        (z.softplus(), z.sigmoid())
    }
}
