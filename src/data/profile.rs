//! What is in a table: its columns, their types inferred over all rows, and their statistics.

use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cell::Cell;
use super::column_tally::{ColumnTally, Kind};
use super::encoding::{Encoding, read_full};
use super::rows::Rows;
use super::source::{HEAD_BYTES, Source, SourceRequest, detect_with};
use super::table_error::TableError;
use super::tally::Vocabulary;

/// A column of a table: numbers where every value that is there is one, else categories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(discriminator(property_name = "type", mapping(
    ("number" = "#/components/schemas/NumberColumn"),
    ("category" = "#/components/schemas/CategoryColumn"),
)))]
pub enum Column {
    Number(NumberColumn),
    Category(CategoryColumn),
}

/// Always `number`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberType {
    #[default]
    Number,
}

/// Always `category`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CategoryType {
    #[default]
    Category,
}

/// A column of numbers. The statistics are over the values that are there; null where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NumberColumn {
    #[schema(example = "꽃잎길이")]
    pub name: String,
    #[schema(inline)]
    pub r#type: NumberType,
    /// Rows without a value.
    pub missing: u64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the population (divided by n), as the standardizing preprocessing takes it.
    pub std: Option<f64>,
    /// The different values in ascending order; null where there are more than 256.
    pub distinct: Option<Vec<f64>>,
}

/// A column of texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CategoryColumn {
    #[schema(example = "품종")]
    pub name: String,
    #[schema(inline)]
    pub r#type: CategoryType,
    /// Rows without a value.
    pub missing: u64,
    /// The different values in ascending order of their code points; empty where there are more than 1000.
    pub categories: Vec<Category>,
    /// How many different values there are; null where there are more than 1000: free text, no use as an input.
    pub distinct: Option<u64>,
}

/// One value of a category column and how many rows have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    #[schema(example = "setosa")]
    pub value: String,
    #[schema(example = 50)]
    pub count: u64,
}

/// What is in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Rows of data, the header not counted.
    pub rows: u64,
    pub source: Source,
    pub columns: Vec<Column>,
}

/// What a table may be at most; beyond it the table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub rows: u64,
    pub columns: usize,
    /// Of one field, in bytes of UTF-8.
    pub field_bytes: usize,
}

impl Limits {
    /// For a table that was checked when it came in.
    pub(crate) const NONE: Self = Self {
        rows: u64::MAX,
        columns: u32::MAX as usize,
        field_bytes: u32::MAX as usize,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 100_000_000,
            columns: 10_000,
            field_bytes: 1 << 20,
        }
    }
}

impl Column {
    pub fn name(&self) -> &str {
        match self {
            Self::Number(column) => &column.name,
            Self::Category(column) => &column.name,
        }
    }

    pub fn missing(&self) -> u64 {
        match self {
            Self::Number(column) => column.missing,
            Self::Category(column) => column.missing,
        }
    }
}

/// What all vocabularies of a table may take together, in bytes.
const VOCABULARY_BYTES: usize = 32 << 20;

/// Reads a whole table, in flat memory whatever its size.
///
/// One pass finds types, statistics and categories. A column that turns out to be a category after it began with numbers
/// is counted in a second pass, since what the numbers looked like was not kept.
///
/// Errors: every fault of the content, with line and column.
pub fn profile(mut input: impl Read + Seek, request: &SourceRequest, limits: &Limits) -> Result<Profile, TableError> {
    let source = find_source(&mut input, request)?;
    let mut budget = VOCABULARY_BYTES;
    input.rewind()?;
    let (rows, mut tallies) = first_pass(&mut input, &source, limits, &mut budget)?;
    if tallies.iter().any(|column| matches!(column.kind, Kind::Mixed)) {
        input.rewind()?;
        second_pass(&mut input, &source, limits, &mut tallies, &mut budget)?;
    }
    let too_large = tallies
        .iter()
        .filter_map(ColumnTally::fault)
        .min_by_key(|fault| (fault.line, fault.column));
    if let Some(fault) = too_large {
        return Err(TableError::Invalid(fault));
    }
    let columns = tallies.into_iter().map(ColumnTally::finish).collect();
    Ok(Profile { rows, source, columns })
}

