//! What a party does: it opens connections, hears what comes of them, and does what the picker says. The rule: everything
//! that is heard becomes an event of the picker's, and nothing else does.

use super::table::{Link, Table, address_of};
use super::{NEAR_HEAD_START, Party};
use crate::download::{Inner, Standing};
use crate::links::Direction;
use crate::pace::Pace;
use crate::peer::{self, News, Order, Over, Target};
use crate::swarm::Shared;
use larder_content::PieceId;
use larder_proto::policy::{Role, mode};
use larder_proto::swarm::bans::Verdict;
use larder_proto::swarm::picker::{Action, Event, Newcomer, PeerNo, Who};
use larder_proto::swarm::session::{Limits, Why};
use larder_proto::swarm::{Bitfield, Block, PeerId};
use larder_proto::time::Time;
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::message::{PeerAddress, PeerType};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

/// Connections of one content at a time, those that are being opened among them.
const LINKS_MAX: usize = 24;

/// The same of all contents together: each holds about 300 KiB.
const LINKS_MAX_OF_ALL: usize = 64;

/// Connections that are kept where nothing is wanted at the moment: whoever takes pieces one by one wants the next soon.
const WARM_LINKS: usize = 4;

/// How long opening a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// A client that waits gives up this much later than its piece is due: pieces are due early, so that there is time for a
/// second attempt.
const PATIENCE_AFTER_DUE: Duration = Duration::from_secs(10);

const NEVER_DUE: Time = Time::from_micros(u64::MAX);

impl Party {
    /// Opens connections to those who are said to have the content.
    pub(super) fn connect_more(self: &Arc<Self>, table: &mut Table) {
        let (Some(shared), Some(download)) = (self.shared.upgrade(), self.download.upgrade())
        else {
            return;
        };
        let now = shared.clock.now();
        self.connect_by_links(table, &shared, &download);
        let settings = shared.settings.load();
        let download_mode = settings.policies.mode;
        let links_max = if table.wants() { LINKS_MAX } else { WARM_LINKS };
        while table.common_links() < links_max
            && shared.links.load(Ordering::Relaxed) < LINKS_MAX_OF_ALL
        {
            let bans = shared.bans.lock();
            let allows = |address: SocketAddr, id: PeerId| {
                let who = Who {
                    id,
                    address: address.ip(),
                };
                id != shared.me && bans.not_before(who, now).is_none()
            };
            let Some(found) = table.next_found(now, allows) else {
                return;
            };
            drop(bans);
            let address = address_of(&found);
            let is_near = found.peer_type == PeerType::Lan;
            // Where links are named, whoever is elsewhere is asked over them and not otherwise.
            let by_links_only = !settings.own_store && !settings.links.is_empty();
            let cost = settings
                .links
                .used_of(address.ip())
                .map(|line| line.link().cost);
            if is_near || (by_links_only && cost.is_some()) {
                let cost = cost.filter(|_| !is_near);
                self.connect(table, (&shared, &download), &found, cost);
            } else if !by_links_only && mode::peers_with(download_mode, found.peer_type) {
                self.connect(table, (&shared, &download), &found, None);
            } else {
                table.tried(address, now + Duration::from_secs(3600), true);
            }
        }
    }

    /// Opens connections to the other ends of links. Whether anybody there has the content they say themselves.
    fn connect_by_links(
        self: &Arc<Self>,
        table: &mut Table,
        shared: &Arc<Shared>,
        download: &Inner,
    ) {
        let settings = shared.settings.load();
        if settings.own_store {
            return;
        }
        let now = shared.clock.now();
        for (line, address) in settings.links.ends(now) {
            let room = shared.links.load(Ordering::Relaxed) < LINKS_MAX_OF_ALL;
            if !room || !table.may_try(address, now) {
                continue;
            }
            let end = PeerAddress {
                peer_id: Guid([0; 16]),
                address: address.ip(),
                port: address.port(),
                peer_type: PeerType::Group,
                preferred: true,
            };
            let cost = Some(line.link().cost);
            self.connect(table, (shared, download), &end, cost);
        }
    }

