//! The command line as a person or a script uses it, against the real binary.

mod server;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use server::{Server, tools_are_there, trainyard};

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/iris.csv");

#[test]
fn the_verbs_take_a_table_to_predictions() {
    let server = Server::start();
    let dataset = succeed(client(&server, &["upload", IRIS]));
    assert!(dataset.starts_with("ds_"), "{dataset}");
    let train = ["train", &dataset, "--target", "품종", "--epochs", "3"];
    let model = succeed(client(&server, &train));
    assert!(model.starts_with("mdl_"), "{model}");

    let more = [&train[..], &["--continue-from", &model, "--no-wait"]].concat();
    let job = succeed(client(&server, &more));
    assert!(job.starts_with("job_"), "{job}");
    let continued = succeed(client(&server, &["watch", &job]));
    assert!(continued.starts_with("mdl_") && continued != model, "{continued}");

    let predicted = succeed(client(&server, &["predict", &continued, IRIS]));
    let lines: Vec<&str> = predicted.lines().collect();
    assert_eq!(lines.len(), 151, "{predicted}");
    assert!(
        lines[0].starts_with("꽃잎길이,꽃잎폭,꽃받침길이,꽃받침폭,품종,"),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("5.1,3.5,1.4,0.2,setosa,"), "{}", lines[1]);
}

#[test]
fn a_refused_job_shows_what_the_server_says() {
    let server = Server::start();
    let dataset = succeed(client(&server, &["upload", IRIS]));
    let error = fail(client(
        &server,
        &["train", &dataset, "--target", "품종", "--epochs", "0"],
    ));
    for expected in ["422", "at /training/epochs: must be a whole number", "request: "] {
        assert!(error.contains(expected), "no {expected:?} in {error}");
    }
}

#[test]
fn health_says_by_its_exit_status_whether_a_server_is_ready() {
    let mut server = Server::start();
    assert_eq!(succeed(client(&server, &["health"])), "ready");
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    assert!(fail(client(&server, &["health"])).contains(&server.address));
}

#[test]
fn a_second_server_says_what_the_first_one_holds() {
    let server = Server::start();
    let other = tempfile::tempdir().unwrap();
    let port = fail(serve(&server.address, other.path()));
    assert!(port.contains(&format!("cannot listen on {}", server.address)), "{port}");
    let folder = fail(serve("127.0.0.1:0", &server.folder.path().join("data")));
    assert!(
        folder.contains("cannot use the data folder") && folder.contains("in use by another trainyard"),
        "{folder}"
    );
}

#[test]
fn an_address_that_others_can_reach_is_refused_until_there_is_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let error = fail(serve("0.0.0.0:0", folder.path()));
    for expected in [
        "can be reached from other machines",
        "trainyard keys create --name",
        "--data-dir",
    ] {
        assert!(error.contains(expected), "no {expected:?} in {error}");
    }
    let data = folder.path().join("data");
    succeed(keys(&data, &["create", "--name", "me", "--role", "admin"]));
    let server = Server::start_in(folder, "0.0.0.0:0");
    assert_eq!(succeed(client(&server, &["health"])), "ready");
    assert!(fail(client(&server, &["upload", IRIS])).contains("401"));
}

#[test]
fn the_verbs_come_with_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let secret = succeed(keys(&data, &["create", "--name", "me", "--role", "write"]));
    let server = Server::start_in(folder, "127.0.0.1:0");
    let refused = fail(client(&server, &["upload", IRIS]));
    for expected in ["This server asks for a key", "TRAINYARD_API_KEY"] {
        assert!(refused.contains(expected), "no {expected:?} in {refused}");
    }
    let url = format!("http://{}", server.address);
    let mut upload = trainyard();
    upload
        .args(["upload", IRIS, "--server", &url])
        .env("TRAINYARD_API_KEY", &secret);
    assert!(succeed(upload.output().unwrap()).starts_with("ds_"));
    let help = succeed(
        trainyard()
            .args(["upload", "--help"])
            .env("TRAINYARD_API_KEY", &secret)
            .output()
            .unwrap(),
    );
    assert!(help.contains("TRAINYARD_API_KEY") && !help.contains(&secret), "{help}");
}

