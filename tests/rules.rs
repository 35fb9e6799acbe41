//! The rules of SECURITY.md that files of this repository hold: the container, the dependencies, what CI runs.

use std::fs;
use std::path::Path;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn assert_has(name: &str, lines: &[&str]) {
    let text = file(name);
    for line in lines {
        assert!(
            text.lines().any(|found| found.trim() == *line),
            "{name} has no line {line:?}"
        );
    }
}

#[test]
fn the_container_is_nobody_and_may_do_nothing() {
    assert_has(
        "docker-compose.yml",
        &[
            "read_only: true",
            "cap_drop: [ALL]",
            "security_opt: [\"no-new-privileges:true\"]",
            "ports: [\"127.0.0.1:8080:8080\"]",
        ],
    );
    let compose = file("docker-compose.yml");
    for word in [
        "cap_add",
        "privileged: true",
        "user: root",
        "docker.sock",
        "network_mode",
    ] {
        assert!(!compose.contains(word), "docker-compose.yml has {word}");
    }
    let image = file("Dockerfile");
    let last = image.rfind("\nFROM ").map_or("", |at| image[at..].trim_start());
    assert!(
        last.starts_with("FROM gcr.io/distroless/")
            && last.lines().next().is_some_and(|line| line.ends_with(":nonroot"))
    );
    assert!(!last.contains("\nUSER root"));
}

#[test]
fn every_dependency_comes_from_crates_io_with_its_hash() {
    let lock = file("Cargo.lock");
    let packages = lock.split("\n[[package]]\n").skip(1);
    for package in packages.filter(|package| !package.starts_with("name = \"trainyard\"\n")) {
        let comes_from = "\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert!(
            package.contains(comes_from) && package.contains("\nchecksum = \""),
            "{package}"
        );
    }
}

#[test]
fn nothing_unpacks_archives_or_runs_what_is_in_a_file() {
    let lock = file("Cargo.lock");
    for name in ["tar", "serde-pickle", "mlua", "rhai", "wasmtime", "libloading"] {
        assert!(
            !lock.contains(&format!("\nname = \"{name}\"\n")),
            "{name} is a dependency"
        );
    }
}

#[test]
fn ci_runs_what_the_rules_rest_on() {
    let ci = file(".ci/run");
    for word in [
        "cargo clippy",
        "cargo test",
        "cargo-deny\" check bans licenses sources",
        "tests/schemathesis/run",
    ] {
        assert!(ci.contains(word), ".ci/run has no {word}");
    }
}
