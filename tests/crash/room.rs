//! Promise 12, and the log's bound: no room is a 507 and nothing half-written, with room all is well again.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::client::Client;
use crate::disk::assert_sound;
#[cfg(target_os = "linux")]
use crate::preload::Preload;
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

/// A disk that can't keep what it was given.
#[cfg(target_os = "linux")]
const FAILING_FSYNC: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int sync_unless_broken(long call, int file) {
    if (access(getenv("BROKEN"), F_OK) == 0) { errno = EIO; return -1; }
    return syscall(call, file);
}
int fsync(int file) { return sync_unless_broken(SYS_fsync, file); }
int fdatasync(int file) { return sync_unless_broken(SYS_fdatasync, file); }
"#;

#[cfg(target_os = "linux")]
#[test]
fn where_fsync_fails_predictions_go_on_and_nothing_is_lost() {
    let preload = Preload::compile(FAILING_FSYNC);
    let server = Server::start_in(preload.environment(), &["--workers", "1"], None);
    assert_it_outlives(server, |_, full| preload.set_broken(full));
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
    let pause = format!("/v1/jobs/{running}/pause");
    let paused = || {
        client
            .try_post(&pause, "application/json", Vec::new())
            .expect("it answers")
    };
    assert_eq!([paused(), paused()], [507, 507], "what it has come to finds no room");

    set_full(&server, false);
    // It is paused as soon as there is room, unless it had come to its end before.
    client.follow(&running, 0, |kind, data| kind == "done" || data["status"] == "paused");
    client.post(&format!("/v1/jobs/{running}/resume"));
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

/// A disk of its own under a server's data, filled and emptied by a file beside them; gone when dropped.
#[cfg(target_os = "linux")]
struct SmallDisk {
    folder: PathBuf,
}

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// `None` where this process may not mount anything.
    fn mount(folder: PathBuf) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100m", "tmpfs"])
            .arg(&folder)
            .status();
        match mounted {
            Ok(status) if status.success() => Some(Self { folder }),
            refused => {
                eprintln!("skipped: nothing can be mounted here ({refused:?})");
                None
            }
        }
    }

    /// To the last byte.
    fn fill(&self) {
        let mut filler = fs::File::create(self.folder.join("filler")).expect("a file");
        for size in [1 << 20, 1 << 12, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.folder.join("filler")).expect("it was filled");
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// A server with its data directory on such a disk; `None` where nothing may be mounted.
#[cfg(target_os = "linux")]
fn on_a_small_disk() -> Option<(Server, PathBuf, SmallDisk)> {
    let mut server = Server::start(&["--workers", "1"]);
    server.kill();
    let data = server.data_dir();
    let disk = SmallDisk::mount(data.clone())?;
    server.restart();
    Some((server, data, disk))
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_on_a_full_disk_serves_and_goes_on_once_there_is_room() {
    let Some((mut server, data, disk)) = on_a_small_disk() else {
        return;
    };
    let client = Client::new(server.address());
    let id = |thing: Value| thing["id"].as_str().expect("an id").to_owned();
    let dataset = id(client
        .create("/v1/datasets", "text/csv", table(60), "table")
        .expect("it is up"));
    let job = |epochs: u64| {
        let training = json!({"epochs": epochs, "batch_size": 8, "seed": 3});
        json!({"dataset": dataset, "target": "y", "training": training})
            .to_string()
            .into_bytes()
    };
    let submit = |client: &Client, epochs: u64, key: &str| {
        id(client
            .create("/v1/jobs", "application/json", job(epochs), key)
            .expect("it is up"))
    };
    let model = client.wait(&submit(&client, 2, "model"))["model"]
        .as_str()
        .expect("a model")
        .to_owned();
    let predict = format!("/v1/models/{model}/predict");
    let try_post = |client: &Client, target: &str, content_type: &str, body: Vec<u8>| {
        client.try_post(target, content_type, body).expect("it answers")
    };
    let running = submit(&client, 1_000_000, "running");
    let runs = |client: &Client, attempt: u64| {
        client.follow(&running, 0, |kind, data| {
            kind == "status" && data["status"] == "running" && data["attempt"] == attempt
        });
    };
    runs(&client, 1);
    // What a crash and a stop leave is not the same.
    let stops: [fn(&mut Server); 2] = [Server::kill, |server| assert!(server.terminate().success())];
    for (stop, attempt) in stops.into_iter().zip(2..) {
        stop(&mut server);
        disk.fill();
        server.restart();
        let client = Client::new(server.address());
        let row = br#"{"instances": [[3]]}"#.to_vec();
        assert_eq!(try_post(&client, &predict, "application/json", row), 200);
        assert_eq!(try_post(&client, "/v1/datasets", "text/csv", table(60)), 507);
        assert_eq!(try_post(&client, "/v1/jobs", "application/json", job(1)), 507);
        assert_eq!(client.document(&format!("/v1/jobs/{running}"))["status"], "queued");
        disk.empty();
        runs(&client, attempt);
    }
    // While the disk is known to be full nothing is begun that it can't take: the job trains on.
    disk.fill();
    let client = Client::new(server.address());
    let pause = format!("/v1/jobs/{running}/pause");
    assert_eq!(try_post(&client, &pause, "application/json", Vec::new()), 507);
    disk.empty();
    let paused = client.post(&pause).expect("it runs still");
    assert_eq!(paused["status"], "paused");
    server.kill();
    assert_sound(&data);
}

/// What removes files only is done before what writes: it may make the room for that.
#[cfg(target_os = "linux")]
#[test]
fn a_start_on_a_full_disk_makes_room_by_what_a_crash_left() {
    let Some((mut server, data, disk)) = on_a_small_disk() else {
        return;
    };
    let client = Client::new(server.address());
    let dataset = client.create("/v1/datasets", "text/csv", table(60), "table");
    let job = json!({"dataset": dataset.expect("it is up")["id"], "target": "y", "training": {"epochs": 1_000_000}});
    let job = client.create("/v1/jobs", "application/json", job.to_string().into_bytes(), "job");
    let job = job.expect("it is up")["id"].as_str().expect("an id").to_owned();
    for (folder, attempt) in ["incoming", "blobs", "sessions"].into_iter().zip(1..) {
        // What a crash leaves of it has to be written about.
        Client::new(server.address()).follow(&job, 0, |kind, data| {
            kind == "status" && data["status"] == "running" && data["attempt"] == attempt
        });
        server.kill();
        fs::remove_file(data.join("ballast")).expect("it is taken at every start with room");
        let orphan = data.join(folder).join("orphan");
        fs::write(&orphan, vec![1; 1 << 20]).expect("a file");
        disk.fill();
        server.restart();
        assert!(!orphan.exists());
        server.kill();
        disk.empty();
        server.restart();
    }
    server.kill();
    assert_sound(&data);
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
