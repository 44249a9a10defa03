//! A client's connection by TLS, as the service sees it. The rule: what is kept of an answer between two writes is a
//! few encrypted records, however much there is to send and however slowly the client reads.

use crate::http::client_io::ClientIo;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What is encrypted in one go, and then sent in one go: four records of the largest size.
pub(super) const BATCH_BYTES: u32 = 64 << 10;

/// What may be kept back: a batch, and the head in front of it.
pub(super) const KEPT_BYTES_MAX: usize = (BATCH_BYTES as usize) + (16 << 10);

/// A socket that counts what it takes.
#[derive(Debug)]
pub(super) struct Counted {
    socket: TcpStream,
    taken: u64,
}

impl Counted {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, taken: 0 }
    }

    fn count(&mut self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(taken)) = &done {
            self.taken += *taken as u64;
        }
        done
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.count(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.count(done)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl ClientIo for TlsStream<Counted> {
    fn taken(&self) -> u64 {
        self.get_ref().0.taken
    }

    fn from(&self) -> Option<IpAddr> {
        self.get_ref().0.socket.from()
    }

    fn takes_at_once(&self) -> Option<u32> {
        Some(BATCH_BYTES)
    }
}
