//! One simulated device: the real picker, scheduler, choker and bans, a store of numbers in place of bytes, and its
//! connections. The rule: a device knows what it was told, and nothing else of the world.

use super::plan::{Dice, Plan, mix};
use larder_content::{ContentNo, PIECE_BYTES, PieceId};
use larder_proto::Time;
use larder_proto::fetch::{Job, Limits, Scheduler};
use larder_proto::swarm::bans::Bans;
use larder_proto::swarm::choker::Choker;
use larder_proto::swarm::picker::{Picker, Settings, Who};
use larder_proto::swarm::{Bitfield, Block, PeerId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How a device behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nature {
    Honest,
    /// Says that it has everything, and sends wrong bytes.
    Poisons,
    /// The same, but only every third block is wrong.
    PoisonsSome,
    /// Says that it has everything, and sends nothing.
    Claims,
    /// Has everything, and falls silent after some blocks.
    Stalls,
}

/// A line that brings one thing after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) rate: u64,
    free: Time,
    pub(crate) bytes: u64,
}

impl Pipe {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// When so many bytes that come at `now` are through.
    pub(crate) fn send(&mut self, now: Time, bytes: u64) -> Time {
        let micros = bytes * 1_000_000 / self.rate;
        self.free = self.free.max(now) + Duration::from_micros(micros);
        self.bytes += bytes;
        self.free
    }
}

/// An HTTP request under way.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) job: Job,
    /// What it still brings, in order: pieces and how much of the first is here.
    pub(crate) pieces: VecDeque<u32>,
    pub(crate) of_first: u64,
    /// Parts on their way.
    pub(crate) coming: u32,
    pub(crate) sent: u64,
}

pub(crate) struct Node {
    pub(crate) who: Who,
    pub(crate) site: usize,
    pub(crate) nature: Nature,
    pub(crate) is_appliance: bool,
    pub(crate) alive: bool,
    /// Counts its lives, so that what was on its way to an earlier one is lost.
    pub(crate) life: u32,
    pub(crate) started: bool,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) picker: Picker,
    pub(crate) scheduler: Scheduler,
    pub(crate) bans: Bans,
    pub(crate) choker: Choker<usize>,
    /// On disk: it survives everything.
    pub(crate) store: BTreeMap<u32, Vec<u64>>,
    pub(crate) halves: BTreeMap<u32, Vec<Option<u64>>>,
    pub(crate) at_peers: BTreeMap<u32, Job>,
    pub(crate) http: Vec<Http>,
    /// Connections by which it downloads, and by which it uploads.
    pub(crate) out: BTreeSet<usize>,
    pub(crate) inn: BTreeSet<usize>,
    /// Connections with something to be sent, by turns.
    pub(crate) turns: VecDeque<usize>,
    pub(crate) sending: bool,
    pub(crate) wake: Option<Time>,
    pub(crate) unreachable: Vec<PeerId>,
    pub(crate) dice: Dice,
    pub(crate) done: Option<Time>,
    /// Who of the site waits for a piece of the appliance.
    pub(crate) customers: BTreeMap<u32, Vec<(usize, u32, u64)>>,
    pub(crate) sent_blocks: u64,
    /// How often in this life.
    pub(crate) announced: u32,
    /// The block that is being told of.
    pub(crate) just_came: Option<u64>,
    /// Bytes that came after they were called off.
    pub(crate) late_bytes: u64,
    pub(crate) peer_bytes: u64,
    pub(crate) http_bytes: u64,
}

pub(crate) const CONTENT: u64 = 1;

pub(crate) fn piece_id(piece: u32) -> PieceId {
    PieceId {
        content: ContentNo::new(CONTENT),
        piece,
    }
}

/// The right bytes of a block, as a number.
pub(crate) fn right(piece: u32, offset: u32) -> u64 {
    mix(u64::from(piece) << 32 | u64::from(offset))
}

pub(crate) fn length(plan: &Plan) -> u64 {
    // The last piece is shorter, and no whole number of blocks.
    u64::from(plan.pieces) * u64::from(PIECE_BYTES) - 300_000
}

