//! Weights as clients and the store see them: one object a layer, Keras's names and shapes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::spec::reader::Reader;

/// A dense array of f32, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// The weights of one layer by name, in Keras's order; empty for a layer without any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerWeights(pub Vec<(String, Tensor)>);

impl LayerWeights {
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// Reads the weights of all layers: an array of objects of nested arrays.
    pub fn read_all(reader: &mut Reader, value: &Value, at: &str) -> Option<Vec<Self>> {
        let _ = (reader, value, at);
        unimplemented!()
    }
}
