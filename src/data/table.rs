//! A table in memory: the wanted columns, typed.

use std::collections::HashMap;
use std::io::Read;

use serde_json::Value;

use super::cell::Cell;
use super::encoder::{ColumnType, InputColumn};
use super::profile::{Column, Limits};
use super::rows::Rows;
use super::source::Source;
use super::table_error::TableError;
use crate::nn::spec::reader::{nearest, shorten};

/// The code of a category that is missing.
pub const MISSING: u32 = u32::MAX;
/// The code of a category that its column's vocabulary doesn't have.
pub const UNSEEN: u32 = u32::MAX - 1;

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub rows: usize,
    pub columns: Vec<TableColumn>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    pub name: String,
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// NaN is missing.
    Number(Vec<f32>),
    /// Positions in `categories`, [`MISSING`] or [`UNSEEN`].
    Category { codes: Vec<u32>, categories: Vec<String> },
}

impl Table {
    /// Reads the `wanted` columns of a profiled table, typed as the profile found them.
    pub fn read(input: impl Read, source: &Source, columns: &[Column], wanted: &[&str]) -> Result<Self, TableError> {
        let input_column = |name: &&str| {
            let column = columns.iter().find(|column| column.name() == *name);
            column
                .map(InputColumn::of)
                .ok_or_else(|| no_column(name, columns.iter().map(Column::name)))
        };
        let inputs: Vec<InputColumn> = wanted.iter().map(input_column).collect::<Result<_, _>>()?;
        Self::read_as(input, source, &inputs)
    }

    /// Reads `columns` typed as a model knows them, from any table.
    ///
    /// Errors: a column that isn't there; a text, or a number that a 32-bit float can't hold, where a number belongs.
    pub fn read_as(input: impl Read, source: &Source, columns: &[InputColumn]) -> Result<Self, TableError> {
        let mut rows = Rows::open(input, source, &Limits::NONE)?;
        let mut readers: Vec<ColumnReader> = columns.iter().map(ColumnReader::new).collect();
        let mut count = 0_u32;
        let mut known = 0;
        while rows.advance()? {
            if rows.names().len() > known {
                known = rows.names().len();
                readers.iter_mut().for_each(|reader| reader.find(rows.names()));
            }
            for reader in &mut readers {
                reader.read(&rows)?;
            }
            count = count.checked_add(1).filter(|count| *count < UNSEEN).ok_or_else(|| {
                TableError::invalid("the table has more rows than can be trained on; take a part of it")
            })?;
        }
        if let Some(lost) = readers.iter().find(|reader| reader.position.is_none()) {
            return Err(no_column(&lost.column.name, rows.names().iter().map(String::as_str)));
        }
        Ok(Self {
            rows: count as usize,
            columns: readers.into_iter().map(ColumnReader::finish).collect(),
        })
    }

    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

fn no_column<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> TableError {
    let known: Vec<&str> = known.collect();
    let hint = nearest(name, &known).map_or(String::new(), |near| format!("; it has {near:?}"));
    TableError::invalid(format!("the table has no column {:?}{hint}", shorten(name)))
}

/// Collects the values of one column.
struct ColumnReader<'a> {
    column: &'a InputColumn,
    /// Where it is in the rows; JSON lines may tell late.
    position: Option<usize>,
    codes_by_text: HashMap<&'a str, u32>,
    numbers: Vec<f32>,
    codes: Vec<u32>,
}

impl<'a> ColumnReader<'a> {
    fn new(column: &'a InputColumn) -> Self {
        let categories = column.categories.as_deref().unwrap_or_default();
        Self {
            column,
            position: None,
            codes_by_text: categories.iter().map(String::as_str).zip(0..).collect(),
            numbers: Vec::new(),
            codes: Vec::new(),
        }
    }

    fn find(&mut self, names: &[String]) {
        if self.position.is_none() {
            self.position = names.iter().position(|name| *name == self.column.name);
        }
    }

    #[inline]
    fn read<R: Read>(&mut self, rows: &Rows<R>) -> Result<(), TableError> {
        let cell = self.position.map_or(Cell::Missing, |position| rows.cell(position));
        match (self.column.r#type, cell, self.position) {
            (ColumnType::Number, Cell::Number(number), _) => self.numbers.push(number as f32),
            (ColumnType::Number, Cell::Missing, _) => self.numbers.push(f32::NAN),
            (ColumnType::Number, Cell::Text | Cell::TooLarge, Some(position)) => {
                let (text, name) = (rows.text(position), &self.column.name);
                let (text, name) = (shorten(&text), shorten(name));
                let detail = format!("here is {text:?}, where column {name:?} holds numbers up to ±3.4e38");
                return Err(rows.fault(position, detail));
            }
            (ColumnType::Category, Cell::Missing, _) | (_, _, None) => self.codes.push(MISSING),
            (ColumnType::Category, _, Some(position)) => {
                let code = self.codes_by_text.get(&*rows.text(position));
                self.codes.push(code.copied().unwrap_or(UNSEEN));
            }
        }
        Ok(())
    }

    fn finish(self) -> TableColumn {
        let values = match self.column.r#type {
            ColumnType::Number => Values::Number(self.numbers),
            ColumnType::Category => Values::Category {
                codes: self.codes,
                categories: self.column.categories.clone().unwrap_or_default(),
            },
        };
        TableColumn {
            name: self.column.name.clone(),
            values,
        }
    }
}

