//! Reads JSON documents that people write, collecting EVERY fault with its pointer.
//!
//! serde stops at the first fault; a person who wrote a spec wants them all at once. So what clients
//! write is read with a [`Reader`], and serde is kept for what the server itself wrote.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::fault::Fault;

/// Collects faults while a document is read; every method reports and returns `None` on a fault.
#[derive(Debug, Default)]
pub struct Reader {
    pub faults: Vec<Fault>,
}

/// The fields of a JSON object, and where it stands.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    pointer: String,
}

impl Fields<'_> {
    /// The pointer of one of the object's fields.
    pub fn pointer_to(&self, name: &str) -> String {
        child(&self.pointer, name)
    }

    /// Whether the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }
}

impl Reader {
    pub fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault::new(pointer, detail));
    }

    /// An object that has no fields but the `known` ones.
    pub fn object<'a>(&mut self, value: &'a Value, pointer: &str, known: &[&str]) -> Option<Fields<'a>> {
        let Some(map) = value.as_object() else {
            self.fault(pointer, format!("must be an object, not {}", describe(value)));
            return None;
        };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let hint = match nearest(name, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the fields here are {}", list(known)),
            };
            self.fault(child(pointer, name), format!("unknown field {name:?}; {hint}"));
        }
        Some(Fields {
            map,
            pointer: pointer.to_owned(),
        })
    }

    /// A field that must be there; `read` gets its value and its pointer.
    pub fn required<'a, T>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        read: impl FnOnce(&mut Self, &'a Value, &str) -> Option<T>,
    ) -> Option<T> {
        match fields.map.get(name) {
            None | Some(Value::Null) => {
                self.fault(fields.pointer_to(name), format!("{name} is required"));
                None
            }
            Some(value) => read(self, value, &fields.pointer_to(name)),
        }
    }

    /// A field that may be left out or null, which both give `None`.
    pub fn optional<'a, T>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        read: impl FnOnce(&mut Self, &'a Value, &str) -> Option<T>,
    ) -> Option<T> {
        let value = fields.map.get(name).filter(|value| !value.is_null())?;
        read(self, value, &fields.pointer_to(name))
    }

    /// The elements of an array, each with its pointer.
    pub fn array<'a>(&mut self, value: &'a Value, pointer: &str) -> Option<Vec<(&'a Value, String)>> {
        let Some(items) = value.as_array() else {
            self.fault(pointer, format!("must be an array, not {}", describe(value)));
            return None;
        };
        let place = |(index, item)| (item, format!("{pointer}/{index}"));
        Some(items.iter().enumerate().map(place).collect())
    }

    pub fn boolean(&mut self, value: &Value, pointer: &str) -> Option<bool> {
        if value.as_bool().is_none() {
            self.fault(pointer, format!("must be true or false, not {}", describe(value)));
        }
        value.as_bool()
    }

    pub fn string<'a>(&mut self, value: &'a Value, pointer: &str) -> Option<&'a str> {
        if value.as_str().is_none() {
            self.fault(pointer, format!("must be a string, not {}", describe(value)));
        }
        value.as_str()
    }

    /// Text that parses as a T; its error says what was wanted.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, value: &Value, pointer: &str) -> Option<T> {
        let text = self.string(value, pointer)?;
        text.parse()
            .map_err(|error: T::Err| self.fault(pointer, error.to_string()))
            .ok()
    }

    pub fn integer(&mut self, value: &Value, pointer: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let whole = value.as_u64().filter(|number| range.contains(number));
        if whole.is_none() {
            let (low, high) = (range.start(), range.end());
            let got = describe(value);
            self.fault(
                pointer,
                format!("must be a whole number from {low} to {high}, not {got}"),
            );
        }
        whole
    }

    /// A finite number for which `fits` holds; `wanted` completes the sentence "must be …".
    pub fn number(&mut self, value: &Value, pointer: &str, wanted: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let number = value.as_f64().filter(|number| number.is_finite() && fits(*number));
        if number.is_none() {
            self.fault(pointer, format!("must be {wanted}, not {}", describe(value)));
        }
        number
    }

    /// One of a vocabulary's names, without regard to case; `what` is what the names name.
    pub fn name<T: Copy>(&mut self, value: &Value, pointer: &str, what: &str, names: &[(&str, T)]) -> Option<T> {
        let written = self.string(value, pointer)?;
        let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(written));
        if found.is_none() {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let hint = match nearest(written, &known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", list(&known)),
            };
            self.fault(pointer, format!("unknown {what} {:?}; {hint}", shorten(written)));
        }
        found.map(|(_, meaning)| *meaning)
    }
}

/// `pointer` extended by one field name, escaped as RFC 6901 asks.
pub fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The known name that a misspelt one most likely meant.
pub fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    if written.chars().count() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let similarity = |name: &&str| strsim::jaro_winkler(&written, &name.to_lowercase());
    known
        .iter()
        .map(|name| (similarity(name), *name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A value as an error message names it, short whatever the client sent.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string {:?}", shorten(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// At most the first 40 characters of a text, so that an answer never echoes a megabyte.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_fault_is_reported_with_its_pointer() {
        let document = json!({"unitz": 3, "rate": 2.0, "on": 1, "units": 0});
        let mut reader = Reader::default();
        let fields = reader
            .object(&document, "/layer", &["units", "rate", "on", "name"])
            .unwrap();
        reader.required(&fields, "units", |r, v, at| r.integer(v, at, 1..=9));
        reader.optional(&fields, "rate", |r, v, at| {
            r.number(v, at, "a number from 0 to 1", |x| x <= 1.0)
        });
        reader.optional(&fields, "on", |r, v, at| r.boolean(v, at));
        reader.required(&fields, "name", |r, v, at| r.string(v, at).map(str::to_owned));
        let found: Vec<String> = reader
            .faults
            .iter()
            .map(|f| format!("{} {}", f.pointer, f.detail))
            .collect();
        assert_eq!(
            found,
            [
                "/layer/unitz unknown field \"unitz\"; did you mean \"units\"?",
                "/layer/units must be a whole number from 1 to 9, not 0",
                "/layer/rate must be a number from 0 to 1, not 2.0",
                "/layer/on must be true or false, not 1",
                "/layer/name name is required",
            ]
        );
    }

    #[test]
    fn names_match_without_case_and_the_nearest_one_is_offered() {
        let names = [("adam", 1), ("adagrad", 2)];
        let mut reader = Reader::default();
        assert_eq!(reader.name(&json!("Adagrad"), "/o", "optimizer", &names), Some(2));
        assert_eq!(reader.name(&json!("adagrd"), "/o", "optimizer", &names), None);
        assert_eq!(
            reader.faults[0].detail,
            "unknown optimizer \"adagrd\"; did you mean \"adagrad\"?"
        );
    }
}
