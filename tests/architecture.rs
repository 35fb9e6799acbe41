//! Holds the walls of ARCHITECTURE.md against the source text: which folder may name which, which crates it may
//! use, where `unsafe` may stand, how long a file may be. Test modules may reach further and are not looked at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Part of `src/` → the parts of this crate that it may name besides itself. The longest fitting entry counts.
const ARROWS: &[(&str, &[&str])] = &[
    ("lib.rs", &[]),
    ("crash_point.rs", &[]),
    ("main.rs", &["cli"]),
    // The client verbs and the demo know a server by its HTTP API only.
    ("cli/", &[]),
    ("cli/server.rs", &["api", "training", "serving", "store"]),
    ("cli/limits.rs", &["api", "training"]),
    // Keys are made, listed and revoked in the data directory itself: without a first one nobody comes in over HTTP.
    ("cli/keys.rs", &["store", "domain"]),
    ("cli/mod.rs", &["api"]),
    (
        "api/",
        &["training", "serving", "store", "domain", "data", "formats", "nn"],
    ),
    ("training/", &["store", "domain", "data", "formats", "nn"]),
    ("serving/", &["store", "domain", "data", "nn"]),
    ("store/", &["domain"]),
    (
        "domain/",
        &[
            "data::encoder",
            "data::profile",
            "data::source",
            "data::table_error",
            "nn::spec",
            "nn::weights",
        ],
    ),
    ("data/", &["nn::rng", "nn::spec::Fault", "nn::spec::reader"]),
    ("formats/", &["nn"]),
    ("nn/", &[]),
];

/// Crates behind a wall → the only parts of `src/` that may name them.
const WALLS: &[(&[&str], &[&str])] = &[
    (
        &[
            "axum",
            "governor",
            "http",
            "http_body_util",
            "hyper",
            "hyper_util",
            "socket2",
            "tower",
            "tower_http",
        ],
        &["api/"],
    ),
    (&["utoipa_axum", "utoipa_swagger_ui"], &["api/"]),
    (&["sqlx", "libsqlite3_sys"], &["store/"]),
    (
        &[
            "anyhow",
            "clap",
            "clap_complete",
            "indicatif",
            "reqwest",
            "eventsource_stream",
        ],
        &["cli/"],
    ),
    (&["safetensors"], &["formats/"]),
    (&["rustix"], &["store/disk.rs", "training/priority.rs"]),
    (&["thread_priority"], &["training/priority.rs"]),
    (&["tracing_subscriber"], &["cli/"]),
    (
        &["tokio", "tokio_stream", "tokio_util", "futures_util"],
        &["cli/", "api/", "training/", "serving/", "store/"],
    ),
    (&["tracing"], &["cli/", "api/", "training/", "serving/", "store/"]),
];

/// The numeric core names these crates and no others.
const NN_CRATES: &[&str] = &[
    "ndarray",
    "rand_chacha",
    "rand_core",
    "serde",
    "serde_json",
    "strsim",
    "utoipa",
];

/// What the layers that only compute never touch.
const PURE: &[&str] = &["nn/", "data/", "domain/", "formats/"];
const IMPURE: &[&str] = &["fs", "net", "process", "thread", "time"];

const MAX_LINES: usize = 400;

