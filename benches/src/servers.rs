//! The servers that are compared. The rule: each is started the same way, in a process group of its own on the
//! server's core, and ends with its guard.

use crate::kind::Kind;
use crate::place::{beside, path};
use crate::secure::Certificate;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Which.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// What larder is told besides.
#[derive(Clone, Debug)]
pub struct LarderSetup {
    /// Where each host name leads.
    pub connect: Vec<(String, SocketAddr)>,
    /// `[server] memory_bytes_max`.
    pub memory: String,
    /// Shard threads; 0: one for each core.
    pub shards: usize,
    /// `[server] driver`.
    pub driver: String,
    /// The certificate, where https is served at the address and http at [`plain`].
    pub tls: Option<Certificate>,
    /// Peers are served at [`for_peers`].
    pub peers: bool,
    /// `[policy] DOAbsoluteMaxCacheSize`, GB; all of the drive where there is none.
    pub store_max_gb: Option<u32>,
    /// The store; a directory of its own below the run's where there is none.
    pub store: Option<PathBuf>,
}

impl Default for LarderSetup {
    fn default() -> Self {
        Self {
            connect: Vec::new(),
            memory: "512MiB".to_owned(),
            shards: 0,
            driver: "auto".to_owned(),
            tls: None,
            peers: false,
            store_max_gb: None,
            store: None,
        }
    }
}

impl Server {
    /// Starts an nginx; `origin` is where its misses go, `root` where its files are.
    ///
    /// # Errors
    /// It does not start, in its own words.
    pub fn nginx(
        kind: Kind,
        directory: &Path,
        root: &Path,
        address: SocketAddr,
        origin: SocketAddr,
        core: Option<usize>,
        tls: Option<&Certificate>,
    ) -> Result<Self> {
        let Some(template) = kind.nginx() else {
            bail!("{} is no nginx", kind.name());
        };
        let listen = match tls {
            None => template.to_owned(),
            Some(tls) => template.replace(
                "listen @LISTEN@ backlog=4096;",
                &format!(
                    "listen {} backlog=4096; listen @LISTEN@ ssl backlog=4096; ssl_certificate {:?}; \
                     ssl_certificate_key {:?}; ssl_protocols TLSv1.2 TLSv1.3;",
                    plain(address),
                    tls.cert,
                    tls.key
                ),
            ),
        };
        let mut config = listen
            .replace("@DIR@", &directory.display().to_string())
            .replace("@ROOT@", &root.display().to_string())
            .replace("@LISTEN@", &address.to_string())
            .replace("@ORIGIN@", &origin.to_string());
        if crate::place::is_root() {
            config.insert_str(0, "user root;\n");
        }
        if core.is_none() {
            // Like larder, which has a thread for each core.
            config = config.replace("worker_processes 1;", "worker_processes auto;");
        }
        let file = directory.join(format!("{}-{}.conf", kind.name(), address.port()));
        std::fs::write(&file, config)?;
        let mut command = pinned("nginx".as_ref(), core);
        command.arg("-p").arg(directory).arg("-c").arg(&file);
        Self::start(kind, command, address, directory)
    }

    /// Starts a Varnish that keeps up to `bytes` in its memory.
    ///
    /// # Errors
    /// It does not start, in its own words.
    pub fn varnish(
        directory: &Path,
        bytes: u64,
        address: SocketAddr,
        origin: SocketAddr,
        core: Option<usize>,
    ) -> Result<Self> {
        let mut command = pinned("varnishd".as_ref(), core);
        command
            .args(["-F", "-j", "none", "-t", "86400"])
            .arg("-n")
            .arg(directory.join("varnish"))
            .args(["-a", &address.to_string(), "-b", &origin.to_string()])
            .args(["-s", &format!("malloc,{bytes}")]);
        Self::start(Kind::Varnish, command, address, directory)
    }

    /// Starts a server that has nothing around it, for the ranges of one file.
    ///
    /// # Errors
    /// It does not start, in its own words.
    pub fn bare(
        kind: Kind,
        directory: &Path,
        file: &Path,
        address: SocketAddr,
        core: Option<usize>,
    ) -> Result<Self> {
        let mut command = pinned(&beside("larder-bare")?, core);
        command
            .args(["--kind", kind.name(), "--address", &address.to_string()])
            .arg("--file")
            .arg(file);
        Self::start(kind, command, address, directory)
    }

