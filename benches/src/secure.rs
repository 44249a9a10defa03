//! TLS on both ends of a comparison. The rule: every server has the same certificate, and the client leaves no choice of
//! the cipher.

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cipher of all measurements.
pub const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// The name in the certificate.
pub(crate) const NAME: &str = "larder.example";

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// PEM; signed by itself.
    pub cert: PathBuf,
    /// PEM; ECDSA on P-256.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one, by openssl.
    ///
    /// # Errors
    /// openssl is not there, or fails in its own words.
    pub fn make(directory: &Path) -> Result<Self> {
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        let (cert_text, key_text) = (cert.display().to_string(), key.display().to_string());
        let names = format!("subjectAltName=DNS:{NAME}");
        let what =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=larder";
        let mut arguments: Vec<&str> = what.split(' ').collect();
        // As a leaf, which is no authority: else the client does not take it for a server.
        arguments.extend([
            "-addext",
            &names,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        arguments.extend(["-keyout", &key_text, "-out", &cert_text]);
        crate::place::run("openssl", &arguments)?;
        Ok(Self { cert, key })
    }
}

/// A client that trusts this certificate and speaks [`CIPHER`] alone.
///
/// # Errors
/// The file holds no certificate.
pub fn client(cert: &Path) -> Result<Arc<ClientConfig>> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut roots = RootCertStore::empty();
    let cert = CertificateDer::from_pem_file(cert).context("no certificate")?;
    roots.add(cert)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
