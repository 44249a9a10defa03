//! Eviction policies of the literature, and the evictor as the store uses it. The rule: a policy is told what the store
//! would know, and no more; Belady's alone knows the future.

use crate::trace::Request;
use larder_storage::evict::Evictor;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// What a policy decides; the cache around it counts. `next` is when the piece is asked for again.
pub(crate) trait Policy {
    fn enter(&mut self, key: u64, bytes: u32, next: usize);
    fn hit(&mut self, key: u64, next: usize);
    /// What goes: one piece, or as many as go together.
    fn leave(&mut self) -> Vec<u64>;
    /// What time it is.
    fn time(&mut self, _: u64) {}
    /// Whether what has just entered may be the one that leaves.
    const SELF: bool = false;
    /// Room is made for so many bytes at once, or a 32nd of the cache.
    const AT_ONCE: u64 = 0;
}

/// A queue in order of numbers that only grow: FIFO, LRU and SIEVE differ in what a hit does.
#[derive(Default)]
pub(crate) struct Line<const LRU: bool, const SIEVE: bool> {
    line: BTreeMap<u64, u64>,
    at: HashMap<u64, u64>,
    seen: HashSet<u64>,
    last: u64,
    hand: u64,
}

impl<const LRU: bool, const SIEVE: bool> Policy for Line<LRU, SIEVE> {
    fn enter(&mut self, key: u64, _: u32, _: usize) {
        self.last += 1;
        self.line.insert(self.last, key);
        self.at.insert(key, self.last);
    }

    fn hit(&mut self, key: u64, next: usize) {
        if LRU {
            self.line.remove(&self.at[&key]);
            self.enter(key, 0, next);
        } else if SIEVE {
            self.seen.insert(key);
        }
    }

    fn leave(&mut self) -> Vec<u64> {
        loop {
            let from_hand = self.line.range(self.hand..).next();
            let found = from_hand.or_else(|| self.line.iter().next());
            let (at, key) = found.map(|(at, key)| (*at, *key)).unwrap();
            self.hand = if SIEVE { at + 1 } else { 0 };
            if !self.seen.remove(&key) {
                self.line.remove(&at);
                self.at.remove(&key);
                return vec![key];
            }
        }
    }
}

/// The least goes first: GDSF by frequency over size, with an age; Belady by how far off the next request is.
#[derive(Default)]
pub(crate) struct Least<const BELADY: bool> {
    ranks: BTreeSet<(u64, u64)>,
    of: HashMap<u64, (u64, u64, u32)>,
    age: u64,
}

impl<const BELADY: bool> Least<BELADY> {
    fn set(&mut self, key: u64, count: u64, bytes: u32, next: usize) {
        let rank = if BELADY {
            u64::MAX - next as u64
        } else {
            self.age + (count << 40) / u64::from(bytes)
        };
        if let Some((old, _, _)) = self.of.insert(key, (rank, count, bytes)) {
            self.ranks.remove(&(old, key));
        }
        self.ranks.insert((rank, key));
    }
}

impl<const BELADY: bool> Policy for Least<BELADY> {
    const SELF: bool = BELADY;

    fn enter(&mut self, key: u64, bytes: u32, next: usize) {
        self.set(key, 1, bytes, next);
    }

    fn hit(&mut self, key: u64, next: usize) {
        let (_, count, bytes) = self.of[&key];
        self.set(key, count + 1, bytes, next);
    }

    fn leave(&mut self) -> Vec<u64> {
        let (rank, key) = self.ranks.pop_first().unwrap();
        self.of.remove(&key);
        self.age = rank;
        vec![key]
    }
}

/// S3-FIFO as in its paper: a small queue of a tenth, two touches to leave it for the main one, and keys remembered
/// for as long as the main queue's share of bytes.
#[derive(Default)]
pub(crate) struct S3Fifo {
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    /// Bytes and touches.
    of: HashMap<u64, (u32, u8)>,
    small_bytes: u64,
    main_bytes: u64,
    /// How many bytes had left when a key did.
    ghost: HashMap<u64, u64>,
    left: u64,
}

impl Policy for S3Fifo {
    fn enter(&mut self, key: u64, bytes: u32, _: usize) {
        let window = (self.small_bytes + self.main_bytes) / 10 * 9;
        let back = self.ghost.remove(&key);
        self.of.insert(key, (bytes, 0));
        if back.is_some_and(|left| self.left - left <= window) {
            self.main.push_back(key);
            self.main_bytes += u64::from(bytes);
        } else {
            self.small.push_back(key);
            self.small_bytes += u64::from(bytes);
        }
    }

    fn hit(&mut self, key: u64, _: usize) {
        let touches = &mut self.of.get_mut(&key).unwrap().1;
        *touches = (*touches + 1).min(3);
    }

