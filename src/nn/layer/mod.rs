//! The layers: what each is made of, and its forward and backward.

use crate::nn::activation::Activation;
use crate::nn::init::Initializer;
use crate::nn::spec::bounds::{boolean, epsilon, factor, share, width};
use crate::nn::spec::reader::Reader;
use crate::nn::spec::vocabulary::{ReadField, vocabulary};

vocabulary! {
    /// One layer of a network.
    "layer" LayerOrName LayerSpec {
        /// y = activation(x·kernel + bias)
        "dense" => Dense(DenseSpec, DenseType)
        required {
            /// Outputs of the layer.
            #[schema(minimum = 1, maximum = 65536, example = 64)]
            units: u32 [width],
        }
        optional {
            activation: Activation [Activation::read] = Activation::Linear,
            use_bias: bool [boolean] = true,
            kernel_initializer: Initializer [Initializer::read] = Initializer::GlorotUniform,
            /// Adds this times Σ|w| to the loss.
            #[schema(minimum = 0)]
            kernel_l1: f64 [factor] = 0.0,
            /// Adds this times Σw² to the loss.
            #[schema(minimum = 0)]
            kernel_l2: f64 [factor] = 0.0,
        }

        /// y = gamma·(x − mean)/√(variance + epsilon) + beta over the rows of a batch; moving averages outside training.
        "batch_normalization" => BatchNormalization(BatchNormalizationSpec, BatchNormalizationType)
        optional {
            /// How much of the moving averages each batch keeps.
            #[schema(minimum = 0, exclusive_maximum = 1)]
            momentum: f64 [share] = 0.99,
            #[schema(exclusive_minimum = 0, maximum = 1)]
            epsilon: f64 [epsilon] = 1e-3,
        }

        /// y = gamma·(x − mean)/√(variance + epsilon) + beta over the columns of each row.
        "layer_normalization" => LayerNormalization(LayerNormalizationSpec, LayerNormalizationType)
        optional {
            #[schema(exclusive_minimum = 0, maximum = 1)]
            epsilon: f64 [epsilon] = 1e-3,
        }

        /// In training sets each input to 0 with probability `rate` and divides the others by 1 − rate.
        "dropout" => Dropout(DropoutSpec, DropoutType)
        required {
            #[schema(minimum = 0, exclusive_maximum = 1, example = 0.2)]
            rate: f64 [share],
        }

        /// y = activation(x)
        "activation" => Activation(ActivationSpec, ActivationType)
        required {
            activation: Activation [Activation::read],
        }
    }
}
