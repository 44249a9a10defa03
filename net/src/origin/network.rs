//! The names and sockets that the origin client uses, so that a test can see each address that is tried. The rule: the
//! client resolves and connects by this and by nothing else.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::net::TcpStream;

/// What a [`Network`] is doing.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// Resolves names and opens connections.
pub trait Network: std::fmt::Debug + Send + Sync + 'static {
    /// The addresses of a name, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Doing<'a, Vec<SocketAddr>>;

    /// Opens a connection.
    fn connect(&self, to: SocketAddr) -> Doing<'_, TcpStream>;
}

/// The machine's own resolver and sockets.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemNetwork;

impl Network for SystemNetwork {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Doing<'a, Vec<SocketAddr>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, port)).await?;
            Ok(found.collect())
        })
    }

    fn connect(&self, to: SocketAddr) -> Doing<'_, TcpStream> {
        Box::pin(TcpStream::connect(to))
    }
}
