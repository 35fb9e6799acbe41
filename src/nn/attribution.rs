//! What each input contributed to an output: integrated gradients (Sundararajan, Taly, Yan 2017, arXiv:1703.01365).

use super::kernel::{Float, Workspace};
use super::layer::{Context, Turns};
use super::network::Network;

/// Pieces that the line is first cut into.
const FIRST_PIECES: usize = 32;
/// Rows that go through the network together.
const ROWS: usize = 192;
/// Rows after which pieces are taken as they are.
const MOST_ROWS: usize = 1 << 14;
/// What the contributions may miss of the difference in all, as a share of it: the promise is ten times as much.
const TOLERANCE: f64 = 1e-3;
/// A piece shorter than this may miss as much as one of this length. At a kink (relu) the error of a piece is in proportion
/// to its length, so that a bound in proportion to it could never be met.
const SHORTEST: f64 = 1.0 / 1024.0;

/// Gauss–Legendre on [0, 1] with three nodes: exact up to the fifth degree. The middle one is where a piece is halved.
const NODES: [(f64, f64); 3] = [
    (0.112_701_665_379_258_31, 5.0 / 18.0),
    (0.5, 8.0 / 18.0),
    (0.887_298_334_620_741_7, 5.0 / 18.0),
];

/// How an output came to differ from the baseline's.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// The output at the baseline.
    pub baseline: f64,
    /// The output at the input.
    pub output: f64,
    /// One a network input; they add up to `output − baseline`, within a thousandth of it where the work allows.
    pub contributions: Vec<f64>,
}

/// A piece of the line with the output at both ends.
#[derive(Clone, Copy)]
struct Piece {
    from: f64,
    to: f64,
    output_from: f64,
    output_to: f64,
}

impl Network<f64> {
    /// Attributes output `o` to the inputs, in inference mode: with x the input and b the baseline
    ///   aᵢ = (xᵢ − bᵢ)·∫₀¹ ∂yₒ/∂xᵢ(b + t·(x − b)) dt    hence Σᵢ aᵢ = yₒ(x) − yₒ(b)
    ///
    /// That sum is known, and tells where the line must be cut finer.
    ///
    /// # Panics
    /// If `x` or `baseline` isn't as long as the network has inputs.
    pub fn attribute(&self, x: &[f64], baseline: &[f64], output: usize) -> Attribution {
        assert_eq!(
            (x.len(), baseline.len()),
            (self.inputs, self.inputs),
            "numbers of the row"
        );
        let mut line = Line {
            differences: x.iter().zip(baseline).map(|(x, b)| x - b).collect(),
            baseline,
            output,
            gradient: InputGradient::new(self, ROWS),
        };
        let cuts: Vec<f64> = (0..=FIRST_PIECES).map(|cut| cut as f64 / FIRST_PIECES as f64).collect();
        line.run(self, &cuts);
        let outputs = line.gradient.outputs.clone();
        let (first, last) = (outputs[0], outputs[FIRST_PIECES]);
        let piece = |(cuts, outputs): (&[f64], &[f64])| Piece {
            from: cuts[0],
            to: cuts[1],
            output_from: outputs[0],
            output_to: outputs[1],
        };
        let pieces = cuts.windows(2).zip(outputs.windows(2)).map(piece).collect();
        let tolerance = TOLERANCE * (last - first).abs() + 1e-12 * (last.abs() + first.abs());
        Attribution {
            baseline: first,
            output: last,
            contributions: line.integrate(self, pieces, tolerance),
        }
    }
}

/// The straight line from the baseline to the input.
struct Line<'a> {
    baseline: &'a [f64],
    differences: Vec<f64>,
    output: usize,
    gradient: InputGradient<f64>,
}

