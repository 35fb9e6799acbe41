//! Reads CSV record by record, with every fault's line and column.
//!
//! `csv-core` splits the fields and forgives everything; what it forgives is looked for here: open quotes, ragged rows,
//! overlong fields, faulty headers.

use std::collections::HashMap;
use std::io::Read;

use super::profile::Limits;
use super::source::Source;
use super::table_error::TableError;
use super::text::{Text, TextError, line_breaks};
use crate::nn::spec::reader::shorten;

/// A record is at most this many times the longest field.
const RECORD_FIELDS: usize = 16;

pub struct CsvReader<R> {
    text: Text<R>,
    core: csv_core::Reader,
    header: Vec<String>,
    limits: Limits,
    /// The record: its fields one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How much of `bytes` and `ends` the record has so far.
    used: usize,
    count: usize,
    start: Start,
}

/// Where a record starts; counting lines is put off until a fault asks for it.
enum Start {
    /// At or after a position in the block.
    Position(usize),
    /// On a line, when its block is gone.
    Line(u64),
}

impl<R: Read> CsvReader<R> {
    /// Reads the header: distinct names, none blank.
    pub fn open(input: R, source: &Source, limits: &Limits) -> Result<Self, TableError> {
        let mut reader = Self {
            text: Text::new(input, source.encoding()?),
            core: csv_core::ReaderBuilder::new().delimiter(source.delimiter()?).build(),
            header: Vec::new(),
            limits: *limits,
            bytes: vec![0; 1 << 14],
            ends: vec![0; 64.min(limits.columns + 1)],
            used: 0,
            count: 0,
            start: Start::Position(0),
        };
        reader.read_header()?;
        // One more than a row may have, so that a longer one is noticed.
        reader.ends.resize(reader.header.len() + 1, 0);
        Ok(reader)
    }

    /// The names of the columns, without spaces around them.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Goes to the next record; false at the end. Lines with nothing on them are no records.
    pub fn advance(&mut self) -> Result<bool, TableError> {
        let columns = self.header.len();
        loop {
            if !self.read_record()? {
                return Ok(false);
            }
            if self.count == 1 && columns > 1 && self.field(0).trim_ascii().is_empty() {
                continue;
            }
            if self.count != columns {
                return Err(self.ragged());
            }
            return Ok(true);
        }
    }

    /// A field of the record as it stands between its delimiters or quotes.
    #[inline]
    pub(crate) fn field(&self, column: usize) -> &[u8] {
        &self.bytes[self.start_of(column)..self.ends[column]]
    }

    /// A field as text, without spaces around it.
    pub fn text(&self, column: usize) -> &str {
        let text = std::str::from_utf8(self.field(column)).expect("valid blocks are split at ASCII characters only");
        text.trim_ascii()
    }

    /// The physical line, from 1, on which a field of the record starts.
    pub fn line_of(&self, column: usize) -> u64 {
        let line = match self.start {
            Start::Line(line) => line,
            Start::Position(position) => {
                let start = self.text.skip_breaks(position).unwrap_or(self.text.position());
                self.text.line_of(start)
            }
        };
        line + line_breaks(&self.bytes[..self.start_of(column)])
    }

    /// A fault at a field of the record.
    pub fn fault(&self, column: usize, detail: impl Into<String>) -> TableError {
        TableError::at(self.line_of(column), column as u64 + 1, detail)
    }

    #[inline]
    fn start_of(&self, column: usize) -> usize {
        if column == 0 { 0 } else { self.ends[column - 1] }
    }

    fn read_header(&mut self) -> Result<(), TableError> {
        if !self.read_record()? {
            return Err(TableError::at(
                1,
                1,
                "the table is empty; send a header line and at least one row",
            ));
        }
        let mut first_with: HashMap<String, usize> = HashMap::with_capacity(self.count);
        for column in 0..self.count {
            let name = self.text(column).trim().to_owned();
            if name.is_empty() {
                return Err(self.fault(column, "this column has no name in the header"));
            }
            if let Some(first) = first_with.insert(name.clone(), column) {
                let shown = shorten(&name);
                let detail = format!(
                    "the header names {shown:?} a second time; column {} has it too",
                    first + 1
                );
                return Err(self.fault(column, detail));
            }
            self.header.push(name);
        }
        Ok(())
    }

