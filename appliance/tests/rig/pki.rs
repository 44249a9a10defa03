//! Certificates for tests, made by openssl. The rule: they live in a directory of the test's and nobody else trusts
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn openssl(arguments: &[&str], directory: &Path) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes a certificate authority: a file with its certificate, and one with its key and certificate.
pub(crate) fn authority(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let subject = format!("/CN={name}");
    let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign",
            "-keyout",
            &key,
            "-out",
            &cert,
        ],
        directory,
    );
    let both = directory.join(format!("{name}.both.pem"));
    let text = |file: &str| std::fs::read_to_string(directory.join(file)).expect("made");
    std::fs::write(&both, text(&key) + &text(&cert)).expect("written");
    (directory.join(cert), both)
}

/// Makes `host.crt` and `host.key`, signed by the authority of that name.
pub(crate) fn certificate(directory: &Path, authority: &str, host: &str) {
    let subject = format!("/CN={host}");
    openssl(
        &[
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", "host.key",
            "-out", "host.csr",
        ],
        directory,
    );
    std::fs::write(
        directory.join("host.ext"),
        format!("subjectAltName=DNS:{host}\n"),
    )
    .expect("written");
    let (cert, key) = (format!("{authority}.pem"), format!("{authority}.key"));
    openssl(
        &[
            "x509",
            "-req",
            "-in",
            "host.csr",
            "-CA",
            &cert,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "host.ext",
            "-out",
            "host.crt",
        ],
        directory,
    );
}