fn find_source(input: &mut (impl Read + Seek), request: &SourceRequest) -> Result<Source, TableError> {
    let mut head = vec![0; HEAD_BYTES];
    input.rewind()?;
    let filled = read_full(input, &mut head)?;
    detect_with(&head[..filled], request, || Ok(Encoding::of_content(input)?))
}

fn first_pass(
    input: impl Read,
    source: &Source,
    limits: &Limits,
    budget: &mut usize,
) -> Result<(u64, Vec<ColumnTally>), TableError> {
    let mut rows = Rows::open(input, source, limits)?;
    let mut tallies: Vec<ColumnTally> = rows.names().iter().map(|name| ColumnTally::new(name, 0)).collect();
    let mut count = 0;
    while rows.advance()? {
        if count == limits.rows {
            return Err(rows.fault(0, format!("the table has more than {count} rows")));
        }
        for name in &rows.names()[tallies.len()..] {
            tallies.push(ColumnTally::new(name, count));
        }
        for (column, tally) in tallies.iter_mut().enumerate() {
            tally.add(&rows, column, budget);
        }
        count += 1;
    }
    if count == 0 {
        return Err(TableError::at(
            1,
            1,
            "the table has no rows; send at least one besides the header",
        ));
    }
    if tallies.is_empty() {
        return Err(TableError::at(
            1,
            1,
            "the table has no columns; its objects are all empty",
        ));
    }
    Ok((count, tallies))
}

