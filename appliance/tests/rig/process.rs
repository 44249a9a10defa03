//! Processes that end with the test. The rule: each has a process group of its own, and the group is killed when the
//! guard goes, so that no worker is left.

use super::eventually;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running process and its group.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    over: bool,
}

impl Process {
    /// Starts it, with both outputs in the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second descriptor"))
            .stderr(file);
        Self::start_as_it_is(command, log)
    }

    /// Starts it with whatever inputs and outputs it has; it is to write to the file `log` by itself.
    pub(crate) fn start_as_it_is(command: &mut Command, log: &Path) -> Self {
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self {
            child,
            log: log.to_path_buf(),
            over: false,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by its name to the process alone.
    pub(crate) fn signal(&self, name: &str) {
        send(name, &self.pid().to_string());
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child can be waited for");
        self.over |= status.is_some();
        status
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let pid = self.pid();
        eventually(&format!("process {pid} ends"), || self.ended())
    }

    /// Kills the group and waits for its end.
    pub(crate) fn kill(&mut self) {
        if !self.over {
            send("KILL", &format!("-{}", self.pid()));
            let _ = self.child.wait();
            self.over = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("-- {} ends with:", self.log.display());
            let said = self.said();
            let lines: Vec<_> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(25)..] {
                eprintln!("   {line}");
            }
        }
    }
}

fn send(signal: &str, whom: &str) {
    let _ = Command::new("kill")
        .args(["-s", signal, "--", whom])
        .stderr(Stdio::null())
        .status();
}
