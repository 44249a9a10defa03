//! A process of the program, with its files. The rule: it is dead before the test is over.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a slow machine; a test that needs it all fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program, with a home of its own so that no default leads out of the test.
pub(crate) fn larder(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .env("HOME", home)
        .env_remove("XDG_DATA_HOME")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null());
    command
}

/// What a command wrote and how it ended.
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A directory with a configuration in it.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
}

impl Home {
    /// `more` is added to a configuration that keeps everything on loopback and in the directory.
    pub(crate) fn new(more: &str) -> Self {
        let home = Self {
            folder: tempfile::tempdir().expect("a directory"),
        };
        home.write(more);
        fs::create_dir(home.store()).expect("a store");
        home
    }

    pub(crate) fn write(&self, more: &str) {
        let store = self.store();
        let text = format!(
            "[server]\nhttp = [\"127.0.0.1:0\"]\npeer = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nmemory_bytes_max = \"192MiB\"\n{more}\n\
             [store]\npaths = [{store:?}]\n"
        );
        fs::write(self.config(), text).expect("written");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("larder.toml")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.store().join("admin.token")
    }

    pub(crate) fn larder(&self) -> Command {
        larder(self.folder.path())
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        outcome(&self.larder().args(args).output().expect("started"))
    }

    pub(crate) fn serve(&self) -> Serving {
        let mut command = self.larder();
        command.args(["serve", "--config"]).arg(self.config());
        Serving::start(command)
    }
}

/// `larder serve`, running.
pub(crate) struct Serving {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    pub(crate) http: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
}

impl Serving {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
        let lines = lines_of(child.stderr.take().expect("piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving = Self {
            child,
            lines,
            seen: Vec::new(),
            http: nowhere,
            peer: nowhere,
            admin: nowhere,
            metrics: None,
        };
        let line = serving.line_with(" serves on ");
        let after = |mark: &str| {
            let rest = line.split_once(mark)?.1;
            let end = rest.find([' ', ',', ';']).unwrap_or(rest.len());
            rest[..end].parse().ok()
        };
        serving.http = after(" serves on ").expect("the address of clients");
        serving.peer = after("peers on ").expect("the address of peers");
        serving.admin = after("admin on ").expect("the admin address");
        serving.metrics = after("metrics on ");
        serving
    }

    /// Waits for a line on standard error that holds `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!(
                    "no line with {text:?} came; so far:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its end; the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("waited for") {
                return status.code();
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("it did not end; so far:\n{}", self.seen.join("\n"));
    }

    /// One request on the admin address.
    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        ask(self.admin, request)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stderr: ChildStderr) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// Sends one request, with `Connection: close` and, where it names none, a Host; returns status and the rest.
pub(crate) fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let host = if request.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {address}\r\n")
    };
    let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let head =
        format!("{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no status: {answer}")),
        answer,
    )
}

/// Runs `tool` if it is there. Where it is not, that is said loudly, and is a failure where CI promises it.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(name).exists()) {
        return Some(Command::new(name));
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{name} is missing, and CI must have it"
    );
    eprintln!("!! SKIPPED: {name} is not installed, so this was not tried");
    None
}

/// Gives `text` to a command and returns how it ended.
pub(crate) fn piped(mut command: Command, text: &str) -> Output {
    let mut input = tempfile::tempfile().expect("a file");
    input.write_all(text.as_bytes()).expect("written");
    std::io::Seek::rewind(&mut input).expect("rewound");
    let input: File = input;
    command.stdin(input).output().expect("started")
}
