//! A branch office on a thin link, in virtual time: 200 clients, each with seven connections that ask for shuffled
//! ranges of 1 MiB (facts: clients 1.4), on 10 Mbit/s. The rule that is held: nobody waits over 15 s for a first byte
//! without a 503, nobody who is being served falls under 4000 B/s over 20 s, and the link brings what is of use.

use super::*;

const STEP_MS: u64 = 10;
const LINK_BYTES_A_STEP: u64 = 12_500;
const ROUND_TRIP_MS: u64 = 60;
/// When whoever holds the connections answers 503; the clients leave at 20 s.
const PATIENCE_MS: u64 = 14_000;
/// How long a client that may not fall back waits after a 503.
const PAUSE_MS: u64 = 2_000;

/// As the download side does it with what is overdue.
const EXTENSION: Duration = Duration::from_secs(7);

#[derive(Clone, Copy)]
enum Connection {
    Idle { until_ms: u64 },
    Waits { id: PieceId, since_ms: u64 },
}

struct Client {
    content: ContentNo,
    /// What it still wants, last first.
    order: Vec<u32>,
    connections: [Connection; 7],
}

#[derive(Default)]
struct Fill {
    filled: u64,
    first_byte_ms: Option<u64>,
    whole: bool,
}

struct Transfer {
    job: Job,
    pieces: Vec<PieceId>,
    begins_ms: u64,
}

#[derive(Default, Debug)]
struct Seen {
    served: u64,
    refused: u64,
    /// Of a first byte that did come.
    wait_ms_max: u64,
    /// From a piece's first byte to its last.
    fill_ms_max: u64,
    link_bytes: u64,
    /// Bytes of pieces that somebody was waiting for when they came.
    useful_bytes: u64,
    finished_ms: Option<u64>,
}

struct Office {
    scheduler: Scheduler,
    clients: Vec<Client>,
    fills: BTreeMap<PieceId, Fill>,
    transfers: Vec<Transfer>,
    extended: BTreeSet<PieceId>,
    /// How many wait for each piece.
    waiting: BTreeMap<PieceId, usize>,
    seen: Seen,
}

