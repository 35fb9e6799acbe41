//! A job's rows as its network sees them, read from the stored tables.

use ndarray::{Array1, ArrayView1};

use super::flag::{Flag, Stoppable};
use crate::data::encoder::{Encoder, TargetSpec, labelled_rows};
use crate::data::split::split;
use crate::data::table::{Table, Values};
use crate::data::table_error::TableError;
use crate::domain::dataset::Dataset;
use crate::domain::job_spec::{JobSpec, TrainingSpec, ValidationSpec};
use crate::nn::trainer::Samples;
use crate::store::{Store, StoreError};

/// The fitted preprocessing and what it made of the rows.
pub(super) struct Prepared {
    pub(super) encoder: Encoder,
    pub(super) train: Samples<f32>,
    pub(super) validation: Option<Samples<f32>>,
}

/// What rows are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Training,
    Validation,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SamplesError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    NoRows(&'static str),
}

/// Reads a job's tables.
pub(super) struct Reading<'a> {
    pub(super) store: &'a Store,
    pub(super) spec: &'a JobSpec,
    pub(super) dataset: &'a Dataset,
    pub(super) validation: Option<&'a Dataset>,
    pub(super) flag: &'a Flag,
}

impl Reading<'_> {
    /// With `fitted`, the preprocessing of the model that the job continues, nothing is fitted anew.
    pub(super) fn prepare(&self, target: TargetSpec, fitted: Option<Encoder>) -> Result<Prepared, SamplesError> {
        let table = match &fitted {
            Some(encoder) => self.read_as(self.dataset, encoder)?,
            None => self.read()?,
        };
        let labelled = labelled_rows(&table, &target)?;
        let training = &self.spec.training;
        let (train_rows, held_out) = match &training.validation {
            Some(ValidationSpec::Split(by)) => {
                split(&labelled.rows, by.split, training.seed, labelled.classes.as_deref())
            }
            _ => (labelled.rows, Vec::new()),
        };
        if train_rows.is_empty() {
            return Err(SamplesError::NoRows("no row is left to train on"));
        }
        let encoder = match fitted {
            Some(encoder) => encoder,
            None => {
                let scaling = self.spec.preprocessing.numeric;
                Encoder::fit(&table, &train_rows, &self.spec.features, target, scaling)?
            }
        };
        let train = samples(training, &encoder, &table, &train_rows, Use::Training);
        let validation = match (&training.validation, self.validation) {
            (None, _) => None,
            (Some(ValidationSpec::Split(_)), _) => {
                Some(samples(training, &encoder, &table, &held_out, Use::Validation))
            }
            (Some(ValidationSpec::Dataset(_)), other) => {
                drop(table);
                let other = other.ok_or(SamplesError::NoRows("the validation dataset is gone"))?;
                let table = self.read_as(other, &encoder)?;
                let rows = labelled_rows(&table, encoder.target())?.rows;
                Some(samples(training, &encoder, &table, &rows, Use::Validation))
            }
        };
        if validation.as_ref().is_some_and(|samples| samples.x.nrows() == 0) {
            return Err(SamplesError::NoRows("no row is left to validate with"));
        }
        Ok(Prepared {
            encoder,
            train,
            validation,
        })
    }

    fn read(&self) -> Result<Table, SamplesError> {
        let spec = self.spec;
        let mut wanted: Vec<&str> = spec.features.iter().map(String::as_str).collect();
        wanted.push(&spec.target);
        wanted.extend(
            spec.training
                .sample_weight
                .as_deref()
                .filter(|weight| !wanted.contains(weight)),
        );
        let input = self.open(self.dataset)?;
        Ok(Table::read(
            input,
            &self.dataset.source,
            &self.dataset.columns,
            &wanted,
        )?)
    }

    fn read_as(&self, dataset: &Dataset, encoder: &Encoder) -> Result<Table, SamplesError> {
        let also = self.spec.training.sample_weight.as_deref();
        Ok(encoder.read_table(self.open(dataset)?, &dataset.source, also)?)
    }

    fn open(&self, dataset: &Dataset) -> Result<impl std::io::Read, StoreError> {
        let input = self.store.blobs().open(&dataset.sha256)?;
        Ok(Stoppable { input, flag: self.flag })
    }
}

