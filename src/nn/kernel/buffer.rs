//! Numbers in memory as kernels like it.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// A fixed count of numbers that begin with a cache line. So do rows of them that are a multiple of a line long: a register's
/// worth then never lies across two, which would take two loads, and no two threads write to the same one.
#[derive(Debug)]
pub struct Buffer<F> {
    room: Vec<F>,
    first: usize,
}

impl<F: Clone> Buffer<F> {
    /// So many times `value`.
    pub fn filled(value: F, length: usize) -> Self {
        let (mut room, first) = room_for(length);
        room.resize(first + length, value);
        Self { room, first }
    }
}

/// An empty vector, and where in it so many numbers may begin.
fn room_for<F>(length: usize) -> (Vec<F>, usize) {
    let spare = LINE / size_of::<F>();
    let room: Vec<F> = Vec::with_capacity(length + spare);
    let first = room.as_ptr().align_offset(LINE).min(spare);
    (room, first)
}

impl<F> Deref for Buffer<F> {
    type Target = [F];

    #[inline]
    fn deref(&self) -> &[F] {
        &self.room[self.first..]
    }
}

impl<F> DerefMut for Buffer<F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.room[self.first..]
    }
}

impl<F: Clone> From<&[F]> for Buffer<F> {
    fn from(numbers: &[F]) -> Self {
        let (mut room, first) = room_for(numbers.len());
        // What stands before them doesn't matter; of none there is nothing.
        room.extend(numbers.iter().cycle().take(first).cloned());
        let first = room.len();
        room.extend_from_slice(numbers);
        Self { room, first }
    }
}

/// Not derived: the copy begins where a cache line does there.
impl<F: Clone> Clone for Buffer<F> {
    fn clone(&self) -> Self {
        (**self).into()
    }
}

impl<F: PartialEq> PartialEq for Buffer<F> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// As a sequence of numbers.
impl<F: Serialize> Serialize for Buffer<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, F: Clone + Deserialize<'de>> Deserialize<'de> for Buffer<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|numbers| numbers.as_slice().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_and_its_copies_begin_with_a_cache_line() {
        for length in [0, 1, 15, 16, 1000] {
            let mut buffer = Buffer::filled(1.5f32, length);
            buffer.iter_mut().zip(0u16..).for_each(|(number, k)| *number = k.into());
            let written = serde_json::to_string(&buffer).unwrap();
            let read: Buffer<f32> = serde_json::from_str(&written).unwrap();
            for copy in [buffer.clone(), buffer[..].into(), read, buffer] {
                assert!(length == 0 || copy.as_ptr().align_offset(LINE) == 0);
                assert!(copy.iter().copied().eq((0..length as u16).map(f32::from)));
            }
        }
    }
}
