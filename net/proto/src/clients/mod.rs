//! What is remembered of each client, by its address. The rule: memory is bounded whatever clients do, and what a cache
//! can not know of a client it does not guess.
//!
//! A book holds two halves of at most so many clients each. A client that is met moves to the young half; when that is
//! full, it becomes the old one, and what was the old one is forgotten. So the clients that were met last are always
//! there, and nothing is ever searched for the one to leave out.

mod ban;
mod privacy;
#[cfg(test)]
mod tests;

pub use ban::{BAN, Ban, Refused};
pub use privacy::{Privacy, shown};

use crate::Time;
use crate::answer::CacheStatus;

use larder_content::ContentNo;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// A client that has got no byte for so long, or too few, is taken to have left for the WAN (facts: clients 1.6).
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fewer bytes a second than these, over [`PATIENCE`], and a client leaves (facts: clients 1.6).
pub const RATE_BYTES_MIN: u64 = 4000;

/// Longer names of hosts are cut.
const HOST_BYTES_MAX: usize = 255;

/// What is remembered of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// When it was first met since it was last forgotten.
    pub first: Time,
    /// When it was met last.
    pub last: Time,
    /// Requests by HTTP that were answered.
    pub requests: u64,
    /// Body bytes that it was sent out of the store.
    pub bytes_stored: u64,
    /// Body bytes that it was sent while they came in.
    pub bytes_fetched: u64,
    /// Bytes of pieces that it was sent as a peer.
    pub bytes_as_peer: u64,
    /// Times that it was connected as a peer.
    pub peerings: u64,
    /// Requests for hosts that are not on the list.
    pub refused_hosts: u64,
    /// Other answers of 400 to 499.
    pub client_errors: u64,
    /// Answers of 500 to 599.
    pub server_errors: u64,
    /// Answers that were broken off here.
    pub cut: u64,
    /// Answers that it broke off itself.
    pub left: u64,
    /// Answers that the store had no part in.
    pub bypassed: u64,
    /// TLS handshakes that it did not come to terms in.
    pub tls_failed: u64,
    /// The host that was last refused.
    pub refused_host: Option<Box<str>>,
    /// What it was sent last.
    pub content: Option<ContentNo>,
    /// When it last got an answer that is no error.
    pub served: Option<Time>,
    /// What may have made it leave.
    pub ban: Option<Ban>,
}

impl Client {
    const fn new(now: Time) -> Self {
        Self {
            first: now,
            last: now,
            requests: 0,
            bytes_stored: 0,
            bytes_fetched: 0,
            bytes_as_peer: 0,
            peerings: 0,
            refused_hosts: 0,
            client_errors: 0,
            server_errors: 0,
            cut: 0,
            left: 0,
            bypassed: 0,
            tls_failed: 0,
            refused_host: None,
            content: None,
            served: None,
            ban: None,
        }
    }

    /// It was answered. `host`: what it asked for, where that is known and the answer is an error.
    pub fn answered(
        &mut self,
        status: u16,
        cache: Option<CacheStatus>,
        host: Option<&str>,
        content: Option<ContentNo>,
        now: Time,
    ) {
        self.requests += 1;
        self.last = self.last.max(now);
        if cache == Some(CacheStatus::Bypass) {
            self.bypassed += 1;
        }
        match status {
            403 if host.is_some() && cache.is_none() => {
                self.refused_hosts += 1;
                self.refused_host = host.map(short);
                self.ban = Some(Ban::new(Refused::Host, host, now));
            }
            400..=499 => {
                self.client_errors += 1;
                // What can not be read as a request is from no client of Delivery Optimization.
                if host.is_some() {
                    self.ban = Some(Ban::new(Refused::Status(status), host, now));
                }
            }
            500..=599 => self.server_errors += 1,
            _ => {
                self.served = Some(now);
                self.content = content.or(self.content);
            }
        }
    }

    /// It was sent this much of bodies.
    pub const fn sent(&mut self, stored: u64, fetched: u64) {
        self.bytes_stored = self.bytes_stored.saturating_add(stored);
        self.bytes_fetched = self.bytes_fetched.saturating_add(fetched);
    }

    /// It broke off an answer that it had asked for at `asked`, after `bytes` of it.
    pub fn left(&mut self, asked: Time, bytes: u64, now: Time) {
        self.left += 1;
        let waited = now.since(asked);
        if waited >= PATIENCE && bytes < RATE_BYTES_MIN.saturating_mul(waited.as_secs()) {
            self.ban = Some(Ban::new(Refused::TooSlow, None, now));
        }
    }

