//! Predictions for a whole CSV: its rows out again with the prediction's columns added, in memory that doesn't grow.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use super::prediction::Probabilities;
use super::predictor::{Predictor, unfit};
use crate::data::csv_reader::CsvReader;
use crate::data::csv_writer::CsvWriter;
use crate::data::encoder::RecordEncoder;
use crate::data::profile::Limits;
use crate::data::source::{Format, HEAD_BYTES, SourceRequest, detect};
use crate::domain::problem::{Kind, Problem};
use crate::store::StoreError;

/// Rows that go through the network together.
const BATCH_ROWS: usize = 1024;

/// Rows on their way through the network.
#[derive(Default)]
struct Batch {
    /// The fields as they came, one after the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    x: Vec<f32>,
    rows: usize,
}

impl Predictor {
    /// Reads a CSV with a header and writes it again, as UTF-8, with the prediction's columns added: `predicted_TARGET`,
    /// and for a classification `probability_CLASS` for each class.
    ///
    /// Errors: `invalid-dataset` for what is no table, `invalid-features` for what is no input of this model, both with
    /// line and column; `insufficient-storage` when the output has no room.
    pub fn predict_csv(
        &self,
        mut input: impl Read,
        request: &SourceRequest,
        limits: &Limits,
        output: impl Write,
    ) -> Result<(), Problem> {
        let mut head = Vec::new();
        input
            .by_ref()
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(Problem::internal)?;
        let request = SourceRequest {
            format: Some(Format::Csv),
            ..request.clone()
        };
        let source = detect(&head, &request)?;
        let mut reader = CsvReader::open(head.chain(input), &source, limits)?;
        let encoder = self.encoder.for_header(reader.header()).map_err(unfit)?;
        let mut writer = CsvWriter::new(output, source.delimiter()?);
        let added = self.added_columns(reader.header());
        writer
            .row(reader.header().iter().chain(&added).map(String::as_str))
            .map_err(output_failed)?;

        let (mut batch, mut done) = (Batch::default(), 0);
        loop {
            let more = reader.advance()?;
            if more {
                batch.push(&reader, &encoder)?;
            }
            if batch.rows == BATCH_ROWS || !more {
                self.write(&batch, reader.header().len(), done, &mut writer)?;
                done += batch.rows;
                batch.clear();
            }
            if !more {
                break;
            }
        }
        if done == 0 {
            return Err(Problem::new(
                Kind::InvalidFeatures,
                "The table has a header but no row to predict.",
            ));
        }
        writer.finish().map_err(output_failed)?.flush().map_err(output_failed)
    }

    /// The names of the prediction's columns, none of which the table has.
    fn added_columns(&self, header: &[String]) -> Vec<String> {
        let mut names = vec![format!("predicted_{}", self.model().target)];
        names.extend(
            self.classes
                .iter()
                .flat_map(|classes| classes.iter())
                .map(|class| format!("probability_{class}")),
        );
        for name in &mut names {
            while header.contains(name) {
                name.push('_');
            }
        }
        names
    }

    fn write<W: Write>(
        &self,
        batch: &Batch,
        columns: usize,
        done: usize,
        writer: &mut CsvWriter<W>,
    ) -> Result<(), Problem> {
        let predicted = self.network.predict(self.matrix(&batch.x, batch.rows));
        let (mut start, mut added) = (0, Vec::new());
        for (row, outputs) in predicted.rows().into_iter().enumerate() {
            if !outputs.iter().all(|output| output.is_finite()) {
                let detail = format!(
                    "Row {} has values so large that the network's numbers overflow.",
                    done + row + 1
                );
                return Err(Problem::new(Kind::InvalidFeatures, detail));
            }
            self.describe(outputs.to_slice().expect("predictions are row-major"), &mut added);
            let fields = batch.ends[row * columns..][..columns].iter().map(|end| {
                let field = &batch.text[start..*end];
                start = *end;
                field
            });
            writer
                .row(fields.chain(added.iter().map(String::as_str)))
                .map_err(output_failed)?;
        }
        Ok(())
    }

    /// The prediction's fields of one row.
    fn describe(&self, outputs: &[f32], fields: &mut Vec<String>) {
        let values = match &self.classes {
            None => {
                fields.resize_with(outputs.len(), String::new);
                outputs.to_vec()
            }
            Some(classes) => {
                let probabilities = Probabilities::new(classes, outputs);
                fields.resize_with(1 + classes.len(), String::new);
                fields[0].clear();
                fields[0].push_str(probabilities.label().as_str());
                probabilities.values().to_vec()
            }
        };
        let first = fields.len() - values.len();
        for (field, value) in fields[first..].iter_mut().zip(values) {
            field.clear();
            write!(field, "{value:?}").expect("writing to a string");
        }
    }
}

impl Batch {
    fn push<R: Read>(&mut self, reader: &CsvReader<R>, encoder: &RecordEncoder<'_>) -> Result<(), Problem> {
        encoder.encode(reader, &mut self.x).map_err(unfit)?;
        for column in 0..reader.header().len() {
            self.text.push_str(reader.text(column));
            self.ends.push(self.text.len());
        }
        self.rows += 1;
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.x.clear();
        self.rows = 0;
    }
}

/// Tells a full disk from other failures.
fn output_failed(error: io::Error) -> Problem {
    StoreError::from(error).into()
}