fn time(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

/// The numbers of a seed (Marsaglia's xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

impl Office {
    fn new(clients: u64, objects: u64, pieces: u32, seed: u64) -> Self {
        let mut state = seed;
        let clients = (0..clients).map(|client| {
            let mut order: Vec<u32> = (0..pieces).collect();
            for at in (1..order.len()).rev() {
                let other = random(&mut state) % (at as u64 + 1);
                order.swap(at, usize::try_from(other).expect("below the length"));
            }
            Client {
                content: ContentNo::new(client % objects + 1),
                order,
                // They do not all begin in the same instant.
                connections: [Connection::Idle {
                    until_ms: random(&mut state) % 2_000,
                }; 7],
            }
        });
        Self {
            clients: clients.collect(),
            scheduler: Scheduler::new(Limits {
                window_bytes_min: 0,
                window_bytes_max: 64 << 20,
                run_bytes_max: 8 << 20,
                connections_max: 16,
            }),
            fills: BTreeMap::new(),
            transfers: Vec::new(),
            extended: BTreeSet::new(),
            waiting: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn run(mut self, until_ms: u64) -> Seen {
        for now_ms in (0..until_ms).step_by(usize::try_from(STEP_MS).expect("small")) {
            self.clients_ask(now_ms);
            self.sort_out_overdue(now_ms);
            let waiting = |id| self.waiting.get(&id).copied().unwrap_or(0);
            while let Some(job) = self.scheduler.next(time(now_ms), waiting) {
                self.transfers.push(Transfer {
                    job,
                    pieces: self.scheduler.missing(&job),
                    begins_ms: now_ms + ROUND_TRIP_MS,
                });
            }
            self.link_brings(now_ms);
            self.clients_see(now_ms);
            let done = self.clients.iter().all(|client| {
                client.order.is_empty()
                    && client
                        .connections
                        .iter()
                        .all(|connection| matches!(connection, Connection::Idle { .. }))
            });
            if done {
                self.seen.finished_ms = Some(now_ms);
                break;
            }
        }
        self.seen
    }

    fn clients_ask(&mut self, now_ms: u64) {
        for client in &mut self.clients {
            for connection in &mut client.connections {
                while let Connection::Idle { until_ms } = *connection
                    && until_ms <= now_ms
                    && let Some(piece) = client.order.pop()
                {
                    let id = PieceId {
                        content: client.content,
                        piece,
                    };
                    if self.fills.get(&id).is_some_and(|fill| fill.whole) {
                        self.seen.served += 1;
                        continue;
                    }
                    *connection = Connection::Waits {
                        id,
                        since_ms: now_ms,
                    };
                    *self.waiting.entry(id).or_default() += 1;
                    // Who finds a flight does not tell the scheduler anything.
                    if !self.scheduler.has(id) {
                        self.scheduler.want(Want {
                            id,
                            len: PIECE_BYTES,
                            deadline: time(now_ms + PATIENCE_MS),
                            background: false,
                            http_not_before: time(0),
                        });
                    }
                }
            }
        }
    }

    fn sort_out_overdue(&mut self, now_ms: u64) {
        for id in self.scheduler.overdue(time(now_ms)) {
            self.scheduler.extend(id, time(now_ms) + EXTENSION);
            self.extended.insert(id);
        }
        for id in std::mem::take(&mut self.extended) {
            if self.waiting.get(&id).is_some_and(|count| *count > 0) {
                self.extended.insert(id);
            } else if self.scheduler.waits(id) {
                self.scheduler.drop_want(id);
            }
        }
    }

    /// All transfers share the link alike; each fills its pieces one after the other.
    fn link_brings(&mut self, now_ms: u64) {
        let sharing = self
            .transfers
            .iter()
            .filter(|transfer| transfer.begins_ms <= now_ms)
            .count() as u64;
        for at in 0..self.transfers.len() {
            let transfer = &mut self.transfers[at];
            if transfer.begins_ms > now_ms {
                continue;
            }
            let job = transfer.job;
            let mut left = LINK_BYTES_A_STEP / sharing;
            while left > 0
                && let Some(id) = transfer.pieces.first().copied()
            {
                let fill = self.fills.entry(id).or_default();
                let some = left.min(u64::from(PIECE_BYTES) - fill.filled);
                let first = *fill.first_byte_ms.get_or_insert(now_ms);
                fill.filled += some;
                left -= some;
                self.seen.link_bytes += some;
                self.scheduler.received(time(now_ms), &job, some);
                if fill.filled == u64::from(PIECE_BYTES) {
                    fill.whole = true;
                    self.seen.fill_ms_max = self.seen.fill_ms_max.max(now_ms - first);
                    transfer.pieces.remove(0);
                    self.scheduler.landed(id);
                }
            }
        }
        self.transfers
            .retain(|transfer| !transfer.pieces.is_empty());
    }

    fn clients_see(&mut self, now_ms: u64) {
        let mut useful = BTreeSet::new();
        for client in &mut self.clients {
            for connection in &mut client.connections {
                let Connection::Waits { id, since_ms } = *connection else {
                    continue;
                };
                let fill = self.fills.get(&id);
                let first = fill.and_then(|fill| fill.first_byte_ms);
                match first {
                    Some(first) => {
                        let wait_ms = first.saturating_sub(since_ms);
                        self.seen.wait_ms_max = self.seen.wait_ms_max.max(wait_ms);
                        if fill.is_some_and(|fill| fill.whole) {
                            self.waiting.remove(&id);
                            self.seen.served += 1;
                            useful.insert(id);
                            *connection = Connection::Idle { until_ms: now_ms };
                        }
                    }
                    None if now_ms - since_ms >= PATIENCE_MS => {
                        self.seen.refused += 1;
                        if let Some(count) = self.waiting.get_mut(&id) {
                            *count -= 1;
                        }
                        // It will come back for this piece some time.
                        client.order.insert(0, id.piece);
                        *connection = Connection::Idle {
                            until_ms: now_ms + PAUSE_MS,
                        };
                    }
                    None => {}
                }
            }
        }
        self.seen.useful_bytes += useful.len() as u64 * u64::from(PIECE_BYTES);
    }
}

fn check(seen: &Seen, seed: u64) {
    assert!(seen.wait_ms_max <= 15_000, "seed {seed}: {seen:?}");
    // Whole before 20 s are over, a piece can not have been under 4000 B/s over 20 s.
    assert!(seen.fill_ms_max < 20_000, "seed {seed}: {seen:?}");
}

#[test]
fn two_hundred_clients_of_one_update_get_all_of_it_over_the_link_once() {
    for seed in 1..4 {
        let pieces = 60;
        let seen = Office::new(200, 1, pieces, seed).run(300_000);
        check(&seen, seed);
        let bytes = u64::from(pieces) * u64::from(PIECE_BYTES);
        assert_eq!(seen.link_bytes, bytes, "seed {seed}: {seen:?}");
        assert_eq!(seen.served, 200 * u64::from(pieces), "seed {seed}");
        let bare_ms = bytes / LINK_BYTES_A_STEP * STEP_MS;
        let finished_ms = seen.finished_ms.expect("they all finish");
        assert!(finished_ms < bare_ms * 11 / 10, "seed {seed}: {seen:?}");
    }
}

#[test]
fn with_ten_times_more_asked_than_the_link_can_bring_what_it_brings_is_of_use() {
    for seed in 1..4 {
        let until_ms = 120_000;
        let seen = Office::new(200, 200, 20, seed).run(until_ms);
        check(&seen, seed);
        assert!(seen.refused > 0, "seed {seed}: there was too much");
        let could = until_ms / STEP_MS * LINK_BYTES_A_STEP;
        assert!(seen.link_bytes > could / 100 * 95, "seed {seed}: {seen:?}");
        assert!(
            seen.useful_bytes > could / 100 * 85,
            "seed {seed}: {seen:?}"
        );
    }
}

#[test]
fn a_few_clients_of_many_updates_are_all_served() {
    for seed in 1..4 {
        let seen = Office::new(2, 2, 20, seed).run(120_000);
        check(&seen, seed);
        assert_eq!(seen.refused, 0, "seed {seed}: {seen:?}");
        assert_eq!(seen.served, 40, "seed {seed}");
    }
}