    /// Opens a connection. Whatever comes of it, its address is not the next to be tried.
    fn connect(
        self: &Arc<Self>,
        table: &mut Table,
        (shared, download): (&Arc<Shared>, &Inner),
        found: &PeerAddress,
        link_cost: Option<u32>,
    ) {
        let address = address_of(found);
        let now = shared.clock.now();
        match link_cost {
            Some(_) => table.tried_on_link(address, now, true),
            None => table.tried(address, now, true),
        }
        let no = table.number();
        let (orders, taken) = unbounded_channel();
        let link = Link {
            address,
            kind: found.peer_type,
            preferred: found.preferred,
            link_cost,
            orders,
            who: None,
            unchoked: false,
            pieces: Bitfield::new(self.content.pieces()),
            told_interest: false,
            bored_since: None,
            pace: Pace::new(now),
        };
        table.links.insert(no, link);
        shared.links.fetch_add(1, Ordering::Relaxed);
        let target = Target {
            address,
            me: shared.me,
            swarm: self.id,
            length: self.content.length(),
            have: table.picker.here().clone(),
            mark: shared.mark(&self.id),
            connect_timeout: CONNECT_WITHIN,
            settings: Arc::clone(&shared.settings),
        };
        // Who is slow is the picker's to tell, which knows what else is wanted.
        let limits = Limits {
            request: Duration::from_secs(60),
            ..Limits::default()
        };
        let priority = shared.settings.load().priority;
        let by_line = found.peer_type != PeerType::Lan;
        let mut allowance = download.bandwidth().allowance(priority, by_line);
        allowance.belongs_to(self.content.no.get(), priority);
        let (party, clock) = (Arc::clone(self), shared.clock);
        tokio::spawn(async move {
            let tell = |news: News<'_>| party.hear(no, news);
            peer::run(target, clock, limits, taken, allowance, tell).await;
        });
    }

    /// Something has happened on a connection.
    fn hear(self: &Arc<Self>, no: PeerNo, news: News<'_>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let now = shared.clock.now();
        let mut table = self.table.lock();
        let table = &mut *table;
        let mut came: &[u8] = &[];
        let event = match news {
            News::Open { peer, round_trip } => {
                let is_there = |link: &Link| link.who.is_some_and(|who| who.id == peer);
                let is_twin = table.links.values().any(is_there);
                let Some(link) = table.links.get_mut(&no) else {
                    return;
                };
                if is_twin {
                    // By one address it is on a link, by another it is not.
                    let address = link.address;
                    table.order(no, Order::Close);
                    return table.is_twin(address, now);
                }
                let who = Who {
                    id: peer,
                    address: link.address.ip(),
                };
                link.who = Some(who);
                if shared.bans.lock().not_before(who, now).is_some() {
                    return table.order(no, Order::Close);
                }
                link.pace = Pace::new(now);
                shared.figures.peer_links_opened.increment(1);
                shared.figures.peer_links(link.kind).increment(1.0);
                let new = Newcomer {
                    who,
                    kind: link.kind,
                    preferred: link.preferred,
                    round_trip,
                    link_cost: link.link_cost,
                };
                if link.link_cost.is_some() {
                    if let Some(line) = shared.settings.load().links.of(link.address.ip()) {
                        line.reached(link.address);
                    }
                    // What lands there is to find the door open.
                    table.interest(no, true, now);
                    table.interest(no, false, now);
                }
                Event::Joined(no, new)
            }
            News::Pieces(pieces) => {
                if let Some(link) = table.links.get_mut(&no) {
                    link.pieces.clone_from(&pieces);
                }
                if pieces.has_more_than(table.picker.here()) {
                    // What is wanted next is to find the door open.
                    table.interest(no, true, now);
                    table.interest(no, false, now);
                }
                Event::HasPieces(no, pieces)
            }
            News::Has(piece) => {
                if let Some(link) = table.links.get_mut(&no) {
                    link.pieces.set(piece);
                }
                Event::Has(no, piece)
            }
            News::Coming(piece) => Event::Coming(no, piece),
            News::Unchoked | News::Choked => {
                let unchoked = matches!(news, News::Unchoked);
                if let Some(link) = table.links.get_mut(&no) {
                    link.unchoked = unchoked;
                }
                if unchoked {
                    Event::Unchoked(no)
                } else {
                    Event::Choked(no)
                }
            }
            News::Block(block, bytes) => {
                came = bytes;
                self.count(table, &shared, no, block);
                Event::Received(no, block)
            }
            News::Late(block) => Event::Late(no, block),
            News::Closed(over) => {
                self.closed(table, &shared, no, over);
                // Others may have its place.
                self.bell.notify_one();
                Event::Left(no)
            }
        };
        if came.is_empty() {
            self.look_at_peers(table);
        }
        self.put_to_picker(table, &shared, vec![event], came, now);
        self.release_if_alone(table, now);
    }

