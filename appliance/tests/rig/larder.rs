//! The program under test, as administrators run it: the binary with a configuration file. The rule: what a test
//! knows of it comes from its sockets and its command line.

use super::fetch::Get;
use super::process::Process;
use super::{address, eventually};
use larder_content::hash::FileHasher;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub(crate) const HTTP_PORT: u16 = 8080;
pub(crate) const HTTPS_PORT: u16 = 8443;
pub(crate) const PEER_PORT: u16 = 7680;
pub(crate) const ADMIN_PORT: u16 = 9180;

/// The host names of one family (facts: clients, section 1.8), and names of others.
pub(crate) const FAMILY: [&str; 4] = [
    "download.windowsupdate.com",
    "au.download.windowsupdate.com",
    "b1.download.windowsupdate.com",
    "2.au.download.windowsupdate.com",
];
pub(crate) const SIGNED: &str = "tlu.dl.delivery.mp.microsoft.com";
pub(crate) const PLAIN: &str = "officecdn.microsoft.com";

/// A path below one of the family's hosts that names these bytes by their SHA-1.
pub(crate) fn named_path(bytes: &[u8]) -> String {
    let mut hasher = FileHasher::default();
    hasher.update(bytes);
    let digits: String = hasher.finish().iter().map(|b| format!("{b:02x}")).collect();
    format!("/c/msdownload/update/software/secu/2026/11/update_{digits}.cab")
}

/// How the program is set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Where every host name leads.
    pub(crate) origin: Option<SocketAddr>,
    /// What is spoken there (`http://`) however clients ask; as they ask where it is empty.
    pub(crate) spoken: &'static str,
    /// Whether requests that name no allowed origin go there, too.
    pub(crate) default_origin: bool,
    /// `auto` where it is empty.
    pub(crate) driver: &'static str,
    /// Another directory for the store.
    pub(crate) store: Option<PathBuf>,
    /// How many files it may have open; 0 is as many as the test may.
    pub(crate) files_max: u32,
    /// More lines for the `[server]` table.
    pub(crate) server: &'static str,
    /// More lines for the `[origins]` table.
    pub(crate) origins: String,
    /// The `[tls]` table; with one, https is served.
    pub(crate) tls: String,
    /// More tables.
    pub(crate) more: &'static str,
    /// More tables, with what only the test knows.
    pub(crate) tables: String,
    /// A program and its arguments that start it: `prlimit --memlock=..`.
    pub(crate) through: Vec<String>,
}

/// The program, running or not, and its directory.
pub(crate) struct Larder {
    directory: TempDir,
    address: Ipv4Addr,
    files_max: u32,
    through: Vec<String>,
    process: Option<Process>,
}

impl Larder {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(setup: &Setup) -> Self {
        let mut larder = Self::set_up(setup);
        larder.resume();
        larder
    }

    /// Its directory and configuration; somebody else starts it.
    pub(crate) fn set_up(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = address();
        let driver = if setup.driver.is_empty() {
            "auto"
        } else {
            setup.driver
        };
        let store = setup
            .store
            .clone()
            .unwrap_or(directory.path().join("store"));
        fs::create_dir_all(&store).expect("made");
        let mut config = format!(
            "[server]\nhttp = [\"{address}:{HTTP_PORT}\"]\npeer = \"{address}:{PEER_PORT}\"\n\
             admin = \"{address}:{ADMIN_PORT}\"\n\
             memory_bytes_max = \"256MiB\"\ndriver = \"{driver}\"\n{}\n[store]\npaths = [{:?}]\n",
            setup.server, store
        );
        if !setup.tls.is_empty() {
            let https = format!("[server]\nhttps = [\"{address}:{HTTPS_PORT}\"]\n");
            config = config.replacen("[server]\n", &https, 1) + &setup.tls;
        }
        config.push_str("[origins]\n");
        config.push_str(&setup.origins);
        if let Some(origin) = setup.origin {
            if setup.default_origin {
                config.push_str(&format!("default = \"http://{origin}\"\n"));
            }
            config.push_str("[origins.connect]\n");
            for host in FAMILY.iter().chain([&SIGNED, &PLAIN]) {
                let spoken = setup.spoken;
                config.push_str(&format!("{host:?} = \"{spoken}{origin}\"\n"));
            }
        }
        config.push_str(setup.more);
        config.push_str(&setup.tables);
        fs::write(directory.path().join("larder.toml"), config).expect("written");
        Self {
            directory,
            address,
            files_max: setup.files_max,
            through: setup.through.clone(),
            process: None,
        }
    }

    /// Starts it again with the same configuration and store, and waits until it is ready.
    pub(crate) fn resume(&mut self) {
        self.resume_at(self.admin());
    }

    /// The same where its admin address is another, from which `/healthz` can be read by everybody.
    pub(crate) fn resume_at(&mut self, admin: SocketAddr) {
        let program = env!("CARGO_BIN_EXE_larder");
        let mut command = match self.files_max {
            0 => match self.through.split_first() {
                None => Command::new(program),
                Some((first, rest)) => {
                    let mut command = Command::new(first);
                    command.args(rest).arg(program);
                    command
                }
            },
            files_max => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={files_max}:{files_max}"));
                limited.arg(program);
                limited
            }
        };
        command.arg("serve").arg("--config").arg(self.config());
        // Nothing of the test's own environment may lead it elsewhere.
        command.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
        let mut process = Process::start(&mut command, &self.directory.path().join("log"));
        eventually("larder is ready", || {
            assert!(
                process.ended().is_none(),
                "larder ended:\n{}",
                process.said()
            );
            let answer = Get::new(admin, "/readyz").run().ok()?;
            // From elsewhere it asks for the token, which is an answer as well.
            matches!(answer.status, 200 | 401).then_some(())
        });
        self.process = Some(process);
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("larder.toml")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from((self.address, HTTP_PORT))
    }

    pub(crate) fn https(&self) -> SocketAddr {
        SocketAddr::from((self.address, HTTPS_PORT))
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        SocketAddr::from((self.address, PEER_PORT))
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        SocketAddr::from((self.address, ADMIN_PORT))
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// What it has logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut would, but for what the kernel has.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal("TERM");
        let status = process.wait();
        assert!(status.success(), "{status}: {}", process.said());
    }

    /// Runs a command of the program against this one.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .output()
            .expect("larder runs")
    }

    /// The same, where it must go well; returns what it printed.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "larder {arguments:?}: {}\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// All figures.
    pub(crate) fn metrics(&self) -> String {
        let answer = Get::new(self.admin(), "/metrics").run().expect("figures");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body).expect("text")
    }

    /// The sum of a figure's series whose labels contain `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let metrics = self.metrics();
        let series = metrics.lines().filter(|line| {
            !line.starts_with('#')
                && line.split(['{', ' ']).next() == Some(name)
                && line.contains(label)
        });
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// A GET of `path` with the origin named by `cacheHostOrigin`.
    pub(crate) fn get(&self, host: &str, path: &str) -> Get {
        let joint = if path.contains('?') { '&' } else { '?' };
        Get::new(self.http(), &format!("{path}{joint}cacheHostOrigin={host}"))
    }

    /// The same as a URL for other clients.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{}{path}?cacheHostOrigin={host}", self.http())
    }
}
