use std::io::Cursor;

use serde_json::{Value, json};

use super::*;
use crate::data::csv_reader::CsvReader;
use crate::data::profile::{Limits, Profile, profile};
use crate::data::source::SourceRequest;
use crate::nn::spec::Fault;

const TABLE: &str = "length,colour,const,kind\n1,red,5,a\n2,blue,5,b\n,red,5,a\n6,,5,\n1000,white,5,a\n";

fn profiled(content: &str) -> Profile {
    profile(Cursor::new(content), &SourceRequest::default(), &Limits::default()).unwrap()
}

fn target() -> TargetSpec {
    let classes = vec!["a".to_owned(), "b".to_owned()];
    TargetSpec {
        column: "kind".to_owned(),
        encoding: TargetEncoding::OneHot { classes },
    }
}

/// Fitted on the rows 0 to 3: the length of 1000 is not among them.
fn fit(scaling: NumericScaling) -> (Encoder, Table) {
    let Profile { source, columns, .. } = profiled(TABLE);
    let features = ["length", "colour", "const"];
    let table = Table::read(
        TABLE.as_bytes(),
        &source,
        &columns,
        &["length", "colour", "const", "kind"],
    )
    .unwrap();
    let encoder = Encoder::fit(&table, &[0, 1, 2, 3], &features.map(str::to_owned), target(), scaling).unwrap();
    (encoder, table)
}

/// The inputs, the faults as `pointer detail`, and the warnings.
fn instance(encoder: &Encoder, instance: Value) -> (Vec<f32>, Vec<String>, Vec<String>) {
    let (mut out, mut faults, mut warnings): (_, Vec<Fault>, _) = (Vec::new(), Vec::new(), Vec::new());
    encoder.instance(&instance, "/instances/0", &mut out, &mut faults, &mut warnings);
    let faults = faults
        .iter()
        .map(|fault| format!("{} {}", fault.pointer, fault.detail))
        .collect();
    (out, faults, warnings)
}

