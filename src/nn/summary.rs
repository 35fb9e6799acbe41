//! What a network is made of, as data and as Keras's table.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryLayer {
    /// As Keras numbers them: `dense`, `dense_1`, …
    #[schema(example = "dense_1")]
    pub name: String,
    #[serde(rename = "type")]
    #[schema(example = "dense")]
    pub kind: String,
    /// Rows (null: any number of them) and columns.
    #[schema(example = json!([null, 64]))]
    pub output_shape: [Option<u64>; 2],
    pub parameters: u64,
}

/// Layer, output shape, parameters; and their sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    pub layers: Vec<SummaryLayer>,
    pub total: u64,
    pub trainable: u64,
    pub non_trainable: u64,
    /// Of all weights, at 4 bytes each.
    pub size_bytes: u64,
}

impl Summary {
    /// Keras 3's table, as `model.summary()` prints it.
    pub fn to_table(&self, model_name: &str) -> String {
        let _ = model_name;
        unimplemented!()
    }
}
