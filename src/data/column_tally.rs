//! What a column turns out to be while its cells go by.

use std::io::Read;

use super::cell::Cell;
use super::profile::Column;
use super::rows::Rows;
use super::table_error::TableFault;
use super::tally::{NumberTally, Vocabulary};

/// What is known of a column so far.
pub(super) struct ColumnTally {
    name: String,
    missing: u64,
    pub(super) kind: Kind,
    /// Where the first number stands that a 32-bit float can't hold.
    too_large: Option<(u64, u64)>,
}

pub(super) enum Kind {
    /// No value came by yet.
    Empty,
    Numbers(Box<NumberTally>),
    Texts(Vocabulary),
    /// Texts after numbers.
    Mixed,
}

impl ColumnTally {
    /// A column whose first `missing` rows have no value.
    pub(super) fn new(name: &str, missing: u64) -> Self {
        Self {
            name: name.to_owned(),
            missing,
            kind: Kind::Empty,
            too_large: None,
        }
    }

    #[inline]
    pub(super) fn add<R: Read>(&mut self, rows: &Rows<R>, column: usize, budget: &mut usize) {
        let cell = rows.cell(column);
        match (&mut self.kind, cell) {
            (Kind::Numbers(tally), Cell::Number(number)) => tally.add(number),
            (_, Cell::Missing) => self.missing += 1,
            (Kind::Mixed, _) => {}
            (Kind::Texts(vocabulary), _) => vocabulary.add(&rows.text(column), budget),
            (Kind::Empty, Cell::Number(number)) => {
                let mut tally = Box::<NumberTally>::default();
                tally.add(number);
                self.kind = Kind::Numbers(tally);
            }
            (Kind::Empty, Cell::Text) => {
                // An infinity before the first text is one more text.
                if self.too_large.is_some() {
                    self.kind = Kind::Mixed;
                    return;
                }
                let mut vocabulary = Vocabulary::default();
                vocabulary.add(&rows.text(column), budget);
                self.kind = Kind::Texts(vocabulary);
            }
            (Kind::Numbers(_), Cell::Text) => self.kind = Kind::Mixed,
            (Kind::Empty | Kind::Numbers(_), Cell::TooLarge) => {
                self.too_large
                    .get_or_insert_with(|| (rows.line_of(column), column as u64 + 1));
            }
        }
    }

    pub(super) fn fault(&self) -> Option<TableFault> {
        let (line, column) = self
            .too_large
            .filter(|_| matches!(self.kind, Kind::Empty | Kind::Numbers(_)))?;
        Some(TableFault {
            detail:
                "here is a number beyond ±3.4e38, which is more than a 32-bit float holds; leave it blank if it is \
                     missing"
                    .to_owned(),
            line: Some(line),
            column: Some(column),
        })
    }

    pub(super) fn finish(self) -> Column {
        match self.kind {
            Kind::Empty => Column::Number(NumberTally::default().finish(self.name, self.missing)),
            Kind::Numbers(tally) => Column::Number(tally.finish(self.name, self.missing)),
            Kind::Texts(vocabulary) => Column::Category(vocabulary.finish(self.name, self.missing)),
            Kind::Mixed => Column::Category(Vocabulary::default().finish(self.name, self.missing)),
        }
    }
}
