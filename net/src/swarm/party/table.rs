//! What a party knows: its peers, and the pieces that are on their way. The rule: it is changed under one lock, and each
//! change is put to the picker at once.

use super::assembly::Assembly;
use crate::download::{PeerJob, Way};
use crate::pace::Pace;
use crate::peer::Order;
use crate::swarm::Giver;
use larder_content::ContentNo;
use larder_proto::swarm::picker::{PeerNo, Picker, Who};
use larder_proto::swarm::{Bitfield, PeerId};
use larder_proto::time::Time;
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::message::{PeerAddress, PeerType};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A peer of which nothing is wanted is told so after so long: clients ask in bursts, and it would have to be won again.
const BORED_AFTER: Duration = Duration::from_secs(10);

/// A peer that was lost or not reached is tried again after so long, and after twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// The same of those at the other ends of links, of which few have a content and some are just getting it.
const LINK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Whoever is connected already is not tried again for so long.
const TWIN_AFTER: Duration = Duration::from_secs(120);

/// Peers of which a coordinator told that are remembered.
const FOUND_MAX: usize = 256;

/// A connection, open or about to be.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    pub(super) kind: PeerType,
    pub(super) preferred: bool,
    /// What a byte from it costs, where it is at the other end of a link.
    pub(super) link_cost: Option<u32>,
    pub(super) orders: UnboundedSender<Order>,
    /// None before it has said who it is.
    pub(super) who: Option<Who>,
    pub(super) unchoked: bool,
    pub(super) pieces: Bitfield,
    /// What it was told.
    pub(super) told_interest: bool,
    pub(super) bored_since: Option<Time>,
    /// What it has sent.
    pub(super) pace: Pace,
}

/// A piece on its way.
pub(super) struct Work {
    /// None where it was given back, and what has come of it is kept.
    pub(super) job: Option<PeerJob>,
    pub(super) assembly: Assembly,
    /// Bytes by who sent them, in the order of [`BY_PEERS`].
    pub(super) from: [u32; BY_PEERS.len()],
}

/// The ways by which peers bring bytes.
pub(super) const BY_PEERS: [Way; 4] = [Way::Lan, Way::Group, Way::Internet, Way::Link];

impl Link {
    /// What it has given, to be told.
    pub(super) fn giver(&self, content: ContentNo, now: Time) -> Giver {
        Giver {
            content,
            address: self.address.ip(),
            way: BY_PEERS[self.way()],
            since: self.pace.began(),
            bytes: self.pace.bytes(),
            bytes_s: self.pace.bytes_s(now),
        }
    }

    /// Which of [`BY_PEERS`] it is.
    pub(super) const fn way(&self) -> usize {
        match (self.link_cost, self.kind) {
            (Some(_), _) => 3,
            (None, PeerType::Lan) => 0,
            (None, PeerType::Group) => 1,
            (None, PeerType::Internet) => 2,
        }
    }
}

/// How it went with an address.
#[derive(Default)]
struct Tried {
    failures: u32,
    not_before: Time,
    never_reached: bool,
}

/// See the file's head.
pub(super) struct Table {
    pub(super) picker: Picker,
    pub(super) links: BTreeMap<PeerNo, Link>,
    pub(super) works: HashMap<u32, Work>,
    /// Pieces for which there was no memory; tried again at the next tick.
    pub(super) for_want_of_memory: BTreeSet<u32>,
    /// Who is said to have the content, the best first.
    found: Vec<PeerAddress>,
    /// A piece came from a peer.
    pub(super) brought: bool,
    tried: HashMap<SocketAddr, Tried>,
    numbers: u64,
    idle_since: Option<Time>,
}

impl Table {
    pub(super) fn new(picker: Picker, now: Time) -> Self {
        Self {
            picker,
            links: BTreeMap::new(),
            works: HashMap::new(),
            for_want_of_memory: BTreeSet::new(),
            found: Vec::new(),
            brought: false,
            tried: HashMap::new(),
            numbers: 0,
            idle_since: Some(now),
        }
    }

    pub(super) fn number(&mut self) -> PeerNo {
        self.numbers += 1;
        PeerNo(self.numbers)
    }

    /// Whether anybody may be asked.
    pub(super) fn has_usable(&self) -> bool {
        self.links.values().any(|link| link.unchoked)
    }

    /// Whether somebody at the other end of a link is connected.
    pub(super) fn has_links(&self) -> bool {
        let mut links = self.links.values();
        links.any(|link| link.link_cost.is_some() && link.who.is_some())
    }

    /// Whether a peer of the same network may be asked for whatever is wanted.
    pub(super) fn has_near_seed(&self) -> bool {
        let mut links = self.links.values();
        links.any(|link| link.kind == PeerType::Lan && link.unchoked && link.pieces.is_full())
    }

    /// Whether a peer of the same network may be asked for a piece.
    pub(super) fn is_near(&self, piece: u32) -> bool {
        let mut links = self.links.values();
        links.any(|link| link.kind == PeerType::Lan && link.unchoked && link.pieces.has(piece))
    }

    /// A coordinator told of these. Those that it told of before stay behind them.
    pub(super) fn meets(&mut self, peers: Vec<PeerAddress>) {
        self.found
            .retain(|old| peers.iter().all(|new| address_of(new) != address_of(old)));
        let old = std::mem::replace(&mut self.found, peers);
        self.found.extend(old);
        self.found
            .sort_by_key(|peer| (peer.peer_type, !peer.preferred));
        self.found.truncate(FOUND_MAX);
    }