    fn read_record(&mut self) -> Result<bool, TableError> {
        (self.used, self.count) = (0, 0);
        self.start = Start::Position(self.text.position());
        loop {
            let more = self.refill()?;
            // At the end a line break ends the last record, unless an open quote takes it for its own.
            let input = if more { self.text.unread() } else { b"\n" };
            let (bytes, ends) = (&mut self.bytes[self.used..], &mut self.ends[self.count..]);
            let (result, read, written, ended) = self.core.read_record(input, bytes, ends);
            self.used += written;
            self.count += ended;
            if more {
                self.text.consume(read);
            }
            match result {
                csv_core::ReadRecordResult::InputEmpty if more => {}
                csv_core::ReadRecordResult::InputEmpty if self.used > 0 || self.count > 0 => {
                    return Err(self.fault(self.count, "a quote is opened here and never closed"));
                }
                csv_core::ReadRecordResult::InputEmpty | csv_core::ReadRecordResult::End => return Ok(false),
                csv_core::ReadRecordResult::OutputFull => self.grow_bytes()?,
                csv_core::ReadRecordResult::OutputEndsFull => self.grow_ends()?,
                csv_core::ReadRecordResult::Record => return self.check_lengths().map(|()| true),
            }
        }
    }

    /// Makes sure that there are unread bytes; false at the end.
    #[inline]
    fn refill(&mut self) -> Result<bool, TableError> {
        if !self.text.unread().is_empty() {
            return Ok(true);
        }
        if let Start::Position(position) = self.start {
            self.start = match self.text.skip_breaks(position) {
                Some(start) => Start::Line(self.text.line_of(start)),
                // Nothing of the record was in this block.
                None => Start::Position(0),
            };
        }
        match self.text.fill() {
            Ok(more) => Ok(more),
            Err(TextError::Io(error)) => Err(TableError::Io(error)),
            Err(TextError::Fault(what)) => {
                let line = self.text.line_of(self.text.position());
                Err(TableError::at(line, self.count as u64 + 1, format!("here are {what}")))
            }
        }
    }

    fn grow_bytes(&mut self) -> Result<(), TableError> {
        let longest = self.limits.field_bytes;
        if self.used - self.start_of(self.count) > longest {
            return Err(self.too_long(self.count));
        }
        if self.bytes.len() > longest.saturating_mul(RECORD_FIELDS) {
            let detail = format!("this row has more than {RECORD_FIELDS} times {longest} bytes");
            return Err(self.fault(0, detail));
        }
        self.bytes.resize(self.bytes.len() * 2, 0);
        Ok(())
    }

    fn grow_ends(&mut self) -> Result<(), TableError> {
        let most = self.limits.columns;
        match self.header.len() {
            0 if self.ends.len() > most => {
                let detail = format!("the table has more than {most} columns; leave out those you don't need");
                Err(self.fault(most, detail))
            }
            0 => {
                self.ends.resize((self.ends.len() * 2).min(most + 1), 0);
                Ok(())
            }
            _ => Err(self.ragged()),
        }
    }

    fn check_lengths(&self) -> Result<(), TableError> {
        if self.header.is_empty() && self.count > self.limits.columns {
            let detail = format!("the table has more than {} columns", self.limits.columns);
            return Err(self.fault(self.limits.columns, detail));
        }
        if self.used <= self.limits.field_bytes {
            return Ok(());
        }
        let too_long = |column: &usize| self.ends[*column] - self.start_of(*column) > self.limits.field_bytes;
        match (0..self.count).find(too_long) {
            Some(column) => Err(self.too_long(column)),
            None => Ok(()),
        }
    }

    fn too_long(&self, column: usize) -> TableError {
        let longest = self.limits.field_bytes;
        self.fault(
            column,
            format!("this field has more than {longest} bytes; is there a quote that is never closed?"),
        )
    }

