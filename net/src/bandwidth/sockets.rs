//! The sockets on which a background comes that yields. The rule: what the kernel has seen of each is told to the rules,
//! and the window that they answer is the most that its sender may have on its way; a connection on which somebody comes
//! to wait is let go at once.
//!
//! It is looked at them when bytes come, every few milliseconds at most, so that nothing runs where nothing comes. The
//! kernel raises the bound by itself when it gives a socket more memory, so that it is set again each time.

use crate::sock;
use larder_proto::bandwidth::{Governor, Sample};
use larder_proto::time::Time;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What nobody has received so long from has no part of the window.
const IDLE: Duration = Duration::from_secs(1);

/// The kernel's mean round trip is not believed before so many bytes of an answer: until then the time that a server took
/// to think is in it.
const THINKING_BYTES: u64 = 24 << 10;

/// Segments larger than those of any line, jumbo frames and all, are loopback's. There the kernel may offer no window at all
/// where a bound is near one of them, and there is nobody to yield to.
const SEGMENT_MAX: u32 = 16 << 10;

/// So many segments may be on their way on each connection at least: a sender that may not send a whole one waits for a
/// timer, and a receiver may wait for a second one before it answers.
const SEGMENTS_MIN: u64 = 2;

/// No bound: more than any socket has memory for.
const UNBOUND: u32 = 1 << 30;

/// A descriptor of a connection, beside that of whoever reads it. It is held by who holds the connection, and by nobody
/// else, so that both are closed together.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    path: u64,
    bound: AtomicBool,
}

impl Socket {
    /// None where there is no descriptor to be had, or nobody at the other end: such a connection does not yield.
    pub(crate) fn of(stream: &TcpStream) -> Option<Arc<Self>> {
        let mut hasher = DefaultHasher::new();
        stream.peer_addr().ok()?.ip().hash(&mut hasher);
        Some(Arc::new(Self {
            fd: stream.as_fd().try_clone_to_owned().ok()?,
            path: hasher.finish(),
            bound: AtomicBool::new(false),
        }))
    }

    fn bind(&self, window: u64) {
        let window = u32::try_from(window).unwrap_or(UNBOUND).min(UNBOUND);
        let bound = sock::set_receive_window_max(self.fd.as_raw_fd(), window);
        if let Err(error) = bound {
            tracing::debug!("a window can not be bound: {error}");
        }
        self.bound.store(true, Ordering::Relaxed);
    }

    /// Its sender may send as much as the kernel has room for.
    pub(super) fn let_go(&self) {
        if self.bound.swap(false, Ordering::Relaxed) {
            let _ = sock::set_receive_window_max(self.fd.as_raw_fd(), UNBOUND);
        }
    }
}

/// Those of the background.
pub(super) struct Sockets {
    of: HashMap<u64, Watched>,
    look_at: Time,
    /// [`SEGMENT_MAX`]; a test, which has loopback alone, allows more.
    segment_max: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            look_at: Time::default(),
            segment_max: SEGMENT_MAX,
        }
    }
}

struct Watched {
    socket: Weak<Socket>,
    /// Bytes and stray segments that it had received when it was looked at last.
    received: u64,
    out_of_order: u32,
    believed_from: u64,
    window_min: u64,
    active_until: Time,
}

impl Sockets {
    /// An answer begins to come on a socket.
    pub(super) fn add(
        &mut self,
        no: u64,
        socket: &Arc<Socket>,
        governor: &mut Governor,
        now: Time,
    ) {
        let seen = match sock::tcp_seen(socket.fd.as_raw_fd()) {
            Ok(seen) if seen.segment <= self.segment_max => seen,
            _ => return,
        };
        let watched = Watched {
            window_min: SEGMENTS_MIN * u64::from(seen.segment),
            socket: Arc::downgrade(socket),
            received: seen.received,
            out_of_order: seen.out_of_order,
            believed_from: seen.received + THINKING_BYTES,
            active_until: now + IDLE,
        };
        self.of.insert(no, watched);
        self.bind(governor, now);
    }

    pub(super) fn remove(&mut self, no: u64) {
        self.of.remove(&no);
    }

    /// Bytes came for somebody who waits.
    pub(super) fn make_way(&mut self, governor: &Governor, now: Time) {
        if now >= self.look_at && !self.of.is_empty() {
            self.look_at = now + LOOK_EVERY;
            self.bind(governor, now);
        }
    }

    /// Bytes came of the background.
    pub(super) fn look(&mut self, governor: &mut Governor, now: Time) {
        if now < self.look_at || self.of.is_empty() {
            return;
        }
        self.look_at = now + LOOK_EVERY;
        let mut samples = Vec::with_capacity(self.of.len());
        self.of.retain(|_, watched| {
            let Some(socket) = watched.socket.upgrade() else {
                return false;
            };
            let Ok(seen) = sock::tcp_seen(socket.fd.as_raw_fd()) else {
                return false;
            };
            let bytes = seen.received.saturating_sub(watched.received);
            if bytes > 0 {
                watched.active_until = now + IDLE;
            }
            let believed = seen.received >= watched.believed_from;
            samples.push(Sample {
                path: socket.path,
                // Zero says nothing.
                round_trip: if believed {
                    seen.round_trip
                } else {
                    Duration::ZERO
                },
                bytes,
                lost: seen.out_of_order != watched.out_of_order,
            });
            (watched.received, watched.out_of_order) = (seen.received, seen.out_of_order);
            true
        });
        governor.sampled(&samples, now);
        self.bind(governor, now);
    }

    /// Has the present windows hold.
    pub(super) fn bind(&self, governor: &Governor, now: Time) {
        let active = |watched: &&Watched| now < watched.active_until;
        let connections = self.of.values().filter(active).count();
        let window = governor.window(connections);
        for watched in self.of.values() {
            let Some(socket) = watched.socket.upgrade() else {
                continue;
            };
            match window {
                Some(window) => socket.bind(window.max(watched.window_min)),
                None => socket.let_go(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
