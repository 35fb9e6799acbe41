//! How a dense layer's kernel is drawn before training; the names and the arithmetic are Keras's.

use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::names;

names! {
    /// How a kernel is drawn before training.
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
        /// orthonormal rows or columns
        "orthogonal" => Orthogonal,
        /// ones on the diagonal
        "identity" => Identity,
        "ones" => Ones,
        "zeros" => Zeros,
    }
}
