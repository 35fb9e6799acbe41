use serde_json::{Value, json};

use super::*;
use crate::data::profile::{Category, CategoryColumn, Column, NumberColumn};
use crate::data::source::{Format, Source};
use crate::domain::id::DatasetId;
use crate::training::limits::NetworkLimits;

const LIMITS: JobLimits = JobLimits {
    network: NetworkLimits {
        layers: 1_000,
        units: 65_536,
        parameters: 1 << 40,
    },
    epochs: 1_000_000,
    batch_size: 10_000_000,
    memory_bytes: 1 << 30,
    multiply_adds: u128::MAX,
};

fn number(name: &str) -> Column {
    Column::Number(NumberColumn {
        name: name.to_owned(),
        min: Some(0.0),
        max: Some(2.0),
        mean: Some(1.0),
        std: Some(1.0),
        distinct: Some(vec![0.0, 1.0, 2.0]),
        ..Default::default()
    })
}

fn category(name: &str, values: &[&str]) -> Column {
    let categories = values.iter().map(|value| Category {
        value: (*value).to_owned(),
        count: 50,
    });
    Column::Category(CategoryColumn {
        name: name.to_owned(),
        categories: categories.collect(),
        distinct: Some(values.len() as u64),
        ..Default::default()
    })
}

fn table(columns: Vec<Column>) -> Dataset {
    Dataset {
        id: DatasetId::generate(),
        name: "flowers".to_owned(),
        rows: 150,
        size_bytes: 4000,
        sha256: String::new(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        source: Source {
            format: Format::Csv,
            encoding: "utf-8".to_owned(),
            delimiter: Some(",".to_owned()),
        },
        columns,
    }
}

fn flowers() -> Dataset {
    let kinds = category("kind", &["setosa", "versicolor", "virginica"]);
    table(vec![
        number("length"),
        number("width"),
        category("colour", &["blue", "red"]),
        kinds,
    ])
}

fn admit_with(
    dataset: &Dataset,
    validation: Option<&Dataset>,
    request: &Value,
    limits: &JobLimits,
) -> Result<Admitted, Problem> {
    let mut request = request.clone();
    request["dataset"] = json!(dataset.id);
    let request = JobRequest::read(&request).unwrap();
    let named = Named {
        dataset,
        validation,
        continued: None,
    };
    admit(request, named, limits)
}

fn faults_of(request: Value) -> Vec<String> {
    let problem = admit_with(&flowers(), None, &request, &LIMITS).unwrap_err();
    assert_eq!(problem.kind, Kind::InvalidSpec);
    problem
        .faults
        .iter()
        .map(|fault| format!("{} {}", fault.pointer, fault.detail))
        .collect()
}

#[test]
fn a_target_is_all_that_must_be_said() {
    let admitted = admit_with(&flowers(), None, &json!({"target": "kind"}), &LIMITS).unwrap();
    assert_eq!(admitted.spec.features, ["length", "width", "colour"]);
    assert_eq!(admitted.classes.as_deref().map(<[String]>::len), Some(3));
    assert_eq!((admitted.plan.inputs, admitted.plan.outputs), (4, 3));
    assert!(admitted.spec.model.layers.is_some() && admitted.spec.model.loss.is_some());
    assert!(admitted.memory_bytes > 0);
    assert_eq!(admitted.spec.training, TrainingSpec::default());
}

#[test]
fn a_number_target_is_a_regression_unless_the_loss_says_classes() {
    let task = |request| admit_with(&flowers(), None, &request, &LIMITS).unwrap().classes;
    assert_eq!(task(json!({"target": "length"})), None);
    let classes = task(json!({"target": "length", "model": {"loss": "categorical_crossentropy"}}));
    assert_eq!(classes, Some(vec!["0".to_owned(), "1".to_owned(), "2".to_owned()]));
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let faults = faults_of(json!({
        "target": "kind",
        "features": ["lenght", "kind", "width"],
        "model": {"layers": [{"type": "dense", "units": 4, "activation": "softmax"}]},
        "training": {
            "class_weight": {"setose": 2.0},
            "sample_weight": "colour",
            "early_stopping": {"monitor": "val_loss"},
        },
    }));
    let expected = [
        ("/features/0", "\"length\""),
        ("/features/1", "is the target"),
        ("/model/layers/0", "3"),
        ("/training/class_weight/setose", "did you mean \"setosa\"?"),
        ("/training/sample_weight", "holds texts"),
        ("/training/early_stopping/monitor", "training.validation"),
    ];
    for (pointer, part) in expected {
        let found = faults
            .iter()
            .any(|fault| fault.starts_with(pointer) && fault.contains(part));
        assert!(found, "{pointer} {part}: {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn an_unknown_target_gets_the_nearest_name_and_the_network_is_checked_all_the_same() {
    let faults = faults_of(json!({"target": "kinds", "training": {"early_stopping": {"monitor": "los"}}}));
    assert_eq!(
        faults,
        [
            "/target the table \"flowers\" has no column \"kinds\"; did you mean \"kind\"?",
            "/training/early_stopping/monitor is no figure of this job; did you mean \"loss\"?",
        ]
    );
}

#[test]
fn a_target_with_one_class_teaches_nothing() {
    let dataset = table(vec![number("length"), category("kind", &["setosa"])]);
    let problem = admit_with(&dataset, None, &json!({"target": "kind"}), &LIMITS).unwrap_err();
    assert_eq!(problem.faults[0].pointer, "/target");
    assert!(problem.faults[0].detail.contains("one class only"), "{problem:?}");
}

#[test]
fn a_validation_table_must_have_the_columns_and_no_class_of_its_own() {
    let other = table(vec![
        category("length", &["long"]),
        category("kind", &["setosa", "lily"]),
    ]);
    let request = json!({"target": "kind", "training": {"validation": {"dataset": other.id}}});
    let problem = admit_with(&flowers(), Some(&other), &request, &LIMITS).unwrap_err();
    let details: Vec<&str> = problem.faults.iter().map(|fault| fault.detail.as_str()).collect();
    assert!(
        problem
            .faults
            .iter()
            .all(|fault| fault.pointer == "/training/validation/dataset")
    );
    for part in [
        "\"lily\"",
        "\"length\" holds texts",
        "no column \"width\"",
        "no column \"colour\"",
    ] {
        assert!(
            details.iter().any(|detail| detail.contains(part)),
            "{part}: {details:#?}"
        );
    }
}

#[test]
fn a_split_must_leave_rows_on_both_sides() {
    let mut few = flowers();
    few.rows = 3;
    for (request, share, fits) in [
        ("kind", 0.5, false),
        ("length", 0.1, false),
        ("length", 0.5, true),
        ("length", 0.99, true),
    ] {
        let request = json!({"target": request, "training": {"validation": {"split": share}}});
        let admitted = admit_with(&few, None, &request, &LIMITS);
        assert_eq!(admitted.is_ok(), fits, "{request} {admitted:?}");
        if let Err(problem) = admitted {
            assert_eq!(problem.faults[0].pointer, "/training/validation/split");
        }
    }
}

#[test]
fn first_weights_are_checked_before_the_job_is_taken() {
    let faults = faults_of(
        json!({"target": "length", "features": ["width"], "initial_weights": [{}],
        "model": {"layers": [{"type": "dense", "units": 1}]}}),
    );
    assert!(
        faults.iter().all(|fault| fault.starts_with("/initial_weights/0")),
        "{faults:?}"
    );
    assert!(!faults.is_empty());
}

#[test]
fn a_job_that_needs_more_memory_than_there_is_is_refused_whatever_its_size() {
    let layers = vec![json!({"type": "dense", "units": 65536}); 100];
    let request = json!({"target": "length", "initial_weights": [], "model": {"layers": layers}});
    let problem = admit_with(&flowers(), None, &request, &LIMITS).unwrap_err();
    assert!(matches!(problem.kind, Kind::JobTooLarge | Kind::InvalidSpec));
    let limits = JobLimits {
        memory_bytes: 1000,
        ..LIMITS
    };
    let problem = admit_with(&flowers(), None, &json!({"target": "length"}), &limits).unwrap_err();
    assert_eq!(problem.kind, Kind::JobTooLarge);
}

#[test]
fn a_job_that_takes_more_arithmetic_or_parameters_than_it_may_is_refused() {
    // 3 products over 150 rows of 1 × 2 and 2 × 1, in each of 10 epochs; 2·2 + 2 + 1 parameters.
    let request = json!({"target": "length", "features": ["width"], "training": {"epochs": 10},
        "model": {"layers": [{"type": "dense", "units": 2}, {"type": "dense", "units": 1}]}});
    let of = |multiply_adds, parameters| JobLimits {
        multiply_adds,
        network: NetworkLimits {
            parameters,
            ..LIMITS.network
        },
        ..LIMITS
    };
    let admit = |limits| admit_with(&flowers(), None, &request, &limits).map_err(|problem| problem.kind);
    assert!(admit(of(18_000, 7)).is_ok());
    assert_eq!(admit(of(17_999, 7)).unwrap_err(), Kind::JobTooLarge);
    assert_eq!(admit(of(18_000, 6)).unwrap_err(), Kind::JobTooLarge);
    let mut other = flowers();
    other.rows = 1;
    let mut request = request.clone();
    request["training"]["validation"] = json!({"dataset": other.id});
    let validated = |most| admit_with(&flowers(), Some(&other), &request, &of(most, 7)).is_ok();
    assert_eq!([18_039, 18_040].map(validated), [false, true]);
}

#[test]
fn parts_beyond_the_limits_of_a_server_are_all_told_at_once() {
    let limits = JobLimits {
        network: NetworkLimits {
            layers: 1,
            units: 8,
            ..LIMITS.network
        },
        epochs: 5,
        batch_size: 16,
        ..LIMITS
    };
    let request = json!({"target": "kind", "training": {"epochs": 6, "batch_size": 17},
        "model": {"layers": [{"type": "dense", "units": 9}, {"type": "dense", "units": 8}]}});
    let problem = admit_with(&flowers(), None, &request, &limits).unwrap_err();
    let pointers: Vec<&str> = problem.faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/model/layers",
            "/model/layers/0/units",
            "/training/epochs",
            "/training/batch_size",
            "/model/layers/1/units",
            "/model/layers/1/activation",
        ]
    );
    let within = json!({"target": "kind", "training": {"epochs": 5, "batch_size": 16},
        "model": {"layers": [{"type": "dense", "units": 3, "activation": "softmax"}]}});
    assert!(admit_with(&flowers(), None, &within, &limits).is_ok());
}
