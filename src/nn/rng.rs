//! Randomness that is a function of what it is for: ChaCha8 keyed by (seed, purpose, epoch, batch).
//!
//! So nothing random has a state to save, and a resumed run draws what the uninterrupted one would have drawn.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What randomness is for; each purpose has numbers of its own under one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// First weights; the stream is the layer.
    Initialize = 1,
    /// The order of an epoch's rows.
    Shuffle = 2,
    /// What dropout drops; the stream is the layer.
    Dropout = 3,
    /// Which rows are for validation.
    Split = 4,
}

/// A stream of random numbers, the same on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    chacha: ChaCha8Rng,
    first_stream: u64,
}

impl Random {
    /// The numbers for one purpose; `epoch` and `batch` are 0 where they mean nothing.
    pub fn new(seed: u64, purpose: Purpose, epoch: u64, batch: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, purpose as u64, epoch, batch]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self {
            chacha: ChaCha8Rng::from_seed(key),
            first_stream: 0,
        }
    }

    /// The same for another share of the batch's rows, counted from 0: its streams are its own.
    pub fn of_share(mut self, share: usize) -> Self {
        self.first_stream = (share as u64) << 32;
        self
    }

    /// Another stream of the same key.
    pub fn stream(mut self, stream: u64) -> Self {
        self.chacha.set_stream(self.first_stream + stream);
        self
    }

    pub fn next_u32(&mut self) -> u32 {
        self.chacha.next_u32()
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴: every value is an f32.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform below `bound`, which is above 0. Lemire's multiplication with rejection: no value is favoured.
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Any order of the items with equal probability (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let length = u32::try_from(items.len()).expect("rows are counted in u32");
        for last in (1..length).rev() {
            items.swap(last as usize, self.below(last + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_gives_other_numbers() {
        let first =
            |seed, purpose, epoch, batch, stream| Random::new(seed, purpose, epoch, batch).stream(stream).next_u32();
        let base = first(7, Purpose::Shuffle, 1, 1, 0);
        assert_eq!(base, first(7, Purpose::Shuffle, 1, 1, 0));
        let others = [
            first(8, Purpose::Shuffle, 1, 1, 0),
            first(7, Purpose::Dropout, 1, 1, 0),
            first(7, Purpose::Shuffle, 2, 1, 0),
            first(7, Purpose::Shuffle, 1, 2, 0),
            first(7, Purpose::Shuffle, 1, 1, 1),
        ];
        assert!(others.iter().all(|other| *other != base), "{base} {others:?}");
    }

    #[test]
    fn shares_of_a_batch_have_numbers_of_their_own() {
        let first = |share, stream| {
            let random = Random::new(7, Purpose::Dropout, 1, 1).of_share(share);
            random.stream(stream).next_u32()
        };
        assert_eq!(first(0, 2), Random::new(7, Purpose::Dropout, 1, 1).stream(2).next_u32());
        let all: std::collections::BTreeSet<u32> = (0..4).flat_map(|s| [first(s, 0), first(s, 1)]).collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_shuffle_gives_every_order_about_as_often() {
        let mut random = Random::new(1, Purpose::Shuffle, 0, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [0, 1, 2];
            random.shuffle(&mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_numbers_are_these_for_ever() {
        let mut random = Random::new(7, Purpose::Initialize, 0, 0);
        assert_eq!([random.next_u32(), random.next_u32()], PINNED);
    }

    /// A change here changes every seeded result that anyone has.
    const PINNED: [u32; 2] = [171_183_541, 3_736_010_134];
}
