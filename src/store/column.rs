//! Between the columns' few types and Rust's.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// For a BIGINT column. Beyond its range only estimates lie, for which "very much" is as good.
pub(super) fn bigint(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A BIGINT column that holds a number without sign.
pub(super) fn unsigned<T: TryFrom<i64, Error: Display>>(what: &'static str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|error| damaged(what, error))
}

/// A TEXT column that holds an id, a time or a name.
pub(super) fn parsed<T: FromStr<Err: Display>>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| damaged(what, error))
}

/// A TEXT column that holds a JSON document.
pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(what, error))
}

pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("the stored nouns are JSON")
}

pub(super) fn damaged(what: &'static str, reason: impl Display) -> StoreError {
    StoreError::Damaged {
        what,
        reason: reason.to_string(),
    }
}
