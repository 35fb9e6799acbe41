//! What the server carries, and what it does with more: the promises about load, measured on the real binary.
//!
//! `cargo bench --bench load -- [cost serving overload slow] [--seconds N]`, on Linux; N is how long each load lasts, 10 if
//! not said. Client and server share the machine: only ratios within one run mean anything.

mod arrivals;
mod bare;
mod client;
mod process;
mod slow;
mod yard;

use std::path::Path;
use std::thread;
use std::time::Duration;

use arrivals::{closed_loop, open_loop, p99};
use process::Process;
use yard::Yard;

/// Connections of a closed loop: enough that the server always has something to do.
const CLOSED: usize = 32;
/// Connections of an open loop at half the capacity, where few are ever busy.
const OPEN: usize = 64;
/// Of an open loop far beyond the capacity; the server takes 1024.
const FLOOD: usize = 256;
const ROUNDS: usize = 3;
/// Times that the capacity, an idle and a training server are measured one after the other, a third of the time each: what
/// else the machine does comes and goes within seconds, so only neighbours are compared.
const PAIRS: usize = 9;

/// A line of the table.
struct Row {
    what: String,
    figures: String,
    ratio: String,
    promised: &'static str,
}

type Measure = fn(&Yard, Duration) -> Vec<Row>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, data_dir, model] = arguments.as_slice()
        && role == "bare"
    {
        return bare::serve(Path::new(data_dir), model);
    }
    let seconds = arguments.iter().skip_while(|argument| *argument != "--seconds").nth(1);
    let seconds = seconds.map_or(10, |seconds| seconds.parse().expect("--seconds takes a number"));
    let time = Duration::from_secs(seconds);
    let measures: [(&str, Measure); 4] = [
        ("cost", cost),
        ("serving", serving),
        ("overload", overload),
        ("slow", slow_clients),
    ];
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let any_named = measures.iter().any(|(name, _)| named(name));

    let yard = Yard::prepare();
    println!("| measured | figures | ratio | promised |\n|---|---|---|---|");
    for (_, measure) in measures.iter().filter(|(name, _)| !any_named || named(name)) {
        for row in measure(&yard, time) {
            println!("| {} | {} | {} | {} |", row.what, row.figures, row.ratio, row.promised);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Requests for each second of CPU that the server's process takes, kernel included.
fn per_cpu_second(server: &Process, request: &[u8], time: Duration) -> f64 {
    let before = server.cpu();
    let outcome = closed_loop(server.address, request, CLOSED, time);
    assert_eq!(
        outcome.failed + outcome.refused_s.len(),
        0,
        "every prediction is answered"
    );
    outcome.answered_s.len() as f64 / (server.cpu() - before).as_secs_f64()
}

fn cost(yard: &Yard, time: Duration) -> Vec<Row> {
    let (server, bare) = (yard.serve(), yard.serve_bare());
    let request = yard.one_row();
    yard.assert_same_answers(&server, &bare);
    let rounds = (0..ROUNDS).map(|_| [&server, &bare].map(|server| per_cpu_second(server, &request, time)));
    let (ours, theirs): (Vec<f64>, Vec<f64>) = rounds.map(|[ours, theirs]| (ours, theirs)).unzip();
    let (ours, theirs) = (median(ours), median(theirs));
    vec![Row {
        what: "one iris row, predictions a second of server CPU".to_owned(),
        figures: format!("{ours:.0}; bare axum handler {theirs:.0}"),
        ratio: format!("{:.2}", ours / theirs),
        promised: "≥ 0.5",
    }]
}

fn serving(yard: &Yard, time: Duration) -> Vec<Row> {
    let server = yard.serve();
    let request = yard.one_row();
    let time = time / 3;
    let at = |per_s| {
        let outcome = open_loop(server.address, &request, OPEN, per_s, time);
        assert_eq!(
            outcome.failed + outcome.refused_s.len(),
            0,
            "every prediction is answered"
        );
        p99(&outcome.answered_s) * 1e3
    };
    let pairs = (0..PAIRS).map(|_| {
        let half = closed_loop(server.address, &request, CLOSED, time).answered_per_s() / 2.0;
        let idle = at(half);
        let jobs = yard.train_on_every_core(&server);
        let busy = at(half);
        yard.cancel(&server, &jobs);
        (half, (idle, busy))
    });
    let (half, pairs): (Vec<f64>, Vec<(f64, f64)>) = pairs.unzip();
    let ratio = median(pairs.iter().map(|(idle, busy)| busy / idle).collect());
    let (idle, busy): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let (half, idle, busy) = (median(half), median(idle), median(busy));
    vec![Row {
        what: format!("one iris row at half the capacity ({half:.0} a second), p99 while every core trains"),
        figures: format!("{busy:.2} ms; idle {idle:.2} ms"),
        ratio: format!("{ratio:.2}"),
        promised: "≤ 2",
    }]
}

fn overload(yard: &Yard, time: Duration) -> Vec<Row> {
    let server = yard.serve();
    let request = yard.thousand_rows();
    let capacity = closed_loop(server.address, &request, CLOSED, time).answered_per_s();
    let before = server.resident_mib();
    let (outcome, most) = thread::scope(|scope| {
        let flood = scope.spawn(|| open_loop(server.address, &request, FLOOD, 10.0 * capacity, time));
        let mut most = before;
        while !flood.is_finished() {
            thread::sleep(Duration::from_millis(100));
            most = most.max(server.resident_mib());
        }
        (flood.join().expect("the flood ends"), most)
    });
    let (goodput, sent) = (outcome.answered_per_s(), outcome.sent_per_s());
    let what = format!(
        "1000 rows, 4-512-512-3, at {:.1} times the capacity ({capacity:.0} a second)",
        sent / capacity
    );
    let row = |aspect: &str, figures: String, ratio: String, promised| Row {
        what: format!("{what}: {aspect}"),
        figures,
        ratio,
        promised,
    };
    let (failed, bare) = (outcome.failed, outcome.refusals_without_retry_after);
    vec![
        row(
            "goodput",
            format!("{goodput:.0} a second"),
            format!("{:.2}", goodput / capacity),
            "≥ 0.8",
        ),
        row(
            "p99 of refusals",
            format!(
                "{:.1} ms; {} refusals, {bare} without Retry-After, {failed} broken",
                p99(&outcome.refused_s) * 1e3,
                outcome.refused_s.len()
            ),
            String::new(),
            "< 100 ms",
        ),
        row(
            "p99 of answers",
            format!("{:.0} ms", p99(&outcome.answered_s) * 1e3),
            String::new(),
            "",
        ),
        row(
            "memory",
            format!("at most {most:.0} MiB; before {before:.0} MiB"),
            format!("{:.2}", most / before),
            "flat",
        ),
    ]
}

fn slow_clients(yard: &Yard, _: Duration) -> Vec<Row> {
    /// Slow clients are cut within 30 s; so long the others are looked at.
    const SIEGE: Duration = Duration::from_secs(40);
    let server = yard.serve();
    let request = yard.one_row();
    let half = closed_loop(server.address, &request, CLOSED, Duration::from_secs(5)).answered_per_s() / 2.0;
    let alone = open_loop(server.address, &request, OPEN, half, SIEGE);
    let others = server.sockets() + OPEN;
    let (besieged, cut) = thread::scope(|scope| {
        let siege = scope.spawn(|| slow::besiege(&server, others, &yard.predict, &yard.events));
        let besieged = open_loop(server.address, &request, OPEN, half, SIEGE);
        (besieged, siege.join().expect("the siege ends"))
    });
    assert_eq!(
        besieged.failed + besieged.refused_s.len(),
        0,
        "every prediction is answered"
    );
    let (alone, besieged) = (p99(&alone.answered_s) * 1e3, p99(&besieged.answered_s) * 1e3);
    let all = slow::ALL;
    vec![
        Row {
            what: format!("{all} slow clients: seconds until the last is cut"),
            figures: format!(
                "heads {:.0}, bodies {:.0}, event streams {:.0}",
                cut.heads_s, cut.bodies_s, cut.streams_s
            ),
            ratio: String::new(),
            promised: "≤ 30",
        },
        Row {
            what: format!("the others meanwhile, one iris row at half the capacity ({half:.0} a second), p99"),
            figures: format!("{besieged:.2} ms; alone {alone:.2} ms"),
            ratio: format!("{:.2}", besieged / alone),
            promised: "≤ 2",
        },
    ]
}
