//! The catalogue of bad input: one row a case, with the status, the kind and the place it is answered with.

mod conflicts;
mod datasets;
mod documents;
mod features;
mod limits;
mod requests;
mod specs;
mod strangers;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::client::{Answer, Call};

/// A call that has to be refused.
struct Case {
    name: &'static str,
    answer: Box<dyn FnOnce() -> Answer + Send>,
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
        Self::answered(name, status, kind, || call().send())
    }

    /// A case that takes more than one call to come to.
    fn answered(
        name: &'static str,
        status: u16,
        kind: &'static str,
        answer: impl FnOnce() -> Answer + Send + 'static,
    ) -> Self {
        Self {
            name,
            answer: Box::new(answer),
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
        let answer = (self.answer)();
        for (status, header) in [(401, "www-authenticate"), (405, "allow"), (429, "retry-after")] {
            let is_there = answer.header(header).is_some();
            assert!(answer.status != status || is_there, "no {header}: {}", answer.text());
        }
        let problem = answer.problem(self.status, self.kind);
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
        ("strangers", strangers::cases()),
        ("conflicts", conflicts::cases()),
        ("limits", limits::cases()),
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
