//! The same bits everywhere: at any number of threads, at every SIMD level, alone or in a batch, interrupted or not.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

use ndarray::{Array1, Array2, s};
use proptest::prelude::*;
use serde_json::{Value, json};
use trainyard::nn::kernel::{Level, Team};
use trainyard::nn::network::Network;
use trainyard::nn::rng::{Purpose, Random};
use trainyard::nn::spec::reader::Reader;
use trainyard::nn::spec::{ModelSpec, Plan, Target};
use trainyard::nn::trainer::{Checkpoint, EarlyStopping, FitOptions, Samples, Step, Trained, Trainer, evaluate};

fn plan(model: &Value, inputs: usize) -> Plan {
    let mut reader = Reader::default();
    let spec = ModelSpec::read(&mut reader, model, "").expect("a spec");
    assert_eq!(reader.faults, [], "{model}");
    spec.plan("", inputs, Target::Columns(None)).expect("a plan")
}

/// Random rows; the targets are one-hot where there are several, which suits every loss used here.
fn samples(plan: &Plan, rows: usize, seed: u64) -> Samples<f32> {
    let mut random = Random::new(seed, Purpose::Split, 0, 0);
    let x = Array2::from_shape_fn((rows, plan.inputs), |_| 4.0 * random.uniform() - 2.0);
    let classes: Vec<usize> = (0..rows).map(|_| random.below(plan.outputs as u32) as usize).collect();
    let y = Array2::from_shape_fn((rows, plan.outputs), |(row, column)| match plan.outputs {
        1 => x[(row, 0)] + 0.1 * random.uniform(),
        _ => f32::from(u8::from(classes[row] == column)),
    });
    Samples { x, y, weights: None }
}

/// Every number that a training leaves, as bits.
fn bits(trained: &Trained<f32>) -> Vec<u32> {
    let layers = trained.network.weights();
    let weights = layers
        .iter()
        .flat_map(|layer| &layer.0)
        .flat_map(|(_, tensor)| &tensor.data)
        .map(|w| w.to_bits());
    let figures = trained.figures.iter().flat_map(|(_, figure)| {
        let bits = figure.to_bits();
        [bits as u32, (bits >> 32) as u32]
    });
    weights
        .chain(figures)
        .chain([trained.optimizer.step as u32, trained.epochs])
        .collect()
}

fn train(plan: &Plan, samples: &Samples<f32>, options: &FitOptions) -> Trained<f32> {
    train_by(&Team::default(), plan, samples, options)
}

/// What a thread with so many helpers trains.
fn train_with_helpers(helpers: usize, plan: &Plan, samples: &Samples<f32>, options: &FitOptions) -> Trained<f32> {
    let team = Team::new(helpers);
    let there = Barrier::new(1 + helpers);
    thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|| {
                let helper = team.join().expect("a free place");
                there.wait();
                helper.help(|| true);
            });
        }
        let _dismissal = team.dismiss_at_end();
        there.wait();
        train_by(&team, plan, samples, options)
    })
}

fn train_by(team: &Team, plan: &Plan, samples: &Samples<f32>, options: &FitOptions) -> Trained<f32> {
    let network = Network::initialize(plan, options.seed);
    let validation = Some(Samples {
        x: samples.x.slice(s![..7, ..]).to_owned(),
        y: samples.y.slice(s![..7, ..]).to_owned(),
        weights: None,
    });
    let mut trainer = Trainer::new(
        plan.clone(),
        network,
        None,
        samples.clone(),
        validation,
        options.clone(),
    );
    trainer.share_out(team.clone());
    while !matches!(trainer.step(), Step::Done(_)) {}
    trainer.finish()
}

/// Every kind of layer in one network, wide enough that threads pay.
fn wide() -> Value {
    json!({
        "layers": [
            {"type": "dense", "units": 192, "activation": "swish", "kernel_l2": 1e-4},
            "batch_normalization",
            {"type": "dropout", "rate": 0.25},
            {"type": "dense", "units": 150, "activation": "gelu"},
            "layer_normalization",
            {"type": "activation", "activation": "mish"},
            {"type": "dense", "units": 5, "activation": "softmax"},
        ],
        "loss": {"type": "categorical_crossentropy", "label_smoothing": 0.1},
        "optimizer": {"type": "adamw", "global_clipnorm": 1.0, "schedule": {"type": "cosine_decay", "decay_steps": 9}},
        "metrics": ["accuracy", "f1", "auc"],
    })
}

