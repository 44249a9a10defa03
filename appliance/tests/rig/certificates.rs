//! Certificates for tests, made by openssl: an authority, and what it signs. The rule: a test has an authority of its
//! own, and nothing of it is ever trusted outside of that test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const CONFIG: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n\
     default_md = sha256\npolicy = any\nunique_subject = no\n[any]\ncommonName = supplied\n";

/// Runs openssl in a directory; no argument may hold a space.
pub(super) fn openssl(arguments: &str, directory: &Path) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority and its directory.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let made = Self(tempfile::tempdir().expect("a directory"));
        fs::write(made.file("ca.conf"), CONFIG).expect("written");
        fs::write(made.file("index"), "").expect("written");
        fs::write(made.file("serial"), "1000\n").expect("written");
        made.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
             -keyout ca.key -out ca.pem",
        );
        made
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What clients are to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Makes `<name>.pem` and `<name>.key` for these names of hosts, from `begin` to `end` (`20260101000000Z`).
    pub(crate) fn issue(&self, name: &str, hosts: &[&str], begin: &str, end: &str) {
        let names: Vec<String> = hosts
            .iter()
            .map(|host| match host.parse::<std::net::IpAddr>() {
                Ok(_) => format!("IP:{host}"),
                Err(_) => format!("DNS:{host}"),
            })
            .collect();
        let extension = format!("subjectAltName = {}\n", names.join(","));
        fs::write(self.file("names"), extension).expect("written");
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem \
             -extfile names -startdate {begin} -enddate {end}"
        ));
    }

    /// One that holds for all of the test and longer.
    pub(crate) fn issue_good(&self, name: &str, hosts: &[&str]) {
        self.issue(name, hosts, "20200101000000Z", "20491231235959Z");
    }

    fn openssl(&self, arguments: &str) {
        openssl(arguments, self.0.path());
    }

    /// The `[tls]` table for these pairs.
    pub(crate) fn table(&self, names: &[&str]) -> String {
        let list = |ending: &str| {
            let path = |name: &&str| format!("{:?}", self.file(&format!("{name}.{ending}")));
            names.iter().map(path).collect::<Vec<_>>().join(", ")
        };
        format!("[tls]\ncert = [{}]\nkey = [{}]\n", list("pem"), list("key"))
    }
}

/// Puts one pair in the place of another, as programs that renew certificates do: each file by a rename.
pub(crate) fn replace(authority: &Authority, new: &str, old: &str) {
    for ending in ["key", "pem"] {
        let from: &Path = &authority.file(&format!("{new}.{ending}"));
        let beside = authority.file(&format!("{old}.{ending}.new"));
        fs::copy(from, &beside).expect("copied");
        fs::rename(beside, authority.file(&format!("{old}.{ending}"))).expect("renamed");
    }
}