impl Node {
    pub(crate) fn new(
        plan: &Plan,
        number: usize,
        site: usize,
        nature: Nature,
        is_appliance: bool,
    ) -> Self {
        let mut dice = Dice::new(mix(plan.seed) ^ mix(number as u64 + 1));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&dice.roll().to_be_bytes());
        id[8..].copy_from_slice(&dice.roll().to_be_bytes());
        let [_, _, b, c] = u32::try_from(number).expect("small").to_be_bytes();
        let s = u8::try_from(site).expect("few");
        let who = Who {
            id: PeerId(id),
            address: IpAddr::V4(Ipv4Addr::new(10, s, b, c)),
        };
        let rate = match (plan.uneven, is_appliance) {
            (_, true) => 10 * plan.device_rate,
            (true, false) => plan.device_rate / (1 + dice.below(10) / 3 * 3),
            (false, false) => plan.device_rate,
        };
        let seed = dice.roll();
        let mut node = Self {
            who,
            site,
            nature,
            is_appliance,
            alive: true,
            life: 0,
            started: false,
            up: Pipe::new(rate),
            down: Pipe::new(rate),
            picker: Self::picker(plan, who.id, Bitfield::new(0), seed, Time::default()),
            scheduler: Self::scheduler(),
            bans: Bans::new(),
            choker: Choker::new(plan.slots, seed),
            store: BTreeMap::new(),
            halves: BTreeMap::new(),
            at_peers: BTreeMap::new(),
            http: Vec::new(),
            out: BTreeSet::new(),
            inn: BTreeSet::new(),
            turns: VecDeque::new(),
            sending: false,
            wake: None,
            unreachable: Vec::new(),
            dice,
            done: None,
            customers: BTreeMap::new(),
            sent_blocks: 0,
            announced: 0,
            just_came: None,
            late_bytes: 0,
            peer_bytes: 0,
            http_bytes: 0,
        };
        if nature == Nature::Stalls {
            for piece in 0..plan.pieces {
                node.store.insert(piece, Vec::new());
            }
        }
        node
    }

    fn picker(plan: &Plan, me: PeerId, here: Bitfield, seed: u64, now: Time) -> Picker {
        let settings = Settings {
            block_bytes: plan.block_bytes,
            share_out: !plan.appliances,
            // As a device that writes its file in order.
            stretch_pieces: Some(if plan.appliances { 16 } else { 128 }),
            ..Settings::usual(length(plan))
        };
        Picker::new(settings, me, here, seed, now)
    }

    fn scheduler() -> Scheduler {
        Scheduler::new(Limits {
            window_bytes_min: 0,
            window_bytes_max: 64 << 20,
            run_bytes_max: 8 << 20,
            connections_max: 8,
        })
    }

    /// A new life, with what is on disk.
    pub(crate) fn begin(&mut self, plan: &Plan, now: Time) {
        let mut here = Bitfield::new(plan.pieces);
        for piece in self.store.keys() {
            here.set(*piece);
        }
        let seed = self.dice.roll();
        self.picker = Self::picker(plan, self.who.id, here, seed, now);
        if self.is_appliance {
            let settings = Settings {
                block_bytes: plan.block_bytes,
                preferred: true,
                ..Settings::usual(length(plan))
            };
            let here = self.picker.here().clone();
            self.picker = Picker::new(settings, self.who.id, here, seed, now);
        }
        self.scheduler = Self::scheduler();
        self.choker = Choker::new(plan.slots, seed);
        self.alive = true;
        self.started = true;
        self.life += 1;
        self.wake = None;
        self.announced = 0;
        self.sending = false;
    }

    /// What it says that it has.
    pub(crate) fn says(&self, plan: &Plan) -> Bitfield {
        match self.nature {
            Nature::Honest => self.picker.here().clone(),
            _ => Bitfield::full(plan.pieces),
        }
    }

    /// What it sends of a block; `None`: nothing.
    pub(crate) fn sends(&mut self, block: Block) -> Option<u64> {
        self.sent_blocks += 1;
        let right = right(block.piece, block.offset);
        match self.nature {
            Nature::Honest => Some(right),
            Nature::Poisons => Some(!right),
            Nature::PoisonsSome if self.dice.percent(33) => Some(!right),
            Nature::PoisonsSome => Some(right),
            Nature::Claims => None,
            Nature::Stalls => (self.sent_blocks % 20 < 5).then_some(right),
        }
    }
}
