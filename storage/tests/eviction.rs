//! A week of patches, replayed through eviction policies: byte miss ratios of LRU, FIFO, SIEVE, GDSF, Belady and the
//! evictor as it is built. The rule: the trace is made from a seed that is printed, and the evictor is no worse than
//! LRU and FIFO on it at any size. To see the table: `cargo test -p larder-storage --test eviction -- --nocapture`.

use larder_storage::evict::Evictor;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A piece that is asked for, and its length in bytes.
type Request = (u64, u32);

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Machines that fetch whole objects, 24 of them at a time, each the pieces of its object in shuffled order, as the
/// native client does (facts: clients, section 1.4). Two of three fetches are of the 120 objects of the day, by
/// Zipf's law; each day 15 new ones enter at the top, and on the second day 40. The rest are objects that one machine
/// alone wants: the scan.
fn patch_week(seed: u64, requests: usize) -> Vec<Request> {
    const WANTED: usize = 120;
    let mut random = Random(seed);
    let weights: Vec<f64> = (1..=WANTED).map(|rank| (rank as f64).powf(-0.9)).collect();
    let total: f64 = weights.iter().sum();
    let mut popular: Vec<u64> = (0..WANTED as u64).collect();
    let (mut next_object, mut day) = (WANTED as u64, 0);
    let mut fetches: Vec<Vec<Request>> = Vec::new();
    let mut trace = Vec::with_capacity(requests);
    while trace.len() < requests {
        let today = trace.len() * 7 / requests;
        if today > day {
            day = today;
            for _ in 0..if day == 2 { 40 } else { 15 } {
                // Not all at the very top: what was wanted yesterday still is.
                let rank = usize::try_from(random.below(30)).unwrap();
                popular.insert(rank, next_object);
                next_object += 1;
            }
            popular.truncate(WANTED);
        }
        while fetches.len() < 24 {
            let object = if random.below(3) < 2 {
                let mut at = random.below(1 << 30) as f64 / f64::from(1 << 30) * total;
                let rank = weights.iter().position(|weight| {
                    at -= weight;
                    at < 0.0
                });
                popular[rank.unwrap_or(0)]
            } else {
                next_object += 1;
                next_object - 1
            };
            fetches.push(pieces_of(object, &mut random));
        }
        let at = usize::try_from(random.below(fetches.len() as u64)).unwrap();
        match fetches[at].pop() {
            Some(request) => trace.push(request),
            None => drop(fetches.swap_remove(at)),
        }
    }
    trace
}

/// An object of 1 to 96 MiB, the same one for the same number; small ones are the most.
fn pieces_of(object: u64, order: &mut Random) -> Vec<Request> {
    let mut shape = Random(object.wrapping_mul(0xA24B_AED4_963E_E407));
    let pieces = (1 + shape.below(8)) * (1 + shape.below(4)) * (1 + shape.below(3));
    let last = u32::try_from(1 + shape.below(1 << 20)).unwrap();
    let len = |piece| if piece + 1 == pieces { last } else { 1 << 20 };
    let mut requests: Vec<Request> = (0..pieces)
        .map(|piece| (object << 16 | piece, len(piece)))
        .collect();
    for at in (1..requests.len()).rev() {
        requests.swap(at, usize::try_from(order.below(at as u64 + 1)).unwrap());
    }
    requests
}

/// What a policy decides; the cache around it counts. `next` is when the piece is asked for again.
trait Policy {
    fn enter(&mut self, key: u64, bytes: u32, next: usize);
    fn hit(&mut self, key: u64, next: usize);
    fn leave(&mut self) -> u64;
    /// Whether what has just entered may be the one that leaves.
    const SELF: bool = false;
}

/// A queue in order of numbers that only grow: FIFO, LRU and SIEVE differ in what a hit does.
#[derive(Default)]
struct Line<const LRU: bool, const SIEVE: bool> {
    line: BTreeMap<u64, u64>,
    at: HashMap<u64, u64>,
    seen: BTreeSet<u64>,
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

    fn leave(&mut self) -> u64 {
        loop {
            let from_hand = self.line.range(self.hand..).next();
            let found = from_hand.or_else(|| self.line.iter().next());
            let (at, key) = found.map(|(at, key)| (*at, *key)).unwrap();
            self.hand = if SIEVE { at + 1 } else { 0 };
            if !self.seen.remove(&key) {
                self.line.remove(&at);
                self.at.remove(&key);
                return key;
            }
        }
    }
}

