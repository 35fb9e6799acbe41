//! Every recorded Keras training is repeated, number by number, in f32 as clients get it and in f64.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, ArrayView2, s};
use serde_json::Value;
use trainyard::nn::kernel::Float;
use trainyard::nn::network::Network;
use trainyard::nn::rng::{Purpose, Random};
use trainyard::nn::spec::reader::Reader;
use trainyard::nn::spec::{ModelSpec, Plan, Target};
use trainyard::nn::trainer::{FitOptions, Samples, Step, Trained, Trainer, evaluate};
use trainyard::nn::weights::LayerWeights;

/// Most error relative to max(|reference|, 0.1); of gradients, to the largest of their array.
#[derive(Clone, Copy)]
struct Tolerance {
    figures: f64,
    weights: f64,
    gradients: f64,
}

/// What `../shared/DESIGN.md` asks of f32.
const F32: Tolerance = Tolerance {
    figures: 1e-5,
    weights: 2e-4,
    gradients: 1e-5,
};
/// What is left when rounding is not the question: the reference rounds some constants to f32 and adds its epsilon to f1.
const F64: Tolerance = Tolerance {
    figures: 3e-7,
    weights: 3e-7,
    gradients: 1e-7,
};

fn matrix<F: Float>(value: &Value) -> Array2<F> {
    let rows = value.as_array().expect("rows");
    let columns = rows[0].as_array().expect("columns").len();
    let number = |value: &Value| F::from_f64(value.as_f64().expect("a number"));
    let data = rows
        .iter()
        .flat_map(|row| row.as_array().expect("a row"))
        .map(number)
        .collect();
    Array2::from_shape_vec((rows.len(), columns), data).expect("a full matrix")
}

struct Case<F> {
    name: String,
    document: Value,
    plan: Plan,
    initial: Network<F>,
    x: Array2<F>,
    y: Array2<F>,
    weights: Option<Array1<F>>,
    tolerance: Tolerance,
    differences: RefCell<Vec<String>>,
}

impl<F: Float> Case<F> {
    fn read(document: Value, tolerance: Tolerance) -> Self {
        let (x, y) = (matrix(&document["x"]), matrix(&document["y"]));
        let weights = document
            .get("sample_weight")
            .map(|weights| flat(weights).into_iter().map(F::from_f64).collect());
        let mut reader = Reader::default();
        let spec = ModelSpec::read(&mut reader, &document["spec"], "/spec");
        let first = LayerWeights::read_all(&mut reader, &document["initial_weights"], "/initial_weights");
        assert_eq!(reader.faults, [], "{}", document["spec"]);
        let plan = spec
            .expect("a spec")
            .plan("/spec", x.ncols(), Target::Columns(Some(y.ncols())))
            .expect("a plan");
        let mut initial = Network::from_weights(&plan, &first.expect("weights"), "").expect("weights that fit");
        // Clients' weights are f32; for f64 the same ones without rounding.
        for (layer, arrays) in document["initial_weights"]
            .as_array()
            .expect("layers")
            .iter()
            .enumerate()
        {
            for (name, values) in arrays.as_object().expect("arrays") {
                let array = initial
                    .array_mut(layer, name)
                    .expect("an array of that name")
                    .iter_mut();
                array.zip(flat(values)).for_each(|(w, value)| *w = F::from_f64(value));
            }
        }
        let name = document["name"].as_str().expect("a name").to_owned();
        Self {
            name,
            document,
            plan,
            initial,
            x,
            y,
            weights,
            tolerance,
            differences: RefCell::default(),
        }
    }

    fn batch_size(&self) -> usize {
        self.document["batch_size"].as_u64().expect("a batch size") as usize
    }

    fn close(&self, what: &str, found: f64, reference: f64, tolerance: f64) {
        self.close_at_scale(what, found, reference, reference.abs().max(0.1), tolerance);
    }

    fn close_at_scale(&self, what: &str, found: f64, reference: f64, scale: f64, tolerance: f64) {
        let error = (found - reference).abs() / scale;
        if error > tolerance || error.is_nan() {
            let said = format!("{what} is {found}, Keras has {reference}: off by {error:e}");
            self.differences.borrow_mut().push(said);
        }
    }

