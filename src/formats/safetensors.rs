//! safetensors: named arrays as their very bytes, so that large batches and gradients don't travel as text.
//!
//! The weights of a network, or their gradients, are named by their layer's position and their own name: `0.kernel`.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, TensorView, View};
use safetensors::{SafeTensors, serialize};

use crate::nn::spec::Fault;
use crate::nn::spec::reader::{child, nearest, shorten};
use crate::nn::weights::{LayerWeights, Tensor};

/// Axes of an array: kernels and batches have two.
const MAX_RANK: usize = 2;

/// Bytes that are no safetensors.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are no safetensors: {0}")]
pub struct Malformed(#[from] safetensors::SafeTensorError);

/// The arrays of a file by name, each to be taken once; what is wrong with them is collected.
#[derive(Debug, Default)]
pub struct Tensors {
    tensors: Vec<(String, Tensor)>,
    faults: Vec<Fault>,
}

impl Tensors {
    /// Reads F32, and F64 rounded to it. An array of another type or rank is a fault, told by [`Self::finish`].
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
            match tensor(&view) {
                Ok(tensor) => read.tensors.push((name.to_owned(), tensor)),
                Err(detail) => read.fault(name, detail),
            }
        }
        read.tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(read)
    }

    fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(child("", &shorten(name)), detail));
    }

    /// The array of this name; that it isn't there is a fault.
    pub fn required(&mut self, name: &str) -> Option<Tensor> {
        match self.tensors.iter().position(|(known, _)| known == name) {
            Some(place) => Some(self.tensors.remove(place).1),
            None => {
                let told = self.faults.iter().any(|fault| fault.pointer == child("", name));
                if !told {
                    self.fault(name, "is missing");
                }
                None
            }
        }
    }

    /// Drops arrays that are of no use here.
    pub fn ignore(&mut self, names: &[&str]) {
        self.tensors.retain(|(known, _)| !names.contains(&known.as_str()));
        let pointers: Vec<String> = names.iter().map(|name| child("", name)).collect();
        self.faults.retain(|fault| !pointers.contains(&fault.pointer));
    }

    /// All arrays named like `0.kernel`, by layer. Those of a layer that isn't there are a fault.
    pub fn layers(&mut self, count: usize) -> Vec<LayerWeights> {
        let mut layers = vec![LayerWeights::default(); count];
        for (name, tensor) in std::mem::take(&mut self.tensors) {
            let place = name
                .split_once('.')
                .and_then(|(layer, array)| Some((number(layer)?, array)));
            match place {
                Some((layer, array)) if layer < count => layers[layer].0.push((array.to_owned(), tensor)),
                Some(_) => self.fault(
                    &name,
                    format!("is of no layer: the network has {count}, the first is 0"),
                ),
                None => self.fault(&name, "must be named by its layer and its own name, such as 0.kernel"),
            }
        }
        layers
    }

    /// Every fault, those of arrays that nobody took included; `known` are the names there could have been.
    pub fn finish(mut self, known: &[&str]) -> Vec<Fault> {
        for (name, _) in std::mem::take(&mut self.tensors) {
            let hint = nearest(&name, known).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            self.fault(&name, format!("unknown array{hint}"));
        }
        self.faults
    }
}

/// A layer's number in its one form: with `00` or `+0` beside `0` two arrays would have one name.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

fn tensor(view: &TensorView<'_>) -> Result<Tensor, String> {
    let shape = view.shape().to_vec();
    if !(1..=MAX_RANK).contains(&shape.len()) {
        return Err(format!("must have one or two axes, not the shape {shape:?}"));
    }
    let data: Vec<f32> = match view.dtype() {
        Dtype::F32 => view
            .data()
            .as_chunks()
            .0
            .iter()
            .copied()
            .map(f32::from_le_bytes)
            .collect(),
        Dtype::F64 => view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f64::from_le_bytes(*bytes) as f32)
            .collect(),
        other => return Err(format!("must be of type F32 or F64, not {other:?}")),
    };
    if !data.iter().all(|value| value.is_finite()) {
        return Err("has values that are no finite numbers of 32 bits".to_owned());
    }
    Ok(Tensor { shape, data })
}

/// An array to be written.
pub enum Array<'a> {
    /// F32
    Tensor(&'a Tensor),
    /// F64, without axes
    Scalar(f64),
}

impl View for Array<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Tensor(_) => Dtype::F32,
            Self::Scalar(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => &tensor.shape,
            Self::Scalar(_) => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match self {
            Self::Tensor(tensor) => tensor
                .data
                .iter()
                .map(|value| value.to_le_bytes())
                .collect::<Vec<_>>()
                .into_flattened(),
            Self::Scalar(value) => value.to_le_bytes().to_vec(),
        })
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Tensor(tensor) => 4 * tensor.data.len(),
            Self::Scalar(_) => 8,
        }
    }
}

