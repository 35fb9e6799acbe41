//! Runs the commands of README.md, so that they can't go stale.
//!
//! A ```` ```console ```` block has commands after `$ ` and below each its output. The commands run in order in one shell, against
//! a server of this test's own. Numbers and ids may differ from run to run; everything else must be as README.md shows it.
//! `UPDATE_README=1` writes the present output into README.md instead.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use server::{Server, tools_are_there};

const FENCE: &str = "```console\n";

#[test]
fn the_curl_sessions_give_what_the_readme_shows() {
    if !tools_are_there(&["bash", "curl", "jq"]) {
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown = sessions(&readme);
    assert!(shown.len() > 5, "README.md has its sessions in ```console blocks");
    let server = Server::start();
    let got = run(&server, &shown);
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(root().join("README.md"), updated(&readme, &got)).unwrap();
        return;
    }
    for (shown, got) in shown.iter().zip(&got) {
        assert_eq!(
            shape(&shown.output),
            shape(&got.output),
            "after `{}`:\n{}",
            got.command,
            got.output
        );
    }
}

/// After 1,000 steps over all rows the tutorial's loss is 28.2; first weights differ, and with them the loss by some.
#[test]
fn the_loop_written_by_hand_learns_as_the_tutorial_s() {
    let programs = [
        ("python3", "examples/fit_by_hand.py", &["python3"][..]),
        ("bash", "examples/fit_by_hand.sh", &["bash", "curl", "jq"]),
    ];
    let server = Server::start();
    let runs = programs
        .into_iter()
        .filter(|(_, _, tools)| tools_are_there(tools))
        .map(|(program, path, _)| {
            let mut command = Command::new(program);
            command
                .arg(root().join(path))
                .args([format!("http://{}", server.address), "1000".into()]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
    // Side by side: each mostly waits for its own processes to start.
    for run in runs.collect::<Vec<_>>() {
        let output = run.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}{errors}");
        let losses: Vec<f64> = printed
            .lines()
            .filter_map(|line| line.split_once("loss ")?.1.parse().ok())
            .collect();
        assert_eq!(losses.len(), 11, "{printed}");
        assert!(losses[0] > 400.0 && (22.0..35.0).contains(&losses[10]), "{printed}");
        assert!(printed.contains("saved as mdl_"), "{printed}");
    }
}

#[test]
fn the_first_screen_has_the_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let screen: Vec<&str> = readme.lines().take(24).collect();
    for command in ["cargo run --release -- demo", "cargo test"] {
        assert!(
            screen.iter().any(|line| line.starts_with(command)),
            "no line is {command:?}"
        );
    }
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for page in ["README.md", "ARCHITECTURE.md", "SECURITY.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let dead: Vec<&str> = targets
            .filter(|target| !target.contains("://") && !root().join(target).exists())
            .collect();
        assert!(dead.is_empty(), "{page} links to {dead:?}");
    }
}

/// A command and what it prints.
#[derive(Clone)]
struct Step {
    command: String,
    output: String,
}

/// The steps of all console blocks, in order.
fn sessions(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in readme.split(FENCE).skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                (None, Some(step)) => step.output += &format!("{line}\n"),
                (None, None) => panic!("output without a command in README.md: {line}"),
            }
        }
    }
    steps
}

/// The README with the steps' output in place of what it shows.
fn updated(readme: &str, steps: &[Step]) -> String {
    let mut steps = steps.iter();
    let mut text = String::new();
    let mut in_console = false;
    for line in readme.lines() {
        match (in_console, line) {
            (false, _) => in_console = line == FENCE.trim_end(),
            (true, "```") => in_console = false,
            (true, _) if line.starts_with("$ ") => {
                let step = steps.next().expect("as many steps as commands");
                text += &format!("{line}\n{}", step.output);
                continue;
            }
            (true, _) => continue,
        }
        text += &format!("{line}\n");
    }
    text
}

/// The text with every number as `0` and every id and hash as `#`.
fn shape(output: &str) -> String {
    let mut shape = String::new();
    let mut rest = output;
    while let Some(c) = rest.chars().next() {
        let word = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).len();
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || ".eE+-".contains(c))
                .len();
        let (sign, taken) = if word >= 32 && rest[..word].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            ("#", word)
        } else if number > 0 && number >= word && rest[..number].parse::<f64>().is_ok() {
            ("0", number)
        } else {
            let taken = word.max(c.len_utf8());
            (&rest[..taken], taken)
        };
        shape += sign;
        rest = &rest[taken..];
    }
    shape
}

#[test]
fn the_shape_of_an_output_leaves_out_what_differs_from_run_to_run() {
    let id = "mdl_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    let output = format!(r#"{{"id":"{id}","loss":-1.5e-7,"float32":[3, 4], "꽃잎": "a-b"}}"#);
    assert_eq!(
        shape(&output),
        r##"{"id":"mdl_#","loss":0,"float32":[0, 0], "꽃잎": "a-b"}"##
    );
}

/// Runs the steps in one shell against the server and gives them back with what they printed.
fn run(server: &Server, steps: &[Step]) -> Vec<Step> {
    const END: &str = "\u{1e}\n";
    let examples = root().join("examples");
    let commands: String = steps
        .iter()
        .map(|step| format!("{}\nprintf '\\036\\n'\n", step.command))
        .collect();
    let script = commands
        .replace("localhost:8080", &server.address)
        .replace("@examples", &format!("@{}", examples.display()));
    let shell = Command::new("bash")
        .args(["-euc", &script])
        .current_dir(server.folder.path())
        .output()
        .unwrap();
    let outputs = String::from_utf8(shell.stdout).unwrap();
    let outputs: Vec<&str> = outputs.split_terminator(END).collect();
    let errors = String::from_utf8_lossy(&shell.stderr);
    assert!(
        shell.status.success(),
        "after {} of {} commands: {errors}",
        outputs.len(),
        steps.len()
    );
    let with_output = |(step, output): (&Step, &&str)| Step {
        command: step.command.clone(),
        output: (*output).to_owned(),
    };
    steps.iter().zip(&outputs).map(with_output).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
