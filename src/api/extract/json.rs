//! A JSON body, read strictly: the right content type, no more than the limit, one well-formed document.

use std::fmt;

use axum::extract::{FromRef, FromRequest, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::body::{BodyLimits, Memory, refuse_packed};
use crate::api::blocking::blocking;
use crate::api::error::ApiError;
use crate::domain::problem::{Kind, Place, Problem};

/// A body up to this size is parsed where it arrived, in a millisecond or two; a larger one on a thread that may take its time.
const QUICK_BYTES: usize = 256 * 1024;

/// How much of JSON bodies is taken.
#[derive(Clone)]
pub(crate) struct JsonBodies(pub(crate) BodyLimits);

/// The document of a request body, and its share of the memory for all. What the document means is for the handler: faults
/// of meaning are collected, not met one by one.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value, pub(crate) Memory);

impl<S: Sync> FromRequest<S> for Json
where
    JsonBodies: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonText(bytes, memory) = JsonText::from_request(request, state).await?;
        match bytes.len() <= QUICK_BYTES {
            true => Ok(Self(parse(&bytes)?, memory)),
            false => blocking(move || Ok(Self(parse(&bytes)?, memory))).await,
        }
    }
}

/// The same before it is parsed.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) Vec<u8>, pub(crate) Memory);

impl<S: Sync> FromRequest<S> for JsonText
where
    JsonBodies: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let JsonBodies(limits) = JsonBodies::from_ref(state);
        let (bytes, memory) = limits.read(&parts.headers, body).await?;
        Ok(Self(bytes, memory))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |detail: String| Err(ApiError::new(Kind::UnsupportedMediaType, detail));
    refuse_packed(headers)?;
    match headers.get(CONTENT_TYPE) {
        Some(value) if is_json(value) => Ok(()),
        Some(value) => unsupported(format!(
            "The body must be JSON, sent with the header content-type: application/json, not {value:?}."
        )),
        None => unsupported("The body must be JSON, sent with the header content-type: application/json.".to_owned()),
    }
}

/// `application/json` or `application/….+json`, in UTF-8.
fn is_json(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let other_charset = |part: &str| {
        part.strip_prefix("charset=")
            .is_some_and(|set| set.trim_matches('"') != "utf-8")
    };
    json && !parts.any(|part| other_charset(&part))
}

/// Parses exactly one document. Refused are what RFC 8259 refuses, and what two readers could understand differently:
/// a field given twice, a number no double can hold, half of a surrogate pair.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| malformed(&error, bytes))
}

fn malformed(error: &serde_json::Error, bytes: &[u8]) -> Problem {
    let place = place(error, bytes);
    let message = error.to_string();
    // serde_json appends the place, which the answer carries as numbers.
    let reason = message.split(" at line ").next().unwrap_or_default();
    let reason = match bytes.iter().all(u8::is_ascii_whitespace) {
        true => "it is empty",
        false => reason,
    };
    let Place { line, column } = place;
    let detail = format!("The body is not well-formed JSON: {reason} (line {line}, column {column}).");
    Problem {
        place: Some(place),
        ..Problem::new(Kind::MalformedJson, detail)
    }
}

/// serde_json counts bytes from 0 or 1, people count characters from 1.
fn place(error: &serde_json::Error, bytes: &[u8]) -> Place {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let read = &line[..error.column().min(line.len())];
    let characters = read.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
    Place {
        line: error.line().max(1) as u64,
        column: characters.max(1) as u64,
    }
}

/// Builds a [`Value`] and refuses an object that names a field twice, where `Value`'s own reader keeps the last.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = crate::nn::spec::reader::shorten(&name);
                return Err(A::Error::custom(format_args!("the field {name:?} stands there twice")));
            }
            let value = fields.next_value_seed(Strict)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_as_serde_json_reads_it() {
        let text = r#" {"a": [1, -2, 0.1, 1e3, true, null, "\ud83d\ude80"], "b": {}, "c": 18446744073709551615} "#;
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(text).unwrap()
        );
        assert_eq!(parse(b"0").unwrap(), json!(0));
    }

    #[test]
    fn what_is_malformed_is_refused_with_its_place() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        let cases: &[(&[u8], &str, u64, u64)] = &[
            (b"", "it is empty", 1, 1),
            (b"{\"a\": 1,\n \"b\": }", "expected value", 2, 7),
            (b"{\"a\": 1} x", "trailing characters", 1, 10),
            (b"{\"a\": 1,\n\"a\": 2}", "the field \"a\" stands there twice", 2, 3),
            (b"[NaN]", "expected value", 1, 2),
            (b"[1e999]", "number out of range", 1, 6),
            (b"[\"\\ud800\"]", "hex escape", 1, 9),
            (b"[\"\xff\"]", "invalid unicode code point", 1, 3),
            ("{\"품종\": x}".as_bytes(), "expected value", 1, 8),
            (b"[1, 2", "EOF", 1, 5),
            (b"[01]", "invalid number", 1, 3),
            (deep.as_bytes(), "recursion limit exceeded", 1, 128),
        ];
        for (bytes, reason, line, column) in cases {
            let problem = parse(bytes).unwrap_err();
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(problem.kind, Kind::MalformedJson, "{text}");
            assert!(problem.detail.contains(reason), "{text}: {}", problem.detail);
            assert_eq!(
                problem.place,
                Some(Place {
                    line: *line,
                    column: *column
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn only_json_in_utf_8_counts_as_json() {
        let is_json = |text: &'static str| is_json(&HeaderValue::from_static(text));
        assert!(is_json("application/json"));
        assert!(is_json("Application/JSON; charset=UTF-8"));
        assert!(is_json("application/merge-patch+json"));
        assert!(!is_json("text/plain"));
        assert!(!is_json("application/json; charset=euc-kr"));
        assert!(!is_json("application/x-www-form-urlencoded"));
    }
}
