//! Certificates from the request to the renewal. The rule: an authority that knows nothing of larder signs what larder
//! asks for, and nobody has to tell larder of a new one.

use crate::rig::certificates::Authority;
use crate::rig::larder::{Larder, Setup};
use crate::rig::secure::{Client, shown};
use crate::rig::{eventually, have};
use crate::root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const NAME: &str = "larder.example.org";

fn openssl(arguments: &str, directory: &Path) -> String {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        text(&output.stderr)
    );
    text(&output.stdout) + &text(&output.stderr)
}

fn csr(directory: &Path, names: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .arg("csr")
        .args(names)
        .args(["--key", "key.pem", "--output", "request.csr"])
        .current_dir(directory)
        .output()
        .expect("larder runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Has the request signed for so many days.
fn sign(authority: &Authority, directory: &Path, days: u32) {
    let (ca, key) = (authority.file("ca.pem"), authority.file("ca.key"));
    openssl(
        &format!(
            "x509 -req -in request.csr -CA {} -CAkey {} -out fullchain.pem -days {days} -copy_extensions copy",
            ca.display(),
            key.display()
        ),
        directory,
    );
}

#[test]
fn a_request_is_signed_served_and_renewed_without_a_word_to_larder() {
    if !have(&["openssl", "getent"]) {
        return;
    }
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a directory");
    let at = folder.path();
    let (code, said) = csr(at, &[NAME, "*.cache.example.org", "10.0.0.5", "fd00::5"]);
    assert_eq!(code, Some(0), "{said}");
    let mode = fs::metadata(at.join("key.pem"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let request = openssl("req -in request.csr -verify -noout -text", at);
    for wanted in [
        "verify OK",
        "Subject: CN = larder.example.org",
        "DNS:larder.example.org, DNS:*.cache.example.org, IP Address:10.0.0.5, IP Address:FD00:0:0:0:0:0:0:5",
        "NIST CURVE: P-256",
    ] {
        assert!(request.contains(wanted), "{wanted} in {request}");
    }
    // A second one is by the same key.
    let key = fs::read(at.join("key.pem")).expect("a key");
    assert_eq!(csr(at, &[NAME]).0, Some(0));
    assert_eq!(fs::read(at.join("key.pem")).expect("a key"), key);
    let (code, said) = csr(at, &["no name"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("\"no name\" is no name of a host"), "{said}");

    sign(&authority, at, 20);
    let (cert, key) = (at.join("cert.pem"), at.join("key.pem"));
    fs::copy(at.join("fullchain.pem"), &cert).expect("copied");
    let larder = Larder::start(&Setup {
        tls: format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n"),
        ..Setup::default()
    });
    let client = Client::new(&authority);
    let first = shown(&client.connect(larder.https(), NAME).expect("a handshake"));

    // Renewed with a key of its own, as certbot does.
    let renewed = tempfile::tempdir().expect("a directory");
    assert_eq!(csr(renewed.path(), &[NAME]).0, Some(0));
    sign(&authority, renewed.path(), 90);
    fs::rename(
        renewed.path().join("key.pem"),
        renewed.path().join("privkey.pem"),
    )
    .expect("moved");
    let hook = Command::new(root().join("deploy/renewal-hook"))
        .env("RENEWED_LINEAGE", renewed.path())
        .env("LARDER_TLS_DIRECTORY", at)
        .status();
    assert!(hook.expect("it runs").success());
    eventually("the new one is shown", || {
        // One that has been here would go on with its session, and so with the certificate of then.
        let client = Client::new(&authority);
        let now = shown(&client.connect(larder.https(), NAME).expect("a handshake"));
        (now != first).then_some(())
    });
    let days = larder.metric("larder_tls_certificate_not_after_seconds", NAME);
    let date = Command::new("date").arg("+%s").output().expect("date runs");
    let now: f64 = String::from_utf8_lossy(&date.stdout)
        .trim()
        .parse()
        .expect("a number");
    assert!((days - now) / 86_400.0 > 80.0, "{days}");
}
