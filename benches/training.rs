//! Whole trainings, from the first weights to the last epoch: the five workloads that `benches/peers/` also gives to
//! JAX and PyTorch.
//!
//! `cargo bench --bench training -- [w1 w2 …] [--repeats N] [--threads N] [--json]`

use std::time::Instant;

use ndarray::Array2;
use serde_json::{Value, json};
use trainyard::nn::kernel::Team;
use trainyard::nn::network::Network;
use trainyard::nn::rng::{Purpose, Random};
use trainyard::nn::spec::{ModelSpec, Target};
use trainyard::nn::trainer::{FitOptions, Samples, Step, Trainer};

struct Workload {
    name: &'static str,
    what: &'static str,
    samples: fn() -> Samples<f32>,
    target: Target,
    layers: Value,
    loss: &'static str,
    batch_size: usize,
    epochs: u32,
}

fn workloads() -> [Workload; 5] {
    let dense = |units: u32, activation: &str| json!({"type": "dense", "units": units, "activation": activation});
    let normalize = json!({"type": "batch_normalization"});
    let housing = json!([dense(64, "swish"), dense(64, "swish"), dense(1, "linear")]);
    [
        Workload {
            name: "w1",
            what: "iris 4-64-BN-64-BN-3 swish, batch 150, 520 epochs",
            samples: iris,
            target: Target::Classes(3),
            layers: json!([
                dense(64, "swish"),
                normalize,
                dense(64, "swish"),
                normalize,
                dense(3, "softmax")
            ]),
            loss: "categorical_crossentropy",
            batch_size: 150,
            epochs: 520,
        },
        Workload {
            name: "w2",
            what: "housing 13-64-64-1 swish, batch 32, 1000 epochs",
            samples: boston,
            target: Target::Regression,
            layers: housing.clone(),
            loss: "mse",
            batch_size: 32,
            epochs: 1000,
        },
        Workload {
            name: "w3",
            what: "the same net, full batch, 1000 steps",
            samples: boston,
            target: Target::Regression,
            layers: housing,
            loss: "mse",
            batch_size: 506,
            epochs: 1000,
        },
        Workload {
            name: "w4",
            what: "60,000×784-512-512-10 relu, batch 128, 3 epochs",
            samples: || synthetic(60_000, 784, 10),
            target: Target::Classes(10),
            layers: json!([dense(512, "relu"), dense(512, "relu"), dense(10, "softmax")]),
            loss: "categorical_crossentropy",
            batch_size: 128,
            epochs: 3,
        },
        Workload {
            name: "w5",
            what: "1,000,000×28-128-128-1 swish, batch 1024, 2 epochs",
            samples: || synthetic(1_000_000, 28, 1),
            target: Target::Columns(Some(1)),
            layers: json!([dense(128, "swish"), dense(128, "swish"), dense(1, "sigmoid")]),
            loss: "binary_crossentropy",
            batch_size: 1024,
            epochs: 2,
        },
    ]
}

/// A table's rows as text, without its header.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split(',').collect()).collect()
}

fn numbers(rows: &[Vec<&str>], columns: std::ops::Range<usize>) -> Array2<f32> {
    let number = |text: &str| text.trim().parse::<f32>().expect("a number");
    Array2::from_shape_fn((rows.len(), columns.len()), |(r, c)| number(rows[r][columns.start + c]))
}

fn iris() -> Samples<f32> {
    let rows = rows(include_str!("../examples/data/iris.csv"));
    let mut classes: Vec<&str> = rows.iter().map(|row| row[4]).collect();
    classes.sort_unstable();
    classes.dedup();
    let y = Array2::from_shape_fn((rows.len(), 3), |(r, c)| f32::from(u8::from(rows[r][4] == classes[c])));
    Samples {
        x: numbers(&rows, 0..4),
        y,
        weights: None,
    }
}

fn boston() -> Samples<f32> {
    let rows = rows(include_str!("../examples/data/housing.csv"));
    let mut x = numbers(&rows, 0..13);
    for mut column in x.columns_mut() {
        let (mean, deviation) = (column.mean().expect("rows"), column.std(0.0));
        column.mapv_inplace(|x| (x - mean) / deviation);
    }
    Samples {
        x,
        y: numbers(&rows, 13..14),
        weights: None,
    }
}