/// The least goes first: GDSF by frequency over size, with an age; Belady by how far off the next request is.
#[derive(Default)]
struct Least<const BELADY: bool> {
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

    fn leave(&mut self) -> u64 {
        let (rank, key) = self.ranks.pop_first().unwrap();
        self.of.remove(&key);
        self.age = rank;
        key
    }
}

/// The evictor, with slots handed out as the store does: those that are free first.
#[derive(Default)]
struct Built {
    evictor: Evictor,
    slots: HashMap<u64, u32>,
    keys: Vec<u64>,
    free: Vec<u32>,
}

impl Policy for Built {
    fn enter(&mut self, key: u64, bytes: u32, _: usize) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(0);
            u32::try_from(self.keys.len() - 1).unwrap()
        });
        self.keys[slot as usize] = key;
        self.slots.insert(key, slot);
        self.evictor.inserted(slot, bytes, Random(key).next());
    }

    fn hit(&mut self, key: u64, _: usize) {
        self.evictor.touched(self.slots[&key]);
    }

    fn leave(&mut self) -> u64 {
        let slot = self.evictor.victim(&mut |_| true).unwrap();
        self.free.push(slot);
        let key = self.keys[slot as usize];
        self.slots.remove(&key);
        key
    }
}

/// Bytes that were missed, of all that were asked for.
fn replay<P: Policy>(mut policy: P, trace: &[Request], nexts: &[usize], cap: u64) -> f64 {
    let mut cached: HashMap<u64, u32> = HashMap::new();
    let (mut used, mut missed, mut asked) = (0, 0, 0);
    for ((key, bytes), next) in trace.iter().zip(nexts) {
        asked += u64::from(*bytes);
        if cached.contains_key(key) {
            policy.hit(*key, *next);
            continue;
        }
        missed += u64::from(*bytes);
        used += u64::from(*bytes);
        if P::SELF {
            policy.enter(*key, *bytes, *next);
            cached.insert(*key, *bytes);
        }
        while used > cap {
            used -= u64::from(cached.remove(&policy.leave()).unwrap());
        }
        if !P::SELF {
            policy.enter(*key, *bytes, *next);
            cached.insert(*key, *bytes);
        }
    }
    missed as f64 / asked as f64
}

#[test]
fn a_week_of_patches_misses_no_more_than_with_lru_or_fifo() {
    for seed in [1, 2, 3] {
        let trace = patch_week(seed, 60_000);
        let unique: HashMap<u64, u32> = trace.iter().copied().collect();
        let footprint: u64 = unique.values().map(|bytes| u64::from(*bytes)).sum();
        let mut nexts = vec![usize::MAX >> 1; trace.len()];
        let mut seen = HashMap::new();
        for (at, (key, _)) in trace.iter().enumerate().rev() {
            nexts[at] = seen.insert(*key, at).unwrap_or(usize::MAX >> 1);
        }
        eprintln!(
            "seed {seed}: {} requests, {} pieces, {} MiB\n  size    FIFO     LRU   SIEVE    GDSF   built  Belady",
            trace.len(),
            unique.len(),
            footprint >> 20
        );
        for percent in [1, 10, 50] {
            let cap = footprint * percent / 100;
            let fifo = replay(Line::<false, false>::default(), &trace, &nexts, cap);
            let lru = replay(Line::<true, false>::default(), &trace, &nexts, cap);
            let sieve = replay(Line::<false, true>::default(), &trace, &nexts, cap);
            let gdsf = replay(Least::<false>::default(), &trace, &nexts, cap);
            let built = replay(Built::default(), &trace, &nexts, cap);
            let belady = replay(Least::<true>::default(), &trace, &nexts, cap);
            eprintln!(
                "  {percent:3} %  {fifo:.4}  {lru:.4}  {sieve:.4}  {gdsf:.4}  {built:.4}  {belady:.4}"
            );
            assert!(belady <= fifo.min(lru).min(sieve).min(gdsf).min(built));
            assert!(built <= lru.min(fifo), "seed {seed}, {percent} %");
        }
    }
}
