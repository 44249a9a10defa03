//! Debian's nginx as an origin that serves real files. The rule: what it has sent is read from its access log after
//! it has ended, when every line is written.

use super::process::Process;
use super::{address, eventually};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) const PORT: u16 = 8000;

const CONFIG: &str = "
worker_processes 1;
pid @DIR@/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    log_format sent '$body_bytes_sent $status $request_method $http_host $uri $http_range';
    access_log @DIR@/access.log sent;
    client_body_temp_path @DIR@/body;
    proxy_temp_path @DIR@/proxy;
    fastcgi_temp_path @DIR@/fastcgi;
    uwsgi_temp_path @DIR@/uwsgi;
    scgi_temp_path @DIR@/scgi;
    default_type application/octet-stream;
    sendfile on;
    keepalive_requests 100000;
    server {
        listen @LISTEN@;
        root @DIR@/root;
        @LOCATIONS@
    }
}
";

/// A line of the access log.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) body_bytes: u64,
    pub(crate) status: u16,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
}

/// A running nginx with files in a directory of its own.
pub(crate) struct Nginx {
    directory: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl Nginx {
    /// Starts it with nothing to serve.
    pub(crate) fn start() -> Self {
        Self::with_locations("")
    }

    /// Starts it with more in its `server` block, where `@IP@` is its address.
    pub(crate) fn with_locations(locations: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = SocketAddr::from((address(), PORT));
        let mut config = CONFIG
            .replace("@LOCATIONS@", locations)
            .replace("@DIR@", &directory.path().display().to_string())
            .replace("@IP@", &address.ip().to_string())
            .replace("@LISTEN@", &address.to_string());
        if rootly() {
            // The files lie where nobody else may look.
            config = format!("user root;{config}");
        }
        fs::write(directory.path().join("nginx.conf"), config).expect("written");
        fs::create_dir(directory.path().join("root")).expect("made");
        let mut nginx = Self {
            directory,
            address,
            process: None,
        };
        nginx.resume();
        nginx
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        match self.address.ip() {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => unreachable!("it was made from a v4 address"),
        }
    }

    /// Serves these bytes under `path`.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        fs::write(self.place(path), bytes).expect("written");
    }

    /// Serves these bytes under a path that names their SHA-1, as updates have; returns it.
    pub(crate) fn put_named(&self, bytes: &[u8]) -> String {
        let path = super::larder::named_path(bytes);
        self.put(&path, bytes);
        path
    }

    /// Serves that file under `path`.
    pub(crate) fn link(&self, path: &str, file: &Path) {
        symlink(file, self.place(path)).expect("linked");
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.directory.path().join("root").join(&path[1..]);
        fs::create_dir_all(place.parent().expect("below the root")).expect("made");
        place
    }

    /// Ends it; returns what was sent since its last start.
    pub(crate) fn stop(&mut self) -> Vec<Sent> {
        if let Some(mut process) = self.process.take() {
            process.signal("QUIT");
            process.wait();
        }
        let log = self.directory.path().join("access.log");
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        lines
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let mut next = || fields.next();
                Some(Sent {
                    body_bytes: next()?.parse().ok()?,
                    status: next()?.parse().ok()?,
                    method: next()?.to_owned(),
                    host: next()?.to_owned(),
                    path: next()?.to_owned(),
                })
            })
            .collect()
    }

    /// Starts it again.
    pub(crate) fn resume(&mut self) {
        let directory = self.directory.path();
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .args(["-g", "daemon off;"])
            .env(
                "PATH",
                std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin",
            );
        let mut process = Process::start(&mut command, &directory.join("nginx.log"));
        eventually("nginx listens", || {
            assert!(process.ended().is_none(), "nginx: {}", process.said());
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Ends it and starts it again; returns the bytes of bodies sent in between.
    pub(crate) fn body_bytes(&mut self) -> u64 {
        let sent = self.stop();
        self.resume();
        body_bytes(&sent)
    }
}

/// Bytes of bodies of content.
pub(crate) fn body_bytes(sent: &[Sent]) -> u64 {
    let content = sent.iter().filter(|line| matches!(line.status, 200 | 206));
    content.map(|line| line.body_bytes).sum()
}

fn rootly() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