#[test]
fn the_layers_only_name_what_is_below_them() {
    let layers: BTreeSet<&str> = ARROWS
        .iter()
        .filter_map(|(part, _)| part.split_once('/'))
        .map(|(layer, _)| layer)
        .collect();
    let mut faults = Vec::new();
    for file in sources() {
        let (_, allowed) = ARROWS
            .iter()
            .filter(|(part, _)| file.path.starts_with(part))
            .max_by_key(|(part, _)| part.len())
            .unwrap_or_else(|| panic!("src/{} belongs to no layer of ARROWS", file.path));
        let own = file.path.split('/').next().unwrap_or_default();
        for path in file.paths_from("crate::") {
            let layer = path.split("::").next().unwrap_or_default();
            let fits = |prefix: &&str| path == **prefix || path.starts_with(&format!("{prefix}::"));
            if layers.contains(layer) && layer != own && !allowed.iter().any(fits) {
                faults.push(format!("src/{} names crate::{path}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "these arrows point up:\n{}", faults.join("\n"));
}

#[test]
fn the_walled_crates_stay_behind_their_walls() {
    let mut faults = Vec::new();
    for file in sources() {
        for name in file.path_roots() {
            let walled = WALLS.iter().find(|(crates, _)| crates.contains(&name.as_str()));
            if walled.is_some_and(|(_, parts)| !parts.iter().any(|part| file.path.starts_with(part))) {
                faults.push(format!("src/{} uses {name}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "outside of their walls:\n{}", faults.join("\n"));
}

#[test]
fn the_numeric_core_uses_its_few_crates_and_no_others() {
    let dependencies = dependencies();
    assert!(
        ["axum", "rustix"].iter().all(|name| dependencies.contains(*name)),
        "Cargo.toml was not understood: {dependencies:?}"
    );
    let foreign = |name: &String| dependencies.contains(name) && !NN_CRATES.contains(&name.as_str());
    let mut faults = Vec::new();
    for file in sources().into_iter().filter(|file| file.path.starts_with("nn/")) {
        let names = file.path_roots().into_iter().filter(foreign);
        faults.extend(names.map(|name| format!("src/{} uses {name}", file.path)));
    }
    assert!(faults.is_empty(), "not for nn:\n{}", faults.join("\n"));
}

#[test]
fn what_only_computes_touches_no_files_clocks_threads_or_sockets() {
    let mut faults = Vec::new();
    for file in sources()
        .into_iter()
        .filter(|file| PURE.iter().any(|part| file.path.starts_with(part)))
    {
        let names = file
            .paths_from("std::")
            .into_iter()
            .map(|path| path.split("::").next().unwrap_or_default().to_owned());
        let found = names.filter(|name| IMPURE.contains(&name.as_str()));
        faults.extend(found.map(|name| format!("src/{} uses std::{name}", file.path)));
    }
    assert!(faults.is_empty(), "not for pure layers:\n{}", faults.join("\n"));
}

#[test]
fn unsafe_stands_in_the_kernels_only() {
    let found = sources()
        .into_iter()
        .filter(|file| words(&file.code).any(|word| word == "unsafe"));
    let outside: Vec<String> = found
        .map(|file| file.path)
        .filter(|path| !path.starts_with("nn/kernel/"))
        .collect();
    assert!(outside.is_empty(), "unsafe outside of nn/kernel: {outside:?}");
}

#[test]
fn no_file_is_too_long_or_named_for_nothing() {
    let mut faults = Vec::new();
    for file in sources() {
        if file.lines > MAX_LINES {
            faults.push(format!("src/{} has {} lines: is it two things?", file.path, file.lines));
        }
        for name in ["utils", "common", "helpers", "manager", "misc"] {
            let stem = |part: &str| part.trim_end_matches(".rs") == name;
            if file.path.split('/').any(stem) {
                faults.push(format!("src/{}: {name} says nothing about what is in it", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One file of `src/`.
struct Source {
    /// Relative to `src/`.
    path: String,
    lines: usize,
    /// Without comments, the insides of strings, and test modules.
    code: String,
}

impl Source {
    fn new(path: String, text: &str) -> Self {
        // As many `super::` as the module is deep lead to the top of the crate.
        let depth = path.split('/').count() - usize::from(path.ends_with("mod.rs"));
        let code = match path.ends_with("tests.rs") {
            // The file is a test module as a whole.
            true => String::new(),
            false => code_of(text).replace(&"super::".repeat(depth), "crate::"),
        };
        Self {
            path,
            lines: text.lines().count(),
            code,
        }
    }

    /// What follows `root` in every path that begins with it, groups taken apart: `use crate::{a::b, c}` gives `a::b` and `c`.
    fn paths_from(&self, root: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices(root) {
            if !self.code[..at].ends_with(is_word) {
                expand(&self.code[at + root.len()..], "", &mut paths);
            }
        }
        paths
    }

    /// The first names of all paths: `tokio` of `tokio::spawn`.
    fn path_roots(&self) -> BTreeSet<String> {
        let mut roots = BTreeSet::new();
        for (at, _) in self.code.match_indices("::") {
            let before = &self.code[..at];
            let start = before.rfind(|c| !is_word(c)).map_or(0, |index| index + 1);
            if !before[..start].ends_with(':') {
                roots.insert(before[start..].to_owned());
            }
        }
        roots
    }
}

/// Reads one path, or a group of them, at the start of `text`, and gives what is left.
fn expand<'a>(text: &'a str, prefix: &str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().starts_with('}') && !rest.is_empty() {
            rest = expand(rest, prefix, paths).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return rest.trim_start().strip_prefix('}').unwrap_or_default();
    }
    let end = text.find(|c| !is_word(c) && c != '*').unwrap_or(text.len());
    let path = if prefix.is_empty() {
        text[..end].to_owned()
    } else {
        format!("{prefix}::{}", &text[..end])
    };
    match text[end..].strip_prefix("::") {
        Some(rest) if end > 0 && !rest.starts_with('<') => expand(rest, &path, paths),
        _ => {
            paths.push(path);
            // Past an `as name`, up to the comma or brace that ends this path.
            let rest = &text[end..];
            &rest[rest.find([',', '}', ';', '(']).unwrap_or(rest.len())..]
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push(Source::new(relative, &text));
            }
        }
    }
    assert!(files.len() > 20, "src/ was not found");
    files
}

/// The text without comments, the insides of string and character literals, and the test module that ends a file.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string_hashes(rest, &code) {
            let open = rest.find('"').map_or(rest.len(), |quote| quote + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    code
}

/// How many `#` the raw string has that begins here, if one does.
fn raw_string_hashes(rest: &str, before: &str) -> Option<usize> {
    let after = rest
        .strip_prefix('r')
        .filter(|_| !before.ends_with(is_word) || before.ends_with('b'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal with its quotes; a backslash takes the next character with it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The names of what the crate is built with, for whichever system, as code writes them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let tables = manifest.split("\n[").filter_map(|table| table.split_once("]\n"));
    tables
        .filter(|(head, _)| *head == "dependencies" || head.ends_with(".dependencies"))
        .flat_map(|(_, table)| table.lines())
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

#[test]
fn paths_are_found_in_code_and_nowhere_else() {
    let text = r##"
        //! crate::in_a_comment
        use crate::{a::b, c::{d, e::*}, f as g};
        fn h() { let s = "crate::in_a_string"; let r = r#"crate::"raw"#; let q = '"'; tokio::spawn(crate::i::j(k::l())); super::n(super::super::o()); }
        #[cfg(test)]
mod tests { use crate::m; }
    "##;
    let source = Source::new("x/y.rs".to_owned(), text);
    assert_eq!(
        source.paths_from("crate::"),
        ["a::b", "c::d", "c::e::*", "f", "i::j", "o"]
    );
    let roots: Vec<String> = source.path_roots().into_iter().collect();
    assert_eq!(roots, ["a", "c", "crate", "e", "k", "super", "tokio"]);
}
