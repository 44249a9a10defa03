//! The world of the simulation: time, lines, the origin and what goes wrong. The rule: one event after the other, by time
//! and then by the order in which they were caused, so that a seed gives one history.

use super::node::{Nature, Node, Pipe, length, piece_id, right};
use super::outcome::Outcome;
use super::plan::{Dice, Plan, mix};
use larder_content::ContentId;
use larder_content::span::piece_len;
use larder_proto::Time;
use larder_proto::fetch::Want;
use larder_proto::swarm::picker::{Event, PeerNo};
use larder_proto::swarm::{Block, PeerId};
use larder_proto::tracker::message::PeerType;
use larder_proto::tracker::state::{Limits, State};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

pub(crate) const LAN_DELAY: Duration = Duration::from_micros(300);
pub(crate) const WAN_DELAY: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Happens {
    /// A device begins, or comes back.
    Begin(usize),
    /// A device announces itself.
    Announce(usize, u32),
    /// A connection is open.
    Open(usize),
    /// A word arrives at the end of a connection.
    Told(usize, Word),
    /// A device's line is free for its next block.
    Sent(usize, u32),
    /// A block that crosses sites is at the other one.
    Crossed(usize, Block, u64),
    /// A block is there.
    Arrived(usize, Block, u64),
    /// Part of an HTTP answer is at the device's own line, or through it: the origin's next bytes, or a whole piece of
    /// the appliance's.
    PartCrossed(usize, u32, u64, u64, Option<u32>),
    Part(usize, u32, u64, u64, Option<u32>),
    /// An HTTP request failed.
    HttpFails(usize, u32, u64),
    /// An appliance is asked.
    AskAppliance(usize, usize, u32, u64),
    /// A device found out whether a piece is what it should be.
    Proved(usize, u32, u32),
    Wake(usize, u32),
    Crash(usize, bool),
    Cut(usize, bool),
    Restart,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Word {
    Interested(bool),
    Unchoke,
    Choke,
    Has(u32),
    Request(Block),
    Cancel(Block),
    Close,
}

/// A connection by which one downloads from another.
pub(crate) struct Conn {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) open: bool,
    pub(crate) closed: bool,
    pub(crate) kind: PeerType,
    pub(crate) asked: BTreeSet<Block>,
    pub(crate) requests: VecDeque<Block>,
    pub(crate) unchoked: bool,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) wan_in: Vec<Pipe>,
    pub(crate) wan_out: Vec<Pipe>,
    pub(crate) cut: Vec<bool>,
    pub(crate) state: State,
    pub(crate) dice: Dice,
    pub(crate) out: Outcome,
    pub(crate) by_id: HashMap<PeerId, usize>,
    queue: BinaryHeap<Reverse<(Time, u64, Happens)>>,
    caused: u64,
    left: usize,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(mix(plan.seed.wrapping_mul(77)));
        let mut nodes = Vec::new();
        for site in 0..plan.sites {
            if plan.appliances {
                nodes.push(Node::new(&plan, nodes.len(), site, Nature::Honest, true));
            }
            for _ in 0..plan.devices {
                let nature = if dice.percent(plan.liars as u64) {
                    match dice.below(4) {
                        0 => Nature::Poisons,
                        1 => Nature::PoisonsSome,
                        2 => Nature::Claims,
                        _ => Nature::Stalls,
                    }
                } else {
                    Nature::Honest
                };
                nodes.push(Node::new(&plan, nodes.len(), site, nature, false));
            }
        }
        let honest = |node: &&Node| node.nature == Nature::Honest && !node.is_appliance;
        let left = nodes.iter().filter(honest).count();
        let mut world = Self {
            now: Time::default(),
            conns: Vec::new(),
            wan_in: vec![Pipe::new(plan.wan_rate); plan.sites],
            wan_out: vec![Pipe::new(plan.wan_rate); plan.sites],
            cut: vec![false; plan.sites],
            state: State::new(Limits::default(), plan.seed),
            out: Outcome::default(),
            queue: BinaryHeap::new(),
            caused: 0,
            left,
            by_id: nodes
                .iter()
                .enumerate()
                .map(|(n, node)| (node.who.id, n))
                .collect(),
            nodes,
            dice,
            plan,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        for n in 0..self.nodes.len() {
            let first = self.nodes[n].is_appliance;
            let start = if first {
                0
            } else {
                100 + self.dice.below(self.plan.start_ms.max(1))
            };
            self.after(ms(start), Happens::Begin(n));
            if self.plan.churn && self.dice.percent(30) {
                let at = start + 2000 + self.dice.below(60_000);
                let politely = self.dice.percent(80);
                self.after(ms(at), Happens::Crash(n, politely));
                let back = at + 3000 + self.dice.below(40_000);
                self.after(ms(back), Happens::Begin(n));
            }
        }
        if self.plan.cuts {
            for site in 0..self.plan.sites {
                if self.dice.percent(40) {
                    let at = 5000 + self.dice.below(60_000);
                    self.after(ms(at), Happens::Cut(site, true));
                    let back = at + 2000 + self.dice.below(20_000);
                    self.after(ms(back), Happens::Cut(site, false));
                }
            }
        }
        if self.plan.restarts {
            for _ in 0..2 {
                let at = self.dice.below(80_000);
                self.after(ms(at), Happens::Restart);
            }
        }
    }

    pub(crate) fn after(&mut self, delay: Duration, what: Happens) {
        self.at(self.now + delay, what);
    }

    pub(crate) fn at(&mut self, at: Time, what: Happens) {
        self.caused += 1;
        self.queue.push(Reverse((at, self.caused, what)));
    }

    /// Lets everything happen until all who are honest have everything.
    pub(crate) fn run(mut self) -> Outcome {
        let limit = Time::default() + ms(self.plan.limit_ms);
        while self.left > 0
            && let Some(Reverse((at, _, what))) = self.queue.pop()
            && at < limit
        {
            self.now = at;
            self.out.events += 1;
            let seen = at.as_micros() ^ mix(code(&what));
            self.out.trace = mix(self.out.trace.wrapping_add(seen));
            self.happens(what);
        }
        self.count()
    }

    fn count(mut self) -> Outcome {
        let mut done: Vec<u64> = Vec::new();
        for (n, node) in self.nodes.iter().enumerate() {
            if node.is_appliance {
                self.out.wasted_bytes += node.picker.wasted_bytes() + node.late_bytes;
                self.out.peer_bytes += node.peer_bytes;
                continue;
            }
            if node.nature != Nature::Honest {
                continue;
            }
            match node.done {
                Some(at) => done.push(at.as_micros() / 1000),
                None => self.out.unfinished.push(n),
            }
            self.out.wasted_bytes += node.late_bytes;
            self.out.peer_bytes += node.peer_bytes;
            // All of it, and every block of it is right.
            if node.done.is_some() {
                assert_eq!(node.store.len(), self.plan.pieces as usize);
                for (piece, blocks) in &node.store {
                    for (nth, block) in (0..).zip(blocks) {
                        assert_eq!(*block, right(*piece, nth * self.plan.block_bytes));
                    }
                }
            }
        }
        done.sort_unstable();
        self.out.last_ms = done.last().copied().unwrap_or(0);
        self.out.median_ms = done.get(done.len() / 2).copied().unwrap_or(0);
        self.out.wan_in = self.wan_in.iter().map(|pipe| pipe.bytes).collect();
        self.out
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.nodes[a].site, self.nodes[b].site);
        a != b && (self.cut[a] || self.cut[b])
    }

    pub(crate) fn delay(&self, a: usize, b: usize) -> Duration {
        match self.nodes[a].site == self.nodes[b].site {
            true => LAN_DELAY,
            false => WAN_DELAY,
        }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Begin(n) => self.begin(n),
            Happens::Announce(n, life) => {
                if self.lives(n, life) {
                    self.announce(n);
                }
            }
            Happens::Open(conn) => self.opened(conn),
            Happens::Told(conn, word) => self.told(conn, word),
            Happens::Sent(n, life) => {
                if self.lives(n, life) {
                    self.nodes[n].sending = false;
                    self.send_next(n);
                }
            }
            Happens::Crossed(conn, block, tag) => {
                let to = self.conns[conn].from;
                let arrives = self.nodes[to].down.send(self.now, u64::from(block.len));
                self.at(arrives, Happens::Arrived(conn, block, tag));
            }
            Happens::Arrived(conn, block, tag) => self.arrived(conn, block, tag),
            Happens::PartCrossed(n, life, serial, bytes, piece) => {
                let arrives = self.nodes[n].down.send(self.now, bytes);
                self.at(arrives, Happens::Part(n, life, serial, bytes, piece));
            }
            Happens::Part(n, life, serial, bytes, piece) => {
                if self.lives(n, life) {
                    self.http_part(n, serial, bytes, piece);
                }
            }
            Happens::HttpFails(n, life, serial) => {
                if self.lives(n, life) {
                    self.http_fails(n, serial);
                }
            }
            Happens::AskAppliance(appliance, n, life, serial) => {
                self.ask_appliance(appliance, n, life, serial);
            }
            Happens::Proved(n, life, piece) => {
                if self.lives(n, life) {
                    self.proved(n, piece);
                }
            }
            Happens::Wake(n, life) => {
                if self.lives(n, life) {
                    self.wake(n);
                }
            }
            Happens::Crash(n, politely) => self.crash(n, politely),
            Happens::Cut(site, cut) => self.cut_off(site, cut),
            Happens::Restart => {
                let seed = self.dice.roll();
                self.state = State::new(Limits::default(), seed);
            }
        }
    }

    pub(crate) fn lives(&self, n: usize, life: u32) -> bool {
        self.nodes[n].alive && self.nodes[n].life == life
    }

    fn begin(&mut self, n: usize) {
        if self.nodes[n].alive && self.nodes[n].started {
            return;
        }
        self.nodes[n].begin(&self.plan, self.now);
        let life = self.nodes[n].life;
        if self.plan.peers {
            self.announce(n);
        }
        let node = &self.nodes[n];
        if node.nature == Nature::Honest && !node.is_appliance {
            let lacks = |piece: &u32| !node.store.contains_key(piece);
            let missing: Vec<u32> = (0..self.plan.pieces).filter(lacks).collect();
            let first = missing.first().copied().filter(|_| self.plan.peers);
            if let Some(first) = first {
                self.find_out(n, first);
            }
            for piece in missing {
                if Some(piece) != first {
                    self.want(n, piece, Time::from_micros(u64::MAX), true);
                }
            }
            self.pump(n);
        }
        self.after(ms(1), Happens::Wake(n, life));
    }

    /// What the object is it asks the origin, or the appliance, by one of its pieces, before it looks for peers.
    fn find_out(&mut self, n: usize, first: u32) {
        let want = Want {
            id: piece_id(first),
            len: piece_len(length(&self.plan), first),
            deadline: Time::from_micros(u64::MAX),
            background: true,
            http_not_before: Time::default(),
        };
        if let Some(job) = self.nodes[n].scheduler.adopt(self.now, &[want]) {
            self.ask(n, job);
        }
    }

    pub(crate) fn want(&mut self, n: usize, piece: u32, deadline: Time, background: bool) {
        self.nodes[n].scheduler.want(Want {
            id: piece_id(piece),
            len: piece_len(length(&self.plan), piece),
            deadline,
            background,
            // Whoever has peers is told at once how long it really is.
            http_not_before: Time::default(),
        });
        if self.plan.peers {
            self.tell(
                n,
                Event::Wanted {
                    piece,
                    deadline,
                    background,
                },
            );
        }
    }

    fn crash(&mut self, n: usize, politely: bool) {
        let node = &mut self.nodes[n];
        if !node.alive || !node.started {
            return;
        }
        // Half of what it had of a piece is gone; what is whole stays on disk.
        node.alive = false;
        node.started = true;
        node.halves.clear();
        node.at_peers.clear();
        node.http.clear();
        node.turns.clear();
        if node.done.is_none() {
            self.out.wasted_bytes += node.picker.wasted_bytes();
        }
        let conns: Vec<usize> = node.out.iter().chain(&node.inn).copied().collect();
        for conn in conns {
            self.close(conn);
        }
        if politely {
            self.leave(n);
        }
    }

    fn cut_off(&mut self, site: usize, cut: bool) {
        self.cut[site] = cut;
        if !cut {
            return;
        }
        let crossing: Vec<usize> = (0..self.conns.len())
            .filter(|conn| {
                let conn = &self.conns[*conn];
                !conn.closed && self.is_cut(conn.from, conn.to)
            })
            .collect();
        for conn in crossing {
            self.close(conn);
        }
        for n in 0..self.nodes.len() {
            if self.nodes[n].site == site && self.goes_outside(n) {
                let serials: Vec<u64> = self.nodes[n].http.iter().map(|h| h.job.serial).collect();
                let life = self.nodes[n].life;
                for serial in serials {
                    // It takes a while until that is noticed.
                    self.after(ms(3000), Happens::HttpFails(n, life, serial));
                }
            }
        }
    }

    /// Whether a device's HTTP requests leave its site.
    pub(crate) fn goes_outside(&self, n: usize) -> bool {
        !self.plan.appliances || self.nodes[n].is_appliance
    }

    /// A piece is here and proved, from wherever.
    pub(crate) fn landed(&mut self, n: usize, piece: u32, blocks: Vec<u64>) {
        self.nodes[n].store.insert(piece, blocks);
        if self.plan.peers {
            self.tell(n, Event::Landed(piece));
            let followers: Vec<usize> = self.nodes[n].inn.iter().copied().collect();
            for conn in followers {
                if self.conns[conn].open {
                    self.after(LAN_DELAY, Happens::Told(conn, Word::Has(piece)));
                }
            }
        }
        if self.nodes[n].is_appliance {
            self.serve(n, piece);
        }
        let node = &mut self.nodes[n];
        if node.store.len() == self.plan.pieces as usize && node.done.is_none() {
            node.done = Some(self.now);
            self.out.wasted_bytes += if node.is_appliance {
                0
            } else {
                node.picker.wasted_bytes()
            };
            if !node.is_appliance {
                self.left -= 1;
            }
        }
    }

    fn proved(&mut self, n: usize, piece: u32) {
        let Some(blocks) = self.nodes[n].halves.remove(&piece) else {
            return;
        };
        let blocks: Vec<u64> = blocks
            .into_iter()
            .map(|block| block.expect("whole"))
            .collect();
        let block_bytes = self.plan.block_bytes;
        let good = (0..)
            .zip(&blocks)
            .all(|(nth, tag)| *tag == right(piece, nth * block_bytes));
        if good {
            self.nodes[n].scheduler.landed(piece_id(piece));
            self.nodes[n].at_peers.remove(&piece);
            self.landed(n, piece, blocks);
        } else {
            self.tell(n, Event::Bad(piece));
        }
        self.pump(n);
    }

    fn wake(&mut self, n: usize) {
        let now = self.now;
        self.nodes[n].wake = None;
        if self.nodes[n]
            .picker
            .deadline()
            .is_some_and(|due| due <= now)
        {
            self.tell(n, Event::Tick);
        }
        self.choker_turns(n);
        // Nobody is told 503 here: what is late is waited for.
        for id in self.nodes[n].scheduler.overdue(now) {
            self.nodes[n].scheduler.extend(id, now + ms(7000));
        }
        self.pump(n);
    }

    /// Sees to it that a device is woken when its next deadline comes.
    pub(crate) fn plan_wake(&mut self, n: usize) {
        let node = &self.nodes[n];
        let wakes = [
            node.picker.deadline(),
            node.scheduler.next_wake(),
            node.choker.deadline(),
        ];
        let Some(next) = wakes.into_iter().flatten().min() else {
            return;
        };
        // Not twice at the same moment.
        let next = next.max(self.now + Duration::from_micros(100));
        if node
            .wake
            .is_none_or(|planned| next < planned || planned < self.now)
        {
            let life = node.life;
            self.nodes[n].wake = Some(next);
            self.at(next, Happens::Wake(n, life));
        }
    }

    pub(crate) fn content() -> ContentId {
        ContentId([7; 32])
    }

    pub(crate) fn peer_no(conn: usize) -> PeerNo {
        PeerNo(conn as u64)
    }
}

/// Any event as a number.
fn code(what: &Happens) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(what).hash(&mut hasher);
    match *what {
        Happens::Begin(n) | Happens::Open(n) => n.hash(&mut hasher),
        Happens::Told(conn, word) => (conn, std::mem::discriminant(&word)).hash(&mut hasher),
        Happens::Arrived(conn, block, tag) => (conn, block, tag).hash(&mut hasher),
        Happens::Proved(n, _, piece) => (n, piece).hash(&mut hasher),
        Happens::Part(n, _, serial, bytes, _) => (n, serial, bytes).hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}
