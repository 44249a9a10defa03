//! What a shard thread asks of the kernel, whichever way it is asked: one trait, two drivers (the ring, and epoll
//! where io_uring is refused). The rule: an operation's buffer belongs to the driver from the call until its event.
//!
//! Sends are not here: a socket is written by the shard itself, without blocking, by `send(2)` from a frame and
//! `sendfile(2)` from the memory tier, since that was measured cheapest; the driver only says when there is room.

use crate::buf::IoBuf;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// Names one user of a driver, usually one connection: a slot index with a generation, so that a late event of a
/// closed connection finds nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What happened since the last wait.
#[derive(Debug)]
pub enum Event {
    /// A listener accepted a connection (non-blocking, close-on-exec).
    Accepted {
        /// The number given to `listen`.
        listener: u32,
        /// The connection.
        fd: OwnedFd,
    },
    /// A listener could not accept, by EMFILE for example. The driver has stopped it: call `listen` again.
    AcceptFailed {
        /// The number given to `listen`.
        listener: u32,
        /// Why.
        error: io::Error,
    },
    /// Bytes arrived: copy them out with [`Driver::take`]. `len` 0 is the end of the stream.
    Received {
        /// Who asked.
        token: Token,
        /// Where the bytes are until taken.
        at: RecvAt,
        /// How many.
        len: usize,
    },
    /// A receive failed.
    RecvFailed {
        /// Who asked.
        token: Token,
        /// Why.
        error: io::Error,
    },
    /// The socket has room again (or is broken: the next send tells).
    Writable {
        /// Who asked.
        token: Token,
    },
    /// Everything that was under way for the token's socket is over: its descriptor may go elsewhere.
    Cancelled {
        /// Who asked.
        token: Token,
    },
    /// A disk read ended; the buffer comes home. Fewer bytes than asked for are an error already.
    Read {
        /// Who asked.
        token: Token,
        /// The buffer that was lent.
        buf: IoBuf,
        /// Whether it holds what was asked for.
        result: io::Result<()>,
    },
    /// Another thread called [`Wake::wake`].
    Woken,
}

/// Where a driver holds received bytes until they are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvAt(pub u32);

/// Which driver it is, as metrics and `doctor` name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverKind {
    /// io_uring.
    Ring,
    /// epoll with a pool of reading threads.
    Epoll,
}

/// Wakes a shard thread out of its wait, from any thread.
pub trait Wake: Send + Sync {
    /// Makes the driver's next or current wait return with [`Event::Woken`].
    fn wake(&self);
}

/// What a shard thread asks of the kernel. One instance a thread; it never leaves it.
pub trait Driver {
    /// Which one this is.
    fn kind(&self) -> DriverKind;

    /// Accepts on `fd` until `unlisten`, naming its events `listener`. The driver may make `fd` non-blocking.
    fn listen(&mut self, listener: u32, fd: RawFd);

    /// Stops accepting. Connections that were accepted already may still be reported, as long as [`Self::accepting`].
    fn unlisten(&mut self, listener: u32);

    /// Whether connections may still be reported: whoever ends before that is over takes them from their clients.
    fn accepting(&self) -> bool;

    /// Receives once: one `Received` or `RecvFailed` follows. At most one receive a token is under way.
    fn recv(&mut self, token: Token, fd: RawFd);

    /// Copies what a `Received` event brought to the end of `out`, and gives the driver its buffer back. Must be
    /// called once for each `Received` with `len` > 0 before the next `wait`.
    fn take(&mut self, at: RecvAt, len: usize, out: &mut Vec<u8>);

    /// Says once when the socket has room: one `Writable` follows. At most one a token is under way.
    fn writable(&mut self, token: Token, fd: RawFd);

    /// Ends what is under way for the token on this socket (receive and writable; not disk reads). Late events are
    /// still reported, then `Cancelled`, also where nothing was under way. The descriptor must stay open until then,
    /// and nothing may be asked for the token meanwhile. A descriptor that goes elsewhere is cancelled first; one with
    /// nothing under way may simply be closed.
    fn cancel(&mut self, token: Token, fd: RawFd);

    /// Reads `len` bytes at `offset` of `fd` (opened O_DIRECT: offset and length are multiples of 4096) into the
    /// beginning of `buf`. One `Read` follows, whatever happens to the connection; `fd` must stay open until then.
    /// More than the buffer holds, or a memory tier frame that is filled already, is `InvalidInput`; a file that ends
    /// before is `UnexpectedEof`.
    fn read(&mut self, token: Token, fd: RawFd, offset: u64, len: u32, buf: IoBuf);

    /// A handle that wakes this driver from other threads.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Submits what was asked and waits for events, at most `timeout` (None: as long as it takes), appending them.
    /// It may return early with none, by a signal for example.
    ///
    /// # Errors
    /// Only where the driver itself is broken; an operation's own failure is its event's.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;
}

/// What a driver keeps for each token. Tokens are our own numbers, so a plain mix serves.
pub(crate) type TokenMap<V> = HashMap<Token, V, BuildHasherDefault<TokenHasher>>;

/// Spreads a token's bits: the low ones are a slot's number, the high ones a generation.
#[derive(Default)]
pub(crate) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        // Both halves of the product, so that low and high bits of the hash depend on all of the token.
        self.0 = (mixed >> 64) as u64 ^ mixed as u64;
    }
}