/// The same without what looks at the whole batch.
fn row_by_row() -> Value {
    let mut model = wide();
    model["layers"].as_array_mut().expect("layers").remove(1);
    model
}

#[test]
fn threads_that_share_out_products_and_simd_levels_never_show_in_the_bits() {
    same_bits_everywhere(&wide(), 128, true);
}

#[test]
fn threads_whose_rows_meet_and_simd_levels_never_show_in_the_bits() {
    same_bits_everywhere(&wide(), 500, true);
}

#[test]
fn threads_that_share_out_rows_and_simd_levels_never_show_in_the_bits() {
    same_bits_everywhere(&row_by_row(), 500, true);
}

/// Zeros by relu and dropout, which products leave out, and a layer whose weights change as their gradients come.
fn sparse() -> Value {
    json!({
        "layers": [
            {"type": "dense", "units": 520, "activation": "relu"},
            {"type": "dropout", "rate": 0.25},
            {"type": "dense", "units": 528, "activation": "relu"},
            {"type": "dense", "units": 2},
        ],
        "loss": "mse",
    })
}

#[test]
fn zeros_that_products_leave_out_never_show_in_the_bits() {
    same_bits_everywhere(&sparse(), 64, false);
}

/// Trains on rows for a batch and two fifths, at every level, alone and with helpers.
fn same_bits_everywhere(model: &Value, batch_size: usize, report_gradient_noise: bool) {
    let (plan, rows) = (plan(model, 67), batch_size * 7 / 5);
    let mut samples = samples(&plan, rows, 1);
    samples.weights = Some(Array1::from_shape_fn(rows, |row| 0.5 + (row % 3) as f32));
    let options = FitOptions {
        epochs: 2,
        batch_size,
        seed: 5,
        report_gradient_noise,
        ..FitOptions::default()
    };
    // Another test forces levels too.
    static LEVELS: Mutex<()> = Mutex::new(());
    let _alone = LEVELS.lock().unwrap_or_else(PoisonError::into_inner);
    let best = Level::current();
    let mut all = Vec::new();
    for level in Level::available() {
        Level::force(level);
        all.push((format!("{level:?}, no team"), bits(&train(&plan, &samples, &options))));
        for threads in [1, 2, 4] {
            let trained = train_with_helpers(threads - 1, &plan, &samples, &options);
            all.push((format!("{level:?}, {threads} threads"), bits(&trained)));
        }
    }
    Level::force(best);
    let (first, wanted) = &all[0];
    for (how, found) in &all[1..] {
        assert!(found == wanted, "{how} gives other bits than {first}");
    }
}

#[test]
fn wide_networks_and_large_batches_pay_for_threads_and_the_tutorials_small_batches_do_not() {
    let pays = |model: &Value, inputs: usize, rows: usize, batch_size: usize| {
        let plan = plan(model, inputs);
        let options = FitOptions {
            batch_size,
            ..FitOptions::default()
        };
        let network = Network::<f32>::initialize(&plan, 0);
        Trainer::new(plan.clone(), network, None, samples(&plan, rows, 1), None, options).pays_for_helpers()
    };
    assert!(pays(&wide(), 67, 700, 500) && pays(&wide(), 67, 700, 128));
    assert!(pays(&row_by_row(), 67, 700, 500));
    let swish = json!({"type": "dense", "units": 64, "activation": "swish"});
    let tutorial = json!({"layers": [swish, swish, {"type": "dense", "units": 1}]});
    assert!(!pays(&tutorial, 13, 506, 32));
    assert!(pays(&tutorial, 13, 506, 506));
}