    fn check_first_batch(&self) {
        let rows = self.batch_size().min(self.x.nrows());
        let first = |array: &'_ Array2<F>| array.slice(s![..rows, ..]).to_owned();
        let random = Random::new(0, Purpose::Dropout, 0, 0);
        let mut network = self.initial.clone();
        let (x, y) = (first(&self.x), first(&self.y));
        let weights = self.weights.as_ref().map(|weights| weights.slice(s![..rows]));
        let (loss, gradients) = network.gradients(&self.plan, x.view(), y.view(), weights, &random);
        let wanted = &self.document["first_batch"];
        self.close(
            "the first loss",
            loss,
            wanted["loss"].as_f64().expect("a loss"),
            self.tolerance.figures,
        );
        for (layer, arrays) in wanted["gradients"].as_array().expect("layers").iter().enumerate() {
            for (name, reference) in arrays.as_object().expect("arrays") {
                let found = gradients.of(&network, layer, name).expect("a gradient of that name");
                let reference = flat(reference);
                assert_eq!(found.len(), reference.len());
                // A bias before a batch normalization has no gradient at all: what is left is rounding.
                let scale = reference.iter().fold(1e-2f64, |largest, g| largest.max(g.abs()));
                let what = format!("a first gradient of {layer}/{name}");
                for (found, reference) in found.iter().zip(&reference) {
                    self.close_at_scale(&what, found.to_f64(), *reference, scale, self.tolerance.gradients);
                }
            }
        }
    }

    fn check_training(&self) -> Trained<F> {
        let options = FitOptions {
            epochs: self.document["epochs"].as_u64().expect("epochs") as u32,
            batch_size: self.batch_size(),
            shuffle: false,
            ..FitOptions::default()
        };
        let samples = Samples {
            x: self.x.clone(),
            y: self.y.clone(),
            weights: self.weights.clone(),
        };
        let mut trainer = Trainer::new(self.plan.clone(), self.initial.clone(), None, samples, None, options);
        loop {
            match trainer.step() {
                Step::Batch | Step::Stopped => {}
                Step::Epoch(report) => {
                    for (name, found) in report.figures {
                        let reference = self.document["history"][&name][report.epoch as usize - 1].as_f64();
                        let what = format!("{name} of epoch {}", report.epoch);
                        self.close(&what, found, reference.expect("a figure"), self.tolerance.figures);
                    }
                }
                Step::Done(_) => return trainer.finish(),
            }
        }
    }

    fn check_trained(&self, trained: &Trained<F>) {
        for (layer, arrays) in self.document["final_weights"]
            .as_array()
            .expect("layers")
            .iter()
            .enumerate()
        {
            for (name, reference) in arrays.as_object().expect("arrays") {
                let found = trained.network.array(layer, name).expect("an array of that name");
                for (found, reference) in found.iter().zip(flat(reference)) {
                    let what = format!("a final weight of {layer}/{name}");
                    self.close(&what, found.to_f64(), reference, self.tolerance.weights);
                }
            }
        }
        let samples = Samples {
            x: self.x.clone(),
            y: self.y.clone(),
            weights: self.weights.clone(),
        };
        for (name, found) in evaluate(&self.plan, &trained.network, &samples) {
            let reference = self.document["evaluate"][&name].as_f64().expect("a figure");
            self.close(&format!("evaluated {name}"), found, reference, self.tolerance.figures);
        }
        let wanted: Array2<f64> = matrix(&self.document["predictions"]);
        let rows: ArrayView2<'_, F> = self.x.slice(s![..wanted.nrows(), ..]);
        let found = trained.network.predict(rows);
        for (found, reference) in found.iter().zip(&wanted) {
            self.close("a prediction", found.to_f64(), *reference, self.tolerance.figures);
        }
    }

    /// Where we and Keras differ, the first place and how many there are.
    fn check(self) -> Option<String> {
        self.check_first_batch();
        let trained = self.check_training();
        self.check_trained(&trained);
        let differences = self.differences.into_inner();
        let first = differences.first()?;
        Some(format!("{}: {first} (and {} more)", self.name, differences.len() - 1))
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().expect("a number")],
    }
}

/// The recorded cases (a file has one or an array of them), and those of a folder that `TRAINYARD_KERAS_CASES` names.
fn cases() -> Vec<Value> {
    let recorded =
        ["tests/keras-parity", "tests/keras"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let more = std::env::var_os("TRAINYARD_KERAS_CASES").map(PathBuf::from);
    let entries = recorded
        .into_iter()
        .chain(more)
        .flat_map(|folder| folder.read_dir().expect("a folder of cases"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let cases = |path: PathBuf| {
        let text = std::fs::read_to_string(path).expect("a readable file");
        match serde_json::from_str(&text).expect("JSON") {
            Value::Array(cases) => cases,
            case => vec![case],
        }
    };
    let cases: Vec<Value> = paths.into_iter().flat_map(cases).collect();
    assert!(cases.len() >= 75, "the recorded cases are there");
    cases
}

fn check_all<F: Float>(tolerance: Tolerance) {
    let check = |case| Case::<F>::read(case, tolerance).check();
    let differences: Vec<String> = cases().into_iter().filter_map(check).collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn f32_trainings_are_keras_trainings() {
    check_all::<f32>(F32);
}

#[test]
fn f64_trainings_are_keras_trainings_more_exactly() {
    check_all::<f64>(F64);
}
