//! The activation functions: each with its value and its derivative side by side.

use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::names;

names! {
    /// What a layer does to each of its outputs (softmax: to each row of them).
    "activation" Activation {
        /// y = x
        "linear" => Linear,
        /// y = max(x, 0)
        "relu" => Relu,
        /// y = x where x > 0, else 0.2·x
        "leaky_relu" => LeakyRelu,
        /// y = x where x > 0, else eˣ − 1
        "elu" => Elu,
        /// y = 1.0507…·(x where x > 0, else 1.6732…·(eˣ − 1))
        "selu" => Selu,
        /// y = x·Φ(x), exact, by the error function
        "gelu" => Gelu,
        /// y = x·σ(x)
        "swish" | "silu" => Swish,
        /// y = x·tanh(ln(1 + eˣ))
        "mish" => Mish,
        /// y = σ(x) = 1/(1 + e⁻ˣ)
        "sigmoid" => Sigmoid,
        /// y = tanh x
        "tanh" => Tanh,
        /// y = ln(1 + eˣ)
        "softplus" => Softplus,
        /// yⱼ = eˣʲ / Σₖ eˣᵏ
        "softmax" => Softmax,
    }
}

/// Names the kernel's curve of an activation; softmax, which works on rows, and linear have code of their own.
macro_rules! with_curve {
    ($activation:expr, $curve:ident => $body:expr, softmax => $softmax:expr, linear => $linear:expr) => {{
        use crate::nn::activation::Activation;
        use crate::nn::kernel::curve;
        match $activation {
            Activation::Linear => $linear,
            Activation::Softmax => $softmax,
            Activation::Relu => {
                let $curve = curve::Relu;
                $body
            }
            Activation::LeakyRelu => {
                let $curve = curve::LeakyRelu(F::from_f64(0.2));
                $body
            }
            Activation::Elu => {
                let $curve = curve::Elu {
                    alpha: F::ONE,
                    scale: F::ONE,
                };
                $body
            }
            Activation::Selu => {
                let (alpha, scale) = (
                    F::from_f64(1.673_263_242_354_377_2),
                    F::from_f64(1.050_700_987_355_480_5),
                );
                let $curve = curve::Elu { alpha, scale };
                $body
            }
            Activation::Gelu => {
                let $curve = curve::Gelu;
                $body
            }
            Activation::Swish => {
                let $curve = curve::Swish;
                $body
            }
            Activation::Mish => {
                let $curve = curve::Mish;
                $body
            }
            Activation::Sigmoid => {
                let $curve = curve::Sigmoid;
                $body
            }
            Activation::Tanh => {
                let $curve = curve::Tanh;
                $body
            }
            Activation::Softplus => {
                let $curve = curve::Softplus;
                $body
            }
        }
    }};
}

pub(crate) use with_curve;
