//! A line to the origin that has a speed and a length: a forwarder that lets bytes through at a rate and holds them
//! for a time. The rule: all connections share the rate of each direction, first come, first served, as on a wire.
//!
//! It stands in where the kernel has no netem. What it does not do: it loses nothing, and a new connection has no
//! slow start; but opening one costs a round trip, like a handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What one read takes at most: at 10 Mbit/s 13 ms of the line.
const CHUNK_BYTES: usize = 16 << 10;

/// What is queued in front of the line at most, in time; a reader that is further ahead waits.
const QUEUE: Duration = Duration::from_millis(50);

/// A line between whoever connects and one address; it is cut when it is dropped.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// When the wire of one direction is free again.
#[derive(Debug)]
struct Wire {
    bits_per_second: f64,
    delay: Duration,
    free_at: Mutex<Option<Instant>>,
}

impl Wire {
    /// Puts bytes on the wire: when its last bit has left, and when it arrives.
    fn send(&self, bytes: usize, now: Instant) -> (Instant, Instant) {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second);
        let left = free_at.map_or(now, |at| at.max(now)) + takes;
        *free_at = Some(left);
        (left, left + self.delay)
    }
}

impl Line {
    /// Lays a line to `to` with this speed in each direction and this round-trip time, on the present runtime.
    ///
    /// # Errors
    /// There is no port to be had.
    pub async fn lay(
        to: SocketAddr,
        mbit_per_second: f64,
        round_trip: Duration,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let wire = || {
            Arc::new(Wire {
                bits_per_second: mbit_per_second * 1e6,
                delay: round_trip / 2,
                free_at: Mutex::default(),
            })
        };
        let (there, back) = (wire(), wire());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(near, to, Arc::clone(&there), Arc::clone(&back)));
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(near: TcpStream, to: SocketAddr, there: Arc<Wire>, back: Arc<Wire>) {
    // The handshake's round trip, which the near end believes to have had already.
    sleep_until(Instant::now() + there.delay + back.delay).await;
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        direction(near_read, far_write, there),
        direction(far_read, near_write, back)
    );
}

/// Carries one direction of a connection until either end is gone.
async fn direction(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: Arc<Wire>) {
    let (put, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            match from.read(&mut chunk).await {
                Ok(n) if n > 0 => chunk.truncate(n),
                _ => break,
            }
            let now = Instant::now();
            let (left, arrives) = wire.send(chunk.len(), now);
            if put.send((arrives, chunk)).is_err() {
                break;
            }
            if let Some(ahead) = (left - now).checked_sub(QUEUE) {
                sleep_until(now + ahead).await;
            }
        }
        drop(put);
    };
    let writing = async {
        while let Some((arrives, chunk)) = arriving.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_takes_one_after_the_other() {
        let wire = Wire {
            bits_per_second: 8e6,
            delay: Duration::from_millis(30),
            free_at: Mutex::default(),
        };
        let now = Instant::now();
        let ms = |n| now + Duration::from_millis(n);
        assert_eq!(wire.send(1000, now), (ms(1), ms(31)));
        assert_eq!(wire.send(2000, now), (ms(3), ms(33)));
        assert_eq!(wire.send(1000, ms(50)), (ms(51), ms(81)));
    }

    #[test]
    fn bytes_arrive_as_they_were_sent() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let to = listener.local_addr().expect("an address");
            let echo = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("everything");
                stream.write_all(&all).await.expect("sent back");
            });
            let line = Line::lay(to, 1000.0, Duration::from_millis(2))
                .await
                .expect("a line");
            let mut near = TcpStream::connect(line.address()).await.expect("connected");
            let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
            near.write_all(&sent).await.expect("sent");
            near.shutdown().await.expect("no more");
            let mut back = Vec::new();
            near.read_to_end(&mut back).await.expect("everything");
            assert!(back == sent);
            echo.await.expect("the echo ended");
        });
    }
}
