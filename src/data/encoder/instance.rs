//! Raw values as a client sends them for a prediction, one by one.

use serde_json::{Map, Value};

use super::{CategoryFeature, Encoder, Feature, NumberFeature};
use crate::data::cell;
use crate::data::table::{MISSING, UNSEEN};
use crate::nn::spec::Fault;
use crate::nn::spec::reader::{child, describe, nearest, shorten};

/// Faults and warnings beyond this many are not collected: a client could make millions with one request.
const MOST_LISTED: usize = 10_000;

/// What was found while instances were read.
struct Findings<'a> {
    faults: &'a mut Vec<Fault>,
    warnings: &'a mut Vec<String>,
}

impl Findings<'_> {
    fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.faults.len() < MOST_LISTED {
            self.faults.push(Fault::new(pointer, detail));
        }
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < MOST_LISTED {
            self.warnings.push(warning);
        }
    }
}

impl Encoder {
    /// Appends the inputs of one instance: an object by column name, or an array in the order of the columns.
    ///
    /// Null is a missing value and imputed; a category that training never saw is all zeros and a warning. Where there
    /// are faults the inputs mean nothing.
    pub fn instance(
        &self,
        instance: &Value,
        at: &str,
        out: &mut Vec<f32>,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) {
        let mut findings = Findings { faults, warnings };
        match instance {
            Value::Object(map) => self.object(map, at, out, &mut findings),
            Value::Array(values) if values.len() == self.features.len() => {
                for (place, (feature, value)) in self.features.iter().zip(values).enumerate() {
                    feature.encode_value(value, &format!("{at}/{place}"), out, &mut findings);
                }
            }
            Value::Array(values) => {
                let (got, wanted) = (values.len(), self.features.len());
                findings.fault(
                    at,
                    format!("must have {wanted} values, one for each column of the model, not {got}"),
                );
            }
            other => {
                let wanted = self.features.len();
                let detail = format!(
                    "must be an object by column name or an array of {wanted} values, not {}",
                    describe(other)
                );
                findings.fault(at, detail);
            }
        }
    }

    fn object(&self, map: &Map<String, Value>, at: &str, out: &mut Vec<f32>, findings: &mut Findings<'_>) {
        let mut found = 0;
        for feature in &self.features {
            match map.get(feature.name()) {
                Some(value) => {
                    found += 1;
                    feature.encode_value(value, &child(at, feature.name()), out, findings);
                }
                None => {
                    let detail = "is missing; send a value, or null to have it imputed";
                    findings.fault(child(at, feature.name()), detail);
                }
            }
        }
        if found < map.len() {
            self.report_unknown(map, at, findings);
        }
    }

    fn report_unknown(&self, map: &Map<String, Value>, at: &str, findings: &mut Findings<'_>) {
        let known: Vec<&str> = self.features.iter().map(Feature::name).collect();
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let hint = nearest(name, &known).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            findings.fault(child(at, &shorten(name)), format!("is not a column of the model{hint}"));
        }
    }
}

impl Feature {
    fn encode_value(&self, value: &Value, at: &str, out: &mut Vec<f32>, findings: &mut Findings<'_>) {
        let encoded = match self {
            Self::Number(number) => number.encode_value(value, out),
            Self::Category(category) => category.encode_value(value, out).map(|unseen| {
                if let Some(text) = unseen {
                    let (text, name) = (shorten(&text), shorten(&category.name));
                    findings.warn(format!(
                        "{at}: {text:?} is not among the values of {name:?} in the training table"
                    ));
                }
            }),
        };
        if let Err(detail) = encoded {
            findings.fault(at, detail);
        }
    }
}

impl NumberFeature {
    fn encode_value(&self, value: &Value, out: &mut Vec<f32>) -> Result<(), String> {
        let number = match value {
            Value::Null => f32::NAN,
            Value::Number(number) => {
                let rounded = number.as_f64().map(|number| number as f32);
                rounded
                    .filter(|number| number.is_finite())
                    .ok_or("must be a number within ±3.4e38")?
            }
            other => return Err(format!("must be a number, not {}", describe(other))),
        };
        out.push(self.encode_finite(number)?);
        Ok(())
    }

    /// Like [`Self::encode`], where the number is a client's and what comes out must be finite.
    pub(super) fn encode_finite(&self, number: f32) -> Result<f32, String> {
        let encoded = self.encode(number);
        let too_far = || format!("{number:e} is too far from the training table's values to be scaled like them");
        encoded.is_finite().then_some(encoded).ok_or_else(too_far)
    }
}

impl CategoryFeature {
    /// Appends one input a category; the text where it is none of them.
    fn encode_value(&self, value: &Value, out: &mut Vec<f32>) -> Result<Option<String>, String> {
        let text = match value {
            Value::Null => String::new(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::String(text) => text.trim_ascii().to_owned(),
            other => return Err(format!("must be a text, not {}", describe(other))),
        };
        Ok(self.encode_text(&text, out).then_some(text))
    }

    /// Appends one input a category; whether the text is none of them.
    pub(super) fn encode_text(&self, text: &str, out: &mut Vec<f32>) -> bool {
        let code = if cell::is_missing(text.as_bytes()) {
            MISSING
        } else {
            self.code_of(text)
        };
        let first = out.len();
        out.resize(first + self.categories.len(), 0.0);
        if let Some(position) = self.encode(code) {
            out[first + position as usize] = 1.0;
        }
        code == UNSEEN
    }
}