/// Class weights count where it is trained only, as in Keras; sample weights count where it is validated too.
fn samples(training: &TrainingSpec, encoder: &Encoder, table: &Table, rows: &[u32], purpose: Use) -> Samples<f32> {
    let y = encoder.targets(table, rows);
    let of_rows = training.sample_weight.as_deref().map(|name| numbers(table, name, rows));
    let of_classes = class_weights(training, encoder)
        .filter(|_| purpose == Use::Training)
        .map(|factors| {
            let factor = |row: ArrayView1<'_, f32>| factors[class_of(row)];
            y.rows().into_iter().map(factor).collect::<Array1<f32>>()
        });
    let weights = match (of_rows, of_classes) {
        (Some(rows), Some(classes)) => Some(rows * classes),
        (rows, classes) => rows.or(classes),
    };
    let x = encoder.features(table, rows);
    Samples { x, y, weights }
}

/// The factor of each class, when the job has any.
fn class_weights(training: &TrainingSpec, encoder: &Encoder) -> Option<Vec<f32>> {
    let weights = training.class_weight.as_ref()?;
    let classes = encoder.target().classes()?;
    Some(
        classes
            .iter()
            .map(|class| weights.get(class).map_or(1.0, |weight| *weight as f32))
            .collect(),
    )
}

/// The class that a row of targets stands for: one-hot columns, or one column of 0 and 1.
fn class_of(target: ArrayView1<'_, f32>) -> usize {
    match target.len() {
        1 => usize::from(target[0] > 0.5),
        _ => target.iter().position(|share| *share > 0.5).unwrap_or(0),
    }
}

fn numbers(table: &Table, name: &str, rows: &[u32]) -> Array1<f32> {
    match table.column(name).map(|column| &column.values) {
        Some(Values::Number(values)) => rows.iter().map(|row| values[*row as usize]).collect(),
        _ => Array1::ones(rows.len()), // refused at admission
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::encoder::{NumericScaling, TargetEncoding};
    use crate::data::profile::{Limits, profile};
    use crate::data::source::SourceRequest;

    const CONTENT: &[u8] = b"a,w,y\n1,0.5,yes\n2,2,no\n3,1,yes\n";

    fn weights(encoding: fn(Vec<String>) -> TargetEncoding, purpose: Use) -> Vec<f32> {
        let found = profile(
            std::io::Cursor::new(CONTENT),
            &SourceRequest::default(),
            &Limits::default(),
        )
        .unwrap();
        let table = Table::read(CONTENT, &found.source, &found.columns, &["a", "w", "y"]).unwrap();
        let target = TargetSpec {
            column: "y".to_owned(),
            encoding: encoding(vec!["no".to_owned(), "yes".to_owned()]),
        };
        let encoder = Encoder::fit(&table, &[0, 1, 2], &["a".to_owned()], target, NumericScaling::None).unwrap();
        let training = TrainingSpec {
            class_weight: Some([("yes".to_owned(), 10.0)].into()),
            sample_weight: Some("w".to_owned()),
            ..TrainingSpec::default()
        };
        samples(&training, &encoder, &table, &[0, 1, 2], purpose)
            .weights
            .unwrap()
            .to_vec()
    }

    #[test]
    fn a_row_weighs_its_own_weight_times_its_class_s() {
        for encoding in [
            |classes| TargetEncoding::OneHot { classes },
            |classes| TargetEncoding::Binary { classes },
        ] {
            assert_eq!(weights(encoding, Use::Training), [5.0, 2.0, 10.0]);
        }
    }

    #[test]
    fn classes_have_no_weight_in_validation() {
        assert_eq!(
            weights(|classes| TargetEncoding::OneHot { classes }, Use::Validation),
            [0.5, 2.0, 1.0]
        );
    }
}
