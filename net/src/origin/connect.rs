//! Opens one connection to an origin. The rule: whatever the network does, it ends within the connect timeout.

use super::error::OriginError;
use super::guard::{self, Target};
use super::tls::Roots;
use larder_proto::http::route::Authority;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
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

/// Opens a connection to `origin`, wherever `target` says that is.
///
/// # Errors
/// The address is refused, nobody accepts, the handshake fails, or all that takes longer than `timeout`.
pub(super) async fn connect(
    origin: &Authority,
    target: &Target,
    roots: &Roots,
    ca_file: Option<&Path>,
    timeout: Duration,
) -> Result<Stream, OriginError> {
    let all = async {
        let addresses = guard::addresses(origin, target, timeout).await?;
        let tcp = race(addresses).await;
        let tcp = tcp.map_err(|e| OriginError::Connect {
            origin: origin.to_string(),
            cause: e.to_string(),
        })?;
        // Request heads are small and must not wait for the acknowledgement of what went before.
        tcp.set_nodelay(true).map_err(|e| OriginError::Connect {
            origin: origin.to_string(),
            cause: e.to_string(),
        })?;
        if !origin.https {
            return Ok(Stream::Plain(tcp));
        }
        let tls = |cause: String| OriginError::Tls {
            origin: origin.to_string(),
            cause,
        };
        let config = roots.config(ca_file).map_err(tls)?;
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
            Err(OriginError::Timeout {
                origin: origin.to_string(),
                doing: "to accept a connection",
                limit_ms,
            })
        }
    }
}

/// Tries the addresses in order, the next one beside the last if that one is slow; the first to accept wins.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    let mut left = addresses.into_iter();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    loop {
        let next = left.next();
        let more = next.is_some();
        if let Some(address) = next {
            tries.spawn(async move {
                TcpStream::connect(address)
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
