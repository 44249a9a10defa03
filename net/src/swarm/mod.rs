//! Peers as a source of pieces: who has a content, and what each of them is asked for. The rule: it only ever adds. Where
//! peers, or the coordinator, are slow, gone or lie, downloads go on by HTTP, and no client waits for any of this longer
//! than the policies say, nor past its deadline.
//!
//! `members` tells the coordinator what is here and what is wanted; `learn` asks it for the hashes of what has none, and
//! `publish` tells it those that are known here; a `party` is the swarm of one content while somebody wants pieces of it;
//! `bans` remembers who has lied.

mod learn;
mod members;
mod party;
mod publish;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::coordinator::{ClientError, CoordinatorClient, Key};
use crate::download::{Inner, Way};
use crate::metrics::Figures;
use crate::plane::Surroundings;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_content::{ContentId, ContentNo, UrlKey};
use larder_proto::policy::{Coordinator, Facts, Taken, delay, may_download, mode};
use larder_proto::swarm::PeerId;
use larder_proto::swarm::bans::Bans;
use larder_proto::time::Time;
use larder_proto::tracker::guid::Guid;
use larder_storage::proof::PieceHashes;
use larder_storage::record::Content;
use larder_storage::store::Store;
use members::Members;
use parking_lot::Mutex;
use party::Party;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a content of which nothing is known to the coordinator is not asked for again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long a coordinator that did not answer is taken to be away.
const AWAY_FOR: Duration = Duration::from_secs(30);

/// How long a device looks for the first peers before it asks by HTTP.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// How often the names of the other ends of links are looked up.
const LOOK_LINKS_UP_EVERY: Duration = Duration::from_secs(30);

/// How long the picker may take to say what is to be left to peers of what a device has begun to want.
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// Connections that have ended which are remembered until somebody asks.
const ENDED_MAX: usize = 1024;

/// Contents that are remembered for having no peers, and for when they were begun.
const REMEMBERED_MAX: usize = 4096;

/// Of the time until a client's deadline so much may be left to peers: the origin needs the rest.
const PEERS_SHARE: u32 = 2;

/// Where this machine is, and what it is like, as the coordinator and the policies want to know it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its own addresses, the most useful first.
    pub addresses: Vec<IpAddr>,
    /// The mask of the network of its IPv4 addresses.
    pub subnet_mask: Option<Ipv4Addr>,
    /// The port of its public IPv4 address that leads to its peer port.
    pub external_port: Option<u16>,
    /// The group that it belongs to.
    pub group: Option<Guid>,
    /// Memory, drive, battery, VPN.
    pub facts: Facts,
}

/// How this process takes part in swarms.
pub struct SwarmOptions {
    /// Whom to ask for peers.
    pub coordinator: CoordinatorClient,
    /// Whether what it says of contents is to be trusted: it is this process, or was reached by TLS.
    pub coordinator_trusted: bool,
    /// Who we are to others.
    pub me: PeerId,
    /// The port on which peers are taken; 0 where none are.
    pub port: u16,
    /// Where we are.
    pub place: Place,
    /// What those who serve peers go by: the group's key and the address seen by the coordinator are written there.
    pub surroundings: Arc<ArcSwap<Surroundings>>,
    /// Whether what is held is offered, and its hashes are published, while nobody wants anything of it.
    pub seeds: bool,
    /// How often what is held is looked through for that.
    pub look_every: Duration,
}

/// A peer that we are connected to, so as to download from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Giver {
    /// Of which content.
    pub content: ContentNo,
    /// Where it is.
    pub address: IpAddr,
    /// How near it is.
    pub way: Way,
    /// Since when.
    pub since: Time,
    /// Bytes that it has sent, of use or not.
    pub bytes: u64,
    /// Bytes a second, of late.
    pub bytes_s: u64,
}

/// The swarm side of a download side; clones share it.
#[derive(Clone)]
pub struct Swarm(pub(crate) Arc<Shared>);

