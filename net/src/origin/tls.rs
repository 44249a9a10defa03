//! TLS towards origins. The rule: a certificate is checked against the system's authorities and those that the
//! administrator adds, always; there is no way to turn that off.

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The client configuration in force, made again when the file of authorities changes.
#[derive(Default)]
pub(crate) struct Roots(Mutex<Option<Loaded>>);

struct Loaded {
    ca_file: Option<PathBuf>,
    modified: Option<SystemTime>,
    config: Arc<ClientConfig>,
}

impl Roots {
    /// The configuration that trusts the system's authorities and those in `ca_file`.
    ///
    /// # Errors
    /// In words: the file can not be read, or there is no authority at all.
    pub(crate) fn config(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let modified = ca_file
            .and_then(|p| std::fs::metadata(p).ok())
            .and_then(|m| m.modified().ok());
        let mut loaded = self.0.lock();
        if let Some(l) = loaded.as_ref()
            && l.ca_file.as_deref() == ca_file
            && l.modified == modified
        {
            return Ok(Arc::clone(&l.config));
        }
        let config = Arc::new(load(ca_file)?);
        let ca_file = ca_file.map(Path::to_owned);
        *loaded = Some(Loaded {
            ca_file,
            modified,
            config: Arc::clone(&config),
        });
        Ok(config)
    }
}

fn load(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!("loading the system's certificate authorities: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        let certs =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certs =
            certs.map_err(|e| format!("reading [origins] ca_file {}: {e}", path.display()))?;
        for cert in certs {
            roots
                .add(cert)
                .map_err(|e| format!("[origins] ca_file {}: {e}", path.display()))?;
        }
    }
    if roots.is_empty() {
        return Err(
            "no certificate authority is known; install ca-certificates or set [origins] ca_file"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_of_authorities_is_named() {
        let error = Roots::default()
            .config(Some(Path::new("/nonexistent/ca.pem")))
            .expect_err("no such file");
        assert!(error.contains("ca_file /nonexistent/ca.pem"), "{error}");
    }
}
