//! Counting while a column goes by: statistics of numbers, and a bounded vocabulary of texts.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::profile::{Category, CategoryColumn, CategoryType, NumberColumn, NumberType};

/// A number column's different values are listed when there are at most this many.
pub(super) const MAX_DISTINCT_NUMBERS: usize = 256;
/// A category column's values are listed when there are at most this many.
pub(super) const MAX_CATEGORIES: usize = 1000;
/// … and when their texts together are at most this long.
const MAX_CATEGORY_BYTES: usize = 1 << 18;

/// Numbers that are summed up together.
const BLOCK: usize = 256;

/// Statistics over numbers: count, extremes, mean and the sum of squared deviations from it.
#[derive(Debug, Default)]
pub(crate) struct NumberTally {
    block: Vec<f64>,
    count: u64,
    min: f64,
    max: f64,
    mean: f64,
    squares: f64,
    distinct: Distinct,
}

impl NumberTally {
    #[inline]
    pub(crate) fn add(&mut self, number: f64) {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK);
        }
        // Negative zero is zero.
        self.block.push(number + 0.0);
        if self.block.len() == BLOCK {
            self.sum_up();
        }
    }

    /// Sums up the block in two passes and joins it to what came before (Chan, Golub and LeVeque, 1979).
    ///
    /// Numerics: no cancellation as with a sum of squares, and a hundredth of the divisions of Welford's update. Values
    /// fit a 32-bit float, so that no square overflows.
    fn sum_up(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let count = self.block.len() as f64;
        let mean = sum(&self.block, |x| x) / count;
        let squares = sum(&self.block, |x| (x - mean) * (x - mean));
        let (low, high) = self
            .block
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), x| (x.min(low), x.max(high)));
        if self.count == 0 {
            (self.mean, self.squares, self.min, self.max) = (mean, squares, low, high);
        } else {
            let before = self.count as f64;
            let all = before + count;
            let delta = mean - self.mean;
            self.mean += delta * (count / all);
            self.squares += squares + delta * delta * (before * count / all);
            (self.min, self.max) = (self.min.min(low), self.max.max(high));
        }
        self.count += self.block.len() as u64;
        self.distinct.add_all(&self.block);
        self.block.clear();
    }

    pub(crate) fn finish(mut self, name: String, missing: u64) -> NumberColumn {
        self.sum_up();
        if self.min == self.max {
            // Whatever the rounding of the sums says.
            (self.mean, self.squares) = (self.min, 0.0);
        }
        let known = |figure: f64| (self.count > 0).then_some(figure);
        NumberColumn {
            name,
            r#type: NumberType::Number,
            missing,
            min: known(self.min),
            max: known(self.max),
            mean: known(self.mean),
            std: known((self.squares / self.count as f64).sqrt()),
            distinct: self.distinct.finish(),
        }
    }
}

