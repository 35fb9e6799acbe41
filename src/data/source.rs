//! How the bytes of a table are to be read: format, encoding, delimiter.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encoding::Encoding;
use super::table_error::TableError;
use crate::nn::spec::reader::shorten;

/// Bytes that [`detect`] should be given, or all where there are fewer.
pub const HEAD_BYTES: usize = 1 << 16;

/// Delimiters that are looked for, the likeliest first, and their names.
const DELIMITERS: [(u8, &str); 4] = [(b',', "comma"), (b'\t', "tab"), (b';', "semicolon"), (b'|', "pipe")];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    JsonLines,
}

/// How a stored table is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    pub format: Format,
    /// `utf-8`, or `euc-kr` for CP949 and EUC-KR.
    #[schema(example = "utf-8")]
    pub encoding: String,
    /// Between the fields of a CSV; null for JSON lines.
    #[schema(example = ",")]
    pub delimiter: Option<String>,
}

/// What a client says about its table; the rest is found out from the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRequest {
    pub format: Option<Format>,
    /// A name of UTF-8 or of CP949/EUC-KR, without regard to case.
    pub encoding: Option<String>,
    /// A character, or one of the names comma, semicolon, tab, pipe.
    pub delimiter: Option<String>,
}

impl Source {
    pub(crate) fn encoding(&self) -> Result<Encoding, TableError> {
        Encoding::from_name(&self.encoding)
    }

    pub(crate) fn delimiter(&self) -> Result<u8, TableError> {
        delimiter_by_name(self.delimiter.as_deref().unwrap_or(","))
    }
}

/// Finds out how a table is read from its first bytes, for a table that can be read only once.
///
/// Errors: the client asked for what doesn't exist, or the bytes are those of another kind of file.
pub fn detect(head: &[u8], request: &SourceRequest) -> Result<Source, TableError> {
    detect_with(head, request, || Ok(Encoding::of_head(head)))
}

/// Like [`detect`], with the encoding found out by `find` where the client names none.
pub(crate) fn detect_with(
    head: &[u8],
    request: &SourceRequest,
    find: impl FnOnce() -> Result<Encoding, TableError>,
) -> Result<Source, TableError> {
    refuse_other_files(head)?;
    let encoding = match &request.encoding {
        Some(name) => Encoding::from_name(name)?,
        None => find()?,
    };
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let asked = request.delimiter.as_deref().map(delimiter_by_name).transpose()?;
    let format = request.format.unwrap_or_else(|| format_of(head, asked.is_some()));
    let delimiter = match format {
        Format::Csv => Some(char::from(asked.unwrap_or_else(|| delimiter_of(head))).to_string()),
        Format::JsonLines => None,
    };
    Ok(Source {
        format,
        encoding: encoding.name().to_owned(),
        delimiter,
    })
}

/// Names the files that are often sent instead of a CSV.
fn refuse_other_files(head: &[u8]) -> Result<(), TableError> {
    let detail = match head {
        [b'P', b'K', 3, 4, ..] => "this is a ZIP archive or an Excel workbook; save the sheet as CSV and send that",
        [0xD0, 0xCF, 0x11, 0xE0, ..] => "this is an old Excel workbook; save the sheet as CSV and send that",
        [0x1F, 0x8B, ..] => "this is gzip inside; send it with Content-Encoding: gzip, or unpacked",
        [b'P', b'A', b'R', b'1', ..] => {
            "this is Parquet, which this server can't read; send the table as CSV or JSON lines"
        }
        [b'%', b'P', b'D', b'F', ..] => "this is a PDF; send the table as CSV or JSON lines",
        _ if is_json_array(head) => "this is a JSON array; send JSON lines, one object a line",
        _ => return Ok(()),
    };
    Err(TableError::at(1, 1, detail))
}

/// A list of objects; a CSV may well have a header such as `[id],[name]`.
fn is_json_array(head: &[u8]) -> bool {
    let list = head.trim_ascii_start().strip_prefix(b"[");
    list.is_some_and(|items| items.trim_ascii_start().starts_with(b"{"))
}

fn format_of(head: &[u8], has_delimiter: bool) -> Format {
    let starts_object = head.trim_ascii_start().first() == Some(&b'{');
    if starts_object && !has_delimiter {
        Format::JsonLines
    } else {
        Format::Csv
    }
}

