//! Peers and records in a Redis Cluster: for more than one coordinator. The rule: all of a content lies in one slot and
//! every event is one script there, so two coordinators never see half of one; where Redis is away, peers go on in this
//! process's memory, so that those who call here still meet.
//!
//! Keys begin with `larder:{<content id>}`: `:w` where each peer is, `:r` the rooms, and for each room `:m:` members,
//! `:e:` until when they are, `:f:` the preferred ones, `:x:` how often they were told of (`h`) and not reached (`d`);
//! `:c:<audience>` is a record, `larder:{u<url key>}:<audience>` the content at a URL, `larder:{records}` all records by
//! their end. Everything expires by itself.

mod cluster;
mod contents;
mod records;

use super::backend::BackendError;
use super::memory::Memory;
use cluster::{Cluster, Script};
use contents::Contents;
use larder_content::ContentId;
use larder_proto::Time;
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::{Joining, Member, Room, Stay};
use larder_proto::tracker::message::{PeerAddress, PeerType};
use larder_proto::tracker::policy::{Dice, choose, rank, told, way};
use larder_proto::tracker::site::Site;
use larder_proto::tracker::state::{Limits, NoRoom};
use metrics::Counter;
use parking_lot::Mutex;
use std::fmt;

/// Members of the own room that are looked at for one join.
const LOOKED_AT_MAX: usize = 256;

/// The same of other rooms, in all.
const FAR_LOOKED_AT_MAX: usize = 512;

/// Keys that are asked for to see whether all of a cluster answers.
const LOOKS: u32 = 16;

/// Fields of one member in what the script answers.
const FIELDS: usize = 5;

/// How to reach a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// `host:port` of some of its nodes.
    pub nodes: Vec<String>,
    /// The password of its default user.
    pub password: Option<String>,
    /// Records in all.
    pub records_max: usize,
}

/// A Redis Cluster, with this process's memory for when it is away.
pub struct Redis {
    cluster: Cluster,
    join: Script,
    told: Script,
    records_max: usize,
    pub(super) near: Memory,
    contents: Mutex<Contents>,
    limits: Mutex<Limits>,
    dice: Mutex<Dice>,
    without: Counter,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.cluster).finish()
    }
}

impl Redis {
    /// A cluster that is connected to when it is first asked. `near` is what serves while it is away.
    ///
    /// # Errors
    /// In words: the names of the nodes can not be used.
    pub fn new(options: &RedisOptions, limits: Limits, near: Memory) -> Result<Self, String> {
        Ok(Self {
            cluster: Cluster::new(&options.nodes, options.password.as_deref())?,
            join: Script::new(include_str!("redis/join.lua")),
            told: Script::new(include_str!("redis/told.lua")),
            records_max: options.records_max,
            dice: Mutex::new(Dice::new(near.roll())),
            near,
            contents: Mutex::new(Contents::default()),
            limits: Mutex::new(limits),
            without: metrics::counter!("larder_coordinator_without_redis_total"),
        })
    }

