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
