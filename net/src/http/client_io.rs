//! What the hyper service reads requests from and writes answers to. The rule: it is a stream of bytes and nothing
//! more, so that whatever is said to a client by HTTP is said the same way by HTTPS.

use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// One end of a client's connection: a socket, or what TLS makes of one.
pub(crate) trait ClientIo: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Bytes that the socket has taken so far, where it keeps some back that were written; else it need not count.
    fn taken(&self) -> u64 {
        0
    }

    /// From where it has come; None where the kernel does not know any more.
    fn from(&self) -> Option<IpAddr>;

    /// How many bytes one write takes at once, whether the client reads or not, if all before were flushed. None: it
    /// takes no more than the socket does.
    fn takes_at_once(&self) -> Option<u32> {
        None
    }
}

impl ClientIo for tokio::net::TcpStream {
    fn from(&self) -> Option<IpAddr> {
        let address = self.peer_addr().ok()?;
        Some(address.ip().to_canonical())
    }
}

/// Waits until nothing is kept back; fails where the client takes nothing for as long as `stall`.
pub(crate) async fn flush(socket: &mut dyn ClientIo, stall: Duration) -> io::Result<()> {
    loop {
        let taken = socket.taken();
        match timeout(stall, socket.flush()).await {
            Ok(flushed) => return flushed,
            // It is slow, not gone.
            Err(_) if socket.taken() > taken => {}
            Err(stalled) => return Err(stalled.into()),
        }
    }
}
