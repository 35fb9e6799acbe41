//! What a network is to predict: from a column of a table to the rows' targets.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{ColumnType, InputColumn};
use crate::data::profile::Column;
use crate::data::table::{MISSING, Table, TableColumn, Values};
use crate::data::table_error::TableError;
use crate::data::tally::{MAX_CATEGORIES, MAX_DISTINCT_NUMBERS};

/// What the network is to predict, and in which form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetSpec {
    pub column: String,
    pub encoding: TargetEncoding,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TargetEncoding {
    /// The number itself, (n, 1).
    Number,
    /// 1 for the second of two classes, else 0, (n, 1).
    Binary { classes: Vec<String> },
    /// 1 in the class's column, else 0, (n, classes).
    OneHot { classes: Vec<String> },
}

/// The rows that can be trained on or measured: those with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledRows {
    /// Ascending.
    pub rows: Vec<u32>,
    /// For a classification the class of each of `rows`.
    pub classes: Option<Vec<u32>>,
    /// Rows left out because their target is missing.
    pub left_out: u64,
}

impl TargetSpec {
    /// The classes of a classification, in the order of the network's outputs.
    pub fn classes(&self) -> Option<&[String]> {
        match &self.encoding {
            TargetEncoding::Number => None,
            TargetEncoding::Binary { classes } | TargetEncoding::OneHot { classes } => Some(classes),
        }
    }

    /// The target's column as a column to read, of the type that the training table gave it.
    pub(super) fn input_column(&self, r#type: ColumnType) -> InputColumn {
        let categories = match r#type {
            ColumnType::Number => None,
            ColumnType::Category => self.classes().map(<[String]>::to_vec),
        };
        InputColumn {
            name: self.column.clone(),
            r#type,
            categories,
        }
    }

    pub(super) fn find<'t>(&self, table: &'t Table) -> Result<&'t TableColumn, TableError> {
        let lost = || TableError::invalid(format!("the table has no column {:?}, the target", self.column));
        table.column(&self.column).ok_or_else(lost)
    }

    /// The class of every row: `None` is missing. Errors: a class that is none of the target's.
    pub(super) fn class_of_rows(&self, table: &Table, classes: &[String]) -> Result<Vec<Option<u32>>, TableError> {
        match &self.find(table)?.values {
            Values::Number(numbers) => {
                let class_of: HashMap<u32, u32> = classes.iter().map(|class| key_of_text(class)).zip(0..).collect();
                let class = |number: &f32| class_of.get(&key(*number)).copied();
                numbers
                    .iter()
                    .enumerate()
                    .map(|(row, number)| {
                        if number.is_nan() {
                            Ok(None)
                        } else {
                            self.known(row, class(number))
                        }
                    })
                    .collect()
            }
            Values::Category { codes, categories } => {
                let class_of: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
                let by_code: Vec<Option<u32>> = categories
                    .iter()
                    .map(|text| class_of.get(text.as_str()).copied())
                    .collect();
                let class = |code: &u32| by_code.get(*code as usize).copied().flatten();
                codes
                    .iter()
                    .enumerate()
                    .map(|(row, code)| {
                        if *code == MISSING {
                            Ok(None)
                        } else {
                            self.known(row, class(code))
                        }
                    })
                    .collect()
            }
        }
    }

    fn known(&self, row: usize, class: Option<u32>) -> Result<Option<u32>, TableError> {
        let unknown = || {
            let row = row + 1;
            TableError::invalid(format!(
                "row {row} has a {:?} that is none of the network's classes",
                self.column
            ))
        };
        class.ok_or_else(unknown).map(Some)
    }
}

/// Equal for equal numbers, negative zero included.
fn key(number: f32) -> u32 {
    (number + 0.0).to_bits()
}

fn key_of_text(class: &str) -> u32 {
    // Rounded as the table's numbers are. The classes of a number column are numbers; NaN equals none in a table.
    key(class.parse::<f64>().map_or(f32::NAN, |number| number as f32))
}

/// The rows of a table that have a target, and their classes.
///
/// Errors: the table has no such column, or a class that is none of the target's.
pub fn labelled_rows(table: &Table, target: &TargetSpec) -> Result<LabelledRows, TableError> {
    let (rows, classes): (Vec<u32>, Option<Vec<u32>>) = match target.classes() {
        Some(classes) => {
            let class_of_rows = target.class_of_rows(table, classes)?;
            let labelled = (0..).zip(class_of_rows).filter_map(|(row, class)| Some((row, class?)));
            let (rows, classes) = labelled.unzip();
            (rows, Some(classes))
        }
        None => {
            let numbers = target.numbers(table)?;
            let labelled = (0..).zip(numbers).filter(|(_, number)| !number.is_nan());
            (labelled.map(|(row, _)| row).collect(), None)
        }
    };
    Ok(LabelledRows {
        left_out: (table.rows - rows.len()) as u64,
        rows,
        classes,
    })
}

