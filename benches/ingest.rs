//! How fast tables are read: `cargo bench --bench ingest`. The promise is 150 MB/s a core for a CSV of numbers.

use std::fmt::Write;
use std::hint::black_box;
use std::io::Cursor;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use trainyard::data::profile::{Limits, Profile, profile};
use trainyard::data::source::SourceRequest;
use trainyard::data::table::Table;
use trainyard::nn::rng::{Purpose, Random};

const ROWS: u32 = 100_000;
const COLUMNS: u32 = 14;

/// What a cell looks like.
#[derive(Clone, Copy)]
enum Cells {
    /// `0.00632`, `396.9`, `18`: a measured figure with up to five places.
    Measured,
    /// `7`: the shortest there are, so the most cells a byte.
    Digits,
    /// `-0.4271827436584123`: all the digits of a 64-bit float.
    Long,
    /// One of three words.
    Words,
}

impl Cells {
    fn write(self, random: &mut Random, column: u32, out: &mut String) {
        let number = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let written = match self {
            Self::Measured => write!(out, "{:.*}", (column % 6) as usize, number * 400.0 - 20.0),
            Self::Digits => write!(out, "{}", random.below(10)),
            Self::Long => write!(out, "{}", number - 0.5),
            Self::Words => out.write_str(["setosa", "versicolor", "virginica"][random.below(3) as usize]),
        };
        written.expect("a String takes everything");
    }
}

fn csv(cells: Cells) -> String {
    let mut random = Random::new(7, Purpose::Shuffle, 0, 0);
    let mut out = (0..COLUMNS)
        .map(|column| format!("column {column}"))
        .collect::<Vec<_>>()
        .join(",");
    for _ in 0..ROWS {
        for column in 0..COLUMNS {
            out.push(if column == 0 { '\n' } else { ',' });
            cells.write(&mut random, column, &mut out);
        }
    }
    out
}

fn json_lines() -> String {
    let mut random = Random::new(7, Purpose::Shuffle, 0, 0);
    let mut out = String::new();
    for _ in 0..ROWS {
        for column in 0..COLUMNS {
            let start = if column == 0 { '{' } else { ',' };
            write!(out, "{start}\"column {column}\": ").expect("a String takes everything");
            Cells::Measured.write(&mut random, column, &mut out);
        }
        out.push_str("}\n");
    }
    out
}

fn profiled(content: &[u8]) -> Profile {
    profile(Cursor::new(content), &SourceRequest::default(), &Limits::default()).expect("a table without faults")
}

fn bench_one(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, content: &[u8]) {
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function(format!("profile/{name}"), |b| b.iter(|| profiled(black_box(content))));
    let Profile { source, columns, .. } = profiled(content);
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    group.bench_function(format!("table/{name}"), |b| {
        b.iter(|| Table::read(black_box(content), &source, &columns, &names).expect("a table without faults"));
    });
}

fn ingest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10);
    for (name, cells) in [
        ("measured", Cells::Measured),
        ("digits", Cells::Digits),
        ("long", Cells::Long),
        ("words", Cells::Words),
    ] {
        bench_one(&mut group, name, csv(cells).as_bytes());
    }
    let korean = csv(Cells::Words).replace("setosa", "붓꽃");
    bench_one(&mut group, "cp949", &encoding_rs::EUC_KR.encode(&korean).0);
    bench_one(&mut group, "json_lines", json_lines().as_bytes());
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
