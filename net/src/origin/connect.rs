//! Opens one connection to an origin. The rule: whatever the network does, it ends within the connect timeout.

use super::error::OriginError;
use super::guard::{self, Target};
use super::network::Network;
use super::pool::Place;
use super::proxy::{self, Knowledge};
use super::tls::Roots;
use crate::settings::Settings;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one address has before the next is tried beside it (RFC 8305 section 5 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// A connection to an origin, plain or encrypted.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What a connection is opened with.
pub(super) struct Means<'a> {
    pub(super) settings: &'a Settings,
    pub(super) network: &'a Arc<dyn Network>,
    pub(super) roots: &'a Roots,
    pub(super) knowledge: &'a Knowledge,
}

/// Opens a connection to an origin, or to the proxy that asks it.
///
/// # Errors
/// The address is refused, nobody accepts, the proxy opens no tunnel, the handshake fails, or all that takes longer
/// than the connect timeout.
pub(super) async fn connect(place: &Place, means: &Means<'_>) -> Result<Stream, OriginError> {
    let timeout = Duration::from_millis(means.settings.connect_timeout_ms);
    let origin = &place.origin;
    let proxy = match (&place.target, &means.settings.proxy) {
        (Target::Proxy(_), Some(proxy)) => Some(proxy),
        _ => None,
    };
    let all = async {
        let mut tcp =
            open(place, means.network, timeout)
                .await
                .map_err(|e| match (&place.target, e) {
                    (
                        Target::Proxy(to),
                        OriginError::Connect { cause, .. } | OriginError::Resolve { cause, .. },
                    ) => OriginError::Proxy {
                        proxy: to.clone(),
                        origin: origin.to_string(),
                        cause: format!("it can not be reached: {cause}"),
                    },
                    (_, e) => e,
                })?;
        if !origin.https {
            return Ok(Stream::Plain(tcp));
        }
        if let Some(proxy) = proxy {
            proxy::tunnel(&mut tcp, means.knowledge, proxy, origin).await?;
        }
        let tls = |cause: String| OriginError::Tls {
            origin: origin.to_string(),
            cause: match (proxy, cause.contains("UnknownIssuer")) {
                (Some(proxy), true) => format!(
                    "{cause}; if the proxy {} looks into TLS, name its certificate authority by [origins] ca_file",
                    proxy.rules.authority()
                ),
                _ => cause,
            },
        };
        let ca_file = means.settings.ca_file.as_deref();
        let config = means.roots.config(ca_file).map_err(tls)?;
        let name = ServerName::try_from(guard::bare(&origin.host).to_owned())
            .map_err(|e| tls(e.to_string()))?;
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|e| tls(e.to_string()))?;
        Ok(Stream::Tls(Box::new(stream)))
    };
    match tokio::time::timeout(timeout, all).await {
        Ok(done) => done,
        Err(_) => {
            let limit_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Err(match proxy {
                Some(proxy) => OriginError::by_proxy(
                    proxy,
                    origin,
                    format!("it opened no way there within {limit_ms} ms"),
                ),
                None => OriginError::Timeout {
                    origin: origin.to_string(),
                    doing: "to accept a connection",
                    limit_ms,
                },
            })
        }
    }
}

async fn open(
    place: &Place,
    network: &Arc<dyn Network>,
    timeout: Duration,
) -> Result<TcpStream, OriginError> {
    let addresses =
        guard::addresses(&place.origin, &place.target, network.as_ref(), timeout).await?;
    let failed = |e: io::Error| OriginError::Connect {
        origin: place.origin.to_string(),
        cause: e.to_string(),
    };
    let tcp = race(addresses, network).await.map_err(failed)?;
    // Request heads are small and must not wait for the acknowledgement of what went before.
    tcp.set_nodelay(true).map_err(failed)?;
    Ok(tcp)
}

/// Tries the addresses in order, the next one beside the last if that one is slow; the first to accept wins.
async fn race(addresses: Vec<SocketAddr>, network: &Arc<dyn Network>) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    let mut left = addresses.into_iter();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    loop {
        let next = left.next();
        let more = next.is_some();
        if let Some(address) = next {
            let network = Arc::clone(network);
            tries.spawn(async move {
                network
                    .connect(address)
                    .await
                    .map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
            });
        }
        let ended = if more {
            tokio::time::timeout(NEXT_ADDRESS_AFTER, tries.join_next())
                .await
                .ok()
                .flatten()
        } else {
            match tries.join_next().await {
                None => return Err(last),
                ended => ended,
            }
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(lost)) => last = io::Error::other(lost),
            None => {}
        }
    }
}

impl Stream {
    /// The connection below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