    fn ragged(&self) -> TableError {
        let columns = self.header.len();
        if self.count > columns {
            return self.fault(
                columns,
                format!("this row has more fields than the header, which has {columns}"),
            );
        }
        let detail = format!("this row has {} fields, the header has {columns}", self.count);
        self.fault(self.count, detail)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::source::{SourceRequest, detect};

    const SMALL: Limits = Limits {
        rows: 100,
        columns: 5,
        field_bytes: 40_000,
    };

    fn read(content: &[u8]) -> Result<Vec<Vec<String>>, TableError> {
        let source = detect(
            content,
            &SourceRequest {
                delimiter: Some(",".to_owned()),
                ..Default::default()
            },
        )?;
        let mut reader = CsvReader::open(content, &source, &SMALL)?;
        let mut records = vec![reader.header().to_vec()];
        while reader.advance()? {
            records.push(
                (0..reader.header().len())
                    .map(|column| reader.text(column).to_owned())
                    .collect(),
            );
        }
        Ok(records)
    }

    /// The fault as `line:column detail`.
    fn fault(content: impl AsRef<[u8]>) -> String {
        match read(content.as_ref()) {
            Err(TableError::Invalid(fault)) => {
                format!("{}:{} {}", fault.line.unwrap(), fault.column.unwrap(), fault.detail)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_line_ends_and_quotes_give_the_same_records() {
        let expected = vec![vec!["a", "b"], vec!["1", "x, \"y\""], vec!["2", ""]];
        for content in [
            "a,b\n1,\"x, \"\"y\"\"\"\n2,\n",
            "a,b\r\n1,\"x, \"\"y\"\"\"\r\n2,\r\n",
            "a,b\r1,\"x, \"\"y\"\"\"\r2,\r",
            "\u{feff}a, b\n\n 1 ,\"x, \"\"y\"\"\"\n  \n\"2\",\"\"",
        ] {
            assert_eq!(read(content.as_bytes()).unwrap(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_table_of_one_column_has_blank_rows_only_in_quotes() {
        assert_eq!(read(b"a\n1\n\n\"\"\n2").unwrap(), [["a"], ["1"], [""], ["2"]]);
    }

    #[test]
    fn faults_name_line_and_column() {
        assert!(fault("").starts_with("1:1 the table is empty"));
        assert!(fault("\n\n").starts_with("1:1 the table is empty"));
        assert!(fault("a,b\n1,2\n3\n").starts_with("3:2 this row has 1 fields, the header has 2"));
        assert!(fault("a,b\n1,2\n3,4,5\n").starts_with("3:3 this row has more fields"));
        assert!(fault("a,b\r\n\"1\n\n\",2\r\n\r\n3\r\n").starts_with("6:2 this row has 1 fields"));
        assert!(fault("a,,c\n1,2,3\n").starts_with("1:2 this column has no name"));
        assert!(fault("\n\na,b,a\n").starts_with("3:3 the header names \"a\" a second time; column 1"));
        assert!(fault("a,b,c,d,e,f\n").starts_with("1:6 the table has more than 5 columns"));
        assert!(fault("a,b\n1,2\n3,\"4\n5,6\n").starts_with("3:2 a quote is opened here and never closed"));
        assert!(fault("a,b\n\"1\n2\",\"").starts_with("3:2 a quote is opened here"));
        assert!(fault(b"a,b\n1,2\n3,\xff\n").starts_with("3:2 here are bytes that can't be read"));
        assert!(fault(b"a,b\n1,2\n\0,4\n").starts_with("3:1 here are NUL bytes"));
        assert!(fault(b"\xff\xfea\0,\0").starts_with("1:1 here are bytes of UTF-16"));
    }

    #[test]
    fn overlong_fields_and_rows_are_refused() {
        let long = "x".repeat(40_001);
        assert!(fault(format!("a,b\n1,2\n3,{long}\n")).starts_with("3:2 this field has more than 40000 bytes"));
        assert!(fault(format!("a,b\n1,\"{}", long.repeat(3))).starts_with("2:2 this field has more than"));
        assert!(read(format!("a,b\n1,{}\n", &long[1..]).as_bytes()).is_ok());
        assert!(fault("a,".repeat(1_000_000)).starts_with("1:6 the table has more than 5 columns"));
        assert!(fault(format!("a,b\n{}\n", "1,".repeat(1_000_000))).starts_with("2:3 this row has more fields"));
    }

    #[test]
    fn lines_are_counted_across_blocks() {
        let mut content = b"a,b\r\n".to_vec();
        content.extend(b"\"1\n\",2\r\n".repeat(50_000));
        content.extend(b"3\r\n");
        assert!(fault(&content).starts_with("100002:2 "));
    }

    proptest! {
        #[test]
        fn records_are_those_of_the_csv_crate(
            records in proptest::collection::vec(proptest::collection::vec("[a1 ,\"\r\n품]{0,4}", 3), 1..20),
        ) {
            let mut writer = csv::Writer::from_writer(b"x,y,z\n".to_vec());
            for record in &records {
                writer.write_record(record).unwrap();
            }
            let content = writer.into_inner().unwrap();
            let expected: Vec<Vec<String>> = csv::Reader::from_reader(content.as_slice())
                .records()
                .map(|record| record.unwrap().iter().map(|field| field.trim_ascii().to_owned()).collect())
                .collect();
            prop_assert_eq!(&read(&content).unwrap()[1..], expected);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(content in proptest::collection::vec(
            proptest::sample::select(b"ab1,;\"\r\n \0\xff\xec\x9e\x90".to_vec()), 0..60)) {
            let _ = read(&content);
        }
    }
}
