//! Reads JSON lines: one object a line, its keys the columns, in the order in which they first come up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::cell::{self, Cell};
use super::profile::Limits;
use super::source::Source;
use super::table_error::TableError;
use super::text::{Text, TextError};
use crate::nn::spec::reader::shorten;

/// A line is at most this many times the longest field.
const LINE_FIELDS: usize = 16;

pub(crate) struct JsonLinesReader<R> {
    text: Text<R>,
    line_bytes: Vec<u8>,
    line: u64,
    row: Row,
}

/// The columns so far and the cells of one row.
struct Row {
    names: Vec<String>,
    positions: HashMap<String, usize>,
    /// `None` where the row doesn't have the column.
    cells: Vec<Option<JsonCell>>,
    limits: Limits,
    /// Why the row was given up: the key's place in its object, and what is wrong there.
    fault: Option<(usize, String)>,
}

enum JsonCell {
    Null,
    Number(Number),
    Text(String),
}

impl<R: Read> JsonLinesReader<R> {
    pub(crate) fn open(input: R, source: &Source, limits: &Limits) -> Result<Self, TableError> {
        Ok(Self {
            text: Text::new(input, source.encoding()?),
            line_bytes: Vec::new(),
            line: 0,
            row: Row {
                names: Vec::new(),
                positions: HashMap::new(),
                cells: Vec::new(),
                limits: *limits,
                fault: None,
            },
        })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.row.names
    }

    /// The line, from 1, of the row.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Goes to the next row; false at the end. Blank lines are no rows.
    pub(crate) fn advance(&mut self) -> Result<bool, TableError> {
        while self.read_line()? {
            if !self.line_bytes.trim_ascii().is_empty() {
                return self.read_row().map(|()| true);
            }
        }
        Ok(false)
    }

    pub(crate) fn cell(&self, column: usize) -> Cell {
        match &self.row.cells[column] {
            None | Some(JsonCell::Null) => Cell::Missing,
            Some(JsonCell::Number(number)) => number.as_f64().map_or(Cell::TooLarge, cell::of_number),
            Some(JsonCell::Text(text)) if cell::is_missing(text.trim_ascii().as_bytes()) => Cell::Missing,
            Some(JsonCell::Text(_)) => Cell::Text,
        }
    }

    pub(crate) fn text(&self, column: usize) -> Cow<'_, str> {
        match &self.row.cells[column] {
            None | Some(JsonCell::Null) => Cow::Borrowed(""),
            Some(JsonCell::Number(number)) => Cow::Owned(number.to_string()),
            Some(JsonCell::Text(text)) => Cow::Borrowed(text.trim_ascii()),
        }
    }

    fn read_line(&mut self) -> Result<bool, TableError> {
        self.line_bytes.clear();
        self.line += 1;
        loop {
            match self.text.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(!self.line_bytes.is_empty()),
                Err(TextError::Io(error)) => return Err(TableError::Io(error)),
                Err(TextError::Fault(what)) => return Err(TableError::at(self.line, 1, format!("here are {what}"))),
            }
            let unread = self.text.unread();
            let line_break = unread.iter().position(|byte| *byte == b'\n');
            self.line_bytes
                .extend_from_slice(&unread[..line_break.unwrap_or(unread.len())]);
            self.text
                .consume(line_break.map_or(unread.len(), |position| position + 1));
            let most = self.row.limits.field_bytes.saturating_mul(LINE_FIELDS);
            if self.line_bytes.len() > most {
                return Err(TableError::at(
                    self.line,
                    1,
                    format!("this line has more than {most} bytes"),
                ));
            }
            if line_break.is_some() {
                return Ok(true);
            }
        }
    }

    fn read_row(&mut self) -> Result<(), TableError> {
        self.row.cells.fill_with(|| None);
        let mut json = serde_json::Deserializer::from_slice(&self.line_bytes);
        let read = (&mut self.row).deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| match self.row.fault.take() {
            Some((place, detail)) => TableError::at(self.line, place as u64, detail),
            None => {
                let message = error.to_string();
                let what = message.split(" at line ").next().unwrap_or_default();
                let detail = format!("this line is not a JSON object: {what} at byte {}", error.column());
                TableError::at(self.line, 1, detail)
            }
        })
    }
}

impl Row {
    /// The position of a key's column, a new one where the key is new.
    fn position(&mut self, key: &str) -> Result<usize, String> {
        if let Some(position) = self.positions.get(key) {
            let again = self.cells[*position].is_some();
            return if again {
                Err(format!("the key {:?} comes a second time", shorten(key)))
            } else {
                Ok(*position)
            };
        }
        if key.is_empty() {
            return Err("this key is blank; a column needs a name".to_owned());
        }
        if key.len() > self.limits.field_bytes {
            return Err(self.too_long());
        }
        let position = self.names.len();
        if position >= self.limits.columns {
            return Err(format!(
                "the table has more than {position} columns; leave out those you don't need"
            ));
        }
        self.names.push(key.to_owned());
        self.positions.insert(key.to_owned(), position);
        self.cells.push(None);
        Ok(position)
    }

