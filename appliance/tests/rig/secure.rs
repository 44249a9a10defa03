//! A plain client by TLS. The rule: it trusts the test's authority and nobody else, and asks for the name it is told.

use super::certificates::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// No answer of a test takes as long between two bytes.
const STALL: Duration = Duration::from_secs(40);

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What clients of one kind have together, tickets among it.
#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    pub(crate) fn new(authority: &Authority) -> Self {
        Self::of(authority, rustls::DEFAULT_VERSIONS, &[])
    }

    /// One that speaks these versions, and names these protocols.
    pub(crate) fn of(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(authority.ca()).expect("an authority");
        roots.add(ca).expect("one that can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// A connection whose handshake is over.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> io::Result<BufReader<Stream>> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(STALL))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(BufReader::with_capacity(64 << 10, stream))
    }
}

/// The certificate that the other side has shown, as it was sent.
pub(crate) fn shown(stream: &BufReader<Stream>) -> Vec<u8> {
    let chain = stream.get_ref().conn.peer_certificates();
    chain.expect("a certificate")[0].to_vec()
}
