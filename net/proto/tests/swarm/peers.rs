//! What devices do with each other in the simulation: a thin stand-in for the session, over the real picker, choker,
//! bans and coordinator. The rule: the world checks every request against what its peer said.

use super::node::{Nature, piece_id};
use super::world::{Conn, Happens, Word, World, ms};
use larder_proto::fetch::Failure;
use larder_proto::swarm::bans::Verdict;
use larder_proto::swarm::choker::Told;
use larder_proto::swarm::picker::{Action, Event, Newcomer};
use larder_proto::swarm::{Block, PeerId};
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::member::Joining;
use larder_proto::tracker::message::{DownloadMode, JoinEvent, JoinRequest};
use larder_proto::tracker::site::Sites;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// So often a device announces itself.
const ANNOUNCED_MS: u64 = 20_000;

/// How long it takes to see that a piece is what it should be.
const PROVED: Duration = Duration::from_millis(2);

impl World {
    fn join_request(&self, n: usize) -> (JoinRequest, IpAddr) {
        let node = &self.nodes[n];
        // Where there is an appliance, it alone meets those of other sites.
        let meets = self.plan.sites_meet && (node.is_appliance || !self.plan.appliances);
        let mode = match meets {
            true => DownloadMode::Group,
            false => DownloadMode::Lan,
        };
        let mut join = JoinRequest::new(Self::content(), Guid(node.who.id.0), 7680, mode);
        join.group_id = meets.then_some(Guid([9; 16]));
        join.reported_ip = vec![node.who.address];
        join.peers_wanted = u16::try_from(2 * self.plan.connections)
            .expect("few")
            .min(100);
        join.preferred = node.is_appliance;
        let lacks = node.nature == Nature::Honest && node.done.is_none();
        join.left = Some(u64::from(lacks));
        join.upload_connections = u16::try_from(node.inn.len()).expect("few");
        join.unreachable = node
            .unreachable
            .iter()
            .map(|id| Guid(id.0))
            .take(32)
            .collect();
        if !lacks {
            join.join_request_event = JoinEvent::Completed;
        }
        let site = u8::try_from(node.site).expect("few");
        (join, IpAddr::V4(Ipv4Addr::new(198, 51, site, 1)))
    }

    /// A device tells the coordinator that it is there, and connects to those it is told of.
    pub(crate) fn announce(&mut self, n: usize) {
        let life = self.nodes[n].life;
        if self.cut[self.nodes[n].site] {
            self.after(ms(5000), Happens::Announce(n, life));
            return;
        }
        let (join, seen) = self.join_request(n);
        // Its site is the address that it is seen at; across sites they reach each other by named links.
        let joining = Joining::of(&join, seen, &Sites::default());
        let seed = self.dice.roll();
        let told = self
            .state
            .join(&joining, self.now, seed)
            .expect("there is room");
        self.nodes[n].unreachable.clear();
        let mut lonely = true;
        for peer in told {
            self.out.handed += 1;
            lonely = false;
            let id = PeerId(peer.peer_id.0);
            let to = self.number_of(id);
            if !self.nodes[to].alive {
                self.out.handed_dead += 1;
            }
            let node = &self.nodes[n];
            let is_known = node.out.iter().any(|conn| self.conns[*conn].to == to);
            let banned = node.bans.not_before(self.nodes[to].who, self.now).is_some();
            let enough = node.out.len() >= self.plan.connections;
            if is_known || banned || enough || node.done.is_some() || node.nature != Nature::Honest
            {
                continue;
            }
            self.connect(n, to, peer.peer_type);
        }
        // Who has just begun asks again soon, as others may have begun at the same time; who has few peers, too.
        let node = &mut self.nodes[n];
        node.announced += 1;
        let few = lonely || node.out.len() < 3;
        let next = match node.announced {
            _ if node.done.is_some() => ANNOUNCED_MS,
            1 => 700,
            2 => 2000,
            _ if few => 3000,
            _ => ANNOUNCED_MS,
        };
        self.after(ms(next), Happens::Announce(n, life));
    }

    fn number_of(&self, id: PeerId) -> usize {
        self.by_id[&id]
    }

    pub(crate) fn leave(&mut self, n: usize) {
        let (join, seen) = self.join_request(n);
        let site = Joining::of(&join, seen, &Sites::default()).room.site;
        self.state.leave(Self::content(), join.peer_id, site);
    }

    fn connect(&mut self, from: usize, to: usize, kind: larder_proto::tracker::message::PeerType) {
        let conn = self.conns.len();
        self.conns.push(Conn {
            from,
            to,
            open: false,
            closed: false,
            kind,
            asked: BTreeSet::new(),
            requests: VecDeque::new(),
            unchoked: false,
        });
        self.nodes[from].out.insert(conn);
        // Three ways: SYN, its answer, and the handshakes.
        let delay = 3 * self.delay(from, to);
        self.after(delay, Happens::Open(conn));
    }