/// Uniform numbers; the class of a row is where the first columns' sum falls.
fn synthetic(rows: usize, columns: usize, classes: usize) -> Samples<f32> {
    let mut random = Random::new(0, Purpose::Initialize, 0, 0);
    let x = Array2::from_shape_simple_fn((rows, columns), || random.uniform() * 2.0 - 1.0);
    let class = |r: usize| (x[[r, 0]] + x[[r, 1]] + 2.0) / 4.0;
    let y = Array2::from_shape_fn((rows, classes), |(r, c)| match classes {
        1 => class(r).round(),
        _ => f32::from(u8::from((class(r) * classes as f32) as usize == c)),
    });
    Samples { x, y, weights: None }
}

impl Workload {
    /// Seconds of each training, the last loss, and the most memory over what the samples are.
    fn run(&self, repeats: usize, team: &Team) -> (Vec<f64>, f64, Option<f64>) {
        let samples = (self.samples)();
        let size = 4 * (samples.x.len() + samples.y.len());
        let mut samples = Some(samples);
        let model = json!({"layers": self.layers, "loss": self.loss, "optimizer": "adam", "metrics": []});
        let model: ModelSpec = serde_json::from_value(model).expect("a right spec");
        let first = samples.as_ref().expect("made above");
        let (rows, inputs) = first.x.dim();
        let plan = model.plan("", inputs, self.target).expect("a plan");
        let mut loss = f64::NAN;
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            let network = Network::initialize(&plan, 0);
            let options = FitOptions {
                epochs: self.epochs,
                batch_size: self.batch_size,
                shuffle: self.batch_size < rows,
                ..FitOptions::default()
            };
            // Made anew and not cloned, so that the process never holds them twice.
            let samples = samples.take().unwrap_or_else(self.samples);
            let mut trainer = Trainer::new(plan.clone(), network, None, samples, None, options);
            trainer.share_out(team.clone());
            let start = Instant::now();
            loop {
                match trainer.step() {
                    Step::Batch | Step::Stopped => {}
                    Step::Epoch(report) => loss = report.figures[0].1,
                    Step::Done(_) => break,
                }
            }
            seconds.push(start.elapsed().as_secs_f64());
        }
        // Of small samples it would tell nothing.
        let memory = peak_bytes()
            .filter(|_| size > 1 << 20)
            .map(|peak| peak as f64 / size as f64);
        (seconds, loss, memory)
    }
}

/// The most memory that the process has held, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

/// What `work` returns for a team of so many threads.
fn with_team<T>(threads: usize, work: impl FnOnce(&Team) -> T) -> T {
    let team = Team::new(threads - 1);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| team.join().expect("a free place").help(|| true));
        }
        let _dismissal = team.dismiss_at_end();
        work(&team)
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| -> Option<usize> {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(arguments.get(at + 1)?.parse().expect("a number"))
    };
    let threads = number("--threads").unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let chosen = |workload: &Workload| {
        let mut names = arguments.iter().filter(|argument| argument.starts_with('w')).peekable();
        names.peek().is_none() || names.any(|name| name == workload.name)
    };
    for workload in workloads().into_iter().filter(chosen) {
        let repeats = number("--repeats").unwrap_or(if workload.batch_size > 1000 { 3 } else { 5 });
        let (mut seconds, loss, memory) = with_team(threads, |team| workload.run(repeats, team));
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        if arguments.iter().any(|argument| argument == "--json") {
            println!(
                "{}",
                json!({"workload": workload.name, "seconds": seconds, "loss": loss})
            );
        } else {
            let memory = memory.map_or(String::new(), |memory| {
                format!("process at most {memory:.2} × the samples  ")
            });
            println!(
                "{}  {median:8.4} s  (best {:.4})  loss {loss:.4}  {memory}{}",
                workload.name, seconds[0], workload.what
            );
        }
    }
}
