//! Promise 12, and the log's bound: no room is a 507 and nothing half-written, with room all is well again.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::client::Client;
use crate::disk::assert_sound;
use crate::server::Server;

/// No file of the server grows beyond so many bytes; it may be undone.
fn let_files_grow_to(server: &Server, most: Option<u64>) {
    let limit = Rlimit {
        current: most,
        maximum: None,
    };
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Fsize, limit).expect("the server is our child");
}

fn table(rows: usize) -> Vec<u8> {
    let lines = (0..rows).map(|i| format!("{i},{}\n", i * i % 17));
    std::iter::once("x,y\n".to_owned())
        .chain(lines)
        .collect::<String>()
        .into_bytes()
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).expect("the folder is there").count()
}

#[test]
fn where_files_can_grow_no_more_predictions_go_on_and_nothing_is_lost() {
    let server = Server::start(&["--workers", "1"]);
    assert_it_outlives(server, |server, full| let_files_grow_to(server, full.then_some(4096)));
}

/// Stands before libc's own; a disk that can't keep what it was given.
#[cfg(target_os = "linux")]
const FAILING_FSYNC: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int sync_unless_broken(long call, int file) {
    if (access(getenv("BROKEN_DISK"), F_OK) == 0) { errno = EIO; return -1; }
    return syscall(call, file);
}
int fsync(int file) { return sync_unless_broken(SYS_fsync, file); }
int fdatasync(int file) { return sync_unless_broken(SYS_fdatasync, file); }
"#;

#[cfg(target_os = "linux")]
#[test]
fn where_fsync_fails_predictions_go_on_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [source, library, broken] = ["fsync.c", "fsync.so", "broken"].map(|name| folder.path().join(name));
    fs::write(&source, FAILING_FSYNC).expect("a file");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    assert!(compiled.expect("there is a C compiler").success());
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let environment = vec![("LD_PRELOAD", text(&library)), ("BROKEN_DISK", text(&broken))];
    let server = Server::start_in(environment, &["--workers", "1"], None);
    assert_it_outlives(server, |_, full| match full {
        true => fs::write(&broken, "").expect("a file"),
        false => fs::remove_file(&broken).expect("it was made"),
    });
}

/// While the disk takes nothing, what needs room is refused and the rest goes on; afterwards all is as before.
fn assert_it_outlives(mut server: Server, set_full: impl Fn(&Server, bool)) {
    let client = Client::new(server.address());
    let id = |thing: Value| thing["id"].as_str().expect("an id").to_owned();
    let dataset = id(client
        .create("/v1/datasets", "text/csv", table(60), "table")
        .expect("it is up"));
    let job = |epochs: u64| {
        let layers = json!([{"type": "dense", "units": 16, "activation": "swish"}, {"type": "dense", "units": 1}]);
        let spec = json!({"dataset": dataset, "target": "y", "model": {"layers": layers},
            "training": {"epochs": epochs, "batch_size": 8, "seed": 3}});
        spec.to_string().into_bytes()
    };
    let submit = |epochs: u64, key: &str| {
        id(client
            .create("/v1/jobs", "application/json", job(epochs), key)
            .expect("it is up"))
    };
    let undisturbed = client.outcome(&client.wait(&submit(10_000, "undisturbed")));
    let model = client.document("/v1/models")["data"][0]["id"]
        .as_str()
        .expect("a model")
        .to_owned();
    let predict = || {
        client.try_post(
            &format!("/v1/models/{model}/predict"),
            "application/json",
            br#"{"instances": [[3]]}"#.to_vec(),
        )
    };
    let running = submit(10_000, "running");
    client.follow(&running, 0, |kind, _| kind == "epoch");

    set_full(&server, true);
    for target in ["/v1/datasets", "/v1/datasets?name=again"] {
        assert_eq!(
            client.try_post(target, "text/csv", table(200_000)).expect("it answers"),
            507
        );
    }
    assert_eq!(
        client
            .try_post("/v1/jobs", "application/json", job(1))
            .expect("it answers"),
        507
    );
    assert_eq!(predict().expect("it answers"), 200);
    assert_eq!(client.get("/readyz").expect("it answers").0, 200);

    set_full(&server, false);
    assert_eq!(
        client.document("/v1/datasets")["data"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(client.document("/v1/jobs")["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(client.outcome(&client.wait(&running)), undisturbed, "{}", server.log());
    client
        .create("/v1/datasets", "text/csv", table(200_000), "large")
        .expect("there is room");
    assert_eq!(files_in(&server.data_dir().join("incoming")), 0);
    assert_eq!(files_in(&server.data_dir().join("blobs")), 2);
    client.wait(&submit(1, "afterwards"));
    server.kill();
    assert_sound(&server.data_dir());
}

#[test]
fn the_database_s_log_stays_small_under_large_models() {
    let server = Server::start(&[]);
    let client = Client::new(server.address());
    // Two million weights: with both of Adam's moments a model is 24 MB.
    let begin = json!({"inputs": 1000, "model": {"layers": [{"type": "dense", "units": 2000}, {"type": "dense", "units": 1}], "loss": "mse"}});
    let session = client.create(
        "/v1/sessions",
        "application/json",
        begin.to_string().into_bytes(),
        "session",
    );
    let session = session.expect("it is up")["id"].as_str().expect("an id").to_owned();
    for name in 0..8 {
        let target = format!("/v1/sessions/{session}/save?name=model-{name}");
        client
            .create(&target, "application/json", Vec::new(), &format!("model {name}"))
            .expect("it is up");
        let log = fs::metadata(server.data_dir().join("trainyard.db-wal")).map_or(0, |log| log.len());
        assert!(log <= 64 << 20, "{log} bytes after model {name}");
    }
    let database = fs::metadata(server.data_dir().join("trainyard.db")).expect("it is there");
    assert!(database.len() > 100 << 20, "what was saved has gone through the log");
}