impl Line<'_> {
    /// Outputs and gradients at these places of the line.
    fn run(&mut self, network: &Network<f64>, places: &[f64]) {
        let rows = self.gradient.input(places.len()).chunks_exact_mut(self.baseline.len());
        for (row, t) in rows.zip(places) {
            for ((x, b), difference) in row.iter_mut().zip(self.baseline).zip(&self.differences) {
                *x = t * difference + b;
            }
        }
        self.gradient.run(network, places.len(), self.output);
    }

    /// The contributions of all pieces; those that miss too much of their difference are halved.
    fn integrate(&mut self, network: &Network<f64>, mut pieces: Vec<Piece>, tolerance: f64) -> Vec<f64> {
        let inputs = self.baseline.len();
        let (mut sums, mut rows_left) = (vec![0.0; inputs], MOST_ROWS);
        while !pieces.is_empty() {
            let taken = pieces.split_off(pieces.len().saturating_sub(ROWS / NODES.len()));
            let place = |piece: &Piece, node: f64| piece.from + node * (piece.to - piece.from);
            let places: Vec<f64> = taken
                .iter()
                .flat_map(|piece| NODES.map(|(node, _)| place(piece, node)))
                .collect();
            self.run(network, &places);
            rows_left = rows_left.saturating_sub(places.len());
            let d_x = self.gradient.d_x(places.len());
            for (number, piece) in taken.iter().enumerate() {
                let length = piece.to - piece.from;
                let rows: [&[f64]; NODES.len()] = std::array::from_fn(|node| {
                    let first = (number * NODES.len() + node) * inputs;
                    &d_x[first..first + inputs]
                });
                let contribution = |input: usize| {
                    let mean: f64 = NODES
                        .iter()
                        .zip(rows)
                        .map(|((_, weight), d_x)| weight * d_x[input])
                        .sum();
                    mean * length * self.differences[input]
                };
                let sum: f64 = (0..inputs).map(contribution).sum();
                let missed = (sum - (piece.output_to - piece.output_from)).abs();
                if missed <= tolerance * length.max(SHORTEST) || rows_left == 0 || !missed.is_finite() {
                    (0..inputs).for_each(|input| sums[input] += contribution(input));
                } else {
                    let middle = self.gradient.outputs[number * NODES.len() + 1];
                    pieces.extend(piece.halves(middle));
                }
            }
        }
        sums
    }
}

impl Piece {
    fn halves(self, output: f64) -> [Self; 2] {
        let middle = 0.5 * (self.from + self.to);
        let (before, after) = (
            Self {
                to: middle,
                output_to: output,
                ..self
            },
            Self {
                from: middle,
                output_from: output,
                ..self
            },
        );
        [before, after]
    }
}

/// ∂yₒ/∂x of the rows of a batch, in inference mode.
struct InputGradient<F> {
    inputs: usize,
    /// (n, inputs), then the output of each operation; on the way back what the operation after it kept (its trace).
    values: Vec<Vec<F>>,
    statistics: Vec<Vec<F>>,
    d: Turns<F>,
    /// Of normalizing layers' weights, which nobody asks for.
    unused: Vec<F>,
    products: Workspace<F>,
    /// (n): yₒ of the last run.
    outputs: Vec<F>,
}

impl<F: Float> InputGradient<F> {
    fn new(network: &Network<F>, rows: usize) -> Self {
        let widths = || network.operations.iter().map(|operation| operation.outputs);
        let widest = widths().fold(network.inputs, usize::max);
        let statistics = network.operations.iter().map(|operation| operation.statistics(rows));
        Self {
            inputs: network.inputs,
            values: std::iter::once(network.inputs)
                .chain(widths())
                .map(|width| vec![F::ZERO; rows * width])
                .collect(),
            statistics: statistics.map(|size| vec![F::ZERO; size]).collect(),
            d: Turns::new(rows * widest),
            unused: vec![F::ZERO; network.trainable.len()],
            products: Workspace::serial(),
            outputs: Vec::with_capacity(rows),
        }
    }

    /// Where `rows` rows of input go.
    fn input(&mut self, rows: usize) -> &mut [F] {
        &mut self.values[0][..rows * self.inputs]
    }

    /// (n, inputs): the gradients of the last run.
    fn d_x(&self, rows: usize) -> &[F] {
        &self.d.now[..rows * self.inputs]
    }

