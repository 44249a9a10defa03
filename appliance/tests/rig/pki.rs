//! Certificates for the proxy's tests, in files as Squid and nginx take them. The rule: they live in a directory of the
//! test's and nobody else trusts them.

use super::certificates::openssl;
use std::path::{Path, PathBuf};

/// Makes a certificate authority: a file with its certificate, and one with its key and certificate.
pub(crate) fn authority(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
    openssl(
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign -keyout {key} -out {cert}"
        ),
        directory,
    );
    let both = directory.join(format!("{name}.both.pem"));
    let text = |file: &str| std::fs::read_to_string(directory.join(file)).expect("made");
    std::fs::write(&both, text(&key) + &text(&cert)).expect("written");
    (directory.join(cert), both)
}

/// Makes `host.crt` and `host.key`, signed by the authority of that name.
pub(crate) fn certificate(directory: &Path, authority: &str, host: &str) {
    openssl(
        &format!("req -newkey rsa:2048 -nodes -subj /CN={host} -keyout host.key -out host.csr"),
        directory,
    );
    std::fs::write(
        directory.join("host.ext"),
        format!("subjectAltName=DNS:{host}\n"),
    )
    .expect("written");
    openssl(
        &format!(
            "x509 -req -in host.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 \
             -extfile host.ext -out host.crt"
        ),
        directory,
    );
}