#[test]
fn a_run_resumed_after_any_batch_is_the_uninterrupted_run() {
    let mut model = wide();
    model["layers"][0]["units"] = json!(9);
    model["layers"][3]["units"] = json!(7);
    for optimizer in ["adam", "nadam", "sgd", "adadelta", "rmsprop"] {
        model["optimizer"]["type"] = json!(optimizer);
        let plan = plan(&model, 4);
        let samples = samples(&plan, 23, 2);
        let stopping = EarlyStopping {
            monitor: "val_loss".into(),
            patience: 2,
            min_delta: 0.0,
            restore_best: true,
        };
        let options = FitOptions {
            epochs: 6,
            first_epoch: 3,
            batch_size: 6,
            seed: 11,
            early_stopping: Some(stopping),
            report_inference_loss: true,
            report_gradient_noise: true,
            ..FitOptions::default()
        };
        let start = || {
            let network = Network::initialize(&plan, 11);
            Trainer::new(
                plan.clone(),
                network,
                None,
                samples.clone(),
                Some(samples.clone()),
                options.clone(),
            )
        };
        let (mut whole, mut steps) = (start(), Vec::new());
        while !matches!(steps.last(), Some(Step::Done(_))) {
            steps.push(whole.step());
        }
        let wanted = bits(&whole.finish());

        let (mut resumed, mut again) = (start(), Vec::new());
        while !matches!(again.last(), Some(Step::Done(_))) {
            let bytes = postcard::to_stdvec(&resumed.checkpoint()).expect("bytes");
            let checkpoint: Checkpoint<f32> = postcard::from_bytes(&bytes).expect("a checkpoint");
            let validation = Some(samples.clone());
            resumed = Trainer::resume(plan.clone(), samples.clone(), validation, options.clone(), checkpoint)
                .expect("its own");
            again.push(resumed.step());
        }
        assert_eq!(again, steps, "{optimizer}");
        let from_checkpoint = resumed.checkpoint().into_trained(&plan).expect("its own");
        assert_eq!(bits(&from_checkpoint), wanted, "{optimizer}");
        assert_eq!(bits(&resumed.finish()), wanted, "{optimizer}");
    }
}

#[test]
fn ten_thousand_rows_predicted_alone_equal_themselves_in_a_batch() {
    let plan = plan(&wide(), 67);
    let samples = samples(&plan, 500, 3);
    let options = FitOptions {
        epochs: 1,
        seed: 1,
        ..FitOptions::default()
    };
    let network = train(&plan, &samples, &options).network;
    let mut random = Random::new(9, Purpose::Split, 0, 0);
    let x = Array2::from_shape_fn((10_000, plan.inputs), |_| 8.0 * random.uniform() - 4.0);
    let together = network.predict(x.view());
    for (row, wanted) in together.rows().into_iter().enumerate() {
        let alone = network.predict(x.slice(s![row..=row, ..]));
        let same = alone.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "row {row}: {alone} alone, {wanted} in the batch");
    }
    let explanation = network.explain(x.row(77).as_slice().expect("a row"));
    assert_eq!(explanation.layers.last().expect("layers"), &together.row(77).to_vec());
    let softmax = explanation.softmax.expect("its last activation");
    let redone: Vec<f32> = softmax.exponentials.iter().map(|e| e / softmax.sum).collect();
    assert_eq!(redone, together.row(77).to_vec());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// From 1×1 upwards, with batches that leave any rest: threads don't show, rows stand alone, and f32 is near f64.
    #[test]
    fn networks_of_any_shape_train_and_predict(
        inputs in 1usize..20,
        units in 1usize..40,
        outputs in 1usize..12,
        rows in 7usize..60,
        batch_size in 1usize..40,
        seed in 0u64..1000,
    ) {
        let layers = json!([
            {"type": "dense", "units": units, "activation": "tanh"},
            "layer_normalization",
            {"type": "dense", "units": outputs},
        ]);
        let plan = plan(&json!({"layers": layers, "loss": "mse", "metrics": ["mae", "r2"]}), inputs);
        let samples = samples(&plan, rows, seed);
        let options = FitOptions { epochs: 2, batch_size, seed, ..FitOptions::default() };
        let trained = train(&plan, &samples, &options);
        prop_assert_eq!(bits(&train_with_helpers(2, &plan, &samples, &options)), bits(&trained));

        let together = trained.network.predict(samples.x.view());
        let last = trained.network.predict(samples.x.slice(s![rows - 1.., ..]));
        prop_assert_eq!(last.row(0).to_vec(), together.row(rows - 1).to_vec());

        let exact = Network::<f64>::from_weights(&plan, &trained.network.weights(), "").expect("its own weights");
        let wide = |array: &Array2<f32>| array.mapv(f64::from);
        let weights = Some(Array1::from_elem(rows, 1.0));
        let wanted = evaluate(&plan, &exact, &Samples { x: wide(&samples.x), y: wide(&samples.y), weights });
        for ((name, found), (_, wanted)) in evaluate(&plan, &trained.network, &samples).iter().zip(&wanted) {
            prop_assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{}: {} {}", name, found, wanted);
        }
    }
}
