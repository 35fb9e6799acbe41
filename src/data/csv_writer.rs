//! Writes CSV that a spreadsheet shows as it is and never runs.

use std::borrow::Cow;
use std::io::{self, Write};

use super::cell::{self, Cell};

pub struct CsvWriter<W: Write> {
    inner: csv::Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    pub fn new(output: W, delimiter: u8) -> Self {
        let inner = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_writer(output);
        Self { inner }
    }

    /// Writes one row, quoting what needs quotes. A text that a spreadsheet would take for a formula gets an apostrophe
    /// before it, which makes it a text there.
    pub fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        for field in fields {
            self.inner.write_field(inert(field).as_bytes()).map_err(io_error)?;
        }
        self.inner.write_record(None::<&[u8]>).map_err(io_error)
    }

    /// Hands over what was written, the last bytes included.
    pub fn finish(self) -> io::Result<W> {
        self.inner.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// The output's own error, so that a full disk is known as one.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn inert(text: &str) -> Cow<'_, str> {
    let starts_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let is_number = || matches!(cell::parse(text.as_bytes()), Cell::Number(_) | Cell::TooLarge);
    if starts_formula && !is_number() {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::csv_reader::CsvReader;
    use crate::data::profile::Limits;
    use crate::data::source::{Format, Source};

    fn written(rows: &[Vec<String>], delimiter: u8) -> Vec<u8> {
        let mut writer = CsvWriter::new(Vec::new(), delimiter);
        rows.iter()
            .for_each(|row| writer.row(row.iter().map(String::as_str)).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn a_full_disk_is_known_as_one() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let long = "x".repeat(1 << 20);
        let written = CsvWriter::new(Full, b',').row([long.as_str()]);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn formulas_become_texts_and_numbers_stay() {
        for (field, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0\n"),
            ("@SUM(A1)", "'@SUM(A1)\n"),
            ("+cmd", "'+cmd\n"),
            ("-2+3", "'-2+3\n"),
            ("\t=1", "'\t=1\n"),
            ("\r=1", "\"'\r=1\"\n"),
            ("-2.5", "-2.5\n"),
            ("+1e3", "+1e3\n"),
            ("-inf", "-inf\n"),
            ("a=b", "a=b\n"),
            ("", "\"\"\n"),
        ] {
            let bytes = written(&[vec![field.to_owned()]], b',');
            assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{field:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a1,;|\"\n\r품=-]{0,5}", 3), 1..20),
            delimiter in proptest::sample::select(b",;\t|".to_vec()),
        ) {
            let header = ["x", "y", "z"].map(str::to_owned).to_vec();
            let bytes = written(&[vec![header], rows.clone()].concat(), delimiter);
            let source = Source {
                format: Format::Csv,
                encoding: "utf-8".to_owned(),
                delimiter: Some(char::from(delimiter).to_string()),
            };
            let mut reader = CsvReader::open(bytes.as_slice(), &source, &Limits::default()).unwrap();
            for row in rows {
                prop_assert!(reader.advance().unwrap());
                for (column, field) in row.iter().enumerate() {
                    let guarded = inert(field);
                    prop_assert_eq!(reader.text(column), guarded.trim_ascii());
                }
            }
            prop_assert!(!reader.advance().unwrap());
        }
    }
}