    /// Whether every part of it answers, as far as some keys tell: of a cluster in four parts, all but a hundredth of the
    /// looks meet each.
    ///
    /// # Errors
    /// In words: what the first part that does not answer says, or why nobody lets us in.
    pub async fn look(&self, now: Time) -> Result<(), String> {
        for number in 0..LOOKS {
            let key = format!("larder:{{look{number}}}");
            let mut exists = redis::cmd("EXISTS");
            exists.arg(&key);
            let asked = self.cluster.query::<i64>(&exists, now);
            match asked.await {
                Err(BackendError::Away(why)) => return Err(why),
                Err(other) => return Err(format!("{other:?}")),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn limit(&self, limits: Limits) {
        *self.limits.lock() = limits;
        self.near.limit(limits);
    }

    pub(super) fn sweep(&self, now: Time) {
        self.contents.lock().sweep(now);
    }

    /// Takes a join; while Redis is away, in memory.
    pub(super) async fn join(
        &self,
        joining: &Joining,
        now: Time,
    ) -> Result<Vec<PeerAddress>, BackendError> {
        if joining.stay == Stay::Known {
            let limits = *self.limits.lock();
            let entered = self.contents.lock().enter(joining, now, limits);
            entered.map_err(BackendError::NoRoom)?;
        }
        match self.join_there(joining, now).await {
            Err(BackendError::Away(why)) => {
                self.goes_on_near(&why);
                self.near.join(joining, now)
            }
            done => done,
        }
    }

    /// Takes a leave.
    pub(super) async fn leave(
        &self,
        content: ContentId,
        peer: Guid,
        site: Site,
        now: Time,
    ) -> Result<(), BackendError> {
        self.contents.lock().left(peer, content);
        self.near.leave(content, peer, site);
        let call = self
            .join
            .call(&prefix(content))
            .arg(&peer.0)
            .arg(site.text());
        let call = call
            .arg("")
            .arg("")
            .arg(1)
            .arg(0)
            .arg(0)
            .arg("")
            .arg(0)
            .arg(0)
            .arg("");
        let left: Result<Vec<Vec<u8>>, _> = self.cluster.run(call, now).await;
        match left {
            Err(BackendError::Away(why)) => {
                // It is forgotten by itself soon.
                self.goes_on_near(&why);
                Ok(())
            }
            done => done.map(drop),
        }
    }

    fn goes_on_near(&self, why: &str) {
        self.without.increment(1);
        tracing::debug!("Redis is away, this process goes on alone: {why}");
    }

    async fn join_there(
        &self,
        joining: &Joining,
        now: Time,
    ) -> Result<Vec<PeerAddress>, BackendError> {
        let asker = &joining.member;
        let room = text(joining.room);
        let elsewhere = match joining.room.group {
            Some(group) => format!("g{group}/"),
            None if asker.is_internet() => "-/".to_owned(),
            None => String::new(),
        };
        let kept = if joining.stay == Stay::Known {
            room.as_str()
        } else {
            ""
        };
        let (near, far) = match joining.wanted {
            0 => (0, 0),
            _ => (LOOKED_AT_MAX, FAR_LOOKED_AT_MAX),
        };
        let chance = self.dice.lock().below(1 << 30);
        let mut call = self
            .join
            .call(&prefix(joining.content))
            .arg(&asker.peer_id.0)
            .arg(joining.room.site.text())
            .arg(kept)
            .arg(&asker.encode())
            .arg(self.limits.lock().peer_ttl.as_secs().max(1))
            .arg(u8::from(asker.is_preferred()))
            .arg(near)
            .arg(elsewhere)
            .arg(far)
            .arg(chance)
            .arg(&room);
        for peer in &joining.unreachable {
            call = call.arg(&peer.0);
        }
        let there: Vec<Vec<u8>> = self.cluster.run(call, now).await?;
        let chosen = self.choose(joining, &there);
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.told.call(&prefix(joining.content));
        for (room, peer) in &chosen {
            call = call.arg(room).arg(&peer.peer_id.0);
        }
        // Whether it is counted or not, they are told.
        let _: Result<i64, _> = self.cluster.run(call, now).await;
        Ok(chosen.into_iter().map(|(_, peer)| peer).collect())
    }

    /// The best of the members that the script answered, each with its room.
    fn choose(&self, joining: &Joining, there: &[Vec<u8>]) -> Vec<(Vec<u8>, PeerAddress)> {
        let asker = &joining.member;
        let far = match joining.room.group {
            Some(_) => PeerType::Group,
            None => PeerType::Internet,
        };
        let mut dice = self.dice.lock();
        let mut ranked = Vec::with_capacity(there.len() / FIELDS);
        for fields in there.chunks_exact(FIELDS) {
            let Some(member) = Member::decode(&fields[0]) else {
                continue;
            };
            let near = if fields[4] == b"1" {
                PeerType::Lan
            } else {
                far
            };
            if near == PeerType::Internet && !member.is_internet() {
                continue;
            }
            if let Some(way) = way(asker, &member, near) {
                let handed = u16::try_from(count(&fields[1])).unwrap_or(u16::MAX);
                let doubts = u8::try_from(count(&fields[2])).unwrap_or(u8::MAX);
                let rank = rank(&member, near, handed, doubts, dice.roll());
                ranked.push((rank, (fields[3].clone(), told(&member, way, near))));
            }
        }
        drop(dice);
        ranked.sort_unstable_by_key(|(rank, (_, peer))| (peer.peer_id, *rank));
        ranked.dedup_by_key(|(_, (_, peer))| peer.peer_id);
        choose(&mut ranked, joining.wanted);
        ranked.into_iter().map(|(_, peer)| peer).collect()
    }
}

fn prefix(content: ContentId) -> String {
    format!("larder:{{{content}}}")
}

/// A room as its keys spell it: those of one group begin alike.
fn text(room: Room) -> String {
    match room.group {
        Some(group) => format!("g{group}/{}", room.site.text()),
        None => format!("-/{}", room.site.text()),
    }
}

fn count(field: &[u8]) -> u64 {
    str::from_utf8(field)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// What a script of ours answers with, where there is no room in Redis itself.
fn no_room() -> BackendError {
    BackendError::NoRoom(NoRoom::Full)
}