    /// A block has come, of use or not.
    fn count(&self, table: &mut Table, shared: &Shared, no: PeerNo, block: Block) {
        let Some(link) = table.links.get_mut(&no) else {
            return;
        };
        link.pace.went(u64::from(block.len), shared.clock.now());
        let (kind, address) = (link.kind, link.address);
        shared
            .figures
            .peer_bytes(kind)
            .increment(u64::from(block.len));
        if link.link_cost.is_some()
            && let Some(line) = shared.settings.load().links.of(address.ip())
        {
            line.went(Direction::In, u64::from(block.len));
        }
        table.good(address);
    }

    /// A block is of use.
    fn keep(table: &mut Table, no: PeerNo, block: Block, bytes: &[u8]) {
        let Some(way) = table.links.get(&no).map(Link::way) else {
            return;
        };
        if let Some(work) = table.works.get_mut(&block.piece) {
            work.assembly.put(block.offset, bytes);
            work.from[way] += block.len;
            if let Some(job) = &work.job {
                job.received(block.len);
            }
        }
    }

    fn closed(&self, table: &mut Table, shared: &Shared, no: PeerNo, over: &Over) {
        let Some(link) = table.links.remove(&no) else {
            return;
        };
        shared.links.fetch_sub(1, Ordering::Relaxed);
        let reached = !matches!(over, Over::NotConnected(_));
        let peer = crate::clients::name(link.address.ip(), shared.settings.load().privacy);
        tracing::debug!(%peer, content = %self.id, why = %over, "a connection to a peer has ended");
        let now = shared.clock.now();
        if link.who.is_some() {
            shared.figures.peer_links(link.kind).decrement(1.0);
            shared.has_ended(link.giver(self.content.no, now));
        }
        if link.link_cost.is_none() {
            return table.tried(link.address, now, reached);
        }
        table.tried_on_link(link.address, now, reached);
        if let Some(line) = shared.settings.load().links.of(link.address.ip()) {
            match over {
                Over::NotConnected(why) => line.not_reached(link.address, now, why),
                Over::Session(Why::Itself) => line.is_itself(link.address, now),
                Over::Session(_) => {}
            }
        }
    }

    /// Nobody is there to leave anything to, and nobody is to be expected. Who looks around is told of nobody where others
    /// begin at the same moment: its picker sees to what becomes of that.
    pub(super) fn release_if_alone(&self, table: &Table, now: Time) {
        if table.links.is_empty()
            && now >= self.began + self.look_around
            && let Some(download) = self.download.upgrade()
        {
            download.release_http(self.content.no);
        }
    }

    /// What has changed about what is wanted is put to the picker.
    pub(super) fn hear_news(&self, table: &mut Table) {
        let (Some(shared), Some(download)) = (self.shared.upgrade(), self.download.upgrade())
        else {
            return;
        };
        let is_device = shared.settings.load().own_store;
        let (mut events, mut waiting) = (Vec::new(), Vec::new());
        for (piece, standing) in download.news(self.content.no) {
            match standing {
                Standing::Waits(_) if table.for_want_of_memory.contains(&piece) => {}
                Standing::Waits(want) => {
                    let patience = if want.background {
                        Duration::ZERO
                    } else {
                        PATIENCE_AFTER_DUE
                    };
                    waiting.push(piece);
                    // What a device downloads is urgent to nobody: its picker has an order of its own.
                    let deadline = if is_device {
                        NEVER_DUE
                    } else {
                        want.deadline + patience
                    };
                    events.push(Event::Wanted {
                        piece,
                        deadline,
                        background: want.background,
                    });
                }
                Standing::UnderWay => {
                    let ours = table.works.get(&piece).is_some_and(|w| w.job.is_some());
                    if !ours {
                        table.works.remove(&piece);
                        events.push(Event::AtOrigin(piece));
                        if !shared.settings.load().links.is_empty() {
                            let content = self.content.no;
                            shared.store.tell_coming(PieceId { content, piece });
                        }
                    }
                }
                Standing::Landed => {
                    table.works.remove(&piece);
                    table.order_all(Order::Landed(piece));
                    events.push(Event::Landed(piece));
                }
                Standing::Gone => {
                    table.works.remove(&piece);
                    events.push(Event::Unwanted(piece));
                }
            }
        }
        if events.is_empty() {
            return;
        }
        let now = shared.clock.now();
        self.put_to_picker(table, &shared, events, &[], now);
        if self.has_links.load(Ordering::Relaxed) {
            // They were held until it was clear what the links have: now it is.
            let free = |piece: &u32| !table.picker.is_left(*piece, now) && !table.is_near(*piece);
            let free: Vec<u32> = waiting.into_iter().filter(free).collect();
            download.let_go(self.content.no, &free);
        }
    }