    /// Starts larder.
    ///
    /// # Errors
    /// It does not start, in its own words.
    pub fn larder(
        directory: &Path,
        address: SocketAddr,
        setup: &LarderSetup,
        core: Option<usize>,
    ) -> Result<Self> {
        let store = setup
            .store
            .clone()
            .unwrap_or_else(|| directory.join(format!("store-{}", address.port())));
        std::fs::create_dir_all(&store)?;
        let (listen, tls) = match &setup.tls {
            None => (format!("http = [\"{address}\"]\n"), String::new()),
            Some(tls) => (
                format!("http = [\"{}\"]\nhttps = [\"{address}\"]\n", plain(address)),
                format!("[tls]\ncert = {:?}\nkey = {:?}\n", tls.cert, tls.key),
            ),
        };
        let peer = match setup.peers {
            true => for_peers(address).to_string(),
            false => String::new(),
        };
        let mut config = format!(
            "[server]\n{listen}peer = \"{peer}\"\nadmin = \"{}\"\nmemory_bytes_max = {:?}\nshards = {}\ndriver = {:?}\n\
             [store]\npaths = [{store:?}]\n[policy]\nDOMaxCacheSize = 100\n[log]\nlevel = \"warn\"\n{tls}\
             [origins.connect]\n",
            admin(address),
            setup.memory,
            setup.shards,
            setup.driver,
        );
        if let Some(most) = setup.store_max_gb {
            let whole = "DOMaxCacheSize = 100";
            config = config.replace(whole, &format!("DOAbsoluteMaxCacheSize = {most}"));
        }
        for (host, origin) in &setup.connect {
            config.push_str(&format!("{host:?} = \"{origin}\"\n"));
        }
        let file = directory.join(format!("larder-{}.toml", address.port()));
        std::fs::write(&file, config)?;
        let mut command = pinned(&beside("larder")?, core);
        command.arg("serve").arg("--config").arg(&file);
        let kind = match setup.driver.as_str() {
            "epoll" => Kind::LarderEpoll,
            _ => Kind::Larder,
        };
        Self::start(kind, command, address, directory)
    }

    fn start(
        kind: Kind,
        mut command: Command,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<Self> {
        let log = directory.join(format!("{}.log", kind.name()));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", kind.name()))?;
        let mut server = Self {
            kind,
            address,
            child,
            log,
        };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let there = match self.kind {
                kind if kind.is_larder() => get(admin(self.address), "/readyz")
                    .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
                _ => TcpStream::connect(self.address).is_ok(),
            };
            if there {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}): {}", self.kind.name(), self.said());
            }
            if started.elapsed() > START_MAX {
                bail!("{} does not listen: {}", self.kind.name(), self.said());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The number of its first process, which is that of its group.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a load on it to its end, and gives the figures that were reported, by name; NaN is none of that name.
    ///
    /// # Errors
    /// The load does not start, or says what it saw wrong.
    pub fn loaded(&self, load: &mut Command) -> Result<impl Fn(&str) -> f64 + use<>> {
        let output = load.output().context("cannot start larder-load")?;
        ensure!(
            output.status.success(),
            "{}: {}{}",
            self.kind.name(),
            String::from_utf8_lossy(&output.stderr),
            self.said()
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(move |name: &str| report[name].as_f64().unwrap_or(f64::NAN))
    }

    /// The sum of a figure's series whose labels contain `label`, from larder's metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metric(&self, name: &str, label: &str) -> Result<f64> {
        Ok(self.metrics()?.sum(name, label))
    }

    /// All its metrics of one moment, for figures that are compared with each other.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics(get(admin(self.address), "/metrics")?))
    }

    /// Ends it as a power cut would, but for what the kernel has.
    pub fn kill(&mut self) {
        let group = format!("-{}", self.group());
        let _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.wait();
    }
}

/// What a server told of itself at one moment, in the text form of Prometheus.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// The sum of the metric's series that have this label; 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let series = self.0.lines().filter(|line| {
            !line.starts_with('#')
                && line.split(['{', ' ']).next() == Some(name)
                && line.contains(label)
        });
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the admin address of a larder is that serves at `address`.
fn admin(address: SocketAddr) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, address.port() + 1000))
}

/// Where peers are served by a larder that serves at `address`.
#[must_use]
pub fn for_peers(address: SocketAddr) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, address.port() + 3000))
}

/// Where a server that speaks TLS at `address` speaks plain HTTP.
#[must_use]
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, address.port() + 2000))
}

/// A whole answer as text.
fn get(address: SocketAddr, target: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A command that runs on one core.
#[must_use]
pub fn pinned(program: &Path, core: Option<usize>) -> Command {
    match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    }
}