    pub(crate) fn opened(&mut self, conn: usize) {
        let (from, to) = (self.conns[conn].from, self.conns[conn].to);
        if self.conns[conn].closed {
            return;
        }
        if !self.nodes[to].alive || !self.nodes[to].started || self.is_cut(from, to) {
            let id = self.nodes[to].who.id;
            self.nodes[from].unreachable.push(id);
            self.close(conn);
            return;
        }
        self.conns[conn].open = true;
        self.nodes[to].inn.insert(conn);
        let newcomer = Newcomer {
            who: self.nodes[to].who,
            kind: self.conns[conn].kind,
            preferred: self.nodes[to].is_appliance,
            round_trip: 2 * self.delay(from, to),
            link_cost: None,
        };
        let pieces = self.nodes[to].says(&self.plan);
        let no = Self::peer_no(conn);
        self.tell(from, Event::Joined(no, newcomer));
        self.tell(from, Event::HasPieces(no, pieces));
        self.pump(from);
    }

    /// Ends a connection, on both sides.
    pub(crate) fn close(&mut self, conn: usize) {
        if self.conns[conn].closed {
            return;
        }
        self.conns[conn].closed = true;
        let was_open = std::mem::take(&mut self.conns[conn].open);
        let (from, to) = (self.conns[conn].from, self.conns[conn].to);
        self.conns[conn].asked.clear();
        self.conns[conn].requests.clear();
        self.nodes[from].out.remove(&conn);
        self.nodes[to].inn.remove(&conn);
        let mut told = Vec::new();
        self.nodes[to].choker.gone(conn, self.now, &mut told);
        self.choker_told(to, told);
        if was_open && self.nodes[from].alive {
            self.tell(from, Event::Left(Self::peer_no(conn)));
            self.pump(from);
        }
    }

    pub(crate) fn told(&mut self, conn: usize, word: Word) {
        if !self.conns[conn].open {
            return;
        }
        let (from, to) = (self.conns[conn].from, self.conns[conn].to);
        let no = Self::peer_no(conn);
        match word {
            Word::Interested(wants) => {
                let mut told = Vec::new();
                self.nodes[to]
                    .choker
                    .interested(conn, wants, self.now, &mut told);
                self.choker_told(to, told);
                self.pump(to);
            }
            Word::Unchoke => {
                self.conns[conn].unchoked = true;
                self.tell(from, Event::Unchoked(no));
                self.pump(from);
            }
            Word::Choke => {
                self.conns[conn].unchoked = false;
                self.conns[conn].asked.clear();
                self.tell(from, Event::Choked(no));
                self.pump(from);
            }
            Word::Has(piece) => {
                self.tell(from, Event::Has(no, piece));
            }
            Word::Request(block) => {
                let has = self.nodes[to].says(&self.plan).has(block.piece);
                assert!(has, "a request for what {to} does not have");
                if self.conns[conn].requests.is_empty() {
                    self.nodes[to].turns.push_back(conn);
                }
                self.conns[conn].requests.push_back(block);
                self.send_next(to);
            }
            Word::Cancel(block) => {
                self.conns[conn].requests.retain(|asked| *asked != block);
            }
            Word::Close => self.close(conn),
        }
    }

    /// A device's line takes the next block, of each connection one in turn.
    pub(crate) fn send_next(&mut self, n: usize) {
        while !self.nodes[n].sending
            && let Some(conn) = self.nodes[n].turns.pop_front()
        {
            let Some(block) = self.conns[conn].requests.pop_front() else {
                continue;
            };
            if !self.conns[conn].requests.is_empty() {
                self.nodes[n].turns.push_back(conn);
            }
            let Some(tag) = self.nodes[n].sends(block) else {
                continue;
            };
            let bytes = u64::from(block.len);
            let to = self.conns[conn].from;
            let (here, there) = (self.nodes[n].site, self.nodes[to].site);
            let sent = self.nodes[n].up.send(self.now, bytes);
            self.nodes[n].sending = true;
            let life = self.nodes[n].life;
            self.at(sent, Happens::Sent(n, life));
            if here == there {
                let arrives = self.nodes[to]
                    .down
                    .send(sent + super::world::LAN_DELAY, bytes);
                self.at(arrives, Happens::Arrived(conn, block, tag));
            } else {
                let out = self.wan_out[here].send(sent, bytes);
                let crossed = self.wan_in[there].send(out + super::world::WAN_DELAY, bytes);
                self.out.inter_site_bytes += bytes;
                self.at(crossed, Happens::Crossed(conn, block, tag));
            }
        }
    }

