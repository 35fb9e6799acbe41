//! Which columns of a table a network reads, and how wide that makes it.

use crate::data::profile::Column;
use crate::data::tally::MAX_CATEGORIES;
use crate::nn::spec::Fault;
use crate::nn::spec::reader::{nearest, shorten};

/// Inputs that the network has for `features`, known from the dataset alone.
///
/// Errors: every feature that can't be one; `at` is the pointer of the list of features.
pub fn width_of(columns: &[Column], features: &[String], at: &str) -> Result<usize, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut width = 0;
    for (place, name) in features.iter().enumerate() {
        match width_of_one(columns, name) {
            Ok(inputs) => width += inputs,
            Err(detail) => faults.push(Fault::new(format!("{at}/{place}"), detail)),
        }
    }
    if faults.is_empty() { Ok(width) } else { Err(faults) }
}

fn width_of_one(columns: &[Column], name: &str) -> Result<usize, String> {
    let shown = shorten(name);
    match columns.iter().find(|column| column.name() == name) {
        Some(Column::Number(_)) => Ok(1),
        Some(Column::Category(column)) if column.distinct.is_some() => Ok(column.categories.len()),
        Some(Column::Category(_)) => Err(format!(
            "the column {shown:?} is free text: it has more than {MAX_CATEGORIES} different values, or very long ones"
        )),
        None => {
            let known: Vec<&str> = columns.iter().map(Column::name).collect();
            let hint = nearest(name, &known).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            Err(format!("the table has no column {shown:?}{hint}"))
        }
    }
}

/// All columns but the target and the weights, without those that have no value at all or are free text.
pub fn default_features(columns: &[Column], target: &str, sample_weight: Option<&str>) -> Vec<String> {
    let is_input = |column: &&Column| match column {
        Column::Number(column) => column.min.is_some(),
        Column::Category(column) => column.distinct.is_some(),
    };
    columns
        .iter()
        .filter(|column| column.name() != target && Some(column.name()) != sample_weight)
        .filter(is_input)
        .map(|column| column.name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::profile::{Category, CategoryColumn, NumberColumn};

    fn columns() -> Vec<Column> {
        let number = |name: &str, min| {
            Column::Number(NumberColumn {
                name: name.to_owned(),
                min,
                ..Default::default()
            })
        };
        let category = |name: &str, values: Option<&[&str]>| {
            let categories = values.unwrap_or_default().iter();
            let categories = categories.map(|value| Category {
                value: (*value).to_owned(),
                count: 1,
            });
            Column::Category(CategoryColumn {
                name: name.to_owned(),
                categories: categories.collect(),
                distinct: values.map(|values| values.len() as u64),
                ..Default::default()
            })
        };
        vec![
            number("length", Some(1.0)),
            category("colour", Some(&["blue", "red", "white"])),
            category("note", None),
            number("empty", None),
            number("weight", Some(1.0)),
            category("kind", Some(&["a", "b"])),
        ]
    }

    #[test]
    fn default_features_leave_out_what_teaches_nothing() {
        assert_eq!(
            default_features(&columns(), "kind", Some("weight")),
            ["length", "colour"]
        );
        assert_eq!(
            default_features(&columns(), "length", None),
            ["colour", "weight", "kind"]
        );
    }

    #[test]
    fn the_width_counts_an_input_for_each_category() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            width_of(&columns(), &names(&["length", "colour", "kind"]), "/features").unwrap(),
            6
        );
        let faults = width_of(&columns(), &names(&["lenght", "note", "kind"]), "/features").unwrap_err();
        let faults: Vec<String> = faults
            .iter()
            .map(|fault| format!("{} {}", fault.pointer, fault.detail))
            .collect();
        assert_eq!(
            faults[0],
            "/features/0 the table has no column \"lenght\"; did you mean \"length\"?"
        );
        assert!(faults[1].starts_with("/features/1 the column \"note\" is free text"));
    }
}
