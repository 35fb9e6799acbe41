//! Libraries that stand before libc's own functions, for faults of the system that can't be had otherwise.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Faults that are there while the file exists whose name is in the environment as `BROKEN`.
pub(crate) struct Preload {
    folder: TempDir,
}

impl Preload {
    /// From a source in C.
    pub(crate) fn compile(source: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let preload = Self { folder };
        let file = preload.file("preload.c");
        fs::write(&file, source).expect("a file");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(preload.file("preload.so"))
            .arg(&file)
            .status();
        assert!(compiled.expect("there is a C compiler").success());
        preload
    }

    /// What a server is started in, to have the faults.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        vec![
            ("LD_PRELOAD", text(&self.file("preload.so"))),
            ("BROKEN", text(&self.file("broken"))),
        ]
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        match broken {
            true => fs::write(self.file("broken"), "").expect("a file"),
            false => fs::remove_file(self.file("broken")).expect("it was made"),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
