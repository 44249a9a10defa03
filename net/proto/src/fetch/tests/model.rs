//! The scheduler against a slow obvious one, over any order of events.

use super::*;
use proptest::prelude::*;

/// The rules said slowly: a list of pieces, looked through from the beginning each time.
#[derive(Default)]
struct Model {
    pieces: Vec<Piece>,
    jobs: Vec<(Job, u64, Time)>,
    by_peers: Vec<(Job, PieceId)>,
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Piece {
    want: Want,
    arrival: u64,
    failures: u32,
    paused: Option<Time>,
    job: Option<u64>,
    dropped: bool,
}

impl Model {
    fn find(&mut self, id: PieceId) -> Option<&mut Piece> {
        self.pieces.iter_mut().find(|piece| piece.want.id == id)
    }

    fn want(&mut self, want: Want) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        if let Some(piece) = self.find(want.id) {
            piece.want.deadline = piece.want.deadline.min(want.deadline);
            piece.want.background &= want.background;
            piece.want.http_not_before = piece.want.http_not_before.min(want.http_not_before);
            piece.dropped = false;
            return;
        }
        self.pieces.push(Piece {
            want,
            arrival,
            failures: 0,
            paused: None,
            job: None,
            dropped: false,
        });
    }

    fn drop_want(&mut self, id: PieceId) {
        if let Some(piece) = self.find(id) {
            piece.dropped = true;
        }
        self.pieces
            .retain(|piece| !piece.dropped || piece.job.is_some());
    }

    /// What peers may take, most urgent first.
    fn open(&self, content: ContentNo) -> Vec<PieceId> {
        let mut open: Vec<&Piece> = self
            .pieces
            .iter()
            .filter(|piece| piece.job.is_none() && piece.want.id.content == content)
            .collect();
        open.sort_by_key(|piece| (piece.want.background, piece.want.deadline, piece.arrival));
        open.iter().map(|piece| piece.want.id).collect()
    }

    /// Which pieces the next request is about.
    fn next(&mut self, now: Time, window: u64, limits: &Limits) -> Option<Vec<PieceId>> {
        for piece in &mut self.pieces {
            piece.paused = piece.paused.filter(|until| *until > now);
        }
        let is_ready = |piece: &&Piece| {
            piece.job.is_none() && piece.paused.is_none() && piece.want.http_not_before <= now
        };
        let first = self
            .pieces
            .iter()
            .filter(is_ready)
            .min_by_key(|piece| (piece.want.background, piece.want.deadline, piece.arrival))?;
        let loud: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, _, heard)| now.since(*heard) < SILENT_AFTER)
            .collect();
        let max = limits.connections_max as usize;
        if loud.len() >= max || self.jobs.len() >= 2 * max {
            return None;
        }
        let on_link: u64 = loud.iter().map(|(_, left, _)| left).sum();
        let run = (window / 4).min(limits.run_bytes_max).max(PIECE);
        let (mut all, mut bytes) = (vec![first.want.id], u64::from(first.want.len));
        if on_link > 0 && on_link + bytes > window {
            return None;
        }
        loop {
            let next = PieceId {
                piece: all[all.len() - 1].piece + 1,
                ..all[0]
            };
            let joins = |piece: &&Piece| {
                piece.want.id == next
                    && piece.failures == 0
                    && piece.want.background == first.want.background
            };
            let Some(piece) = self.pieces.iter().filter(is_ready).find(joins) else {
                return Some(all);
            };
            bytes += u64::from(piece.want.len);
            if bytes > run || on_link + bytes > window {
                return Some(all);
            }
            all.push(next);
        }
    }

    fn began(&mut self, job: &Job, pieces: &[PieceId], now: Time) {
        let mut bytes = 0;
        for id in pieces {
            let piece = self.find(*id).expect("it is wanted");
            piece.job = Some(job.serial);
            bytes += u64::from(piece.want.len);
        }
        self.jobs.push((*job, bytes, now));
    }

    fn landed(&mut self, id: PieceId) {
        self.pieces.retain(|piece| piece.want.id != id);
        self.by_peers.retain(|(_, piece)| *piece != id);
        let pieces = &self.pieces;
        self.jobs
            .retain(|(job, ..)| pieces.iter().any(|piece| piece.job == Some(job.serial)));
    }

    fn peers_failed(&mut self, job: &Job, id: PieceId) -> Vec<PieceId> {
        self.by_peers
            .retain(|(other, _)| other.serial != job.serial);
        let piece = self.find(id).expect("it is under way");
        piece.job = None;
        let dropped = piece.dropped;
        self.pieces
            .retain(|piece| piece.want.id != id || !piece.dropped);
        if dropped { vec![id] } else { Vec::new() }
    }

    fn failed(&mut self, now: Time, job: &Job, kind: Failure) -> Vec<PieceId> {
        self.jobs.retain(|(other, ..)| other.serial != job.serial);
        let mut missing: Vec<Piece> = Vec::new();
        for piece in &self.pieces {
            if piece.job == Some(job.serial) {
                missing.push(piece.clone());
            }
        }
        missing.sort_by_key(|piece| piece.want.id);
        let nothing_came = missing
            .first()
            .is_some_and(|piece| piece.want.id.piece == job.first);
        let (mut given_up, mut longest) = (Vec::new(), Duration::ZERO);
        for (at, piece) in missing.iter().enumerate() {
            let failures = piece.failures + u32::from(at == 0 || nothing_came);
            if kind == Failure::Final || piece.dropped || failures >= ATTEMPTS_MAX {
                given_up.push(piece.want.id);
                continue;
            }
            let step = (failures.max(1) - 1) as usize;
            let busy = matches!(kind, Failure::Busy(_));
            let pause = if busy {
                [1000, 3000, 5000]
            } else {
                [250, 1000, 3000]
            }[step];
            longest = longest.max(Duration::from_millis(pause));
            let there = self.find(piece.want.id).expect("it is missing");
            there.failures = failures;
            there.job = None;
            there.paused = Some(now + longest);
        }
        self.pieces
            .retain(|piece| !given_up.contains(&piece.want.id));
        if let Failure::Busy(_) = kind {
            for piece in &mut self.pieces {
                let open = piece.job.is_none() && piece.paused.is_none_or(|until| until <= now);
                if open && piece.want.id.content == job.content {
                    piece.paused = Some(now + longest);
                }
            }
        }
        given_up
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(u64, u32, u64, bool, bool, u64),
    TakeForPeer(u64, u32),
    PeersLand(usize),
    PeersFail(usize, Failure),
    HoldHttp(u64, u32, u64),
    ReleaseHttp(u64),
    Drop(u64, u32),
    Start,
    Receive(usize, u64),
    Land(usize),
    Fail(usize, Failure),
    Wait(u64),
}

