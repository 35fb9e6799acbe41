//! Weights as clients and the store see them: one object a layer, Keras's names and shapes.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::spec::reader::{Reader, child};

/// Faults that one array may report: a client who sent a million strings needs no million answers.
const MAX_FAULTS: usize = 10;
/// Axes of an array: kernels have two.
const MAX_RANK: usize = 2;

/// A dense array of f32, row-major; in JSON nested arrays, elsewhere its shape and its numbers.
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
    ///
    /// Errors: what is no number or not finite in f32, and rows of unequal lengths, each with its pointer. Whether the
    /// shapes fit a network is for [`super::network::Network::from_weights`] to say.
    pub fn read_all(reader: &mut Reader, value: &Value, at: &str) -> Option<Vec<Self>> {
        let items = reader.array(value, at)?;
        let layers: Vec<Option<Self>> = items.iter().map(|(item, at)| Self::read(reader, item, at)).collect();
        layers.into_iter().collect()
    }

    fn read(reader: &mut Reader, value: &Value, at: &str) -> Option<Self> {
        let Some(map) = value.as_object() else {
            reader.fault(
                at,
                "must be an object of one layer's weights; {} for a layer without any",
            );
            return None;
        };
        let read =
            |(name, value): (&String, &Value)| Some((name.clone(), Tensor::read(reader, value, &child(at, name))?));
        let tensors: Vec<Option<(String, Tensor)>> = map.iter().map(read).collect();
        tensors.into_iter().collect::<Option<_>>().map(Self)
    }
}

impl Tensor {
    /// Reads nested arrays of numbers, at most two deep.
    pub fn read(reader: &mut Reader, value: &Value, at: &str) -> Option<Self> {
        let mut tensor = Self {
            shape: shape_of(value),
            data: Vec::new(),
        };
        if tensor.shape.is_empty() || tensor.shape.len() > MAX_RANK {
            reader.fault(at, "must be an array of numbers, or an array of rows of numbers");
            return None;
        }
        let before = reader.faults.len();
        tensor.read_axis(reader, value, at, 0, before + MAX_FAULTS);
        (reader.faults.len() == before).then_some(tensor)
    }

    fn read_axis(&mut self, reader: &mut Reader, value: &Value, at: &str, axis: usize, max_faults: usize) {
        if reader.faults.len() >= max_faults {
            return;
        }
        let Some(&length) = self.shape.get(axis) else {
            match value
                .as_f64()
                .map(|number| number as f32)
                .filter(|number| number.is_finite())
            {
                Some(number) => self.data.push(number),
                None => reader.fault(at, "must be a number between -3.4e38 and 3.4e38"),
            }
            return;
        };
        match value.as_array() {
            Some(items) if items.len() == length => {
                for (index, item) in items.iter().enumerate() {
                    match item {
                        // The usual case first: a pointer is made only where a fault may need it.
                        Value::Number(number) if axis + 1 == self.shape.len() => {
                            let number = number.as_f64().map_or(f32::NAN, |number| number as f32);
                            self.data.push(number);
                            if !number.is_finite() {
                                self.data.pop();
                                self.read_axis(reader, item, &format!("{at}/{index}"), axis + 1, max_faults);
                            }
                        }
                        _ => self.read_axis(reader, item, &format!("{at}/{index}"), axis + 1, max_faults),
                    }
                }
            }
            Some(items) => reader.fault(
                at,
                format!("has {} elements where the first row has {length}", items.len()),
            ),
            None => reader.fault(
                at,
                format!("must be an array of {length} elements, as the first row is"),
            ),
        }
    }
}

/// The lengths along the first elements of nested arrays, at most one more than allowed.
fn shape_of(value: &Value) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut value = Some(value);
    while let Some(items) = value.and_then(Value::as_array)
        && shape.len() <= MAX_RANK
    {
        shape.push(items.len());
        value = items.first();
    }
    shape
}

/// A row-major array as nested sequences.
struct Nested<'a> {
    shape: &'a [usize],
    data: &'a [f32],
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.shape {
            [] | [_] => serializer.collect_seq(self.data),
            [_, inner @ ..] => {
                let size = inner.iter().product::<usize>().max(1);
                serializer.collect_seq(self.data.chunks(size).map(|data| Nested { shape: inner, data }))
            }
        }
    }
}