    pub(super) fn tick(&self, table: &mut Table, now: Time) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        table.tell_bored(now);
        if !table.for_want_of_memory.is_empty()
            && let Some(download) = self.download.upgrade()
        {
            let pieces = std::mem::take(&mut table.for_want_of_memory);
            download.look_again(self.content.no, pieces);
            self.hear_news(table);
        }
        if table.picker.deadline().is_some_and(|at| at <= now) {
            self.put_to_picker(table, &shared, vec![Event::Tick], &[], now);
        }
    }

    /// Puts events to the picker, and does what it says. `came`: the bytes of a block that came just now.
    fn put_to_picker(
        &self,
        table: &mut Table,
        shared: &Shared,
        events: Vec<Event>,
        came: &[u8],
        now: Time,
    ) {
        let mut events = VecDeque::from(events);
        while let Some(event) = events.pop_front() {
            for action in table.picker.apply(event, now) {
                if let Some(event) = self.act(table, shared, action, came, now) {
                    events.push_back(event);
                }
            }
        }
    }

    fn act(
        &self,
        table: &mut Table,
        shared: &Shared,
        action: Action,
        came: &[u8],
        now: Time,
    ) -> Option<Event> {
        match action {
            Action::Take(piece) => {
                return (!self.take(table, shared, piece)).then_some(Event::AtOrigin(piece));
            }
            Action::Ask(no, block) => table.order(no, Order::Ask(block)),
            Action::Keep(no, block) => Self::keep(table, no, block, came),
            Action::CallOff(no, block) => table.order(no, Order::CallOff(block)),
            Action::GiveBack(piece) => {
                if let Some(work) = table.works.get_mut(&piece) {
                    work.job = None;
                }
            }
            Action::Discard(piece) => {
                if !self.begin_again(table, shared, piece) {
                    return Some(Event::AtOrigin(piece));
                }
            }
            Action::Whole(piece) => return Some(self.prove(table, shared, piece)),
            Action::LeaveToPeers(piece, until) => {
                let until = self.left_until(table, shared, piece, until, now);
                if let Some(download) = self.download.upgrade() {
                    download.hold_http(self.content.no, piece, until);
                }
            }
            Action::LeaveToLink(piece, until) => {
                if let Some(download) = self.download.upgrade() {
                    download.hold_http(self.content.no, piece, until);
                }
            }
            Action::Wanted(no, piece) => table.order(no, Order::Wanted(piece)),
            Action::Interest(no, interested) => table.interest(no, interested, now),
            Action::Blame(who, pieces) => {
                let verdict = shared.bans.lock().bad(who, pieces, now);
                let banned = matches!(verdict, Verdict::Banned(_));
                shared.figures.peer_lies.increment(u64::from(pieces));
                let peer = crate::clients::name(who.address, shared.settings.load().privacy);
                tracing::warn!(%peer, id = %who.id, content = %self.id, pieces, banned, "a peer has sent what its hash does not prove");
            }
            Action::Drop(no) => table.order(no, Order::Close),
        }
        None
    }

    /// Until when a piece is left to peers. A device's own policies say so; where clients wait, a peer must be at hand.
    fn left_until(
        &self,
        table: &Table,
        shared: &Shared,
        piece: u32,
        until: Time,
        now: Time,
    ) -> Time {
        let settings = shared.settings.load();
        let policies = &settings.policies;
        if policies.role == Role::Device || until <= now {
            return until;
        }
        let delay = Duration::from_secs(policies.http_delay_s.of(settings.priority));
        let delayed = self.began + delay;
        let head_start = if table.is_near(piece) {
            now + NEAR_HEAD_START
        } else {
            Time::default()
        };
        let looked = self.began + self.look_around;
        until.min(delayed.max(head_start).max(looked))
    }
}