    fn run(&mut self, network: &Network<F>, rows: usize, output: usize) {
        let mut context = Context {
            rows,
            weights: &network.trainable,
            products: &mut self.products,
        };
        for (index, operation) in network.operations.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index + 1);
            let x = &mut before[index][..rows * operation.inputs];
            let y = &mut after[0][..rows * operation.outputs];
            let statistics = &mut self.statistics[index][..operation.statistics(rows)];
            operation.infer_with_trace(&mut context, &network.moving, statistics, x, y);
        }
        let y = &self.values[network.operations.len()][..rows * network.outputs];
        self.outputs.clear();
        self.outputs.extend(y.chunks_exact(network.outputs).map(|y| y[output]));
        let d_y = &mut self.d.now[..rows * network.outputs];
        for d_y in d_y.chunks_exact_mut(network.outputs) {
            d_y.fill(F::ZERO);
            d_y[output] = F::ONE;
        }
        for (index, operation) in network.operations.iter().enumerate().rev() {
            let trace = &mut self.values[index][..rows * operation.inputs];
            let statistics = &self.statistics[index][..operation.statistics(rows)];
            operation.infer_backward(
                &mut context,
                &network.moving,
                statistics,
                trace,
                &mut self.d,
                &mut self.unused,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::{ModelSpec, Target};

    fn network(layers: &str, target: Target) -> Network<f64> {
        let spec: ModelSpec = serde_json::from_str(&format!(r#"{{"layers": [{layers}]}}"#)).unwrap();
        let plan = spec.plan("", 3, target).unwrap();
        let mut network = Network::initialize(&plan, 5);
        // Moving averages and betas that are no longer 0 and 1.
        let moved = |(index, w): (usize, &mut f64)| *w += 0.3 * (index as f64).sin().abs();
        network.moving.iter_mut().enumerate().for_each(moved);
        network.trainable.iter_mut().enumerate().for_each(moved);
        network
    }

    fn output(network: &Network<f64>, x: &[f64], output: usize) -> f64 {
        network.predict(ndarray::ArrayView2::from_shape((1, 3), x).unwrap())[(0, output)]
    }

    const X: [f64; 3] = [1.5, -2.0, 0.7];
    const BASELINE: [f64; 3] = [0.1, 0.0, -0.4];

    #[test]
    fn the_contributions_are_the_integrals_of_the_slopes_for_every_kind_of_layer() {
        let networks = [
            (r#"{"type": "dense", "units": 1}"#, Target::Regression),
            (
                r#"{"type": "dense", "units": 6, "activation": "swish"}, "batch_normalization", {"type": "dropout", "rate": 0.5},
                   {"type": "dense", "units": 5, "activation": "tanh"}, {"type": "dense", "units": 1}"#,
                Target::Regression,
            ),
            (
                r#""batch_normalization", {"type": "dense", "units": 6, "activation": "relu"}, "layer_normalization",
                   {"type": "dense", "units": 4, "activation": "softmax"}"#,
                Target::Classes(4),
            ),
        ];
        const STEPS: usize = 20_000;
        for (layers, target) in networks {
            let network = network(layers, target);
            let o = network.outputs - 1;
            let found = network.attribute(&X, &BASELINE, o);
            assert_eq!(
                (found.baseline, found.output),
                (output(&network, &BASELINE, o), output(&network, &X, o))
            );
            for input in 0..3 {
                let slope = |step: usize| {
                    let t = (step as f64 + 0.5) / STEPS as f64;
                    let mut at: Vec<f64> = X.iter().zip(BASELINE).map(|(x, b)| b + t * (x - b)).collect();
                    at[input] += 1e-6;
                    let above = output(&network, &at, o);
                    at[input] -= 2e-6;
                    (above - output(&network, &at, o)) / 2e-6
                };
                let mean = (0..STEPS).map(slope).sum::<f64>() / STEPS as f64;
                let (wanted, got) = ((X[input] - BASELINE[input]) * mean, found.contributions[input]);
                assert!(
                    (got - wanted).abs() < 1e-3 * wanted.abs().max(0.01),
                    "{layers} input {input}: {got} for {wanted}"
                );
            }
        }
    }

    #[test]
    fn they_add_up_to_the_difference_even_with_many_kinks() {
        let relus = r#"{"type": "dense", "units": 300, "activation": "relu"}, {"type": "dense", "units": 200, "activation": "relu"},
                       {"type": "dense", "units": 1}"#;
        let network = network(relus, Target::Regression);
        let found = network.attribute(&X, &BASELINE, 0);
        let (sum, difference) = (found.contributions.iter().sum::<f64>(), found.output - found.baseline);
        assert!(
            (sum - difference).abs() < 1e-3 * difference.abs(),
            "{sum} for {difference}"
        );
    }

    #[test]
    fn a_kink_just_before_the_input_is_found() {
        let relu = r#"{"type": "dense", "units": 1, "activation": "relu", "use_bias": false}"#;
        let mut network = network(relu, Target::Regression);
        let kernel = network.array_mut(0, "kernel").unwrap();
        kernel.copy_from_slice(&[1.0, 0.0, 0.0]);
        // Flat for 98.7 % of the way: the pieces that the line is first cut into would say a third less.
        let found = network.attribute(&[0.013, 0.0, 0.0], &[-1.0, 0.0, 0.0], 0);
        assert!((found.output - found.baseline - 0.013).abs() < 1e-12, "{found:?}");
        assert!((found.contributions[0] - 0.013).abs() < 1e-3 * 0.013, "{found:?}");
    }

    #[test]
    fn a_row_that_is_the_baseline_owes_nothing_to_any_input() {
        let network = network(
            r#"{"type": "dense", "units": 4, "activation": "gelu"}, {"type": "dense", "units": 1}"#,
            Target::Regression,
        );
        let found = network.attribute(&X, &X, 0);
        assert_eq!((found.output, found.contributions), (found.baseline, vec![0.0; 3]));
    }
}
