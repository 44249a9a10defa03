//! The book of all clients, put together of those that each thread keeps. The rule: a shard thread counts in a book of its
//! own and gives it away when it is asked, so that nobody waits for a lock between a request and its answer.

use larder_proto::clients::{Book, Client, Privacy, shown};
use larder_proto::time::Time;
use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

/// Clients that are remembered in all: about 4 MiB, where each was refused a host.
pub const CLIENTS_MAX: usize = 8192;

/// Clients that a shard thread counts between two times that it is asked.
pub(crate) const OF_A_SHARD_MAX: usize = 2048;

/// The book of all clients.
pub struct Clients(Mutex<Book>);

impl Default for Clients {
    fn default() -> Self {
        Self(Mutex::new(Book::new(CLIENTS_MAX)))
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// Notes something of a client; for threads that are not shards.
    pub(crate) fn met(&self, from: Option<IpAddr>, now: Time, what: impl FnOnce(&mut Client)) {
        if let Some(from) = from {
            what(self.0.lock().met(from, now));
        }
    }

    /// Takes over what another book holds.
    pub(crate) fn join(&self, book: Book) {
        self.0.lock().join(book);
    }

    /// Forgets those who were not met for `retention`.
    pub fn forget(&self, retention: Duration, now: Time) {
        let since = now.as_micros().saturating_sub(micros(retention));
        self.0.lock().forget_before(Time::from_micros(since));
    }

    /// The book, to look into.
    pub fn look(&self) -> MutexGuard<'_, Book> {
        self.0.lock()
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A client's address, as far as it may be shown. Names for it are made with a key of this process alone, and are others
/// after its next start.
#[must_use]
pub fn name(address: IpAddr, privacy: Privacy) -> String {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let key = KEY.get_or_init(RandomState::new);
    shown(address, privacy, |address| key.hash_one(address))
}