    fn too_long(&self) -> String {
        format!("this field has more than {} bytes", self.limits.field_bytes)
    }

    fn give_up<E: de::Error>(&mut self, place: usize, detail: String) -> E {
        self.fault = Some((place, detail));
        E::custom("")
    }
}

impl<'de> DeserializeSeed<'de> for &mut Row {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Row {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut place = 0;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            place += 1;
            let position = self
                .position(key.trim())
                .map_err(|detail| self.give_up(place, detail))?;
            let value = map.next_value_seed(ValueSeed)?;
            let cell = value.map_err(|detail| self.give_up(place, format!("{:?} {detail}", shorten(&key))))?;
            if matches!(&cell, JsonCell::Text(text) if text.len() > self.limits.field_bytes) {
                let detail = self.too_long();
                return Err(self.give_up(place, detail));
            }
            self.cells[position] = Some(cell);
        }
        Ok(())
    }
}

/// Reads one value; the inner error is the client's fault in words.
struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Result<JsonCell, &'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Result<JsonCell, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a string, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(JsonCell::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Ok(JsonCell::Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Ok(JsonCell::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Ok(JsonCell::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value)
            .map(JsonCell::Number)
            .ok_or("is not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Ok(JsonCell::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("holds an array; a cell is a number, a string, true, false or null"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err(
            "holds an object; a cell is a number, a string, true, false or null",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::source::{Format, Source};

    fn read(content: &str) -> Result<(Vec<String>, Vec<Vec<String>>), TableError> {
        let source = Source {
            format: Format::JsonLines,
            encoding: "utf-8".to_owned(),
            delimiter: None,
        };
        let limits = Limits {
            rows: 100,
            columns: 3,
            field_bytes: 20,
        };
        let mut reader = JsonLinesReader::open(content.as_bytes(), &source, &limits)?;
        let mut rows = Vec::new();
        while reader.advance()? {
            let columns = 0..reader.names().len();
            rows.push(
                columns
                    .map(|column| format!("{:?} {}", reader.cell(column), reader.text(column)))
                    .collect(),
            );
        }
        Ok((reader.names().to_vec(), rows))
    }

    fn fault(content: &str) -> String {
        match read(content) {
            Err(TableError::Invalid(fault)) => {
                format!("{}:{} {}", fault.line.unwrap(), fault.column.unwrap(), fault.detail)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_columns_are_all_keys_in_the_order_they_come_up() {
        let content = "{\"a\": 1, \"품종\": \"x\"}\r\n\n{\"품종\": null, \"b\": true, \"a\": 2.50}\n{}";
        let (names, rows) = read(content).unwrap();
        assert_eq!(names, ["a", "품종", "b"]);
        assert_eq!(rows[0], ["Number(1.0) 1", "Text x"]);
        assert_eq!(rows[1], ["Number(2.5) 2.5", "Missing ", "Text true"]);
        assert_eq!(rows[2], ["Missing ", "Missing ", "Missing "]);
    }

    #[test]
    fn a_string_is_a_text_unless_it_says_missing() {
        let (_, rows) = read("{\"a\": \"5.1\", \"b\": \"NA\", \"c\": 1e39}").unwrap();
        assert_eq!(rows[0], ["Text 5.1", "Missing NA", "TooLarge 1e+39"]);
    }

    #[test]
    fn faults_name_line_and_column() {
        assert!(fault("{\"a\": 1}\n{\"a\": 1, \"b\": [2]}").starts_with("2:2 \"b\" holds an array"));
        assert!(fault("{\"a\": {\"b\": 1}}").starts_with("1:1 \"a\" holds an object"));
        assert!(fault("{\"a\": 1, \"a\": 2}").starts_with("1:2 the key \"a\" comes a second time"));
        assert!(fault("{\" \": 1}").starts_with("1:1 this key is blank"));
        assert!(fault("{\"a\": 1}\n{\"b\":1,\"c\":1,\"d\":1}").starts_with("2:3 the table has more than 3 columns"));
        assert!(fault("{\"a\": \"0123456789012345678901\"}").starts_with("1:1 this field has more than 20 bytes"));
        assert!(fault(&format!("{{\"a\": {}1}}", " ".repeat(400))).starts_with("1:1 this line has more than"));
        assert!(fault("{\"a\": 1}\n[1]").starts_with("2:1 this line is not a JSON object: invalid type: sequence"));
        assert!(fault("{\"a\": 1").starts_with("1:1 this line is not a JSON object: EOF"));
        assert!(fault("{\"a\": NaN}").starts_with("1:1 this line is not a JSON object"));
        assert!(fault("{\"a\": 1e999}").starts_with("1:1 this line is not a JSON object: number out of range"));
        assert!(fault("{\"a\": 1} {\"a\": 2}").starts_with("1:1 this line is not a JSON object: trailing"));
    }
}
