//! The scheduler against a slow obvious one, over any order of events.

use super::*;
use proptest::prelude::*;

/// The rules said slowly: a list of pieces, looked through from the beginning each time.
#[derive(Default)]
struct Model {
    pieces: Vec<Piece>,
    jobs: Vec<(Job, u64, Time)>,
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

    /// Which pieces the next request is about.
    fn next(&mut self, now: Time, window: u64, limits: &Limits) -> Option<Vec<PieceId>> {
        for piece in &mut self.pieces {
            piece.paused = piece.paused.filter(|until| *until > now);
        }
        let is_ready = |piece: &&Piece| piece.job.is_none() && piece.paused.is_none();
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
        let pieces = &self.pieces;
        self.jobs
            .retain(|(job, ..)| pieces.iter().any(|piece| piece.job == Some(job.serial)));
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
                let ready = piece.job.is_none() && piece.paused.is_none();
                if ready && piece.want.id.content == job.content {
                    piece.paused = Some(now + longest);
                }
            }
        }
        given_up
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(u64, u32, u64, bool, bool),
    Drop(u64, u32),
    Start,
    Receive(usize, u64),
    Land(usize),
    Fail(usize, Failure),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(Failure::Broken),
        Just(Failure::Busy(Duration::ZERO)),
        Just(Failure::Final)
    ];
    prop_oneof![
        6 => (1_u64..4, 0_u32..9, 0_u64..20_000, any::<bool>(), any::<bool>())
            .prop_map(|(c, p, d, short, b)| Event::Want(c, p, d, short, b)),
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
                Event::Want(content, piece, wait, short, background) => {
                    let len = if short { 1000 } else { PIECE_BYTES };
                    let known = model.find(id(content, piece)).map(|piece| piece.want.len);
                    let want = Want {
                        len: known.unwrap_or(len),
                        background,
                        ..want(id(content, piece), now_ms + wait)
                    };
                    scheduler.want(want);
                    model.want(want);
                }
                Event::Drop(content, piece) => {
                    scheduler.drop_want(id(content, piece));
                    model.drop_want(id(content, piece));
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