/// The arrays of all layers under the names of [`Tensors::layers`].
pub fn by_name(layers: &[LayerWeights]) -> impl Iterator<Item = (String, Array<'_>)> {
    layers.iter().enumerate().flat_map(|(layer, weights)| {
        let arrays = weights.0.iter();
        arrays.map(move |(name, tensor)| (format!("{layer}.{name}"), Array::Tensor(tensor)))
    })
}

/// The bytes of a file with these arrays.
///
/// # Panics
/// If two have one name.
pub fn write<'a>(arrays: impl IntoIterator<Item = (String, Array<'a>)>) -> Vec<u8> {
    serialize(arrays, None).expect("arrays that fill their shapes, each with a name of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
        Tensor {
            shape: shape.to_vec(),
            data: data.to_vec(),
        }
    }

    #[test]
    fn layers_come_back_bit_for_bit() {
        let kernel = tensor(&[2, 3], &[0.1, -2.0, f32::MIN_POSITIVE, 4.0, f32::MAX, -0.0]);
        let layers = [
            LayerWeights(vec![
                ("bias".to_owned(), tensor(&[3], &[1.0, 2.0, 3.0])),
                ("kernel".to_owned(), kernel),
            ]),
            LayerWeights::default(),
        ];
        let bytes = write(by_name(&layers).chain([("loss".to_owned(), Array::Scalar(0.1))]));
        let mut read = Tensors::read(&bytes).unwrap();
        read.ignore(&["loss"]);
        assert_eq!(read.layers(2), layers);
        assert_eq!(read.finish(&[]), []);
    }

    #[test]
    fn every_fault_is_told() {
        let numbers: Vec<u8> = [1.0_f64, 2.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let views = [
            ("x", TensorView::new(Dtype::F64, vec![1, 2], &numbers).unwrap()),
            ("z", TensorView::new(Dtype::F64, vec![1, 1, 2], &numbers).unwrap()),
            ("i", TensorView::new(Dtype::I64, vec![2], &numbers).unwrap()),
            ("yy", TensorView::new(Dtype::F64, vec![2], &numbers).unwrap()),
        ];
        let mut read = Tensors::read(&serialize(views, None).unwrap()).unwrap();
        assert_eq!(read.required("x"), Some(tensor(&[1, 2], &[1.0, 2.5])));
        assert_eq!(read.required("y"), None);
        assert_eq!(read.required("z"), None);
        let mut faults: Vec<String> = read
            .finish(&["x", "y", "z"])
            .into_iter()
            .map(|fault| format!("{} {}", fault.pointer, fault.detail))
            .collect();
        faults.sort();
        assert_eq!(
            faults,
            [
                "/i must be of type F32 or F64, not I64",
                "/y is missing",
                "/yy unknown array; did you mean \"y\"?",
                "/z must have one or two axes, not the shape [1, 1, 2]",
            ]
        );
        let huge: Vec<u8> = 1e300_f64.to_le_bytes().to_vec();
        let views = [("x", TensorView::new(Dtype::F64, vec![1], &huge).unwrap())];
        let read = Tensors::read(&serialize(views, None).unwrap()).unwrap();
        let faults = read.finish(&["x"]);
        assert!(faults[0].detail.contains("no finite numbers"), "{faults:?}");
    }

    #[test]
    fn arrays_of_layers_that_are_not_there_are_faults() {
        let array = tensor(&[1], &[1.0]);
        let named = |name: &str| (name.to_owned(), Array::Tensor(&array));
        let names = ["0.bias", "7.bias", "bias", "-1.bias", "00.bias", "+0.bias"];
        let bytes = write(names.map(named));
        let mut read = Tensors::read(&bytes).unwrap();
        assert_eq!(read.layers(1)[0].0, [("bias".to_owned(), array.clone())]);
        let mut pointers: Vec<String> = read.finish(&[]).into_iter().map(|fault| fault.pointer).collect();
        pointers.sort();
        assert_eq!(pointers, ["/+0.bias", "/-1.bias", "/00.bias", "/7.bias", "/bias"]);
    }

    #[test]
    fn what_is_cut_short_or_says_too_much_of_its_size_is_malformed() {
        let array = tensor(&[1], &[1.0]);
        let bytes = write([("x".to_owned(), Array::Tensor(&array))]);
        for end in 0..bytes.len() {
            assert!(Tensors::read(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut large = bytes.clone();
        large[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Tensors::read(&large).is_err());
    }
}
