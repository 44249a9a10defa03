//! The peers of all contents, in memory. The rule: who does not say within its time that it is still there is told to
//! nobody; memory is bounded by the number of members, and the work of one event by constants.

mod swarm;

use super::guid::Guid;
use super::member::{Joining, Stay};
use super::message::{PeerAddress, PeerType};
use super::policy::{Dice, choose, rank, told, way};
use super::site::Site;
use crate::Time;
use larder_content::ContentId;
use std::collections::HashMap;
use std::time::Duration;
use swarm::{Entry, Swarm};

/// Members of one room that are looked at for one join; of more, as many that lie together somewhere.
const LOOKED_AT_MAX: usize = 256;

/// Members of other rooms that are looked at for one join, in all.
const FAR_LOOKED_AT_MAX: usize = 512;

/// Members of another room that are looked at where there are many rooms.
const FAR_EACH_MIN: usize = 8;

/// Members that one event looks at to find those who are overdue.
const SWEPT_AT_ONCE: usize = 32;

/// What is bounded, and by how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// After how long a member that says nothing is gone.
    pub peer_ttl: Duration,
    /// Members in all: one peer of two contents counts twice.
    pub peers_max: usize,
    /// Contents that one peer may be a member of.
    pub contents_per_peer_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peer_ttl: Duration::from_secs(45),
            peers_max: 1_000_000,
            contents_per_peer_max: 256,
        }
    }
}

/// Why a peer is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRoom {
    /// There are as many members as may be.
    #[error("this coordinator has as many peers as it may have")]
    Full,
    /// The peer is a member of as many contents as it may be.
    #[error("this peer takes part in as many contents as it may")]
    Contents,
}

/// The peers of all contents.
#[derive(Debug)]
pub struct State {
    limits: Limits,
    seed: u64,
    by_id: HashMap<ContentId, u32>,
    swarms: Vec<Swarm>,
    /// Contents of each peer, by a hash of its name. Two peers that share one share the limit, which hurts nobody.
    contents: HashMap<u32, u16>,
    members: usize,
    /// Where the search for those who are overdue goes on: swarm and member.
    swept: (usize, usize),
}

impl State {
    /// No peers yet. The seed is one that no peer knows.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            seed,
            by_id: HashMap::new(),
            swarms: Vec::new(),
            contents: HashMap::new(),
            members: 0,
            swept: (0, 0),
        }
    }

    /// From now on these limits hold; nobody is thrown out for them.
    pub const fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Members in all.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members
    }

    /// Contents that have a member.
    #[must_use]
    pub const fn swarms(&self) -> usize {
        self.swarms.len()
    }

    /// Takes a join: the caller becomes a member, or goes on to be one, and is told of others.
    ///
    /// # Errors
    /// Where there is no room for it; it is told of nobody then.
    pub fn join(
        &mut self,
        joining: &Joining,
        now: Time,
        seed: u64,
    ) -> Result<Vec<PeerAddress>, NoRoom> {
        let secs = secs(now);
        self.sweep(secs, SWEPT_AT_ONCE);
        match joining.stay {
            Stay::Known => self.keep(joining, secs)?,
            Stay::Silent | Stay::Gone => {
                self.leave(joining.content, joining.member.peer_id, joining.room.site);
            }
        }
        let Some(swarm) = self.by_id.get(&joining.content) else {
            return Ok(Vec::new());
        };
        let swarm = &mut self.swarms[*swarm as usize];
        swarm.doubt(&joining.unreachable);
        Ok(hand_out(swarm, joining, secs, &mut Dice::new(seed)))
    }

    /// Takes a leave; says whether the peer was a member. Only a caller of the same site makes it leave.
    pub fn leave(&mut self, content: ContentId, peer: Guid, site: Site) -> bool {
        let Some(number) = self.by_id.get(&content).copied() else {
            return false;
        };
        let swarm = &mut self.swarms[number as usize];
        let Some(at) = swarm.find(peer, site) else {
            return false;
        };
        let gone = swarm.remove(at);
        self.gone(gone);
        self.drop_if_empty(number as usize);
        true
    }

    /// Looks at `budget` members, and lets go of those who are overdue. Says how many went.
    pub fn sweep_at(&mut self, now: Time, budget: usize) -> usize {
        self.sweep(secs(now), budget)
    }

    fn sweep(&mut self, now: u32, budget: usize) -> usize {
        let before = self.members;
        for _ in 0..budget {
            let (number, at) = self.swept;
            let Some(swarm) = self.swarms.get_mut(number) else {
                self.swept = (0, 0);
                break;
            };
            match swarm.entry(at) {
                None => self.swept = (number + 1, 0),
                Some(entry) if entry.until > now => self.swept.1 += 1,
                Some(_) => {
                    let gone = swarm.remove(at);
                    self.gone(gone);
                    if self.drop_if_empty(number) {
                        self.swept.1 = 0;
                    }
                }
            }
        }
        before - self.members
    }

    fn keep(&mut self, joining: &Joining, now: u32) -> Result<(), NoRoom> {
        let until = now.saturating_add(whole_secs(self.limits.peer_ttl));
        let member = joining.member;
        let found = self.by_id.get(&joining.content).copied();
        if let Some(number) = found {
            let swarm = &mut self.swarms[number as usize];
            if let Some(at) = swarm.find(member.peer_id, joining.room.site) {
                swarm.renew(at, member, joining.room, until);
                return Ok(());
            }
        }
        if self.members >= self.limits.peers_max {
            return Err(NoRoom::Full);
        }
        let contents = self
            .contents
            .entry(short(self.seed, member.peer_id))
            .or_insert(0);
        if *contents >= self.limits.contents_per_peer_max {
            return Err(NoRoom::Contents);
        }
        *contents += 1;
        self.members += 1;
        let number = found.unwrap_or_else(|| {
            // There are no more swarms than members, whose number is bounded.
            let number = u32::try_from(self.swarms.len()).unwrap_or(u32::MAX);
            self.by_id.insert(joining.content, number);
            self.swarms.push(Swarm::new(joining.content, self.seed));
            number
        });
        self.swarms[number as usize].insert(member, joining.room, until);
        Ok(())
    }

    /// Counts a member that is not one any more.
    fn gone(&mut self, peer: Guid) {
        self.members -= 1;
        let key = short(self.seed, peer);
        if let Some(contents) = self.contents.get_mut(&key) {
            *contents -= 1;
            if *contents == 0 {
                self.contents.remove(&key);
            }
        }
        // What a storm of peers has taken is given back.
        if self.contents.capacity() > 1024 && self.contents.len() * 4 < self.contents.capacity() {
            self.contents.shrink_to_fit();
        }
    }

    fn drop_if_empty(&mut self, number: usize) -> bool {
        if !self.swarms[number].is_empty() {
            return false;
        }
        let swarm = self.swarms.swap_remove(number);
        self.by_id.remove(&swarm.content());
        if let Some(moved) = self.swarms.get(number)
            && let Some(entry) = self.by_id.get_mut(&moved.content())
        {
            *entry = u32::try_from(number).unwrap_or(u32::MAX);
        }
        if self.by_id.capacity() > 1024 && self.by_id.len() * 4 < self.by_id.capacity() {
            self.by_id.shrink_to_fit();
            self.swarms.shrink_to_fit();
        }
        true
    }
}