fn delimiter_by_name(name: &str) -> Result<u8, TableError> {
    let named = DELIMITERS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
    match (named, name.as_bytes()) {
        (Some((delimiter, _)), _) => Ok(*delimiter),
        (None, [byte]) if is_delimiter(*byte) => Ok(*byte),
        _ => {
            let shown = shorten(name);
            let detail =
                format!("{shown:?} can't be a delimiter; send comma, semicolon, tab, pipe or one such character");
            Err(TableError::invalid(detail))
        }
    }
}

/// Whether a byte may separate fields: not what numbers, words, quotes and lines are made of.
fn is_delimiter(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || (byte.is_ascii_punctuation() && !b"\"'+-._".contains(&byte))
}

/// The delimiter that cuts most of the first records into the same number of fields, at least two.
fn delimiter_of(head: &[u8]) -> u8 {
    let mut best = (DELIMITERS[0].0, 0.0, 0);
    for (delimiter, _) in DELIMITERS {
        let counts = field_counts(head, delimiter);
        let Some(columns) = counts.first().copied().filter(|columns| *columns > 1) else {
            continue;
        };
        let alike = counts.iter().filter(|count| **count == columns).count();
        let share = alike as f64 / counts.len() as f64;
        if (share, columns) > (best.1, best.2) {
            best = (delimiter, share, columns);
        }
    }
    best.0
}

/// How many fields each of the first records has; a record that goes on beyond the head doesn't count.
fn field_counts(head: &[u8], delimiter: u8) -> Vec<usize> {
    const RECORDS: usize = 100;
    let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    let mut counts = Vec::new();
    let (mut rest, mut fields) = (head, 0);
    // The head itself may be a whole table without a last line break.
    let whole = head.len() < HEAD_BYTES;
    while counts.len() < RECORDS && (!rest.is_empty() || whole) {
        let mut text = [0; 256];
        let (result, read, _) = core.read_field(rest, &mut text);
        rest = &rest[read..];
        match result {
            csv_core::ReadFieldResult::Field { record_end } => {
                fields += 1;
                if record_end {
                    counts.push(fields);
                    fields = 0;
                }
            }
            csv_core::ReadFieldResult::End => break,
            csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(head: &str) -> Source {
        detect(head.as_bytes(), &SourceRequest::default()).unwrap()
    }

    #[test]
    fn the_delimiter_is_the_one_that_cuts_all_records_alike() {
        for (head, delimiter) in [
            ("a,b\n1,2\n", ","),
            ("a;b;c\n1,5;2,5;3\n", ";"),
            ("a,b;c;d\n1,5;2;3\n", ";"),
            ("a\tb\n1,5\t2\n", "\t"),
            ("a|b\n1|2\n", "|"),
            ("name,note\nx,\"a;b;c\"\ny,d;e\n", ","),
            ("\"a;b\",c\n1,2", ","),
            ("\u{feff}a;b\r\n1;2\r\n", ";"),
            ("a;b\r1;2\r", ";"),
            ("only\n1\n2\n", ","),
            ("", ","),
            ("품종;길이\nsetosa;1\n", ";"),
        ] {
            assert_eq!(found(head).delimiter.as_deref(), Some(delimiter), "{head:?}");
        }
    }

    #[test]
    fn json_lines_start_with_an_object() {
        let source = found(" \n{\"a\": 1}\n");
        assert_eq!((source.format, source.delimiter), (Format::JsonLines, None));
        assert_eq!(found("[id],[name]\n").format, Format::Csv);
    }

    #[test]
    fn what_the_client_says_goes_before_what_is_found() {
        let request = SourceRequest {
            format: Some(Format::Csv),
            encoding: Some("CP949".to_owned()),
            delimiter: Some("Tab".to_owned()),
        };
        let source = detect(b"{\"a\": 1}\n", &request).unwrap();
        assert_eq!(
            (source.format, source.encoding.as_str(), source.delimiter.as_deref()),
            (Format::Csv, "euc-kr", Some("\t"))
        );
        for wrong in ["", "ab", "\"", "\n", "5", "é", "."] {
            let request = SourceRequest {
                delimiter: Some(wrong.to_owned()),
                ..SourceRequest::default()
            };
            assert!(detect(b"a,b\n", &request).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn other_files_are_named() {
        for (head, word) in [
            (&b"PK\x03\x04.."[..], "Excel"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"PAR1...", "Parquet"),
        ] {
            let error = detect(head, &SourceRequest::default()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
