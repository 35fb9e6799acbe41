//! What reads bytes from outside, fed with seeds and with changes of them: no panic, and memory in proportion.
//! The seeds and what is done with them are those of the fuzz targets; see fuzz/README.md.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use trainyard::domain::artifact::{Kind, seal};

#[path = "../fuzz/parsers.rs"]
mod parsers;

/// Counts what is allocated, to know the most of it.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it only passes on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What reading may take whatever the input, and for each of its bytes.
const FREE_BYTES: usize = 8 << 20;
const BYTES_PER_BYTE: usize = 500;

type Parser = fn(&[u8]) -> bool;

const PARSERS: [(&str, Parser, &[&[u8]]); 5] = [
    ("csv", parsers::csv, TABLE_TOKENS),
    ("json_lines", parsers::json_lines, JSON_TOKENS),
    ("specs", parsers::specs, JSON_TOKENS),
    ("checkpoints", parsers::checkpoints, BINARY_TOKENS),
    ("safetensors", parsers::safetensors, JSON_TOKENS),
];

const TABLE_TOKENS: &[&[u8]] = &[
    b",",
    b";",
    b"\t",
    b"|",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"inf",
    b"nan",
    b"NA",
    b"1e39",
    b"-0",
    b"1e-400",
    b"\xef\xbb\xbf",
    b"\xb2\xc9",
    b"\xc9",
    b"\xff",
    b"\xff\xfe",
    "꽃".as_bytes(),
    b"=cmd",
    b"\n\n",
    b"a,a",
];

const JSON_TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"null",
    b"true",
    b"-1",
    b"1.5",
    b"1e308",
    b"1e999",
    b"18446744073709551616",
    b"2147483648",
    b"0",
    b"\n",
    b"\xff",
    b"\"type\":",
    b"\"units\":",
    b"\"data_offsets\":[0,18446744073709551615]",
    b"\"shape\":[4294967296,4294967296]",
];

const BINARY_TOKENS: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
    b"\0\0\0\0",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
];

fn seeds(parser: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(parser);
    let files = fs::read_dir(folder).expect("each parser has seeds");
    let mut paths = Vec::from_iter(files.map(|file| file.expect("an entry").path()));
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("it reads"));
    paths.into_iter().map(read).collect()
}

fn mutations() -> usize {
    let text = std::env::var("TRAINYARD_MUTATIONS").unwrap_or_default();
    if text.is_empty() {
        1000
    } else {
        text.parse().expect("TRAINYARD_MUTATIONS is a number")
    }
}

/// Makes changes of a seed: some bytes and tokens put in, taken out, doubled, moved, or come from another seed.
struct Mutator<'a> {
    random: ChaCha8Rng,
    tokens: &'a [&'a [u8]],
    others: &'a [(PathBuf, Vec<u8>)],
}

impl Mutator<'_> {
    fn below(&mut self, end: usize) -> usize {
        (self.random.next_u64() % end.max(1) as u64) as usize
    }

    /// A stretch of a text of this length, mostly a short one.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 8 };
        start..(start + self.below(most + 1)).min(length)
    }

    fn change(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let stretch = self.stretch(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 => drop(bytes.drain(stretch)),
                3 => bytes.truncate(at),
                4 => {
                    let again = bytes[stretch].to_vec();
                    bytes.splice(at..at, again);
                }
                5 => {
                    let other = self.below(self.others.len());
                    let other = &self.others[other].1;
                    let part = self.stretch(other.len());
                    bytes.splice(stretch, other[part].iter().copied());
                }
                _ => {
                    let token = self.below(self.tokens.len());
                    let replaced = if self.below(2) == 0 { at..at } else { stretch };
                    bytes.splice(replaced, self.tokens[token].iter().copied());
                }
            }
        }
        bytes
    }
}

/// Runs the parser; `what` is told when it panics or takes too much.
fn feed(parse: Parser, bytes: &[u8], what: &str) -> bool {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let taken = std::panic::catch_unwind(|| parse(bytes))
        .unwrap_or_else(|_| panic!("{what}: panicked; the input is {:?}", bytes.escape_ascii().to_string()));
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    let allowed = FREE_BYTES + BYTES_PER_BYTE * bytes.len();
    assert!(
        most <= allowed,
        "{what}: took {most} bytes for {}: {:?}",
        bytes.len(),
        bytes.escape_ascii().to_string()
    );
    taken
}

fn write_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let spec = serde_json::to_vec_pretty(&parsers::whole_spec()).expect("JSON");
    fs::write(folder.join("specs/good_whole.json"), spec).expect("it writes");
    let mut training = parsers::training();
    for (steps, name) in [(0, "good_fresh"), (4, "good_within_an_epoch")] {
        (0..steps).for_each(|_| drop(training.step()));
        let sealed = seal(Kind::Checkpoint, &training.checkpoint());
        fs::write(folder.join("checkpoints").join(name), sealed).expect("it writes");
    }
    let weights = training.finish().network.weights();
    let arrays = trainyard::formats::safetensors::by_name(&weights);
    let bytes = trainyard::formats::safetensors::write(arrays);
    fs::write(folder.join("safetensors/good_network.safetensors"), bytes).expect("it writes");
}

/// One test, since what is allocated is counted for the whole process.
#[test]
fn no_input_makes_a_parser_panic_or_take_memory_out_of_proportion() {
    if std::env::var_os("TRAINYARD_WRITE_SEEDS").is_some() {
        write_seeds();
    }
    for (name, parse, tokens) in PARSERS {
        let seeds = seeds(name);
        for (path, seed) in &seeds {
            let file = path.file_name().expect("a name").to_string_lossy();
            let what = format!("{name}/{file}");
            let taken = feed(parse, seed, &what);
            assert_eq!(taken, file.starts_with("good"), "{what}: taken for what it should be");
        }
        for (number, (path, seed)) in seeds.iter().enumerate() {
            let mut mutator = Mutator {
                random: ChaCha8Rng::seed_from_u64(number as u64),
                tokens,
                others: &seeds,
            };
            for change in 0..mutations() {
                let bytes = mutator.change(seed);
                feed(parse, &bytes, &format!("{}, change {change}", path.display()));
            }
        }
    }
}
