//! The real server in a process of its own, over a data directory of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running `trainyard serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    data: TempDir,
    log: PathBuf,
    flags: Vec<String>,
    /// The largest file it may write.
    file_bytes: Option<u64>,
    environment: Environment,
    address: String,
}

/// What a server is started with in its environment.
type Environment = Vec<(&'static str, String)>;

impl Server {
    /// Starts a server on a free port over an empty folder, with further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_in(Environment::new(), flags, None)
    }

    /// The same with a limit on the size of the files it writes; what goes beyond it fails as on a full disk.
    #[allow(dead_code, reason = "for the API tests alone")]
    pub(crate) fn start_within(flags: &[&str], file_bytes: Option<u64>) -> Self {
        Self::start_in(Environment::new(), flags, file_bytes)
    }

    /// The same in an environment of its own.
    pub(crate) fn start_in(environment: Environment, flags: &[&str], file_bytes: Option<u64>) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let log = data.path().join("server.log");
        let (child, address) = spawn(&data.path().join("data"), &log, flags, file_bytes, &environment);
        Self {
            environment,
            child,
            data,
            log,
            flags: flags.iter().map(|flag| flag.to_string()).collect(),
            file_bytes,
            address,
        }
    }

    /// `http://` and where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    #[allow(dead_code, reason = "for the crash tests alone")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, without waiting for what comes of it.
    #[allow(dead_code, reason = "for the crash tests alone")]
    pub(crate) fn ask_to_stop(&self) {
        let sent = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// SIGTERM; returns once it has ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("it ends")
    }

    /// kill -9, then a new process over the same data directory.
    pub(crate) fn crash_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// A new process over the same data directory, once the old one has ended.
    pub(crate) fn restart(&mut self) {
        (self.child, self.address) = spawn(
            &self.data_dir(),
            &self.log,
            &self.flags,
            self.file_bytes,
            &self.environment,
        );
    }

    /// The same; it dies where `FAILPOINTS` has it die, if it was built with them.
    #[allow(dead_code, reason = "for the crash tests alone")]
    pub(crate) fn restart_to_die_at(&mut self, failpoints: &str) {
        let others = std::mem::replace(&mut self.environment, vec![("FAILPOINTS", failpoints.to_owned())]);
        self.restart();
        self.environment = others;
    }

    /// Waits for the process to die by itself.
    #[allow(dead_code, reason = "for the crash tests alone")]
    pub(crate) fn await_death(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + at_most;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        // Killing fails only when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Everything it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.log).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the process and waits for the line on stdout that says where it listens.
fn spawn(
    data: &Path,
    log: &Path,
    flags: &[impl AsRef<OsStr>],
    file_bytes: Option<u64>,
    environment: &Environment,
) -> (Child, String) {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    let trainyard = env!("CARGO_BIN_EXE_trainyard");
    let mut command = match file_bytes {
        None => Command::new(trainyard),
        Some(bytes) => {
            let mut shell = Command::new("sh");
            // It counts in blocks of 512 bytes.
            shell.args([
                "-c",
                "ulimit -f $0 && exec \"$@\"",
                &(bytes / 512).to_string(),
                trainyard,
            ]);
            shell
        }
    };
    let mut child = command
        .args(["serve", "--bind", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .args(flags)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the built trainyard starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut lines = BufReader::new(stdout).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(format!("http://{}", line.split_once("http://")?.1)));
    // Whatever it prints later is read away, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    let Some(address) = address else {
        let _ = child.kill();
        panic!(
            "the server ended before it said where it listens; status {:?}",
            child.wait()
        );
    };
    (child, address.trim().trim_end_matches('/').to_owned())
}
