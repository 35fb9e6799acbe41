//! A query string, read strictly: every parameter known, given once, well encoded and of the right kind.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use crate::api::error::ApiError;
use crate::api::limits::Limits;
use crate::domain::problem::{Kind, Problem};
use crate::nn::spec::Fault;
use crate::nn::spec::reader::{nearest, shorten};

/// What an operation takes in its query.
pub(crate) trait FromQuery: Sized {
    /// All its parameters; a test holds them against the document.
    const NAMES: &'static [&'static str];

    /// Takes the values; on a fault, which the reader has noted, any value will do.
    fn read(query: &mut QueryReader, limits: &Limits) -> Self;
}

/// The parameters of the query string. On failure every fault in them is listed.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: FromQuery, S: Sync> FromRequestParts<S> for Query<T>
where
    Arc<Limits>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let limits = Arc::<Limits>::from_ref(state);
        let mut reader = QueryReader::new(parts.uri.query().unwrap_or_default(), T::NAMES);
        let value = T::read(&mut reader, &limits);
        reader.finish()?;
        Ok(Self(value))
    }
}

/// The decoded parameters, and the faults found so far.
#[derive(Debug)]
pub(crate) struct QueryReader {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl QueryReader {
    pub(crate) fn new(query: &str, known: &[&str]) -> Self {
        let mut reader = Self {
            pairs: Vec::new(),
            faults: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => reader.add(name, value, known),
                _ => reader.fault(&shorten(name), "is not percent-encoded UTF-8; write % as %25"),
            }
        }
        reader
    }

    fn add(&mut self, name: String, value: String, known: &[&str]) {
        if !known.contains(&name.as_str()) {
            let hint = match (nearest(&name, known), known) {
                (Some(near), _) => format!("did you mean {near:?}?"),
                (None, []) => "this call takes none".to_owned(),
                (None, known) => format!("this call takes {}", known.join(", ")),
            };
            self.fault(&shorten(&name), format!("unknown query parameter; {hint}"));
        } else if self.pairs.iter().any(|(earlier, _)| *earlier == name) {
            self.fault(&name, "is given more than once");
        } else {
            self.pairs.push((name, value));
        }
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(name, detail));
    }

    /// The text of a parameter, if it is there.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.pairs
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    /// Text of 1 to `max` characters.
    pub(crate) fn name(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.text(name)?;
        if text.is_empty() || text.chars().count() > max {
            self.fault(name, format!("must have from 1 to {max} characters"));
            return None;
        }
        Some(text)
    }

    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.fault(
                name,
                format!("must be a whole number from {low} to {high}, not {:?}", shorten(&text)),
            );
        }
        number
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.one_of(name, &[("true", true), ("false", false)])
    }

    pub(crate) fn one_of<T: Copy>(&mut self, name: &str, names: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = names
            .iter()
            .find(|(known, _)| *known == text)
            .map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
            self.fault(
                name,
                format!("must be one of {}, not {:?}", known.join(", "), shorten(&text)),
            );
        }
        found
    }

    /// A value that parses from its text.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|error: T::Err| self.fault(name, error.to_string()))
            .ok()
    }

    /// Whether all was well.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(Problem::faults(Kind::MalformedRequest, "The query", self.faults)),
        }
    }
}

/// Undoes percent-encoding, and `+` for a space; `None` where the result would not be UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let reader = QueryReader::new(
            "name=%ED%92%88%EC%A2%85+1&delimiter=%3B&flag",
            &["name", "delimiter", "flag"],
        );
        assert_eq!(reader.text("name").as_deref(), Some("품종 1"));
        assert_eq!(reader.text("delimiter").as_deref(), Some(";"));
        assert_eq!(reader.text("flag").as_deref(), Some(""));
        reader.finish().unwrap();
    }

    #[test]
    fn every_fault_is_listed() {
        let mut reader = QueryReader::new(
            "limit=3&limit=4&limt=1&after=%zz&wait=-1&deep=yes&x=1",
            &["limit", "after", "wait", "deep"],
        );
        reader.integer("limit", 1..=200);
        reader.integer("wait", 0..=60);
        reader.boolean("deep");
        let problem = reader.finish().unwrap_err();
        let faults: Vec<String> = problem
            .faults
            .iter()
            .map(|fault| format!("{} {}", fault.pointer, fault.detail))
            .collect();
        assert_eq!(problem.kind, Kind::MalformedRequest);
        assert_eq!(
            faults,
            [
                "limit is given more than once",
                "limt unknown query parameter; did you mean \"limit\"?",
                "after is not percent-encoded UTF-8; write % as %25",
                "x unknown query parameter; this call takes limit, after, wait, deep",
                "wait must be a whole number from 0 to 60, not \"-1\"",
                "deep must be one of true, false, not \"yes\"",
            ]
        );
    }

    #[test]
    fn whole_numbers_are_digits_only() {
        for text in ["", "+1", "1.0", "1e1", " 1", "99999999999999999999", "201"] {
            let mut reader = QueryReader::new(&format!("limit={}", text.replace('+', "%2B")), &["limit"]);
            assert_eq!(reader.integer("limit", 1..=200), None, "{text:?}");
            assert!(reader.finish().is_err(), "{text:?}");
        }
    }
}
