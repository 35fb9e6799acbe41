//! What a job asks of its tables: columns that are there and fit, classes, weights, rows enough to split.

use super::admission::Named;
use crate::data::encoder::{ColumnType, TargetEncoding, classes_of};
use crate::data::profile::Column;
use crate::domain::dataset::Dataset;
use crate::domain::job_spec::{JobSpec, ValidationSpec};
use crate::nn::spec::Fault;
use crate::nn::spec::reader::{child, nearest, shorten};

/// The classes of a classification, `None` for a regression.
pub(super) type Classes = Option<Vec<String>>;

/// Reports every fault of the job's tables; the classes, unless the target is at fault.
pub(super) fn check(spec: &JobSpec, named: Named<'_>, faults: &mut Vec<Fault>) -> Option<Classes> {
    let classes = check_target(spec, named, faults);
    if let Some(classes) = &classes {
        check_class_weight(spec, classes.as_deref(), faults);
        check_validation(spec, named, classes.as_deref(), faults);
    }
    check_sample_weight(spec, named.dataset, "/training/sample_weight", faults);
    if let Some(continued) = named.continued {
        let inputs = continued
            .model
            .inputs
            .iter()
            .map(|input| (input.name.as_str(), input.r#type));
        check_inputs(named.dataset, inputs, "/dataset", faults);
    }
    if let Some(table) = named.validation {
        let inputs = spec
            .features
            .iter()
            .filter_map(|name| Some((name.as_str(), type_of(find(named.dataset, name)?))));
        check_inputs(table, inputs, "/training/validation/dataset", faults);
        check_sample_weight(spec, table, "/training/validation/dataset", faults);
    }
    classes
}

fn check_target(spec: &JobSpec, named: Named<'_>, faults: &mut Vec<Fault>) -> Option<Classes> {
    let found = target_classes(spec, named);
    found.map_err(|detail| faults.push(Fault::new("/target", detail))).ok()
}

/// What the target's column makes of the job, or what is wrong with it.
fn target_classes(spec: &JobSpec, named: Named<'_>) -> Result<Classes, String> {
    let column = find(named.dataset, &spec.target).ok_or_else(|| no_column(named.dataset, &spec.target))?;
    if column.missing() >= named.dataset.rows {
        return Err("has no value in any row, so there is nothing to learn from".to_owned());
    }
    if let Some(continued) = named.continued {
        let known = match &continued.encoder.target().encoding {
            TargetEncoding::Number => return number_target(column).map(|()| None),
            TargetEncoding::Binary { classes } | TargetEncoding::OneHot { classes } => classes,
        };
        only_known_classes(column, known)?;
        return Ok(Some(known.clone()));
    }
    if matches!(column, Column::Number(_)) && !spec.model.wants_classes() {
        return Ok(None);
    }
    match classes_of(column)?.as_slice() {
        [only] => Err(format!(
            "has one class only, {:?}; a classification needs two or more",
            shorten(only)
        )),
        classes => Ok(Some(classes.to_vec())),
    }
}

fn number_target(column: &Column) -> Result<(), String> {
    match column {
        Column::Number(_) => Ok(()),
        Column::Category(_) => Err("holds texts, where this job learns numbers".to_owned()),
    }
}

fn only_known_classes(column: &Column, known: &[String]) -> Result<(), String> {
    match classes_of(column)?.iter().find(|class| !known.contains(class)) {
        None => Ok(()),
        Some(class) => Err(format!(
            "has the class {:?}, which the network does not have",
            shorten(class)
        )),
    }
}

fn check_class_weight(spec: &JobSpec, classes: Option<&[String]>, faults: &mut Vec<Fault>) {
    let Some(weights) = &spec.training.class_weight else {
        return;
    };
    let at = "/training/class_weight";
    let Some(classes) = classes else {
        faults.push(Fault::new(
            at,
            "is for a classification, and this job is a regression: leave it out",
        ));
        return;
    };
    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
    for class in weights.keys().filter(|class| !classes.contains(class)) {
        let hint = match nearest(class, &known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the classes are {}", listed(&known)),
        };
        faults.push(Fault::new(
            child(at, class),
            format!("is no class of {:?}; {hint}", spec.target),
        ));
    }
}

fn check_sample_weight(spec: &JobSpec, table: &Dataset, at: &str, faults: &mut Vec<Fault>) {
    let Some(name) = &spec.training.sample_weight else {
        return;
    };
    let detail = match find(table, name) {
        None => no_column(table, name),
        Some(Column::Category(_)) => format!("the column {name:?} holds texts; a weight is a number"),
        Some(Column::Number(column)) if column.missing > 0 => {
            format!(
                "the column {name:?} has no value in {} rows; every row needs a weight",
                column.missing
            )
        }
        Some(Column::Number(column)) if column.min.is_some_and(|min| min < 0.0) => {
            format!("the column {name:?} has negative numbers; a weight is 0 or more")
        }
        Some(Column::Number(_)) => return,
    };
    faults.push(Fault::new(at, detail));
}

fn check_validation(spec: &JobSpec, named: Named<'_>, classes: Option<&[String]>, faults: &mut Vec<Fault>) {
    if let Some(ValidationSpec::Split(by)) = &spec.training.validation {
        let rows = named.dataset.rows - find(named.dataset, &spec.target).map_or(0, Column::missing);
        let held_out = (by.split * rows as f64).round();
        // Of a class with one row none is held out, see `data::split`.
        if held_out < 1.0 || rows <= classes.map_or(1, <[String]>::len) as u64 {
            let detail = format!("leaves no row to validate with: {rows} rows have a target");
            faults.push(Fault::new("/training/validation/split", detail));
        }
    }
    let Some(table) = named.validation else { return };
    let checked = match (find(table, &spec.target), classes) {
        (None, _) => Err(no_column(table, &spec.target)),
        (Some(column), _) if column.missing() >= table.rows => Err("has no row with a target".to_owned()),
        (Some(column), None) => {
            number_target(column).map_err(|detail| format!("the column {:?} {detail}", spec.target))
        }
        (Some(column), Some(classes)) => {
            only_known_classes(column, classes).map_err(|detail| format!("the column {:?} {detail}", spec.target))
        }
    };
    faults.extend(
        checked
            .err()
            .map(|detail| Fault::new("/training/validation/dataset", detail)),
    );
}

/// Whether a table has the columns that a network reads.
fn check_inputs<'a>(
    table: &Dataset,
    inputs: impl Iterator<Item = (&'a str, ColumnType)>,
    at: &str,
    faults: &mut Vec<Fault>,
) {
    for (name, kind) in inputs {
        let detail = match (find(table, name), kind) {
            (None, _) => no_column(table, name),
            (Some(Column::Category(_)), ColumnType::Number) => {
                format!("the column {name:?} holds texts, where the network reads numbers")
            }
            _ => continue,
        };
        faults.push(Fault::new(at, detail));
    }
}

fn find<'a>(table: &'a Dataset, name: &str) -> Option<&'a Column> {
    table.columns.iter().find(|column| column.name() == name)
}

fn type_of(column: &Column) -> ColumnType {
    match column {
        Column::Number(_) => ColumnType::Number,
        Column::Category(_) => ColumnType::Category,
    }
}

fn no_column(table: &Dataset, name: &str) -> String {
    let known: Vec<&str> = table.columns.iter().map(Column::name).collect();
    let hint = match nearest(name, &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("its columns are {}", listed(&known)),
    };
    format!("the table {:?} has no column {:?}; {hint}", table.name, shorten(name))
}

/// The first names of a list that may be long.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| shorten(name)).collect();
    let rest = names.len().saturating_sub(SHOWN);
    match rest {
        0 => shown.join(", "),
        _ => format!("{} and {rest} more", shown.join(", ")),
    }
}