impl TargetSpec {
    pub(super) fn numbers<'t>(&self, table: &'t Table) -> Result<&'t [f32], TableError> {
        match &self.find(table)?.values {
            Values::Number(numbers) => Ok(numbers),
            Values::Category { .. } => Err(TableError::invalid(format!(
                "{:?} holds texts, where the network learns numbers",
                self.column
            ))),
        }
    }
}

/// The classes of a target: numbers by value, texts by code point.
///
/// Errors, as one sentence about the column: more values than classes may be, or numbers that are the same as 32-bit
/// floats.
pub fn classes_of(column: &Column) -> Result<Vec<String>, String> {
    match column {
        Column::Number(column) => {
            let most = MAX_DISTINCT_NUMBERS;
            let too_many =
                || format!("has more than {most} different numbers, too many for classes; is it a regression?");
            let values = column.distinct.as_ref().ok_or_else(too_many)?;
            if let Some(same) = values
                .windows(2)
                .find(|pair| key(pair[0] as f32) == key(pair[1] as f32))
            {
                let (a, b) = (same[0], same[1]);
                return Err(format!(
                    "has the classes {a} and {b}, which are the same number as 32-bit floats"
                ));
            }
            Ok(values.iter().map(f64::to_string).collect())
        }
        Column::Category(column) => match column.distinct {
            Some(_) => Ok(column
                .categories
                .iter()
                .map(|category| category.value.clone())
                .collect()),
            None => Err(format!(
                "has too many different texts for classes: more than {MAX_CATEGORIES}, or very long ones"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::profile::{CategoryColumn, NumberColumn};
    use crate::data::table::UNSEEN;

    fn table(values: Values) -> Table {
        let rows = match &values {
            Values::Number(numbers) => numbers.len(),
            Values::Category { codes, .. } => codes.len(),
        };
        let name = "y".to_owned();
        Table {
            rows,
            columns: vec![TableColumn { name, values }],
        }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn target(encoding: TargetEncoding) -> TargetSpec {
        TargetSpec {
            column: "y".to_owned(),
            encoding,
        }
    }

    #[test]
    fn rows_without_a_target_are_left_out_and_counted() {
        let numbers = table(Values::Number(vec![1.0, f32::NAN, 3.0]));
        let labelled = labelled_rows(&numbers, &target(TargetEncoding::Number)).unwrap();
        assert_eq!(
            (labelled.rows, labelled.classes, labelled.left_out),
            (vec![0, 2], None, 1)
        );

        let codes = vec![1, MISSING, 0, 1];
        let categories = table(Values::Category {
            codes,
            categories: texts(&["a", "b"]),
        });
        let one_hot = target(TargetEncoding::OneHot {
            classes: texts(&["b", "a"]),
        });
        let labelled = labelled_rows(&categories, &one_hot).unwrap();
        assert_eq!((labelled.rows, labelled.classes), (vec![0, 2, 3], Some(vec![0, 1, 0])));
    }

    #[test]
    fn numbers_are_classes_by_value() {
        let numbers = table(Values::Number(vec![0.1, -0.0, 10.0, 0.1]));
        let one_hot = target(TargetEncoding::OneHot {
            classes: texts(&["0", "0.1", "10"]),
        });
        assert_eq!(
            labelled_rows(&numbers, &one_hot).unwrap().classes,
            Some(vec![1, 0, 2, 1])
        );
    }

    #[test]
    fn a_class_that_the_network_does_not_have_is_a_fault() {
        let one_hot = target(TargetEncoding::OneHot {
            classes: texts(&["1", "2"]),
        });
        for values in [
            Values::Number(vec![1.0, 3.0]),
            Values::Category {
                codes: vec![0, UNSEEN],
                categories: texts(&["1"]),
            },
            Values::Category {
                codes: vec![0, 1],
                categories: texts(&["1", "x"]),
            },
        ] {
            let error = labelled_rows(&table(values), &one_hot).unwrap_err();
            assert!(
                error.to_string().starts_with("row 2 has a \"y\" that is none"),
                "{error}"
            );
        }
    }

    #[test]
    fn classes_are_sorted_numbers_by_value() {
        let distinct = |values: &[f64]| {
            Column::Number(NumberColumn {
                distinct: Some(values.to_vec()),
                ..Default::default()
            })
        };
        assert_eq!(
            classes_of(&distinct(&[-1.0, 0.5, 2.0, 10.0])).unwrap(),
            ["-1", "0.5", "2", "10"]
        );
        let same = classes_of(&distinct(&[16_777_216.0, 16_777_217.0])).unwrap_err();
        assert!(same.contains("16777216 and 16777217"), "{same}");
        assert!(classes_of(&Column::Number(NumberColumn::default())).is_err());
        assert!(classes_of(&Column::Category(CategoryColumn::default())).is_err());
    }
}