    pub(crate) fn arrived(&mut self, conn: usize, block: Block, tag: u64) {
        if !self.conns[conn].open {
            return;
        }
        let n = self.conns[conn].from;
        let bytes = u64::from(block.len);
        self.nodes[n].peer_bytes += bytes;
        if !self.conns[conn].asked.remove(&block) {
            // Called off, but on its way already.
            self.nodes[n].late_bytes += bytes;
            return;
        }
        self.nodes[n].just_came = Some(tag);
        self.tell(n, Event::Received(Self::peer_no(conn), block));
        self.nodes[n].just_came = None;
        self.pump(n);
    }

    /// Tells a picker what happened, and does what it wants done.
    pub(crate) fn tell(&mut self, n: usize, event: Event) {
        let now = self.now;
        let mut todo: VecDeque<Action> = self.nodes[n].picker.apply(event, now).into();
        while let Some(action) = todo.pop_front() {
            match action {
                Action::Take(piece) => {
                    let job = self.nodes[n].scheduler.take_for_peer(now, piece_id(piece));
                    match job {
                        Some(job) => _ = self.nodes[n].at_peers.insert(piece, job),
                        None => {
                            todo.extend(self.nodes[n].picker.apply(Event::AtOrigin(piece), now))
                        }
                    }
                }
                Action::GiveBack(piece) => {
                    if let Some(job) = self.nodes[n].at_peers.remove(&piece) {
                        self.nodes[n].scheduler.failed(now, &job, Failure::Broken);
                    }
                }
                Action::LeaveToPeers(piece, until) | Action::LeaveToLink(piece, until) => {
                    self.nodes[n].scheduler.hold_http(piece_id(piece), until);
                }
                Action::Ask(no, block) => {
                    let conn = usize::try_from(no.0).expect("small");
                    assert!(self.conns[conn].unchoked && self.conns[conn].open);
                    self.conns[conn].asked.insert(block);
                    self.say(conn, Word::Request(block));
                }
                Action::CallOff(no, block) => {
                    let conn = usize::try_from(no.0).expect("small");
                    self.conns[conn].asked.remove(&block);
                    self.say(conn, Word::Cancel(block));
                }
                Action::Keep(_, block) => {
                    let tag = self.nodes[n].just_came.expect("it has just come");
                    let nth = (block.offset / self.plan.block_bytes) as usize;
                    let len = larder_content::span::piece_len(
                        super::node::length(&self.plan),
                        block.piece,
                    );
                    let blocks = len.div_ceil(self.plan.block_bytes) as usize;
                    let half = self.nodes[n].halves.entry(block.piece);
                    half.or_insert_with(|| vec![None; blocks])[nth] = Some(tag);
                }
                Action::Discard(piece) => _ = self.nodes[n].halves.remove(&piece),
                Action::Whole(piece) => {
                    let life = self.nodes[n].life;
                    self.after(PROVED, Happens::Proved(n, life, piece));
                }
                Action::Wanted(..) => panic!("nobody is at the other end of a link here"),
                Action::Interest(no, wants) => {
                    let conn = usize::try_from(no.0).expect("small");
                    self.say(conn, Word::Interested(wants));
                }
                Action::Blame(who, pieces) => {
                    let liar = self.number_of(who.id);
                    let poisons = matches!(
                        self.nodes[liar].nature,
                        Nature::Poisons | Nature::PoisonsSome
                    );
                    assert!(poisons, "{liar} is innocent");
                    *self.out.bad.entry((n, liar)).or_default() += pieces;
                    if let Verdict::Banned(_) = self.nodes[n].bans.bad(who, pieces, now) {
                        self.out.bans += 1;
                    }
                    self.nodes[n].unreachable.push(who.id);
                }
                Action::Drop(no) => {
                    let conn = usize::try_from(no.0).expect("small");
                    self.after(Duration::ZERO, Happens::Told(conn, Word::Close));
                }
            }
        }
    }

    /// Says something by a connection, to its other end.
    fn say(&mut self, conn: usize, word: Word) {
        let delay = self.delay(self.conns[conn].from, self.conns[conn].to);
        self.after(delay, Happens::Told(conn, word));
    }

    pub(crate) fn choker_turns(&mut self, n: usize) {
        let mut told = Vec::new();
        self.nodes[n].choker.tick(self.now, &mut told);
        self.choker_told(n, told);
    }

    fn choker_told(&mut self, n: usize, told: Vec<Told<usize>>) {
        for told in told {
            match told {
                Told::Unchoke(conn) => self.say(conn, Word::Unchoke),
                Told::Choke(conn) => {
                    // What it asked for and has not been begun is forgotten.
                    self.conns[conn].requests.clear();
                    self.say(conn, Word::Choke);
                }
            }
        }
        self.plan_wake(n);
    }
}
