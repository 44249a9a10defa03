//! Who sent bad pieces, and may not be asked for a while. The rule: one bad piece closes the connection, three close the
//! door, and nobody is shut out for ever or for what others behind the same address did, as far as that can be told.
//!
//! A peer draws its id itself, so an id alone shuts nobody out who wants to come again; an address alone shuts out whom
//! it stands for, who are many behind a NAT. So both count. An id at an address is banned after [`BAD_MAX`] bad pieces.
//! An address is banned after as many from whatever ids where it is a private one, which stands for one machine; a
//! public one may stand for an office, and is banned after [`BAD_MAX_SHARED`].

use crate::Time;
use crate::swarm::PeerId;
use crate::swarm::picker::Who;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// So many bad pieces ban a peer, or a private address.
pub const BAD_MAX: u32 = 3;

/// So many bad pieces of all the peers behind it ban a public address.
pub const BAD_MAX_SHARED: u32 = 12;

/// How long a ban lasts, and how long a bad piece is remembered, from the last one.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

/// So long a peer that was dropped, and is not banned, is not asked again.
pub const DROPPED: Duration = Duration::from_secs(300);

/// So many peers are remembered, and as many addresses.
const ENTRIES_MAX: usize = 4096;

/// What follows from a bad piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Close the connection; not asked again before this moment.
    Dropped(Time),
    /// The same, and a ban until then.
    Banned(Time),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    bad: u32,
    /// Of the last bad piece.
    at: Time,
}

/// Bad pieces by who sent them.
#[derive(Debug, Default)]
pub struct Bans {
    peers: BTreeMap<Who, Entry>,
    addresses: BTreeMap<IpAddr, Entry>,
}

impl Bans {
    /// Nobody has sent a bad piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer sent so many bad pieces, and nobody else had a part in them.
    pub fn bad(&mut self, who: Who, pieces: u32, now: Time) -> Verdict {
        let of_peer = count(&mut self.peers, who, pieces, now);
        let of_address = count(&mut self.addresses, plain(who.address), pieces, now);
        if of_peer >= BAD_MAX || of_address >= bad_max(who.address) {
            Verdict::Banned(now + REMEMBERED)
        } else {
            Verdict::Dropped(now + DROPPED)
        }
    }

    /// Until when a peer must not be asked; `None` where it may be.
    #[must_use]
    pub fn not_before(&self, who: Who, now: Time) -> Option<Time> {
        let of_peer = self.peers.get(&who).map(|entry| {
            let banned = entry.bad >= BAD_MAX;
            entry.at + if banned { REMEMBERED } else { DROPPED }
        });
        of_peer
            .into_iter()
            .chain(self.address_not_before(who.address, now))
            .max()
            .filter(|until| *until > now)
    }

    /// The same of whoever is behind an address, before it has said who it is.
    #[must_use]
    pub fn address_not_before(&self, address: IpAddr, now: Time) -> Option<Time> {
        let entry = self.addresses.get(&plain(address))?;
        let until = entry.at + REMEMBERED;
        (entry.bad >= bad_max(address) && until > now).then_some(until)
    }

    /// The bans that hold: the peers, and the addresses.
    pub fn banned(&self, now: Time) -> impl Iterator<Item = (Option<PeerId>, IpAddr, Time)> + '_ {
        let holds = move |entry: &Entry| entry.at + REMEMBERED > now;
        let peers = self.peers.iter();
        let peers = peers.filter(move |(_, entry)| entry.bad >= BAD_MAX && holds(entry));
        let peers = peers.map(|(who, entry)| (Some(who.id), who.address, entry.at + REMEMBERED));
        let addresses = self.addresses.iter();
        let addresses =
            addresses.filter(move |(of, entry)| entry.bad >= bad_max(**of) && holds(entry));
        peers.chain(addresses.map(|(of, entry)| (None, *of, entry.at + REMEMBERED)))
    }
}

/// Counts bad pieces, and forgets what is too old or too much.
fn count<K: Ord + Copy>(entries: &mut BTreeMap<K, Entry>, key: K, pieces: u32, now: Time) -> u32 {
    if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
        entries.retain(|_, entry| entry.at + REMEMBERED > now);
        if entries.len() >= ENTRIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.at);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|key| entries.remove(&key));
        }
    }
    let entry = entries.entry(key).or_insert(Entry { bad: 0, at: now });
    if entry.at + REMEMBERED <= now {
        entry.bad = 0;
    }
    entry.bad = entry.bad.saturating_add(pieces);
    entry.at = now;
    entry.bad
}

/// An IPv4 address is the same written as an IPv6 one.
const fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn bad_max(address: IpAddr) -> u32 {
    let one_machine = match plain(address) {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        // Everybody has an IPv6 address of its own.
        IpAddr::V6(_) => true,
    };
    // The loopback is none of these: several peers of one machine are told apart there.
    if one_machine { BAD_MAX } else { BAD_MAX_SHARED }
}

#[cfg(test)]
mod tests;
