//! Readers for the fields of a spec, each with the bounds that it puts on what a client may ask for.

use serde_json::Value;

use super::reader::Reader;

/// Most units of one layer, and most inputs.
pub const MAX_WIDTH: u64 = 65_536;
/// Most layers of a network.
pub const MAX_LAYERS: usize = 1_000;

pub(crate) fn width(reader: &mut Reader, value: &Value, at: &str) -> Option<u32> {
    reader.integer(value, at, 1..=MAX_WIDTH).map(|units| units as u32)
}

pub(crate) fn steps(reader: &mut Reader, value: &Value, at: &str) -> Option<u64> {
    reader.integer(value, at, 1..=1_000_000_000_000)
}

pub(crate) fn steps_or_zero(reader: &mut Reader, value: &Value, at: &str) -> Option<u64> {
    reader.integer(value, at, 0..=1_000_000_000_000)
}

pub(crate) fn place(reader: &mut Reader, value: &Value, at: &str) -> Option<u32> {
    reader.integer(value, at, 1..=1_000).map(|place| place as u32)
}

/// A learning rate that a schedule may start or end with.
pub(crate) fn rate(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number from 0 to 1000", |x| (0.0..=1e3).contains(&x))
}

/// 0 ≤ x < 1: dropout rates and decays of moving averages.
pub(crate) fn share(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number from 0 and below 1", |x| (0.0..1.0).contains(&x))
}

/// 0 ≤ x ≤ 1.
pub(crate) fn fraction(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))
}

/// 0 < x ≤ 1: what keeps a division from its pole; at least the least that f32 can tell from 0.
pub(crate) fn epsilon(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number from 1e-30 to 1", |x| (1e-30..=1.0).contains(&x))
}

pub(crate) fn positive(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number above 0 and up to 1e6", |x| x > 0.0 && x <= 1e6)
}

pub(crate) fn factor(reader: &mut Reader, value: &Value, at: &str) -> Option<f64> {
    reader.number(value, at, "a number from 0 to 1e6", |x| (0.0..=1e6).contains(&x))
}

/// A field that is off when it is null.
pub(crate) fn positive_or_null(reader: &mut Reader, value: &Value, at: &str) -> Option<Option<f64>> {
    positive(reader, value, at).map(Some)
}

/// A field that is off when it is null.
pub(crate) fn factor_or_null(reader: &mut Reader, value: &Value, at: &str) -> Option<Option<f64>> {
    factor(reader, value, at).map(Some)
}

/// A field that is off when it is null.
pub(crate) fn rate_or_null(reader: &mut Reader, value: &Value, at: &str) -> Option<Option<f64>> {
    rate(reader, value, at).map(Some)
}

pub(crate) fn boolean(reader: &mut Reader, value: &Value, at: &str) -> Option<bool> {
    reader.boolean(value, at)
}
