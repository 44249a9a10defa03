//! A device: a home directory of its own, and the program run in it.

use super::rig::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) struct Device {
    directory: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// The report, where `--json` was given.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.stdout)))
    }

    /// Fails unless it went well.
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Fails unless it ended by this code, and said something.
    pub(crate) fn badly(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.starts_with("larder: "), "{}", self.stderr);
        self
    }
}

impl Device {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("out")).expect("made");
        Self { directory }
    }

    /// A file that was or will be downloaded.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("out").join(name)
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("the file is there")
    }

    /// What lies in the directory that is downloaded to.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("out")).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.into_string().expect("UTF-8")
            })
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Writes a configuration.
    pub(crate) fn config(&self, text: &str) -> PathBuf {
        let path = self.directory.path().join("larder.toml");
        fs::write(&path, text).expect("written");
        path
    }

    pub(crate) fn command(&self, url: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .arg("get")
            .arg(url)
            .args(more)
            .current_dir(self.directory.path().join("out"))
            .env("HOME", self.directory.path())
            .env("XDG_CACHE_HOME", self.cache())
            .env_remove("NO_PROXY")
            .env_remove("no_proxy");
        let config = self.directory.path().join("larder.toml");
        if config.exists() {
            command.arg("--config").arg(config);
        }
        command
    }

    /// Downloads, and waits for the end.
    pub(crate) fn get(&self, url: &str, more: &[&str]) -> Ended {
        let output = self.command(url, more).output().expect("larder runs");
        ended(output)
    }

    /// Downloads in the background; the log is what both outputs were.
    pub(crate) fn start(&self, url: &str, more: &[&str], log: &str) -> Process {
        let log: &Path = &self.directory.path().join(log);
        Process::start(&mut self.command(url, more), log)
    }
}

fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
