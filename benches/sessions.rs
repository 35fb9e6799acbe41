//! Where the time of a loop written by hand goes: 1,000 steps over the housing table, full batch, by a client on the same
//! machine, with arrays as text and as bytes.
//!
//! `cargo bench --bench sessions -- [--steps N]`

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/server/mod.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use server::Server;

const TEXT: &str = "application/json";
const BYTES: &str = "application/octet-stream";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let steps = arguments.iter().position(|argument| argument == "--steps");
    let steps: u64 = steps.map_or(1000, |place| arguments[place + 1].parse().expect("a number of steps"));
    let server = Server::start();
    let table = Table::read();
    println!(
        "| {steps} steps, 506 × 13, network 13-64-64-1 swish, Adam | s | computing | saving | transport, reading, writing |"
    );
    println!("|---|---|---|---|---|");
    let loops: [(&str, Loop); 4] = [
        ("`gradients` + `apply_gradients`, JSON", json_loop),
        ("`gradients` + `apply_gradients`, safetensors", tensor_loop),
        ("`train_on_batch`, safetensors, a step a call", single_steps),
        ("`train_on_batch`, safetensors, all steps in one call", all_at_once),
    ];
    for (what, run) in loops {
        let mut session = Session::begin(&server.address);
        let started = Instant::now();
        run(&mut session, &table, steps);
        let total = started.elapsed().as_secs_f64();
        let share = |part: f64| 100.0 * part / total;
        let [computing, saving] = session.times.map(|ms| ms / 1e3);
        let rest = total - computing - saving;
        println!(
            "| {what} | {total:.2} | {computing:.2} ({:.0} %) | {saving:.2} ({:.0} %) | {rest:.2} ({:.0} %) |",
            share(computing),
            share(saving),
            share(rest),
        );
    }
}

type Loop = fn(&mut Session, &Table, u64);

fn json_loop(session: &mut Session, table: &Table, steps: u64) {
    for _ in 0..steps {
        let answer = session.call("gradients", TEXT, &table.text);
        let taped: Value = serde_json::from_slice(&answer).expect("JSON");
        let gradients = json!({"gradients": taped["gradients"]}).to_string();
        session.call("apply_gradients", TEXT, gradients.as_bytes());
    }
}

fn tensor_loop(session: &mut Session, table: &Table, steps: u64) {
    for _ in 0..steps {
        let taped = session.call("gradients.safetensors", BYTES, &table.bytes);
        session.call("apply_gradients.safetensors", BYTES, &taped);
    }
}

fn single_steps(session: &mut Session, table: &Table, steps: u64) {
    for _ in 0..steps {
        session.call("train_on_batch.safetensors", BYTES, &table.bytes);
    }
}

fn all_at_once(session: &mut Session, table: &Table, steps: u64) {
    session.call(
        &format!("train_on_batch.safetensors?steps={steps}"),
        BYTES,
        &table.bytes,
    );
}

/// The housing table, standardized, ready to be sent.
struct Table {
    text: Vec<u8>,
    bytes: Vec<u8>,
}

impl Table {
    fn read() -> Self {
        let text = include_str!("../examples/data/housing.csv");
        let row = |line: &str| line.split(',').map(|field| field.parse().expect("a number")).collect();
        let mut rows: Vec<Vec<f32>> = text.lines().skip(1).map(row).collect();
        let count = rows.len() as f32;
        for column in 0..13 {
            let mean = rows.iter().map(|row| row[column]).sum::<f32>() / count;
            let variance = rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f32>() / count;
            rows.iter_mut()
                .for_each(|row| row[column] = (row[column] - mean) / variance.sqrt());
        }
        let (x, y): (Vec<&[f32]>, Vec<&[f32]>) = rows.iter().map(|row| row.split_at(13)).unzip();
        let little_endian = |rows: &[&[f32]]| -> Vec<u8> {
            let numbers = rows.iter().flat_map(|row| row.iter());
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        };
        let (x_bytes, y_bytes) = (little_endian(&x), little_endian(&y));
        let view =
            |columns: usize, bytes| TensorView::new(Dtype::F32, vec![rows.len(), columns], bytes).expect("whole");
        Self {
            text: json!({"x": x, "y": y}).to_string().into_bytes(),
            bytes: serialize([("x", view(13, &x_bytes)), ("y", view(1, &y_bytes))], None).expect("two arrays"),
        }
    }
}

/// A session on a connection of its own that is kept open.
struct Session {
    stream: BufReader<TcpStream>,
    path: String,
    /// Milliseconds that the server says it spent computing and saving.
    times: [f64; 2],
}

impl Session {
    fn begin(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP option");
        let mut session = Self {
            stream: BufReader::new(stream),
            path: "/v1/sessions".to_owned(),
            times: [0.0; 2],
        };
        let dense = json!({"type": "dense", "units": 64, "activation": "swish"});
        let network =
            json!({"layers": [dense, dense, {"type": "dense", "units": 1}], "loss": "mse", "optimizer": "adam"});
        let begin = json!({"inputs": 13, "model": network, "seed": 7}).to_string();
        let begun: Value = serde_json::from_slice(&session.call("", TEXT, begin.as_bytes())).expect("JSON");
        session.path += &format!("/{}/", begun["id"].as_str().expect("an id"));
        session
    }

    fn call(&mut self, name: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {}{name} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            self.path,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request).expect("the server reads");
        let mut length = 0;
        let mut line = String::new();
        let mut first = true;
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).expect("a line of the head");
            if std::mem::take(&mut first) {
                assert!(line.starts_with("HTTP/1.1 20"), "{line}");
            }
            let (name, value) = line.split_once(": ").unwrap_or_default();
            match name {
                "content-length" => length = value.trim().parse().expect("a length"),
                "server-timing" => self.note(value),
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).expect("the whole answer");
        answer
    }

    fn note(&mut self, timing: &str) {
        for (time, part) in self.times.iter_mut().zip(timing.trim().split(", ")) {
            let (_, ms) = part.split_once("dur=").expect("a duration");
            *time += ms.parse::<f64>().expect("a number");
        }
    }
}
