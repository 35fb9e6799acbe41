//! Which rows are trained on and which are only measured.

use crate::nn::rng::{Purpose, Random};

/// Takes a seeded share of `rows` for validation; where `classes` has the class of each of `rows`, the same share of each.
///
/// Gives (training, validation), both in the order of `rows`. Of n rows, `share · n` rounded are for validation; what the
/// classes' shares have beyond whole rows goes to those with the largest fractions. No class is taken from training as
/// a whole, so that one with a single row is trained on. Validation may be empty where there are too few rows.
pub fn split(rows: &[u32], share: f64, seed: u64, classes: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
    let mut groups = group(rows.len(), classes);
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let mut held_out = vec![false; rows.len()];
    for (stream, (group, taken)) in groups.iter_mut().zip(quotas(&sizes, share)).enumerate() {
        Random::new(seed, Purpose::Split, 0, 0)
            .stream(stream as u64)
            .shuffle(group);
        group[..taken].iter().for_each(|place| held_out[*place as usize] = true);
    }
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (row, held_out) in rows.iter().zip(held_out) {
        if held_out {
            validation.push(*row)
        } else {
            training.push(*row)
        }
    }
    (training, validation)
}

/// The places of the rows of each class, or of all rows.
fn group(count: usize, classes: Option<&[u32]>) -> Vec<Vec<u32>> {
    let Some(classes) = classes else {
        return vec![(0..count as u32).collect()];
    };
    let number = classes.iter().max().map_or(0, |last| *last as usize + 1);
    let mut groups = vec![Vec::new(); number];
    for (place, class) in (0..count as u32).zip(classes) {
        groups[*class as usize].push(place);
    }
    groups
}

/// How many of each group are taken: the method of largest remainders.
fn quotas(sizes: &[usize], share: f64) -> Vec<usize> {
    let exact = |size: usize| share * size as f64;
    let whole = |size: &usize| (exact(*size) as usize).min(size.saturating_sub(1));
    let mut taken: Vec<usize> = sizes.iter().map(whole).collect();
    let wanted = exact(sizes.iter().sum()).round() as usize;
    let missing = wanted.saturating_sub(taken.iter().sum());
    let mut by_remainder: Vec<usize> = (0..sizes.len())
        .filter(|group| taken[*group] + 1 < sizes[*group])
        .collect();
    // Stable, so that equal remainders go by class.
    by_remainder.sort_by(|a, b| exact(sizes[*b]).fract().total_cmp(&exact(sizes[*a]).fract()));
    by_remainder
        .into_iter()
        .take(missing)
        .for_each(|group| taken[group] += 1);
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_class_gives_its_share() {
        let rows: Vec<u32> = (100..250).collect();
        let classes: Vec<u32> = (0..150).map(|row| row / 50).collect();
        let (training, validation) = split(&rows, 0.2, 7, Some(&classes));
        assert_eq!((training.len(), validation.len()), (120, 30));
        for class in 0..3 {
            let start = 100 + class * 50;
            assert_eq!(
                validation
                    .iter()
                    .filter(|row| (start..start + 50).contains(*row))
                    .count(),
                10
            );
        }
        assert!(training.is_sorted() && validation.is_sorted());
    }

    #[test]
    fn the_seed_decides() {
        let rows: Vec<u32> = (0..100).collect();
        assert_eq!(split(&rows, 0.3, 7, None), split(&rows, 0.3, 7, None));
        assert_ne!(split(&rows, 0.3, 7, None), split(&rows, 0.3, 8, None));
    }

    #[test]
    fn fractions_go_to_the_classes_with_the_largest() {
        assert_eq!(quotas(&[10, 10, 10], 0.25), [3, 3, 2]);
        assert_eq!(quotas(&[3, 9], 0.5), [2, 4]);
        assert_eq!(quotas(&[1, 1, 98], 0.5), [0, 0, 50]);
        assert_eq!(quotas(&[3, 1, 0], 1.0), [2, 0, 0]);
    }

    #[test]
    fn a_class_with_one_row_is_trained_on() {
        assert_eq!(split(&[4, 5, 6, 7], 0.5, 1, Some(&[0, 1, 1, 1])).0.first(), Some(&4));
        assert_eq!(split(&[9], 0.9, 1, None), (vec![9], vec![]));
        assert_eq!(split(&[], 0.5, 1, Some(&[])), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_part(
            classes in proptest::collection::vec(0_u32..4, 0..200), share in 0.01..0.99, seed: u64,
        ) {
            let rows: Vec<u32> = (0..classes.len() as u32).map(|row| row * 3).collect();
            let (training, validation) = split(&rows, share, seed, Some(&classes));
            let mut all: Vec<u32> = training.iter().chain(&validation).copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, rows);
            let exact = share * classes.len() as f64;
            prop_assert!((validation.len() as f64 - exact).abs() < 4.5);
        }
    }
}