/// How long a piece is left to peers: mostly not at all.
fn hold() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => 1_u64..6_000]
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(Failure::Broken),
        Just(Failure::Busy(Duration::ZERO)),
        Just(Failure::Final)
    ];
    prop_oneof![
        6 => (1_u64..4, 0_u32..9, 0_u64..20_000, any::<bool>(), any::<bool>(), hold())
            .prop_map(|(c, p, d, short, b, hold)| Event::Want(c, p, d, short, b, hold)),
        3 => (1_u64..4, 0_u32..9).prop_map(|(c, p)| Event::TakeForPeer(c, p)),
        1 => (0_usize..8).prop_map(Event::PeersLand),
        1 => ((0_usize..8), kind.clone()).prop_map(|(j, k)| Event::PeersFail(j, k)),
        1 => (1_u64..4, 0_u32..9, hold()).prop_map(|(c, p, h)| Event::HoldHttp(c, p, h)),
        1 => (1_u64..4).prop_map(Event::ReleaseHttp),
        1 => (1_u64..4, 0_u32..9).prop_map(|(c, p)| Event::Drop(c, p)),
        6 => Just(Event::Start),
        4 => (0_usize..8, 0_u64..2_000_000).prop_map(|(j, b)| Event::Receive(j, b)),
        4 => (0_usize..8).prop_map(Event::Land),
        2 => ((0_usize..8), kind).prop_map(|(j, k)| Event::Fail(j, k)),
        3 => (0_u64..4_000).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_slow_model_does(
        events in proptest::collection::vec(event(), 0..120),
        connections_max in 1_u32..5,
    ) {
        let limits = Limits { connections_max, window_bytes_max: 6 << 20, ..LIMITS };
        let (mut scheduler, mut model) = (Scheduler::new(limits), Model::default());
        let mut now_ms = 0;
        for event in events {
            let now = at(now_ms);
            let nth = |model: &Model, n: usize| {
                model.jobs.get(n % model.jobs.len().max(1)).map(|(job, ..)| *job)
            };
            match event {
                Event::Want(content, piece, wait, short, background, hold) => {
                    let len = if short { 1000 } else { PIECE_BYTES };
                    let known = model.find(id(content, piece)).map(|piece| piece.want.len);
                    let want = Want {
                        len: known.unwrap_or(len),
                        background,
                        http_not_before: if hold > 0 { at(now_ms + hold) } else { at(0) },
                        ..want(id(content, piece), now_ms + wait)
                    };
                    scheduler.want(want);
                    model.want(want);
                }
                Event::Drop(content, piece) => {
                    scheduler.drop_want(id(content, piece));
                    model.drop_want(id(content, piece));
                }
                Event::TakeForPeer(content, piece) => {
                    let id = id(content, piece);
                    let job = scheduler.take_for_peer(now, id);
                    let there = model.find(id).filter(|piece| piece.job.is_none());
                    prop_assert_eq!(job.is_some(), there.is_some());
                    if let (Some(job), Some(piece)) = (job, there) {
                        prop_assert_eq!(job.pieces(), id.piece..id.piece + 1);
                        prop_assert_eq!(job.attempt, piece.failures + 1);
                        piece.job = Some(job.serial);
                        model.by_peers.push((job, id));
                    }
                }
                Event::PeersLand(n) => {
                    let some = model.by_peers.get(n % model.by_peers.len().max(1)).copied();
                    if let Some((_, id)) = some {
                        scheduler.landed(id);
                        model.landed(id);
                    }
                }
                Event::PeersFail(n, kind) => {
                    let some = model.by_peers.get(n % model.by_peers.len().max(1)).copied();
                    if let Some((job, id)) = some {
                        scheduler.received(now, &job, 1000);
                        let given_up = scheduler.failed(now, &job, kind);
                        prop_assert_eq!(given_up, model.peers_failed(&job, id));
                    }
                }
                Event::HoldHttp(content, piece, hold) => {
                    let until = if hold > 0 { at(now_ms + hold) } else { at(0) };
                    scheduler.hold_http(id(content, piece), until);
                    if let Some(piece) = model.find(id(content, piece)) {
                        piece.want.http_not_before = until;
                    }
                }
                Event::ReleaseHttp(content) => {
                    scheduler.release_http(ContentNo::new(content));
                    for piece in &mut model.pieces {
                        if piece.want.id.content.get() == content {
                            piece.want.http_not_before = at(0);
                        }
                    }
                }
                Event::Start => {
                    let expected = model.next(now, scheduler.window_bytes(), &limits);
                    let started = scheduler.next(now, |_| 0);
                    let pieces = started.map(|job| {
                        job.pieces().map(|piece| PieceId { content: job.content, piece }).collect()
                    });
                    prop_assert_eq!(&pieces, &expected);
                    if let (Some(job), Some(pieces)) = (started, expected) {
                        model.began(&job, &pieces, now);
                    }
                }
                Event::Receive(n, bytes) => {
                    if let Some(job) = nth(&model, n) {
                        scheduler.received(now, &job, bytes);
                        for (other, left, heard) in &mut model.jobs {
                            if other.serial == job.serial {
                                *left = left.saturating_sub(bytes);
                                *heard = now;
                            }
                        }
                    }
                }
                Event::Land(n) => {
                    if let Some(job) = nth(&model, n)
                        && let Some(id) = scheduler.missing(&job).first().copied()
                    {
                        scheduler.landed(id);
                        model.landed(id);
                    }
                }
                Event::Fail(n, kind) => {
                    if let Some(job) = nth(&model, n) {
                        let given_up = scheduler.failed(now, &job, kind);
                        prop_assert_eq!(given_up, model.failed(now, &job, kind));
                    }
                }
                Event::Wait(ms) => now_ms += ms,
            }
            let waiting = model.pieces.iter().filter(|piece| piece.job.is_none());
            prop_assert_eq!(scheduler.depth(), (model.jobs.len(), waiting.count()));
            for content in (1..4).map(ContentNo::new) {
                let open: Vec<PieceId> = scheduler.open(content).map(|want| want.id).collect();
                prop_assert_eq!(open, model.open(content));
            }
            // Whatever time alone will change, the next wake is not after it.
            let mut wakes: Vec<Time> = Vec::new();
            for piece in model.pieces.iter().filter(|piece| piece.job.is_none()) {
                let rests_until = piece.paused.unwrap_or_default().max(piece.want.http_not_before);
                wakes.extend(Some(rests_until).filter(|until| *until > at(now_ms)));
                wakes.extend(Some(piece.want.deadline).filter(|_| !piece.want.background));
            }
            if let Some(first) = wakes.into_iter().min() {
                prop_assert!(scheduler.next_wake().is_some_and(|wake| wake <= first));
            }
            let mut late: Vec<PieceId> = model.pieces.iter()
                .filter(|piece| piece.job.is_none() && !piece.want.background)
                .filter(|piece| piece.want.deadline <= at(now_ms))
                .map(|piece| piece.want.id)
                .collect();
            let mut overdue = scheduler.overdue(at(now_ms));
            late.sort();
            overdue.sort();
            prop_assert_eq!(overdue, late);
        }
    }
}