    /// Until when it seems to ask for nothing here, if it does. `host_of` says from which host a content is.
    #[must_use]
    pub fn banned(
        &self,
        now: Time,
        host_of: impl FnOnce(ContentNo) -> Option<String>,
    ) -> Option<&Ban> {
        let ban = self.ban.as_ref().filter(|ban| now < ban.until())?;
        let is_back = self.served.is_some_and(|at| at > ban.since)
            && match (&ban.host, self.content) {
                (None, _) => true,
                (Some(host), Some(no)) => {
                    host_of(no).is_some_and(|of| of.eq_ignore_ascii_case(host))
                }
                (Some(_), None) => false,
            };
        (!is_back).then_some(ban)
    }

    /// Takes over what another book knows of the same client.
    fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        for (own, more) in [
            (&mut self.requests, other.requests),
            (&mut self.bytes_stored, other.bytes_stored),
            (&mut self.bytes_fetched, other.bytes_fetched),
            (&mut self.bytes_as_peer, other.bytes_as_peer),
            (&mut self.peerings, other.peerings),
            (&mut self.refused_hosts, other.refused_hosts),
            (&mut self.client_errors, other.client_errors),
            (&mut self.server_errors, other.server_errors),
            (&mut self.cut, other.cut),
            (&mut self.left, other.left),
            (&mut self.bypassed, other.bypassed),
            (&mut self.tls_failed, other.tls_failed),
        ] {
            *own = own.saturating_add(more);
        }
        if other.last >= self.last {
            self.refused_host = other.refused_host.or(self.refused_host.take());
        }
        if other.served >= self.served {
            self.content = other.content.or(self.content);
            self.served = other.served;
        }
        let since = |ban: &Option<Ban>| ban.as_ref().map(|ban| ban.since);
        if since(&other.ban) >= since(&self.ban) {
            self.ban = other.ban;
        }
        self.last = self.last.max(other.last);
    }
}

/// Enough of a host's name.
fn short(host: &str) -> Box<str> {
    host[..host.floor_char_boundary(HOST_BYTES_MAX)].into()
}

/// What is remembered of all clients.
#[derive(Debug)]
pub struct Book {
    young: HashMap<IpAddr, Client>,
    old: HashMap<IpAddr, Client>,
    half_max: usize,
    forgotten: u64,
}

impl Book {
    /// One of nobody yet, that holds at most `clients_max`.
    #[must_use]
    pub fn new(clients_max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half_max: (clients_max / 2).max(1),
            forgotten: 0,
        }
    }

    /// What is remembered of a client that is met now.
    pub fn met(&mut self, from: IpAddr, now: Time) -> &mut Client {
        let from = from.to_canonical();
        if !self.young.contains_key(&from) {
            self.make_room();
            let known = self.old.remove(&from);
            self.young
                .insert(from, known.unwrap_or_else(|| Client::new(now)));
        }
        let client = self.young.entry(from).or_insert_with(|| Client::new(now));
        client.last = client.last.max(now);
        client
    }

    fn make_room(&mut self) {
        if self.young.len() >= self.half_max {
            self.forgotten += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// What this book holds; it is empty then.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self {
            half_max: self.half_max,
            ..Self::new(0)
        };
        std::mem::replace(self, empty)
    }

    /// Takes over what another book holds.
    pub fn join(&mut self, other: Self) {
        self.forgotten += other.forgotten;
        for (from, client) in other.old.into_iter().chain(other.young) {
            let (first, last) = (client.first, client.last);
            let own = self.met(from, last);
            own.first = own.first.min(first);
            own.join(client);
        }
    }

    /// Forgets those who were met last before `since`.
    pub fn forget_before(&mut self, since: Time) {
        for half in [&mut self.young, &mut self.old] {
            half.retain(|_, client| client.last >= since);
            if half.capacity() > 64 && half.len() * 4 < half.capacity() {
                half.shrink_to_fit();
            }
        }
    }

    /// All that are remembered, in no order.
    pub fn clients(&self) -> impl Iterator<Item = (IpAddr, &Client)> {
        let all = self.young.iter().chain(&self.old);
        all.map(|(from, client)| (*from, client))
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many had to make room for others.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