#[test]
fn statistics_come_from_the_training_rows_only() {
    let (encoder, table) = fit(NumericScaling::Standardize);
    // 1, 2 and 6: mean 3, variance (4 + 1 + 9) / 3
    let std = (14.0_f64 / 3.0).sqrt();
    let x = encoder.features(&table, &[0, 2, 4]);
    assert_eq!(encoder.width(), 5);
    assert_eq!(x.row(0).to_vec(), [(-2.0 / std) as f32, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(x.row(1)[0], 0.0, "the missing length is imputed with the mean");
    assert_eq!(x.row(2).to_vec(), [(997.0 / std) as f32, 0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn each_scaling_is_as_its_name_says() {
    let (min_max, table) = fit(NumericScaling::MinMax);
    assert_eq!(min_max.features(&table, &[0, 1, 3]).column(0).to_vec(), [0.0, 0.2, 1.0]);
    let (none, table) = fit(NumericScaling::None);
    assert_eq!(none.features(&table, &[0, 2]).column(0).to_vec(), [1.0, 3.0]);
    assert_eq!(none.features(&table, &[0]).column(4).to_vec(), [5.0]);
}

#[test]
fn a_constant_column_becomes_zero() {
    for scaling in [NumericScaling::Standardize, NumericScaling::MinMax] {
        let (encoder, table) = fit(scaling);
        assert!(
            encoder
                .features(&table, &[0, 1, 2, 3])
                .column(4)
                .iter()
                .all(|x| *x == 0.0)
        );
    }
}

#[test]
fn a_missing_category_is_the_most_frequent_one() {
    let (encoder, table) = fit(NumericScaling::None);
    assert_eq!(
        encoder.features(&table, &[3]).row(0).to_vec(),
        [6.0, 0.0, 1.0, 0.0, 5.0]
    );
    assert_eq!(
        encoder.feature_names(),
        ["length", "colour=blue", "colour=red", "colour=white", "const"]
    );
}

#[test]
fn targets_take_the_form_that_was_asked_for() {
    let (mut encoder, table) = fit(NumericScaling::None);
    let rows = labelled_rows(&table, encoder.target()).unwrap().rows;
    assert_eq!(rows, [0, 1, 2, 4]);
    assert_eq!(
        encoder.targets(&table, &rows[..2]),
        ndarray::array![[1.0, 0.0], [0.0, 1.0]]
    );
    let classes = encoder.target.classes().unwrap().to_vec();
    encoder.target.encoding = TargetEncoding::Binary { classes };
    assert_eq!(
        encoder.targets(&table, &rows),
        ndarray::array![[0.0], [1.0], [0.0], [0.0]]
    );
    encoder.target = TargetSpec {
        column: "length".to_owned(),
        encoding: TargetEncoding::Number,
    };
    assert_eq!(encoder.targets(&table, &[1, 3]), ndarray::array![[2.0], [6.0]]);
}

#[test]
fn an_instance_is_encoded_as_its_row_in_the_table_was() {
    let (encoder, table) = fit(NumericScaling::Standardize);
    let rows = [
        json!({"length": 1, "colour": "red", "const": 5}),
        json!([2, "blue", 5]),
        json!({"const": 5.0, "colour": " red ", "length": null}),
        json!([6, "NA", 5]),
        json!([1000.0, "white", 5]),
    ];
    for (row, json) in (0_u32..).zip(rows) {
        let (inputs, faults, warnings) = instance(&encoder, json);
        assert_eq!(inputs, encoder.features(&table, &[row]).row(0).to_vec());
        assert!(faults.is_empty() && warnings.is_empty(), "{faults:?} {warnings:?}");
    }
}

#[test]
fn an_unseen_category_is_all_zeros_and_a_warning() {
    let (encoder, _) = fit(NumericScaling::None);
    let (inputs, faults, warnings) = instance(&encoder, json!([1, "green", 5]));
    assert_eq!((inputs, faults.len()), (vec![1.0, 0.0, 0.0, 0.0, 5.0], 0));
    assert!(warnings[0].starts_with("/instances/0/1: \"green\" is not among the values of \"colour\""));
}

#[test]
fn every_fault_of_an_instance_has_its_pointer() {
    let (encoder, _) = fit(NumericScaling::Standardize);
    let (_, faults, _) = instance(&encoder, json!({"length": "5.1", "color": "red", "const": 1e308}));
    assert_eq!(
        faults,
        [
            "/instances/0/length must be a number, not the string \"5.1\"",
            "/instances/0/colour is missing; send a value, or null to have it imputed",
            "/instances/0/const must be a number within ±3.4e38",
            "/instances/0/color is not a column of the model; did you mean \"colour\"?",
        ]
    );
    for (wrong, fault) in [
        (
            json!([1, "red"]),
            "/instances/0 must have 3 values, one for each column of the model, not 2",
        ),
        (
            json!(5.1),
            "/instances/0 must be an object by column name or an array of 3 values, not 5.1",
        ),
        (json!([1, ["red"], 5]), "/instances/0/1 must be a text, not an array"),
        (json!([true, "red", 5]), "/instances/0/0 must be a number, not true"),
    ] {
        assert_eq!(instance(&encoder, wrong).1, [fault]);
    }
}

#[test]
fn a_number_that_scaling_makes_infinite_is_a_fault() {
    let table = Table {
        rows: 2,
        columns: ["x", "kind"]
            .map(|name| TableColumn {
                name: name.to_owned(),
                values: Values::Number(vec![0.0, 1e-38]),
            })
            .to_vec(),
    };
    let target = TargetSpec {
        column: "kind".to_owned(),
        encoding: TargetEncoding::Number,
    };
    let encoder = Encoder::fit(&table, &[0, 1], &["x".to_owned()], target, NumericScaling::Standardize).unwrap();
    let (_, faults, _) = instance(&encoder, json!([1e38]));
    assert!(
        faults[0].starts_with("/instances/0/0 1e38 is too far from the training table's values"),
        "{faults:?}"
    );
}

fn record(content: &str) -> Result<Vec<f32>, TableError> {
    let (encoder, _) = fit(NumericScaling::None);
    let mut reader = CsvReader::open(content.as_bytes(), &profiled(TABLE).source, &Limits::default())?;
    let records = encoder.for_header(reader.header())?;
    let mut out = Vec::new();
    while reader.advance()? {
        records.encode(&reader, &mut out)?;
    }
    Ok(out)
}

#[test]
fn records_of_a_csv_are_found_by_name() {
    let inputs = record("id,colour,const,length\n7,white,5,1\n8,green,,NA\n").unwrap();
    assert_eq!(inputs, [1.0, 0.0, 0.0, 1.0, 5.0, 3.0, 0.0, 0.0, 0.0, 5.0]);
}

#[test]
fn faults_of_a_csv_have_line_and_column() {
    let fault = |content: &str| record(content).unwrap_err().to_string();
    assert_eq!(
        fault("length,color\n1,2\n"),
        "line 1, column 1: the header lacks columns of the model: \"colour\" (is \"color\" meant for it?), \"const\""
    );
    let text = fault("const,colour,length\n1,red,1\n1,red,long\n");
    assert_eq!(text, "line 3, column 3: must be a number within ±3.4e38, not \"long\"");
    assert!(fault("const,colour,length\n1,red,1\n1,red\n").starts_with("line 3, column 3: this row has 2 fields"));
}

#[test]
fn another_table_is_encoded_with_the_fitted_statistics() {
    let (encoder, table) = fit(NumericScaling::Standardize);
    let other = "kind,weight,const,length,colour\nb,0.5,5,2,blue\n,1,5,2,green\n";
    let read = encoder
        .read_table(other.as_bytes(), &profiled(other).source, Some("weight"))
        .unwrap();
    assert_eq!(read.column("weight").unwrap().values, Values::Number(vec![0.5, 1.0]));
    assert_eq!(encoder.features(&read, &[0]), encoder.features(&table, &[1]));
    assert_eq!(encoder.features(&read, &[1]).row(0).to_vec()[1..4], [0.0, 0.0, 0.0]);
    assert_eq!(labelled_rows(&read, encoder.target()).unwrap().rows, [0]);
}

#[test]
fn an_encoder_survives_its_json() {
    for scaling in [
        NumericScaling::Standardize,
        NumericScaling::MinMax,
        NumericScaling::None,
    ] {
        let (encoder, _) = fit(scaling);
        let json = serde_json::to_string(&encoder).unwrap();
        assert_eq!(serde_json::from_str::<Encoder>(&json).unwrap(), encoder);
    }
}