/// Whom the caller is told of.
fn hand_out(swarm: &mut Swarm, joining: &Joining, now: u32, dice: &mut Dice) -> Vec<PeerAddress> {
    if joining.wanted == 0 {
        return Vec::new();
    }
    let asker = &joining.member;
    let mut ranked: Vec<(u64, (u32, PeerAddress))> = Vec::new();
    let consider = |swarm: &Swarm,
                    room: usize,
                    near: PeerType,
                    budget,
                    dice: &mut Dice,
                    ranked: &mut Vec<_>| {
        for at in swarm.some_of(room, budget, dice) {
            let entry: &Entry = &swarm.entries()[at as usize];
            let fits = near != PeerType::Internet || entry.member.is_internet();
            if entry.until <= now || !fits {
                continue;
            }
            if let Some(way) = way(asker, &entry.member, near) {
                let rank = rank(&entry.member, near, entry.handed, entry.doubts, dice.roll());
                ranked.push((rank, (at, told(&entry.member, way, near))));
            }
        }
    };
    let own = swarm.room(joining.room);
    if let Some(own) = own {
        consider(swarm, own, PeerType::Lan, LOOKED_AT_MAX, dice, &mut ranked);
    }
    let far = match joining.room.group {
        Some(_) => Some(PeerType::Group),
        None if asker.is_internet() => Some(PeerType::Internet),
        None => None,
    };
    if let Some(near) = far {
        let rooms = swarm.rooms_of(joining.room.group);
        let count = rooms.len();
        let each = (FAR_LOOKED_AT_MAX / count.max(1)).max(FAR_EACH_MIN);
        let first = dice.below(count);
        for step in 0..count.min(FAR_LOOKED_AT_MAX / FAR_EACH_MIN) {
            let room = swarm.room_at(rooms.start + (first + step) % count);
            if Some(room) != own {
                consider(swarm, room, near, each, dice, &mut ranked);
            }
        }
    }
    if far.is_some() {
        // A peer that moved is still known where it was: it is told where it stands best.
        ranked.sort_unstable_by_key(|(rank, (_, peer))| (peer.peer_id, *rank));
        ranked.dedup_by_key(|(_, (_, peer))| peer.peer_id);
    }
    choose(&mut ranked, joining.wanted);
    for (_, (at, _)) in &ranked {
        swarm.handed(*at);
    }
    ranked.into_iter().map(|(_, (_, peer))| peer).collect()
}

/// Moments of members are counted in whole seconds: that is enough, and half the bytes.
fn secs(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

fn whole_secs(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// A peer's name in four bytes.
fn short(seed: u64, peer: Guid) -> u32 {
    u32::try_from(swarm::hash(seed, peer) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests;
