//! Clients by https, against the program as it runs. The rule: nobody's certificate, handshake or patience is another
//! client's concern.

mod answers;
mod certificates;
mod handshakes;
#[path = "../rig/mod.rs"]
mod rig;

use rig::certificates::Authority;
use rig::fetch::Get;
use rig::larder::{Larder, Setup};
use rig::nginx::Nginx;
use std::process::{Command, Stdio};

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const NAME: &str = "larder.example";

/// A larder that serves https with one certificate, and its origin.
pub(crate) fn secure_house(driver: &'static str) -> (Authority, Nginx, Larder) {
    let authority = Authority::new();
    authority.issue_good("first", &[NAME]);
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        default_origin: true,
        driver,
        tls: authority.table(&["first"]),
        ..Setup::default()
    });
    (authority, nginx, larder)
}

/// A request to the port for https.
pub(crate) fn get(larder: &Larder, path: &str) -> Get {
    Get::new(larder.https(), path)
}

/// What openssl's client says of a connection.
pub(crate) fn s_client(larder: &Larder, authority: &Authority, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &larder.https().to_string(),
            "-CAfile",
        ])
        .arg(authority.ca())
        .args(["-servername", NAME])
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