/// See [`Swarm`].
pub(crate) struct Shared {
    download: Weak<Inner>,
    store: Store,
    settings: Arc<ArcSwap<Settings>>,
    figures: Arc<Figures>,
    clock: Clock,
    runtime: Handle,
    coordinator: CoordinatorClient,
    coordinator_trusted: bool,
    me: PeerId,
    port: u16,
    place: ArcSwap<Place>,
    surroundings: Arc<ArcSwap<Surroundings>>,
    reach: Mutex<Reach>,
    members: Members,
    parties: Mutex<HashMap<ContentNo, Arc<Party>>>,
    /// Connections that have ended, and of which nobody was told yet.
    ended: Mutex<VecDeque<Giver>>,
    /// Contents that are being looked for, or for which nobody was found lately.
    looked: Mutex<HashMap<ContentNo, Looked>>,
    /// URLs that the coordinator is being asked about while the origin is.
    wondering: Mutex<HashSet<UrlKey>>,
    /// When the present download of a content began.
    began: Mutex<HashMap<ContentNo, Began>>,
    bans: Mutex<Bans>,
    /// Lists of hashes that turned out not to be those of what the origin has.
    refuted: Mutex<HashSet<ContentId>>,
    /// Connections to peers of all contents, open or about to be.
    links: AtomicUsize,
}

/// When a content was asked for, by whom delays are counted.
#[derive(Clone, Copy)]
struct Began {
    first: Time,
    last: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    UnderWay,
    Nobody { again: Time },
}

/// What is known of the coordinator.
#[derive(Default)]
struct Reach {
    answered: bool,
    away_since: Option<Time>,
}

/// A content whose pieces are not asked for this long begins anew where delays are counted.
const NEW_DOWNLOAD_AFTER: Duration = Duration::from_secs(60);

impl Swarm {
    /// Where we are has changed.
    pub fn moved(&self, place: Place) {
        self.0.place.store(Arc::new(place));
        self.0.show_group();
    }

    /// The group that this process belongs to, where it does.
    #[must_use]
    pub fn group(&self) -> Option<String> {
        self.0.place.load().group.map(|group| group.to_string())
    }

    /// Whether the coordinator answers; None while nobody has asked it.
    #[must_use]
    pub fn coordinator_answers(&self) -> Option<bool> {
        match self.0.coordinator_now() {
            Coordinator::Reachable => Some(true),
            Coordinator::Unreachable => Some(false),
            Coordinator::Absent | Coordinator::Unknown => None,
        }
    }

    /// Everybody we are connected to, so as to download from them.
    #[must_use]
    pub fn givers(&self) -> Vec<Giver> {
        let parties: Vec<_> = self.0.parties.lock().values().cloned().collect();
        parties.iter().flat_map(|party| party.givers()).collect()
    }

    /// Those that we were connected to and are not any more, since this was asked last; the last of them, where they are
    /// many.
    #[must_use]
    pub fn ended(&self) -> Vec<Giver> {
        std::mem::take(&mut *self.0.ended.lock()).into()
    }

    /// The mode of the download of a content of so many bytes, and why it is that one.
    #[must_use]
    pub fn mode_of(&self, length: u64) -> Taken {
        self.0.taken(length)
    }

    /// Peers of a content that may be asked.
    #[cfg(test)]
    pub(crate) fn usable(&self, no: ContentNo) -> usize {
        let party = self.0.parties.lock().get(&no).cloned();
        party.map_or(0, |party| party.usable())
    }

    /// Connections to peers of a content, open or about to be.
    #[cfg(test)]
    pub(crate) fn links(&self, no: ContentNo) -> usize {
        let party = self.0.parties.lock().get(&no).cloned();
        party.map_or(0, |party| party.links())
    }

    /// Tells the coordinator that those contents which somebody wants are not wanted any more. To be called before the
    /// end, and waits no longer than so.
    pub async fn leave(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.0.leave_all()).await;
    }
}

/// Finds the other ends of links by their names, again and again: these may move.
async fn look_links_up(shared: Weak<Shared>) {
    let mut timer = tokio::time::interval(LOOK_LINKS_UP_EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let links = Arc::clone(&shared.settings.load().links);
        drop(shared);
        links.look_up().await;
    }
}

impl Shared {
    /// Starts the work in the background, on the present runtime.
    pub(crate) fn start(
        download: Weak<Inner>,
        parts: (Store, Arc<ArcSwap<Settings>>, Arc<Figures>, Clock),
        options: SwarmOptions,
    ) -> Arc<Self> {
        let (store, settings, figures, clock) = parts;
        let shared = Arc::new(Self {
            download,
            store,
            settings,
            figures,
            clock,
            runtime: Handle::current(),
            coordinator: options.coordinator,
            coordinator_trusted: options.coordinator_trusted,
            me: options.me,
            port: options.port,
            place: ArcSwap::from_pointee(options.place),
            surroundings: options.surroundings,
            reach: Mutex::default(),
            members: Members::default(),
            parties: Mutex::default(),
            ended: Mutex::default(),
            looked: Mutex::default(),
            wondering: Mutex::default(),
            began: Mutex::default(),
            bans: Mutex::default(),
            refuted: Mutex::default(),
            links: AtomicUsize::new(0),
        });
        shared.show_group();
        tokio::spawn(members::work(Arc::downgrade(&shared)));
        tokio::spawn(look_links_up(Arc::downgrade(&shared)));
        if options.seeds {
            tokio::spawn(publish::work(Arc::downgrade(&shared), options.look_every));
        }
        shared
    }

