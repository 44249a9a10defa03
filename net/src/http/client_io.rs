//! What the hyper service reads requests from and writes answers to. The rule: it is a stream of bytes and nothing
//! more, so that whatever is said to a client by HTTP is said the same way by HTTPS.

use tokio::io::{AsyncRead, AsyncWrite};

/// One end of a client's connection: a socket, or what TLS makes of one.
pub(crate) trait ClientIo: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl ClientIo for tokio::net::TcpStream {}