    fn leave(&mut self) -> Vec<u64> {
        loop {
            let of_small = self.small_bytes * 10 > self.small_bytes + self.main_bytes;
            if !self.small.is_empty() && (of_small || self.main.is_empty()) {
                let key = self.small.pop_front().unwrap();
                let (bytes, touches) = self.of[&key];
                self.small_bytes -= u64::from(bytes);
                if touches > 1 {
                    self.of.insert(key, (bytes, 0));
                    self.main.push_back(key);
                    self.main_bytes += u64::from(bytes);
                    continue;
                }
                self.left += u64::from(bytes);
                self.ghost.insert(key, self.left);
                self.of.remove(&key);
                return vec![key];
            }
            let key = self.main.pop_front().unwrap();
            let (bytes, touches) = self.of[&key];
            if touches > 0 {
                self.of.insert(key, (bytes, touches - 1));
                self.main.push_back(key);
            } else {
                self.main_bytes -= u64::from(bytes);
                self.of.remove(&key);
                return vec![key];
            }
        }
    }
}

/// The evictor. In packs: as the store has it, with pieces below 64 KiB in places of a MiB that go as a whole, whole
/// pieces that take quiet neighbours along, and 16 MiB evicted at once; else each piece for itself.
#[derive(Default)]
pub(crate) struct Built<const PACKS: bool> {
    evictor: Evictor,
    slots: HashMap<u64, u32>,
    keys: Vec<Vec<u64>>,
    free: Vec<u32>,
    /// The pack that is being filled, and with how much.
    open: Option<(u32, u32)>,
}

const PLACE: u32 = 1 << 20;
const SHARED_BELOW: u32 = 64 << 10;

impl<const PACKS: bool> Built<PACKS> {
    fn slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.keys.push(Vec::new());
            u32::try_from(self.keys.len() - 1).unwrap()
        })
    }

    /// The pieces beside it go along, if they may.
    fn leave_with_neighbours(&mut self, gone: &mut Vec<u64>) {
        let first = gone[0] / 8 * 8;
        for key in first..first + 8 {
            let Some(slot) = self.slots.get(&key).copied() else {
                continue;
            };
            let alone = self.keys[slot as usize].len() == 1;
            if alone && self.evictor.goes_along(slot) {
                self.evictor.removed(slot);
                self.free.push(slot);
                self.keys[slot as usize].clear();
                self.slots.remove(&key);
                gone.push(key);
            }
        }
    }

    fn close(&mut self, slot: u32, bytes: u32) {
        let hash = hash_of(self.keys[slot as usize][0]);
        self.evictor.inserted(slot, bytes, hash);
    }
}

fn hash_of(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

impl<const PACKS: bool> Policy for Built<PACKS> {
    const AT_ONCE: u64 = if PACKS { 16 << 20 } else { 0 };

    fn enter(&mut self, key: u64, bytes: u32, _: usize) {
        if !PACKS || bytes >= SHARED_BELOW {
            let slot = self.slot();
            self.keys[slot as usize] = vec![key];
            self.slots.insert(key, slot);
            self.close(slot, bytes);
            return;
        }
        let (slot, filled) = match self.open {
            Some((slot, filled)) if filled + bytes <= PLACE => (slot, filled),
            full => {
                if let Some((slot, _)) = full {
                    self.close(slot, PLACE);
                }
                (self.slot(), 0)
            }
        };
        self.keys[slot as usize].push(key);
        self.slots.insert(key, slot);
        self.open = Some((slot, filled + bytes));
    }

    fn hit(&mut self, key: u64, _: usize) {
        self.evictor.touched(self.slots[&key]);
    }

    fn leave(&mut self) -> Vec<u64> {
        let keys = &self.keys;
        let may = &mut |slot: u32| Some(hash_of(keys[slot as usize][0]));
        let slot = self.evictor.victim(may).unwrap();
        self.free.push(slot);
        let mut gone = std::mem::take(&mut self.keys[slot as usize]);
        for key in &gone {
            self.slots.remove(key);
        }
        if PACKS && gone.len() == 1 {
            self.leave_with_neighbours(&mut gone);
        }
        gone
    }

    fn time(&mut self, at_ms: u64) {
        self.evictor.touches().tell(at_ms / 1000);
    }
}

/// Bytes that came from the origin, of all that were asked for.
pub(crate) fn replay<P: Policy>(
    mut policy: P,
    trace: &[Request],
    nexts: &[usize],
    cap: u64,
) -> f64 {
    let mut cached: HashMap<u64, u32> = HashMap::new();
    let (mut used, mut missed, mut asked) = (0, 0, 0);
    for (request, next) in trace.iter().zip(nexts) {
        let (key, bytes) = (request.key, request.piece_bytes);
        asked += u64::from(request.asked_bytes);
        policy.time(request.at_ms);
        if cached.contains_key(&key) {
            policy.hit(key, *next);
            continue;
        }
        missed += u64::from(bytes);
        used += u64::from(bytes);
        if P::SELF {
            policy.enter(key, bytes, *next);
            cached.insert(key, bytes);
        }
        if used > cap {
            let room = cap - P::AT_ONCE.min(cap / 32);
            while used > room {
                for gone in policy.leave() {
                    used -= u64::from(cached.remove(&gone).unwrap());
                }
            }
        }
        if !P::SELF {
            policy.enter(key, bytes, *next);
            cached.insert(key, bytes);
        }
    }
    missed as f64 / asked as f64
}
