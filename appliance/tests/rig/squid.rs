//! Debian's Squid as the proxy between larder and the origins. The rule: it knows names by its own file of hosts alone,
//! stores nothing, and what it was asked is read from its access log.

use super::process::Process;
use super::{address, eventually};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) const PORT: u16 = 3128;

const CONFIG: &str = "
http_port @LISTEN@ @BUMP@
visible_hostname proxy.test
hosts_file @DIR@/hosts
dns_nameservers 127.0.0.1
pid_filename none
cache_log @DIR@/cache.log
coredump_dir @DIR@
netdb_filename none
logformat asked %rm %ru %>Hs %>p
access_log stdio:@DIR@/access.log asked
shutdown_lifetime 0 seconds
cache deny all
@MORE@
";

const LOGIN: &str = "
auth_param basic program /usr/lib/squid/basic_ncsa_auth @DIR@/passwords
auth_param basic realm branch
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
";

/// How it is set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Names that it knows.
    pub(crate) hosts: Vec<(&'static str, Ipv4Addr)>,
    /// The user and password that it asks for.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// It takes ranges out of requests.
    pub(crate) drops_ranges: bool,
    /// It looks into TLS: the certificate authority (with its key) that it signs by, and the one that it trusts.
    pub(crate) bump: Option<(PathBuf, PathBuf)>,
}

/// A line of its access log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) status: u16,
    /// The port that the client had, by which connections are told apart.
    pub(crate) port: u16,
}

/// A running Squid.
pub(crate) struct Squid {
    directory: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl Squid {
    pub(crate) fn start(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Started by root, it goes on as a user of its own.
        open_to_all(directory.path());
        let mut squid = Self {
            directory,
            address: SocketAddr::from((address(), PORT)),
            process: None,
        };
        squid.resume(setup);
        squid
    }

    /// The value of `[origins] proxy`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again, set up like this.
    pub(crate) fn resume(&mut self, setup: &Setup) {
        self.stop();
        let directory = self.directory.path().to_path_buf();
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).expect("written");
            open_to_all(&path);
        };
        let hosts = setup
            .hosts
            .iter()
            .map(|(name, ip)| format!("{ip} {name}\n"));
        write("hosts", &hosts.collect::<String>());
        let mut more = String::new();
        match setup.login {
            Some((user, password)) => {
                let hashed = Command::new("openssl")
                    .args(["passwd", "-apr1", password])
                    .output()
                    .expect("openssl runs");
                let hashed = String::from_utf8(hashed.stdout).expect("text");
                write("passwords", &format!("{user}:{hashed}"));
                more.push_str(LOGIN);
            }
            None => more.push_str("http_access allow all\n"),
        }
        if setup.drops_ranges {
            more.push_str("request_header_access Range deny all\n");
        }
        let mut bump = String::new();
        if let Some((signs, trusted)) = &setup.bump {
            let certificates = directory.join("certificates");
            let _ = fs::remove_dir_all(&certificates);
            let made = Command::new("/usr/lib/squid/security_file_certgen")
                .args(["-c", "-s"])
                .arg(&certificates)
                .args(["-M", "4MB"])
                .output()
                .expect("Squid's certificate helper runs");
            assert!(made.status.success(), "{made:?}");
            for entry in fs::read_dir(&certificates).expect("made").flatten() {
                open_to_all(&entry.path());
            }
            open_to_all(&certificates);
            fs::copy(signs, directory.join("signs.pem")).expect("copied");
            fs::copy(trusted, directory.join("trusted.pem")).expect("copied");
            open_to_all(&directory.join("signs.pem"));
            open_to_all(&directory.join("trusted.pem"));
            bump = "ssl-bump generate-host-certificates=on tls-cert=@DIR@/signs.pem".to_owned();
            more.push_str(
                "sslcrtd_program /usr/lib/squid/security_file_certgen -s @DIR@/certificates -M 4MB\n\
                 tls_outgoing_options cafile=@DIR@/trusted.pem\n\
                 acl first at_step SslBump1\nssl_bump peek first\nssl_bump bump all\n",
            );
        }
        let config = CONFIG
            .replace("@MORE@", &more)
            .replace("@BUMP@", &bump)
            .replace("@LISTEN@", &self.address.to_string())
            .replace("@DIR@", &directory.display().to_string());
        write("squid.conf", &config);
        let mut command = Command::new("squid");
        command
            .arg("-N")
            .arg("-f")
            .arg(directory.join("squid.conf"))
            // One process for each address: its shared memory has a name of its own.
            .args([
                "-n",
                &format!("t{}", self.address.ip().to_string().replace('.', "x")),
            ])
            .env(
                "PATH",
                std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin",
            );
        let mut process = Process::start(&mut command, &directory.join("squid.log"));
        eventually("Squid listens", || {
            assert!(
                process.ended().is_none(),
                "Squid: {}\n{}",
                process.said(),
                fs::read_to_string(directory.join("cache.log")).unwrap_or_default()
            );
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// What it was asked, in the order in which that ended.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let log = fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            Some(Asked {
                method: fields.next()?.to_owned(),
                url: fields.next()?.to_owned(),
                status: fields.next()?.parse().ok()?,
                port: fields.next()?.parse().ok()?,
            })
        });
        // The looks whether it listens leave lines of their own.
        lines
            .filter(|asked| !asked.url.starts_with("error:"))
            .collect()
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("its own file");
}
