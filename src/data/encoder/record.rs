//! Records of a CSV as a client sends it for predictions.

use std::io::Read;

use super::{Encoder, Feature};
use crate::data::cell::{Cell, parse};
use crate::data::csv_reader::CsvReader;
use crate::data::table_error::TableError;
use crate::nn::spec::reader::{nearest, shorten};

/// An encoder for the records of one CSV, which may have more columns than the model.
#[derive(Debug)]
pub struct RecordEncoder<'a> {
    /// Each feature and the place of its column.
    features: Vec<(&'a Feature, usize)>,
}

impl Encoder {
    /// Finds the model's columns in a header. Errors: all columns that aren't there.
    pub fn for_header(&self, header: &[String]) -> Result<RecordEncoder<'_>, TableError> {
        let mut features = Vec::with_capacity(self.features.len());
        let mut missing = Vec::new();
        for feature in &self.features {
            match header.iter().position(|name| name == feature.name()) {
                Some(place) => features.push((feature, place)),
                None => missing.push(feature.name()),
            }
        }
        if missing.is_empty() {
            Ok(RecordEncoder { features })
        } else {
            Err(lacks(header, &missing))
        }
    }
}

fn lacks(header: &[String], missing: &[&str]) -> TableError {
    const SHOWN: usize = 20;
    let known: Vec<&str> = header.iter().map(String::as_str).collect();
    let named = missing.iter().take(SHOWN).map(|name| match nearest(name, &known) {
        Some(near) => format!("{:?} (is {near:?} meant for it?)", shorten(name)),
        None => format!("{:?}", shorten(name)),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let rest = match missing.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    TableError::at(1, 1, format!("the header lacks columns of the model: {named}{rest}"))
}

impl RecordEncoder<'_> {
    /// Appends the inputs of the reader's record; a category that training never saw is all zeros.
    ///
    /// Errors: a text, or a number that is too large, where a number belongs.
    pub fn encode<R: Read>(&self, reader: &CsvReader<R>, out: &mut Vec<f32>) -> Result<(), TableError> {
        for (feature, place) in &self.features {
            match feature {
                Feature::Category(category) => {
                    category.encode_text(reader.text(*place), out);
                }
                Feature::Number(number) => {
                    let value = match parse(reader.field(*place)) {
                        Cell::Number(value) => value as f32,
                        Cell::Missing => f32::NAN,
                        Cell::Text | Cell::TooLarge => {
                            let text = shorten(reader.text(*place));
                            let detail = format!("must be a number within ±3.4e38, not {text:?}");
                            return Err(reader.fault(*place, detail));
                        }
                    };
                    out.push(
                        number
                            .encode_finite(value)
                            .map_err(|detail| reader.fault(*place, detail))?,
                    );
                }
            }
        }
        Ok(())
    }
}