    /// Those who serve peers are to know by what others show that they are of our group.
    fn show_group(&self) {
        let group = self.place.load().group;
        let key = group.and_then(|group| self.coordinator.key_of(group));
        let name = |key: &Option<Key>| key.as_ref().map(|key| key.name().to_owned());
        if name(&key) != name(&self.surroundings.load().group_key) {
            self.surroundings.rcu(|old| Surroundings {
                group_key: key.clone(),
                ..Surroundings::clone(old)
            });
        }
    }

    /// The coordinator sees us at this address.
    fn seen_at(&self, address: IpAddr) {
        // One in this process sees nothing but this machine.
        let external = Some(address).filter(|address| !address.is_loopback());
        if self.surroundings.load().around.external != external {
            self.surroundings.rcu(|old| {
                let mut new = Surroundings::clone(old);
                new.around.external = external;
                new
            });
        }
    }

    /// What shows other members of our group that we are one.
    fn mark(&self, swarm: &ContentId) -> [u8; 4] {
        let surroundings = self.surroundings.load();
        let key = surroundings.group_key.as_ref();
        key.map_or([0; 4], |key| key.mark(swarm, &self.me))
    }

    /// The mode of a content's download, and why.
    fn taken(&self, length: u64) -> Taken {
        let settings = self.settings.load();
        mode::taken(&settings.policies, Some(length), self.coordinator_now())
    }

    /// Whether a content stays what it is as long as it is here. A device's download is of one version whatever its
    /// URL, and is proved by the hashes of that version.
    fn is_one_version(&self, content: &Content) -> bool {
        content.record().immutable || self.settings.load().own_store
    }

    /// Whether pieces of a content may come from peers.
    fn may_use_peers(&self, content: &Content) -> bool {
        let settings = self.settings.load();
        let taken = self.taken(content.length());
        may_download(&settings.policies, &self.place.load().facts, taken).is_ok()
    }

    fn coordinator_now(&self) -> Coordinator {
        let reach = self.reach.lock();
        match reach.away_since {
            Some(since) if self.clock.now() < since + AWAY_FOR => Coordinator::Unreachable,
            None if reach.answered => Coordinator::Reachable,
            _ => Coordinator::Unknown,
        }
    }

    /// What a call to the coordinator tells of it.
    fn heard<T>(&self, answer: &Result<T, ClientError>) {
        let mut reach = self.reach.lock();
        match answer {
            Err(ClientError::Away { .. }) => {
                if reach.away_since.is_none() {
                    tracing::warn!(
                        "the coordinator does not answer; downloads go on without new peers"
                    );
                }
                reach.away_since = Some(self.clock.now());
            }
            _ => {
                if reach.away_since.take().is_some() {
                    tracing::info!("the coordinator answers again");
                }
                reach.answered = true;
            }
        }
    }

    /// Somebody wants pieces of a content. Says until when they are to be left to peers, where they are. Never blocks.
    pub(crate) fn wanted(self: &Arc<Self>, content: &Arc<Content>, deadline: Time) -> Time {
        let settings = self.settings.load();
        if !self.is_one_version(content) || !self.may_use_peers(content) {
            return Time::default();
        }
        let now = self.clock.now();
        let began = self.begins(content.no, now);
        let party = self.parties.lock().get(&content.no).cloned();
        let may_bring = match &party {
            Some(party) => party.may_bring(now),
            None => self.look_for_peers(content, now),
        };
        let until = delay::http_not_before(&settings.policies, settings.priority, began, may_bring);
        // A device that has not looked for peers yet does that first; what follows is for its picker to say.
        let looks_around = settings.own_store && party.is_none() && may_bring;
        let is_met = party.is_some() && may_bring;
        // The other ends of links are known, and near in that sense; they are heard first, once.
        let has_links = !settings.own_store && settings.links.used().next().is_some();
        let head_start = match party {
            Some(party) => party.head_start(now),
            None if may_bring && has_links => began + party::LINKS_WITHIN,
            None => Time::default(),
        };
        // The client's deadline wins. Who downloads on a device knows what delays it has set.
        let latest = now + deadline.since(now) / PEERS_SHARE;
        let until = if looks_around {
            until.max(began + LOOK_AROUND)
        } else if settings.own_store && is_met {
            // By then its picker has seen it, and said what holds.
            until.max(now + SEEN_WITHIN)
        } else if settings.own_store {
            until
        } else {
            until.max(head_start).min(latest)
        };
        if until <= now { Time::default() } else { until }
    }

