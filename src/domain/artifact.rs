//! The stored form of weights, optimizer states, checkpoints and sessions: `trainyard KIND VERSION\n`, the value in postcard,
//! a checksum over both. What was cut short, flipped or written by another version is told apart from what is good.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::nn::weights::LayerWeights;

/// What an artifact holds, and the version of its layout: raised whenever the layout changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Weights,
    Optimizer,
    Checkpoint,
    Session,
}

impl Kind {
    fn header(self) -> &'static [u8] {
        match self {
            Self::Weights => b"trainyard weights 1\n",
            Self::Optimizer => b"trainyard optimizer 1\n",
            Self::Checkpoint => b"trainyard checkpoint 1\n",
            Self::Session => b"trainyard session 2\n",
        }
    }

    /// SHA-256; for sessions CRC-32, which takes a twentieth of the time: they are written at every call and live for hours.
    fn checksum(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Weights | Self::Optimizer | Self::Checkpoint => Sha256::digest(content).to_vec(),
            Self::Session => crc32fast::hash(content).to_le_bytes().to_vec(),
        }
    }

    fn checksum_bytes(self) -> usize {
        match self {
            Self::Weights | Self::Optimizer | Self::Checkpoint => 32,
            Self::Session => 4,
        }
    }
}

/// The bytes are not a whole artifact of the wanted kind and version.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the stored {0:?} are not of a kind and version that this program reads")]
    Foreign(Kind),
    #[error("the stored {0:?} are damaged: their checksum does not fit")]
    Damaged(Kind),
    #[error("the stored {0:?} do not decode: {1}")]
    Undecodable(Kind, postcard::Error),
}

/// The bytes to store for a value. Errors: none that a plain value of numbers, lists and texts can cause.
pub fn seal<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let header = kind.header().to_vec();
    let mut bytes = postcard::to_extend(value, header).expect("writing to memory, and every length is known");
    let checksum = kind.checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// The value that was sealed.
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, ArtifactError> {
    if !bytes.starts_with(kind.header()) {
        return Err(ArtifactError::Foreign(kind));
    }
    let split = bytes
        .len()
        .checked_sub(kind.checksum_bytes())
        .filter(|end| *end >= kind.header().len());
    let (content, checksum) = bytes.split_at(split.ok_or(ArtifactError::Damaged(kind))?);
    if kind.checksum(content) != checksum {
        return Err(ArtifactError::Damaged(kind));
    }
    postcard::from_bytes(&content[kind.header().len()..]).map_err(|error| ArtifactError::Undecodable(kind, error))
}

/// SHA-256 over all weights as little-endian f32 in the order of the layers, in hexadecimal.
pub fn weights_sha256(weights: &[LayerWeights]) -> String {
    let mut hash = Sha256::new();
    for (_, tensor) in weights.iter().flat_map(|layer| &layer.0) {
        for value in &tensor.data {
            hash.update(value.to_le_bytes());
        }
    }
    hex(&hash.finalize())
}

/// SHA-256 of the JSON text of a value that the server itself wrote, in hexadecimal.
pub fn json_sha256<T: Serialize>(value: &T) -> String {
    hex(&Sha256::digest(
        serde_json::to_vec(value).expect("a stored noun is JSON"),
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::weights::Tensor;

    #[test]
    fn what_was_sealed_opens_again_and_nothing_else_does() {
        type Value = (Vec<f32>, String);
        let value: Value = (vec![1.5, -0.0, f32::MIN_POSITIVE], "text".to_owned());
        for kind in [Kind::Weights, Kind::Optimizer, Kind::Checkpoint, Kind::Session] {
            let sealed = seal(kind, &value);
            assert_eq!(open::<Value>(kind, &sealed).unwrap(), value);
            for other in [Kind::Weights, Kind::Session] {
                let foreign = matches!(open::<Value>(other, &sealed), Err(ArtifactError::Foreign(_)));
                assert_eq!(foreign, other != kind);
            }
            for end in 0..sealed.len() {
                assert!(open::<Value>(kind, &sealed[..end]).is_err(), "{kind:?} cut at {end}");
            }
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert!(open::<Value>(kind, &flipped).is_err(), "{kind:?} flipped at {at}");
            }
        }
    }

    #[test]
    fn the_hash_of_weights_is_over_their_little_endian_bytes_in_order() {
        let tensor = |data: Vec<f32>| Tensor {
            shape: vec![data.len()],
            data,
        };
        let kernel = ("kernel".to_owned(), tensor(vec![1.0, 2.0]));
        let weights = [
            LayerWeights(vec![kernel]),
            LayerWeights(vec![]),
            LayerWeights(vec![("bias".to_owned(), tensor(vec![-3.0]))]),
        ];
        let bytes = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0xc0];
        assert_eq!(weights_sha256(&weights), hex(&Sha256::digest(bytes)));
    }
}
