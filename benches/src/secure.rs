//! TLS on both ends of a comparison. The rule: every server has the same certificate, and the client leaves no choice of
//! the cipher.

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The cipher of all measurements.
pub const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// The name in the certificate.
const NAME: &str = "larder.example";

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

/// A connection to a server, with TLS or without.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>, Vec<u8>),
}

impl Stream {
    pub(crate) async fn over(
        socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let Some(config) = tls else {
            return Ok(Self::Plain(socket));
        };
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, socket).await?;
        Ok(Self::Tls(Box::new(stream), vec![0; 64 << 10]))
    }

    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into).await,
            Self::Tls(stream, _) => stream.read(into).await,
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).await,
            Self::Tls(stream, _) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Receives up to so many bytes and forgets them, inside the kernel where that can be.
    pub(crate) async fn forget(&mut self, len: usize) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => {
                let forget = || larder_net::sock::discard(socket.as_raw_fd(), len);
                socket.async_io(Interest::READABLE, forget).await
            }
            Self::Tls(stream, waste) => {
                let room = len.min(waste.len());
                stream.read(&mut waste[..room]).await
            }
        }
    }
}
