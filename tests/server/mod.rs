//! The real binary, and a server run by it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The program, without whatever the caller's environment sets for it.
pub(crate) fn trainyard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRAINYARD_")) {
        command.env_remove(name);
    }
    command
}

/// A server on a free port, with a folder of its own; killed when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    /// `127.0.0.1:` and the port.
    pub(crate) address: String,
    /// Its data are in `data` in there.
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "127.0.0.1:0")
    }

    /// On an address, with the data that are in the folder.
    pub(crate) fn start_in(folder: TempDir, bind: &str) -> Self {
        let mut command = trainyard();
        command
            .args(["serve", "--bind", bind, "--log", "warn", "--data-dir"])
            .arg(folder.path().join("data"));
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let address = ready.trim().strip_prefix("trainyard is ready: http://");
        let address = address.expect("the line that says it is ready");
        let address = address.replace("0.0.0.0", "127.0.0.1");
        Self {
            process,
            address,
            folder,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Says which tool is missing; where TRAINYARD_REQUIRE names it, that is a failure.
pub(crate) fn tools_are_there(tools: &[&str]) -> bool {
    let required = std::env::var("TRAINYARD_REQUIRE").unwrap_or_default();
    let found = |tool: &str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(tool).is_file())
    };
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !found(tool)).collect();
    for tool in &missing {
        assert!(
            !required.split_whitespace().any(|name| name == *tool),
            "{tool} is required and missing"
        );
        eprintln!("skipped: {tool} is not installed");
    }
    missing.is_empty()
}