/// Counts the texts of the columns that were found to mix numbers and texts.
fn second_pass(
    input: impl Read,
    source: &Source,
    limits: &Limits,
    tallies: &mut [ColumnTally],
    budget: &mut usize,
) -> Result<(), TableError> {
    let mixed = |(column, tally): (usize, &ColumnTally)| matches!(tally.kind, Kind::Mixed).then_some(column);
    let mixed: Vec<usize> = tallies.iter().enumerate().filter_map(mixed).collect();
    let mut vocabularies: Vec<Vocabulary> = mixed.iter().map(|_| Vocabulary::default()).collect();
    let mut rows = Rows::open(input, source, limits)?;
    while rows.advance()? {
        for (column, vocabulary) in mixed.iter().zip(&mut vocabularies) {
            if *column < rows.names().len() && rows.cell(*column) != Cell::Missing {
                vocabulary.add(&rows.text(*column), budget);
            }
        }
    }
    for (column, vocabulary) in mixed.into_iter().zip(vocabularies) {
        tallies[column].kind = Kind::Texts(vocabulary);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(content: impl AsRef<[u8]>) -> Result<Profile, TableError> {
        profile(Cursor::new(content), &SourceRequest::default(), &Limits::default())
    }

    fn number(column: &Column) -> &NumberColumn {
        match column {
            Column::Number(column) => column,
            Column::Category(column) => panic!("{column:?}"),
        }
    }

    /// The column's values as `value×count`.
    fn category(column: &Column) -> Vec<String> {
        match column {
            Column::Category(column) => column
                .categories
                .iter()
                .map(|c| format!("{}×{}", c.value, c.count))
                .collect(),
            Column::Number(column) => panic!("{column:?}"),
        }
    }

    #[test]
    fn iris_is_the_same_in_utf8_and_cp949() {
        let utf8 = read(include_bytes!("../../examples/data/iris.csv")).unwrap();
        let cp949 = read(include_bytes!("../../examples/data/iris_cp949.csv")).unwrap();
        assert_eq!((utf8.rows, utf8.source.encoding.as_str()), (150, "utf-8"));
        assert_eq!(cp949.source.encoding, "euc-kr");
        assert_eq!(utf8.columns, cp949.columns);
        let length = number(&utf8.columns[0]);
        assert_eq!(
            (length.name.as_str(), length.min, length.max),
            ("꽃잎길이", Some(4.3), Some(7.9))
        );
        assert!((length.mean.unwrap() - 5.843_333_333_333_334).abs() < 1e-12);
        assert!((length.std.unwrap() - 0.825_301_291_785_141).abs() < 1e-12);
        assert_eq!(
            category(&utf8.columns[4]),
            ["setosa×50", "versicolor×50", "virginica×50"]
        );
    }

    #[test]
    fn types_follow_from_all_rows_and_missing_values_count() {
        let profile = read("n,c,m,e\n1,x,5,\n,NA,6,nan\n2.5,y,abc,null\n").unwrap();
        let n = number(&profile.columns[0]);
        assert_eq!(
            (n.missing, n.mean, n.distinct.clone()),
            (1, Some(1.75), Some(vec![1.0, 2.5]))
        );
        assert_eq!(
            (category(&profile.columns[1]), profile.columns[1].missing()),
            (vec!["x×1".into(), "y×1".into()], 1)
        );
        assert_eq!(category(&profile.columns[2]), ["5×1", "6×1", "abc×1"]);
        assert_eq!(
            (number(&profile.columns[3]).missing, number(&profile.columns[3]).min),
            (3, None)
        );
    }

    #[test]
    fn one_text_after_many_numbers_makes_a_category_with_exact_counts() {
        let content = "a\n".to_owned() + &"1\n1.0\n".repeat(100_000) + "?\n";
        let profile = read(content).unwrap();
        assert_eq!(category(&profile.columns[0]), ["1×100000", "1.0×100000", "?×1"]);
    }

    #[test]
    fn a_number_too_large_is_a_fault_unless_the_column_has_texts() {
        for large in ["inf", "1e39", "-Infinity"] {
            let error = read(format!("a,b\n1,2\n3,{large}\n")).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("line 3, column 2: here is a number beyond"),
                "{error}"
            );
            let profile = read(format!("a,b\n1,{large}\n3,x\n")).unwrap();
            assert_eq!(category(&profile.columns[1]).len(), 2);
        }
    }

    #[test]
    fn a_table_without_rows_is_refused() {
        for (content, word) in [("", "empty"), ("a,b\n", "no rows"), ("{}\n", "no columns")] {
            assert!(read(content).unwrap_err().to_string().contains(word));
        }
    }

    #[test]
    fn free_text_has_no_categories() {
        let content: String = (0..1001).map(|i| format!("word {i}\n")).collect();
        let Column::Category(column) = read("a\n".to_owned() + &content).unwrap().columns.remove(0) else {
            panic!("a category");
        };
        assert_eq!((column.categories.len(), column.distinct), (0, None));
    }

    #[test]
    fn a_key_that_comes_up_late_was_missing_before() {
        let profile = read("{\"a\": 1}\n{\"a\": 2, \"b\": \"x\"}\n{\"b\": 3}\n").unwrap();
        assert_eq!(
            (number(&profile.columns[0]).missing, profile.columns[1].missing()),
            (1, 1)
        );
        assert_eq!(category(&profile.columns[1]), ["3×1", "x×1"]);
    }

    #[test]
    fn limits_refuse_what_goes_beyond_them() {
        let limits = Limits {
            rows: 2,
            ..Limits::default()
        };
        let read = |content: &str| profile(Cursor::new(content), &SourceRequest::default(), &limits);
        assert!(read("a\n1\n2\n").is_ok());
        assert!(
            read("a\n1\n2\n3\n")
                .unwrap_err()
                .to_string()
                .starts_with("line 4, column 1: the table has more")
        );
    }

    #[test]
    fn columns_survive_their_json() {
        let columns = read("a,b\n1,x\n").unwrap().columns;
        let json = serde_json::to_value(&columns).unwrap();
        assert_eq!(
            (json[0]["type"].as_str(), json[1]["type"].as_str()),
            (Some("number"), Some("category"))
        );
        assert_eq!(serde_json::from_value::<Vec<Column>>(json).unwrap(), columns);
    }
}