    /// Has what is wanted of a content asked of its peers, as far as they take it. Never blocks.
    pub(crate) fn pump(&self, no: ContentNo) {
        let party = self.parties.lock().get(&no).cloned();
        if let Some(party) = party {
            party.pump();
        }
    }

    /// What was left to peers is released where who looked for them found nobody just before it was there.
    pub(crate) fn release_if_nobody(&self, no: ContentNo) {
        let looked = self.looked.lock().get(&no).copied();
        if matches!(looked, Some(Looked::Nobody { .. }))
            && let Some(download) = self.download.upgrade()
        {
            download.release_http(no);
        }
    }

    /// A connection has ended.
    fn has_ended(&self, giver: Giver) {
        let mut ended = self.ended.lock();
        if ended.len() >= ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(giver);
    }

    fn begins(&self, no: ContentNo, now: Time) -> Time {
        let mut began = self.began.lock();
        if began.len() >= REMEMBERED_MAX {
            began.retain(|_, began| now < began.last + NEW_DOWNLOAD_AFTER);
        }
        let entry = began.entry(no).or_insert(Began {
            first: now,
            last: now,
        });
        if now >= entry.last + NEW_DOWNLOAD_AFTER {
            entry.first = now;
        }
        entry.last = now;
        entry.first
    }

    /// Begins to look for peers of a content, unless that was in vain lately. True where it is under way.
    fn look_for_peers(self: &Arc<Self>, content: &Arc<Content>, now: Time) -> bool {
        {
            let mut looked = self.looked.lock();
            match looked.get(&content.no) {
                Some(Looked::UnderWay) => return true,
                Some(Looked::Nobody { again }) if now < *again => return false,
                _ => {}
            }
            if looked.len() >= REMEMBERED_MAX {
                looked.retain(|_, looked| match looked {
                    Looked::UnderWay => true,
                    Looked::Nobody { again } => now < *again,
                });
            }
            looked.insert(content.no, Looked::UnderWay);
        }
        let (shared, content) = (Arc::clone(self), Arc::clone(content));
        self.runtime.spawn(async move {
            let hashes = match shared.known_hashes(&content).await {
                Some(hashes) => Some(hashes),
                None if shared.is_wondering(&content) => {
                    shared.looked.lock().remove(&content.no);
                    return;
                }
                None => shared.learn(&content).await,
            };
            match hashes {
                Some(hashes) => shared.gather(&content, hashes),
                None => shared.found_nobody(content.no),
            }
        });
        true
    }

    fn found_nobody(&self, no: ContentNo) {
        let again = self.clock.now() + ASK_AGAIN_AFTER;
        self.looked.lock().insert(no, Looked::Nobody { again });
        if let Some(download) = self.download.upgrade() {
            download.release_http(no);
        }
    }

    /// The hashes of a content that the store knows.
    async fn known_hashes(&self, content: &Arc<Content>) -> Option<Arc<PieceHashes>> {
        let (store, content) = (self.store.clone(), Arc::clone(content));
        let read = tokio::task::spawn_blocking(move || store.piece_hashes(&content));
        read.await.ok().flatten()
    }

    /// Brings the peers of a content together.
    fn gather(self: &Arc<Self>, content: &Arc<Content>, hashes: Arc<PieceHashes>) {
        self.looked.lock().remove(&content.no);
        let party = {
            let mut parties = self.parties.lock();
            if parties.contains_key(&content.no) {
                return;
            }
            let party = Party::new(self, content, hashes);
            parties.insert(content.no, Arc::clone(&party));
            party
        };
        self.members
            .wants_peers(content.no, party.id(), self.clock.now());
        party.start();
    }

    /// The origin has other bytes than these hashes say: they are not believed again.
    fn refute(&self, id: ContentId) {
        let mut refuted = self.refuted.lock();
        if refuted.len() >= REMEMBERED_MAX {
            refuted.clear();
        }
        refuted.insert(id);
    }

    /// Nobody wants anything of a content any more.
    fn disperse(&self, no: ContentNo) {
        self.parties.lock().remove(&no);
        self.members.wants_no_peers(no);
    }
}