/// The rows from `offset` on, at most `limit`: numbers, texts, and null for what is missing.
pub fn preview(
    input: impl Read,
    source: &Source,
    columns: &[Column],
    offset: u64,
    limit: usize,
) -> Result<Vec<Vec<Value>>, TableError> {
    let mut rows = Rows::open(input, source, &Limits::NONE)?;
    let mut shown = Vec::new();
    let mut skipped = 0;
    while shown.len() < limit && rows.advance()? {
        if skipped < offset {
            skipped += 1;
            continue;
        }
        let value = |(position, column)| preview_value(&rows, position, column);
        shown.push(columns.iter().enumerate().map(value).collect());
    }
    Ok(shown)
}

fn preview_value<R: Read>(rows: &Rows<R>, position: usize, column: &Column) -> Value {
    if position >= rows.names().len() {
        return Value::Null;
    }
    match (column, rows.cell(position)) {
        (_, Cell::Missing) => Value::Null,
        (Column::Number(_), Cell::Number(number)) => Value::from(number),
        _ => Value::from(rows.text(position)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::data::profile::{Profile, profile};
    use crate::data::source::SourceRequest;

    fn profiled(content: &str) -> Profile {
        profile(Cursor::new(content), &SourceRequest::default(), &Limits::default()).unwrap()
    }

    fn read(content: &str, wanted: &[&str]) -> Result<Table, TableError> {
        let profile = profiled(content);
        Table::read(content.as_bytes(), &profile.source, &profile.columns, wanted)
    }

    fn preview_of(content: &str, offset: u64, limit: usize) -> Vec<Vec<Value>> {
        let profile = profiled(content);
        preview(content.as_bytes(), &profile.source, &profile.columns, offset, limit).unwrap()
    }

    #[test]
    fn only_the_wanted_columns_are_read_in_the_wanted_order() {
        let table = read("a,b,c\n1,x,0.1\n,y,2\n3,,1e3\n", &["c", "b"]).unwrap();
        assert_eq!(table.rows, 3);
        assert_eq!(table.columns[0].values, Values::Number(vec![0.1, 2.0, 1000.0]));
        let categories = vec!["x".to_owned(), "y".to_owned()];
        let codes = vec![0, 1, MISSING];
        assert_eq!(
            table.column("b").unwrap().values,
            Values::Category { codes, categories }
        );
    }

    #[test]
    fn a_missing_number_is_nan() {
        let table = read("a,b\n1,x\nNA,y\n", &["a"]).unwrap();
        let Values::Number(numbers) = &table.columns[0].values else {
            panic!()
        };
        assert!(numbers[0] == 1.0 && numbers[1].is_nan());
    }

    #[test]
    fn json_lines_give_the_same_table_as_csv() {
        let csv = read("a,b\n1.5,x\n2,\n,y\n", &["a", "b"]).unwrap();
        let json = read(
            "{\"a\":1.5,\"b\":\"x\"}\n{\"a\":2}\n{\"b\":\"y\",\"a\":null}\n",
            &["a", "b"],
        )
        .unwrap();
        assert_eq!(format!("{csv:?}"), format!("{json:?}"));
    }

    #[test]
    fn another_table_is_read_with_the_types_of_the_model() {
        let numbers = InputColumn {
            name: "n".to_owned(),
            r#type: ColumnType::Number,
            categories: None,
        };
        let categories = vec!["1".to_owned(), "x".to_owned()];
        let texts = InputColumn {
            name: "t".to_owned(),
            r#type: ColumnType::Category,
            categories: Some(categories.clone()),
        };
        let columns = [numbers, texts];
        let read = |content: &str| Table::read_as(content.as_bytes(), &profiled(content).source, &columns);
        let table = read("t,n\n1,5\n2,6\n").unwrap();
        let codes = vec![0, UNSEEN];
        assert_eq!(table.columns[1].values, Values::Category { codes, categories });
        let error = read("t,n\n1,5\n2,abc\n").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("line 3, column 2: here is \"abc\", where column \"n\""),
            "{error}"
        );
        let error = read("t,m\n1,5\n").unwrap_err();
        assert!(
            error.to_string().starts_with("the table has no column \"n\""),
            "{error}"
        );
        let error = read("{\"t\": 1}\n").unwrap_err();
        assert!(
            error.to_string().starts_with("the table has no column \"n\""),
            "{error}"
        );
    }

    #[test]
    fn a_preview_shows_numbers_texts_and_nulls() {
        let content = "a,b\n1,x\n2.5,\nNA,z\n4,1\n";
        assert_eq!(
            preview_of(content, 1, 2),
            [[json!(2.5), json!(null)], [json!(null), json!("z")]]
        );
        assert_eq!(preview_of(content, 3, 9), [[json!(4.0), json!("1")]]);
        assert!(preview_of(content, 4, 9).is_empty());
        let json_lines = "{\"a\": 1}\n{\"a\": 2, \"b\": true}\n";
        assert_eq!(
            preview_of(json_lines, 0, 9),
            [[json!(1.0), json!(null)], [json!(2.0), json!("true")]]
        );
    }

    proptest! {
        #[test]
        fn numbers_written_are_the_numbers_read(
            written in proptest::collection::vec(proptest::option::of(-3.4e38_f32..3.4e38), 1..50),
            exponent in 0_i32..60,
        ) {
            let scaled = |number: f32| number * 10_f32.powi(-exponent);
            let line = |number: &Option<f32>| number.map_or("\"\"".to_owned(), |number| scaled(number).to_string());
            let content = "a\n".to_owned() + &written.iter().map(line).collect::<Vec<_>>().join("\n");
            let table = read(&content, &["a"]).unwrap();
            let Values::Number(numbers) = &table.columns[0].values else { panic!() };
            let bits = |number: f32| number.to_bits();
            let expected = written.iter().map(|number| number.map_or(f32::NAN.to_bits(), |n| bits(scaled(n))));
            prop_assert_eq!(numbers.iter().map(|number| bits(*number)).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }
}
