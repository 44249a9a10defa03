//! A service manager in little, where systemd itself does not run. The rule: it says and hears what sd_listen_fds(3),
//! sd_notify(3) and sd_watchdog_enabled(3) are about, and keeps its listening sockets whatever becomes of the service.

use super::larder::Larder;
use super::process::Process;
use super::{PATIENCE, eventually};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `SD_LISTEN_FDS_START`.
const FIRST: usize = 3;
/// What the socket units have.
const BACKLOG: i32 = 4096;

/// One message of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told(Vec<(String, String)>);

impl Told {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it has `name=1`.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.value(name) == Some("1")
    }
}

/// The manager of one service, which runs or does not.
pub(crate) struct Supervisor {
    pub(crate) larder: Larder,
    sockets: Vec<(&'static str, TcpListener)>,
    notify: UnixDatagram,
    watchdog: Option<Duration>,
    process: Option<Process>,
    /// All that the service has said in its present life.
    heard: Vec<Told>,
}

impl Supervisor {
    /// Listens for the service as socket units with these names (`FileDescriptorName=`) would, at most three of them.
    pub(crate) fn new(larder: Larder, names: &[&'static str]) -> Self {
        let sockets = names.iter().map(|name| {
            let address = match *name {
                "http" => larder.http(),
                "https" => larder.https(),
                "peer" => larder.peer(),
                "admin" => larder.admin(),
                other => panic!("what is {other}?"),
            };
            (*name, listen(address))
        });
        let sockets: Vec<_> = sockets.collect();
        // Three can be handed to a child without a word of unsafe code: as its standard streams.
        assert!(sockets.len() <= 3);
        let path = larder.directory().join("notify");
        let notify = UnixDatagram::bind(&path).expect("a socket to be told on");
        notify
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        Self {
            larder,
            sockets,
            notify,
            watchdog: None,
            process: None,
            heard: Vec::new(),
        }
    }

    /// As `WatchdogSec=`.
    pub(crate) fn watched(mut self, every: Duration) -> Self {
        self.watchdog = Some(every);
        self
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.larder.directory().join("log")
    }

    /// Starts the service, and waits for nothing.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more of an environment, and a root in which the journal listens at `journal`, as root alone can make
    /// it.
    pub(crate) fn start_with_journal(&mut self, environment: &[(&str, &str)], journal: &Path) {
        self.start_in(environment, Some(journal));
    }

    /// The same with more of an environment.
    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        self.start_in(environment, None);
    }

    fn start_in(&mut self, environment: &[(&str, &str)], journal: Option<&Path>) {
        let mut script = String::new();
        for number in 0..self.sockets.len() {
            script.push_str(&format!("exec {}<&{number}\n", FIRST + number));
        }
        script.push_str("exec </dev/null >>\"$0\" 2>&1\n");
        if let Some(journal) = journal {
            script.push_str("mount -t tmpfs tmpfs /run\nmkdir -p /run/systemd/journal\n");
            script.push_str(&format!(
                "ln -s {} /run/systemd/journal/socket\n",
                journal.display()
            ));
        }
        script.push_str("export LISTEN_PID=$$ WATCHDOG_PID=$$\nexec \"$@\"\n");
        let mut command = match journal {
            None => Command::new("sh"),
            Some(_) => {
                let mut apart = Command::new("unshare");
                apart.args(["--mount", "sh"]);
                apart
            }
        };
        command
            .args(["-e", "-c", &script])
            .arg(self.log())
            .args([env!("CARGO_BIN_EXE_larder"), "serve", "--config"])
            .arg(self.larder.config())
            .env("NOTIFY_SOCKET", self.larder.directory().join("notify"))
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env("LISTEN_FDNAMES", self.names())
            .env_remove("JOURNAL_STREAM")
            .env_remove("WATCHDOG_USEC")
            .envs(environment.iter().copied());
        if let Some(every) = self.watchdog {
            command.env("WATCHDOG_USEC", every.as_micros().to_string());
        }
        let mut streams = self.sockets.iter().map(|(_, socket)| {
            let copy = socket.try_clone().expect("a second descriptor");
            Stdio::from(OwnedFd::from(copy))
        });
        command.stdin(streams.next().unwrap_or(Stdio::null()));
        command.stdout(streams.next().unwrap_or(Stdio::null()));
        command.stderr(streams.next().unwrap_or(Stdio::null()));
        drop(streams);
        self.heard.clear();
        self.process = Some(Process::start_as_it_is(&mut command, &self.log()));
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.sockets.iter().map(|(name, _)| *name).collect();
        names.join(":")
    }

    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start_and_wait(&mut self) {
        self.start();
        self.until("it is ready", |told| told.says("READY"));
    }

    /// Waits for a message; those before it are kept in [`Self::heard`].
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let started = Instant::now();
        loop {
            let told = self.next().unwrap_or_else(|error| {
                panic!("{what}: {error}; heard so far: {:#?}", self.heard);
            });
            if wanted(&told) {
                return told;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: it never said so, but {:#?}",
                self.heard
            );
        }
    }

    fn next(&mut self) -> io::Result<Told> {
        let mut bytes = [0; 4096];
        let len = self.notify.recv(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes[..len]);
        let fields = text.lines().map(|line| {
            let (name, value) = line.split_once('=').expect("NAME=value");
            (name.to_owned(), value.to_owned())
        });
        let told = Told(fields.collect());
        self.heard.push(told.clone());
        Ok(told)
    }

    /// All that it has said in this life until now.
    pub(crate) fn heard(&mut self) -> &[Told] {
        self.notify.set_nonblocking(true).expect("set");
        while self.next().is_ok() {}
        self.notify.set_nonblocking(false).expect("set");
        &self.heard
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.process().signal("TERM");
        self.await_end();
    }

    /// Waits until it has ended, which must be in good order.
    pub(crate) fn await_end(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let status = process.wait();
        assert!(status.success(), "{status}: {}", process.said());
    }

    /// As `systemctl restart`.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_and_wait();
    }

    /// The thread of the service that has this name.
    pub(crate) fn thread(&mut self, name: &str) -> u32 {
        let tasks = format!("/proc/{}/task", self.process().pid());
        eventually(&format!("there is a thread {name}"), || {
            std::fs::read_dir(&tasks).ok()?.find_map(|task| {
                let path = task.ok()?.path();
                let of_task = std::fs::read_to_string(path.join("comm")).ok()?;
                let number = path.file_name()?.to_str()?.parse().ok()?;
                (of_task.trim_end() == name).then_some(number)
            })
        })
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("set");
    socket.bind(&address.into()).expect("a free address");
    socket.listen(BACKLOG).expect("listening");
    socket.into()
}