impl Serialize for Tensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { shape, data } = self;
        match serializer.is_human_readable() {
            true => Nested { shape, data }.serialize(serializer),
            false => (shape, data).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Tensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let value = Value::deserialize(deserializer)?;
            let mut reader = Reader::default();
            return Self::read(&mut reader, &value, "").ok_or_else(|| D::Error::custom("no array of finite numbers"));
        }
        let (shape, data) = <(Vec<usize>, Vec<f32>)>::deserialize(deserializer)?;
        let size = shape.iter().try_fold(1_usize, |size, &axis| size.checked_mul(axis));
        match size == Some(data.len()) {
            true => Ok(Self { shape, data }),
            false => Err(D::Error::custom("the numbers don't fill the shape")),
        }
    }
}

impl Serialize for LayerWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, tensor) in &self.0 {
            map.serialize_entry(name, tensor)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LayerWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = LayerWeights;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("the weights of one layer by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LayerWeights, A::Error> {
                let mut tensors = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tensors.push(entry);
                }
                Ok(LayerWeights(tensors))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl PartialSchema for Tensor {
    fn schema() -> RefOr<Schema> {
        let number = || ObjectBuilder::new().schema_type(Type::Number);
        let row = || ArrayBuilder::new().items(number());
        OneOfBuilder::new()
            .item(row())
            .item(ArrayBuilder::new().items(row()))
            .description(Some("Numbers, or rows of numbers: a kernel is [inputs][outputs]."))
            .into()
    }
}

impl ToSchema for Tensor {}

impl PartialSchema for LayerWeights {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .additional_properties(Some(AdditionalProperties::RefOr(Ref::from_schema_name(Tensor::name()).into())))
            .description(Some(
                "The weights of one layer by name: kernel, bias; gamma, beta, moving_mean, moving_variance; {} for none.",
            ))
            .into()
    }
}

impl ToSchema for LayerWeights {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Tensor::name().into_owned(), Tensor::schema()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Vec<LayerWeights> {
        let kernel = Tensor {
            shape: vec![2, 3],
            data: vec![0.1, -2.0, 3.0, 4.0, 5.5, -0.0],
        };
        let bias = Tensor {
            shape: vec![3],
            data: vec![f32::MIN_POSITIVE, f32::MAX, 0.3],
        };
        vec![
            LayerWeights(vec![("kernel".into(), kernel), ("bias".into(), bias)]),
            LayerWeights::default(),
        ]
    }

    #[test]
    fn weights_survive_json_and_postcard_bit_for_bit() {
        let json = serde_json::to_string(&sample()).unwrap();
        assert!(
            json.starts_with(r#"[{"kernel":[[0.1,-2.0,3.0],[4.0,5.5,-0.0]],"bias":["#),
            "{json}"
        );
        assert!(json.ends_with("},{}]"), "{json}");
        let from_json: Vec<LayerWeights> = serde_json::from_str(&json).unwrap();
        assert_eq!(from_json, sample());
        let mut reader = Reader::default();
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(LayerWeights::read_all(&mut reader, &value, ""), Some(sample()));

        let bytes = postcard::to_stdvec(&sample()).unwrap();
        assert_eq!(postcard::from_bytes::<Vec<LayerWeights>>(&bytes).unwrap(), sample());
    }

    #[test]
    fn every_fault_of_an_array_is_reported_with_its_pointer() {
        let value = json!([
            {"kernel": [[1.0, "x"], [1e308, 2]], "bias": [1, [2]], "a/b": 3},
            {"kernel": [[1.0, 2.0], [3.0]]},
            {"kernel": [[[1.0]]]},
            7,
        ]);
        let mut reader = Reader::default();
        assert_eq!(LayerWeights::read_all(&mut reader, &value, "/initial_weights"), None);
        let pointers: Vec<&str> = reader.faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/initial_weights/0/kernel/0/1",
                "/initial_weights/0/kernel/1/0",
                "/initial_weights/0/bias/1",
                "/initial_weights/0/a~1b",
                "/initial_weights/1/kernel/1",
                "/initial_weights/2/kernel",
                "/initial_weights/3",
            ]
        );
    }

    #[test]
    fn a_million_wrong_numbers_give_few_faults() {
        let value = json!([{"bias": vec!["x"; 100_000]}]);
        let mut reader = Reader::default();
        assert_eq!(LayerWeights::read_all(&mut reader, &value, ""), None);
        assert_eq!(reader.faults.len(), MAX_FAULTS);
    }
}