/// A sum in four fixed lanes: as good as pairwise for a block, and the compiler vectorises it.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; 4];
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().map(|x| of(*x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += of(*x);
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

/// The bits of the different numbers, as long as they are few.
#[derive(Debug)]
struct Distinct(Option<HashSet<u64, BuildHasherDefault<BitsHasher>>>);

impl Default for Distinct {
    fn default() -> Self {
        Self(Some(HashSet::default()))
    }
}

impl Distinct {
    fn add_all(&mut self, numbers: &[f64]) {
        for number in numbers {
            let Some(known) = &mut self.0 else {
                return;
            };
            if known.insert(number.to_bits()) && known.len() > MAX_DISTINCT_NUMBERS {
                self.0 = None;
            }
        }
    }

    /// In ascending order.
    fn finish(self) -> Option<Vec<f64>> {
        let mut numbers: Vec<f64> = self.0?.into_iter().map(f64::from_bits).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        Some(numbers)
    }
}

/// Hashes the bits of one number, several times as fast as std's hash; the few that are kept bound what a collision costs.
#[derive(Debug, Default)]
struct BitsHasher(u64);

impl Hasher for BitsHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    /// Both halves of the product with 2⁶⁴ over the golden ratio: short decimals differ in high bits only.
    fn write_u64(&mut self, bits: u64) {
        let product = u128::from(bits) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The different texts of a column and how often each is there, as long as they are few.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    counts: HashMap<Box<str>, u64>,
    bytes: usize,
    overflowed: bool,
}

impl Vocabulary {
    /// Counts a text. `budget` is what all vocabularies of the table may still take, in bytes.
    pub(crate) fn add(&mut self, text: &str, budget: &mut usize) {
        /// What an entry takes besides its text, about.
        const ENTRY_BYTES: usize = 64;
        if self.overflowed {
            return;
        }
        if let Some(count) = self.counts.get_mut(text) {
            *count += 1;
            return;
        }
        self.bytes += text.len();
        let cost = text.len() + ENTRY_BYTES;
        if self.counts.len() == MAX_CATEGORIES || self.bytes > MAX_CATEGORY_BYTES || cost > *budget {
            *budget += self.counts.keys().map(|known| known.len() + ENTRY_BYTES).sum::<usize>();
            *self = Self {
                overflowed: true,
                ..Self::default()
            };
            return;
        }
        *budget -= cost;
        self.counts.insert(text.into(), 1);
    }

    pub(crate) fn finish(self, name: String, missing: u64) -> CategoryColumn {
        let categories = self.counts.into_iter().map(|(value, count)| Category {
            value: value.into(),
            count,
        });
        let mut categories: Vec<Category> = categories.collect();
        categories.sort_unstable_by(|a, b| a.value.cmp(&b.value));
        CategoryColumn {
            name,
            r#type: CategoryType::Category,
            missing,
            distinct: (!self.overflowed).then_some(categories.len() as u64),
            categories,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: impl IntoIterator<Item = f64>) -> NumberColumn {
        let mut tally = NumberTally::default();
        numbers.into_iter().for_each(|number| tally.add(number));
        tally.finish("x".to_owned(), 0)
    }

    #[test]
    fn statistics_are_those_of_the_population() {
        let column = tally([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(
            (column.min, column.max, column.mean, column.std),
            (Some(2.0), Some(9.0), Some(5.0), Some(2.0))
        );
        assert_eq!(column.distinct, Some(vec![2.0, 4.0, 5.0, 7.0, 9.0]));
    }

    #[test]
    fn blocks_with_different_means_join_to_the_whole() {
        // 0 to n − 1: mean (n − 1) / 2, variance (n² − 1) / 12
        let column = tally((0..1_001).map(f64::from));
        assert_eq!(column.mean, Some(500.0));
        assert!((column.std.unwrap() - (1_002_000.0_f64 / 12.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        let column = tally((0..100_000).map(|i| 1e9 + f64::from(i % 2)));
        assert_eq!((column.mean, column.std), (Some(1e9 + 0.5), Some(0.5)));
    }

    #[test]
    fn a_constant_column_has_no_deviation() {
        let column = tally(std::iter::repeat_n(0.1, 1_000));
        assert_eq!(
            (column.mean, column.std, column.distinct),
            (Some(0.1), Some(0.0), Some(vec![0.1]))
        );
    }

    #[test]
    fn extremes_do_not_overflow() {
        let column = tally((0..1_000).map(|i| if i % 2 == 0 { 3.4e38 } else { -3.4e38 }));
        assert_eq!(column.mean, Some(0.0));
        assert!((column.std.unwrap() / 3.4e38 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn no_value_gives_no_statistics() {
        let column = tally([]);
        assert_eq!(
            (column.min, column.mean, column.std, column.distinct),
            (None, None, None, Some(vec![]))
        );
    }

    #[test]
    fn distinct_numbers_are_listed_up_to_their_limit() {
        let numbers = |n: u32| (0..100_000).map(move |i| f64::from(i * 7919 % n));
        let list: Vec<f64> = (0..256).map(f64::from).collect();
        assert_eq!(tally(numbers(256)).distinct, Some(list));
        assert_eq!(tally(numbers(257)).distinct, None);
        assert_eq!(tally([0.0, -0.0]).distinct, Some(vec![0.0]));
    }

    #[test]
    fn a_vocabulary_gives_its_room_back_when_it_overflows() {
        let mut budget = 1 << 20;
        let mut vocabulary = Vocabulary::default();
        for i in 0..MAX_CATEGORIES {
            vocabulary.add(&i.to_string(), &mut budget);
        }
        assert!(budget < 1 << 20);
        vocabulary.add("one too many", &mut budget);
        assert_eq!(budget, 1 << 20);
        let column = vocabulary.finish("x".to_owned(), 3);
        assert_eq!((column.distinct, column.categories.len(), column.missing), (None, 0, 3));
    }

    #[test]
    fn a_vocabulary_stops_where_the_table_has_no_room_left() {
        let mut budget = 100;
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("a", &mut budget);
        vocabulary.add("a", &mut budget);
        assert_eq!(budget, 35);
        vocabulary.add("b", &mut budget);
        assert_eq!((budget, vocabulary.finish(String::new(), 0).distinct), (100, None));
    }
}