    /// The next one to connect to.
    pub(super) fn next_found(
        &self,
        now: Time,
        allows: impl Fn(SocketAddr, PeerId) -> bool,
    ) -> Option<PeerAddress> {
        let is_free = |peer: &&PeerAddress| {
            let address = address_of(peer);
            let id = PeerId(peer.peer_id.0);
            let tried = self.tried.get(&address);
            let known = self
                .links
                .values()
                .any(|link| link.address == address || link.who.is_some_and(|who| who.id == id));
            !known && tried.is_none_or(|tried| now >= tried.not_before) && allows(address, id)
        };
        self.found.iter().find(is_free).cloned()
    }

    /// A connection was opened, or could not be, or was lost.
    pub(super) fn tried(&mut self, address: SocketAddr, now: Time, reached: bool) {
        self.tried_again_after(address, now, reached, AGAIN_AFTER);
    }

    /// The same at the other end of a link.
    pub(super) fn tried_on_link(&mut self, address: SocketAddr, now: Time, reached: bool) {
        self.tried_again_after(address, now, reached, LINK_AGAIN_AFTER);
    }

    fn tried_again_after(
        &mut self,
        address: SocketAddr,
        now: Time,
        reached: bool,
        pause: Duration,
    ) {
        let tried = self.tried.entry(address).or_default();
        tried.never_reached = !reached;
        tried.not_before = now + pause * 2_u32.saturating_pow(tried.failures.min(6));
        tried.failures += 1;
    }

    /// Who is there is connected by another address already.
    pub(super) fn is_twin(&mut self, address: SocketAddr, now: Time) {
        let tried = self.tried.entry(address).or_default();
        tried.not_before = now + TWIN_AFTER;
    }

    /// Whether an address at the other end of a link is to be connected to.
    pub(super) fn may_try(&self, address: SocketAddr, now: Time) -> bool {
        let tried = self.tried.get(&address);
        let mut links = self.links.values();
        tried.is_none_or(|tried| now >= tried.not_before)
            && !links.any(|link| link.address == address)
    }

    /// Connections that do not lead over links.
    pub(super) fn common_links(&self) -> usize {
        let mut count = 0;
        for link in self.links.values() {
            count += usize::from(link.link_cost.is_none());
        }
        count
    }

    /// A peer has brought something.
    pub(super) fn good(&mut self, address: SocketAddr) {
        if let Some(tried) = self.tried.get_mut(&address) {
            tried.failures = 0;
        }
    }

    /// Those that could not be reached.
    pub(super) fn unreachable(&self) -> Vec<Guid> {
        let lost = |peer: &&PeerAddress| {
            let tried = self.tried.get(&address_of(peer));
            tried.is_some_and(|tried| tried.never_reached)
        };
        let lost = self.found.iter().filter(lost).map(|peer| peer.peer_id);
        lost.take(larder_proto::tracker::message::UNREACHABLE_MAX)
            .collect()
    }

    pub(super) fn order(&self, no: PeerNo, order: Order) {
        if let Some(link) = self.links.get(&no) {
            // Where the connection is gone, that is the next thing to be heard of it.
            let _ = link.orders.send(order);
        }
    }

    pub(super) fn order_all(&self, order: Order) {
        for link in self.links.values() {
            let _ = link.orders.send(order);
        }
    }

    /// Whether anything of a peer is wanted.
    pub(super) fn interest(&mut self, no: PeerNo, interested: bool, now: Time) {
        let Some(link) = self.links.get_mut(&no) else {
            return;
        };
        link.bored_since = (!interested).then_some(now);
        if interested && !link.told_interest {
            link.told_interest = true;
            let _ = link.orders.send(Order::Want(true));
        }
    }

    /// Tells those of whom nothing is wanted any more.
    pub(super) fn tell_bored(&mut self, now: Time) {
        for link in self.links.values_mut() {
            let is_bored = link
                .bored_since
                .is_some_and(|since| now >= since + BORED_AFTER);
            if is_bored && link.told_interest {
                link.told_interest = false;
                let _ = link.orders.send(Order::Want(false));
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        self.order_all(Order::Close);
        self.works.clear();
    }

    /// Whether nothing has been wanted for so long.
    pub(super) fn is_idle_for(&mut self, patience: Duration, now: Time) -> bool {
        if self.picker.deadline().is_some() || !self.works.is_empty() {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert(now);
        now >= since + patience
    }

    /// Whether anything is wanted.
    pub(super) fn wants(&self) -> bool {
        self.picker.deadline().is_some()
    }

    /// When to look again though nothing happens.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        let bored = self.links.values().filter(|link| link.told_interest);
        let bored = bored.filter_map(|link| Some(link.bored_since? + BORED_AFTER));
        let again = self.tried.values().map(|tried| tried.not_before);
        let again = again.filter(|at| *at > now && self.wants()).min();
        [self.picker.deadline(), bored.min(), again]
            .into_iter()
            .flatten()
            .min()
    }
}

pub(super) fn address_of(peer: &PeerAddress) -> SocketAddr {
    SocketAddr::new(peer.address.to_canonical(), peer.port)
}
