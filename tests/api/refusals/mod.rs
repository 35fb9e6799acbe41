//! The catalogue of bad input: one row a case, with the status, the kind and the place it is answered with.

mod datasets;
mod documents;
mod features;
mod requests;
mod specs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::client::Call;

/// A call that has to be refused.
struct Case {
    name: &'static str,
    call: Box<dyn FnOnce() -> Call<'static> + Send>,
    status: u16,
    kind: &'static str,
    places: Vec<Place>,
}

/// Where the answer has to say that the fault is.
enum Place {
    /// JSON pointer into the body.
    At(&'static str),
    /// JSON pointer, and words that the sentence there has to have, such as the nearest right name.
    Says(&'static str, &'static str),
    /// Line and column of a table.
    Line(u64, u64),
}

impl Case {
    fn new(
        name: &'static str,
        status: u16,
        kind: &'static str,
        call: impl FnOnce() -> Call<'static> + Send + 'static,
    ) -> Self {
        Self {
            name,
            call: Box::new(call),
            status,
            kind,
            places: Vec::new(),
        }
    }

    fn places(mut self, places: impl Into<Vec<Place>>) -> Self {
        self.places = places.into();
        self
    }

    fn check(self) {
        let problem = (self.call)().send().problem(self.status, self.kind);
        for place in &self.places {
            assert!(place.is_in(&problem["errors"]), "no fault at {place}: {problem}");
        }
    }

    fn trial(self, family: &str) -> Trial {
        Trial::test(format!("refusals::{family}::{}", self.name.replace(' ', "_")), || {
            self.check();
            Ok(())
        })
    }
}

impl Place {
    fn is_in(&self, faults: &Value) -> bool {
        faults
            .as_array()
            .expect("errors is an array")
            .iter()
            .any(|fault| match self {
                Self::At(pointer) => fault["pointer"] == *pointer,
                Self::Says(pointer, words) => {
                    fault["pointer"] == *pointer
                        && fault["detail"].as_str().is_some_and(|detail| detail.contains(words))
                }
                Self::Line(line, column) => fault["line"] == *line && fault["column"] == *column,
            })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(pointer) => write!(f, "{pointer:?}"),
            Self::Says(pointer, words) => write!(f, "{pointer:?} with {words:?}"),
            Self::Line(line, column) => write!(f, "line {line}, column {column}"),
        }
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let families = [
        ("requests", requests::cases()),
        ("datasets", datasets::cases()),
        ("specs", specs::cases()),
        ("documents", documents::cases()),
        ("features", features::cases()),
    ];
    families
        .into_iter()
        .flat_map(|(family, cases)| cases.into_iter().map(move |case| case.trial(family)))
        .collect()
}
