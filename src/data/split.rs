//! Which rows are trained on and which are only measured.

/// Takes a seeded share of `rows` for validation; where `classes` has the class of each of `rows`, the same share of each.
///
/// Gives (training, validation), both ascending. Either may be empty where there are too few rows.
pub fn split(rows: &[u32], share: f64, seed: u64, classes: Option<&[u32]>) -> (Vec<u32>, Vec<u32>) {
    let _ = (rows, share, seed, classes);
    unimplemented!()
}
