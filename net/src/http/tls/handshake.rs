//! The beginning of a connection by TLS. The rule: who takes too long, or is one too many, is cut; nobody who has not
//! finished it can hold up another.

use super::figures::{Figures, Outcome};
use super::stream::{Counted, KEPT_BYTES_MAX};
use larder_proto::tls::first::{PLAIN_HTTP_REFUSED, Spoken, spoken};
use parking_lot::Mutex;
use rustls::{HandshakeKind, ServerConfig};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes under way at once, on each thread. A whole office that arrives at the same moment is within it.
const UNDER_WAY_MAX: usize = 1024;

/// How long one who spoke plain HTTP may take to read that it was wrong.
const LINGER: Duration = Duration::from_secs(2);

/// Those who have not finished their handshake, the longest first.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By the order in which they came; who is dropped from here is cut.
    cut: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl UnderWay {
    /// Takes one more in. Where there are too many, the one that takes the longest is cut for it.
    fn enter(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (cut, when_cut) = oneshot::channel();
        let mut waiting = self.0.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.cut.insert(number, cut);
        if waiting.cut.len() > UNDER_WAY_MAX {
            waiting.cut.pop_first();
        }
        (Place(self, number), when_cut)
    }
}

/// One of those under way, until this is dropped.
struct Place<'u>(&'u UnderWay, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.lock().cut.remove(&self.1);
    }
}

/// Makes of a socket a connection by TLS. Where it does not come to that: whether the client had begun to speak, which one
/// that only looks whether the port is open has not.
pub(super) async fn shake(
    socket: TcpStream,
    config: &Arc<ServerConfig>,
    under_way: &UnderWay,
    limit: Duration,
    figures: &Figures,
) -> Result<TlsStream<Counted>, bool> {
    let began = Instant::now();
    let (place, when_cut) = under_way.enter();
    let mut has_spoken = false;
    let outcome = tokio::select! {
        done = timeout(limit, begin(socket, config, &mut has_spoken)) => done.unwrap_or(Err(Outcome::Late)),
        _ = when_cut => Err(Outcome::CutForAnother),
    };
    drop(place);
    match outcome {
        Ok(stream) => {
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            figures.ended(if resumed {
                Outcome::Resumed
            } else {
                Outcome::Full
            });
            figures.seconds.record(began.elapsed().as_secs_f64());
            Ok(stream)
        }
        Err(outcome) => {
            figures.ended(outcome);
            Err(has_spoken)
        }
    }
}

async fn begin(
    mut socket: TcpStream,
    config: &Arc<ServerConfig>,
    has_spoken: &mut bool,
) -> Result<TlsStream<Counted>, Outcome> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(Outcome::Left),
        Ok(_) => *has_spoken = true,
    }
    match spoken(first[0]) {
        Spoken::Tls => {}
        Spoken::Http => {
            // Whoever does not read it has left.
            let _ = timeout(LINGER, refuse(&mut socket)).await;
            return Err(Outcome::PlainHttp);
        }
        Spoken::Other => return Err(Outcome::Failed),
    }
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    let shaken = acceptor.accept_with(Counted::new(socket), |session| {
        session.set_buffer_limit(Some(KEPT_BYTES_MAX));
    });
    shaken.await.map_err(|error| {
        tracing::debug!("a handshake failed: {error}");
        match error.kind() {
            io::ErrorKind::InvalidData => Outcome::Failed,
            _ => Outcome::Left,
        }
    })
}

async fn refuse(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(PLAIN_HTTP_REFUSED).await?;
    socket.shutdown().await?;
    // Closing with its request unread would take the answer from it.
    let mut rest = [0; 4096];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}