#[test]
fn a_key_is_made_listed_and_revoked_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert!(fail(keys(&missing, &["list"])).contains("there is no data folder"));
    assert!(!missing.exists());

    let create = ["create", "--name", "ci", "--role", "write"];
    let secret = succeed(keys(folder.path(), &create));
    assert!(secret.starts_with("ty_") && secret.len() == 87, "{secret}");
    let more = ["--tenant", "other", "--expires-in", "90d"];
    succeed(keys(folder.path(), &[&create[..], &more].concat()));

    let listed = succeed(keys(folder.path(), &["list"]));
    let [newer, older] = listed.lines().collect::<Vec<_>>()[..] else {
        panic!("{listed}")
    };
    assert!(
        newer.contains(r#"  other  write  "ci"  made "#) && newer.contains(", expires "),
        "{newer}"
    );
    assert!(
        older.contains(&secret[..15]) && older.contains("  default  write  "),
        "{older}"
    );
    assert!(!listed.contains(&secret), "a key is shown once");

    let id = older.split_whitespace().next().unwrap();
    assert!(succeed(keys(folder.path(), &["revoke", id])).contains(", revoked "));
    assert_eq!(succeed(keys(folder.path(), &["list"])).matches(", revoked ").count(), 1);
    let none = "key_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    assert!(fail(keys(folder.path(), &["revoke", none])).contains("there is no key"));
    let wrong = fail(keys(folder.path(), &["create", "--name", "", "--role", "root"]));
    assert!(wrong.contains("from 1 to 200 characters"), "{wrong}");
}

#[test]
fn the_keys_of_a_running_server_are_not_the_commands() {
    let server = Server::start();
    let data = server.folder.path().join("data");
    let error = fail(keys(&data, &["create", "--name", "ci", "--role", "admin"]));
    assert!(
        error.contains("over HTTP at /v1/keys") && error.contains("in use"),
        "{error}"
    );
}

#[test]
fn sigterm_while_a_job_trains_ends_a_server_with_success() {
    let mut server = Server::start();
    let dataset = succeed(client(&server, &["upload", IRIS]));
    let train = [
        "train",
        &dataset,
        "--target",
        "품종",
        "--epochs",
        "1000000",
        "--no-wait",
    ];
    succeed(client(&server, &train));
    let id = server.process.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    let status = server.process.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn the_demo_goes_through_a_second_time_and_the_calls_it_prints_work() {
    if !tools_are_there(&["bash", "curl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut demo = trainyard();
    demo.arg("demo").arg("--data-dir").arg(folder.path());
    let first = succeed(demo.arg("--exit").output().unwrap());
    for expected in [
        "Total params: 5,187",
        "Total params: 5,121",
        "softmax by hand",
        "All of it took",
    ] {
        assert!(first.contains(expected), "no {expected:?} in {first}");
    }

    let mut demo = trainyard();
    demo.arg("demo").arg("--data-dir").arg(folder.path());
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<String> = lines.take_while(|line| !line.contains("stays up")).collect();
    let calls = lines
        .iter()
        .skip_while(|line| !line.contains("Try it yourself"))
        .skip(1);
    let calls = calls.fold(String::new(), |script, line| script + line + "\n");
    assert!(calls.matches("curl -s").count() > 2, "{lines:?}");
    let calls = calls.replace("curl -s", "curl --silent --show-error --fail");
    let answers = Command::new("bash").args(["-euc", &calls]).output();
    let stopped = Command::new("kill").arg(demo.id().to_string()).status().unwrap();
    assert!(stopped.success() && demo.wait().unwrap().success());
    assert!(succeed(answers.unwrap()).contains(r#""label":"virginica""#));
}

fn client(server: &Server, arguments: &[&str]) -> Output {
    let mut command = trainyard();
    command
        .args(arguments)
        .args(["--server", &format!("http://{}", server.address)]);
    command.output().unwrap()
}

/// Starts a server that is expected to end by itself.
fn serve(address: &str, folder: &Path) -> Output {
    let mut command = trainyard();
    command.args(["serve", "--bind", address, "--data-dir"]).arg(folder);
    command.output().unwrap()
}

fn keys(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = trainyard();
    command.arg("keys").args(arguments).arg("--data-dir").arg(folder);
    command.output().unwrap()
}

/// What it printed, without the last line break.
fn succeed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// What it complained about.
fn fail(output: Output) -> String {
    assert!(
        !output.status.success(),
        "it succeeded: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stderr).unwrap()
}
