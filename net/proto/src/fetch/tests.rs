//! The scheduler against its rules, one by one, and against a slow and obvious model of them all.

use super::*;
use proptest::prelude::*;

const PIECE: u64 = PIECE_BYTES as u64;

const LIMITS: Limits = Limits {
    window_bytes_min: 0,
    window_bytes_max: 64 << 20,
    run_bytes_max: 8 << 20,
    connections_max: 16,
};

fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

fn id(content: u64, piece: u32) -> PieceId {
    PieceId {
        content: ContentNo::new(content),
        piece,
    }
}

fn want(id: PieceId, deadline_ms: u64) -> Want {
    Want {
        id,
        len: PIECE_BYTES,
        deadline: at(deadline_ms),
        background: false,
    }
}

/// Everything that may start now.
fn start_all(scheduler: &mut Scheduler, now: Time) -> Vec<Job> {
    std::iter::from_fn(|| scheduler.next(now, |_| 0)).collect()
}

/// What each job is about.
fn spans(jobs: &[Job]) -> Vec<(u64, Range<u32>)> {
    jobs.iter()
        .map(|job| (job.content.get(), job.pieces()))
        .collect()
}

#[test]
fn the_earliest_deadline_goes_first_and_then_who_came_first() {
    let mut scheduler = Scheduler::new(LIMITS);
    for (content, deadline) in [(1, 30), (2, 20), (3, 10), (4, 20)] {
        scheduler.want(want(id(content, 0), deadline));
    }
    scheduler.want(Want {
        background: true,
        ..want(id(5, 0), 1)
    });
    let jobs = start_all(&mut scheduler, at(0));
    let order: Vec<u64> = jobs.iter().map(|job| job.content.get()).collect();
    assert_eq!(order, [3, 2, 4, 1, 5]);
}

#[test]
fn a_demoted_piece_waits_behind_everything_until_it_is_wanted_again() {
    let order = |again: bool| {
        let mut scheduler = Scheduler::new(LIMITS);
        for (content, deadline) in [(1, 10), (2, 20), (3, 30)] {
            scheduler.want(want(id(content, 0), deadline));
        }
        scheduler.demote(id(1, 0));
        assert_eq!(scheduler.overdue(at(25)), [id(2, 0)]);
        if again {
            scheduler.want(want(id(1, 0), 15));
        }
        let jobs = start_all(&mut scheduler, at(0));
        jobs.iter()
            .map(|job| job.content.get())
            .collect::<Vec<u64>>()
    };
    assert_eq!(order(false), [2, 3, 1]);
    assert_eq!(order(true), [1, 2, 3]);
}

#[test]
fn a_second_who_wants_a_piece_can_only_make_it_more_urgent() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 30));
    scheduler.want(want(id(2, 0), 20));
    scheduler.want(want(id(1, 0), 10));
    scheduler.want(want(id(1, 0), 90));
    assert_eq!(
        spans(&start_all(&mut scheduler, at(0))),
        [(1, 0..1), (2, 0..1)]
    );
    assert!(scheduler.next(at(0), |_| 0).is_none());
}

#[test]
fn neighbours_become_one_request_as_far_as_their_share_of_the_window_goes() {
    let mut scheduler = Scheduler::new(LIMITS);
    for piece in 0..5 {
        scheduler.want(want(id(1, piece), 10 + u64::from(piece)));
    }
    scheduler.want(want(id(1, 7), 10));
    // A quarter of the first 8 MiB.
    let jobs = start_all(&mut scheduler, at(0));
    assert_eq!(spans(&jobs), [(1, 0..2), (1, 7..8), (1, 2..4), (1, 4..5)]);
}

#[test]
fn no_more_is_under_way_than_the_window_holds() {
    let mut scheduler = Scheduler::new(LIMITS);
    for content in 1..=20 {
        scheduler.want(want(id(content, 0), 10));
    }
    let jobs = start_all(&mut scheduler, at(0));
    assert_eq!(jobs.len() as u64, scheduler.window_bytes() / PIECE);
    // What has arrived makes room.
    scheduler.received(at(1), &jobs[0], PIECE / 2);
    assert!(scheduler.next(at(1), |_| 0).is_none());
    scheduler.received(at(2), &jobs[1], PIECE / 2);
    assert!(scheduler.next(at(2), |_| 0).is_some());
}

#[test]
fn no_more_connections_are_used_than_allowed() {
    let mut scheduler = Scheduler::new(Limits {
        connections_max: 2,
        ..LIMITS
    });
    for content in 1..=6 {
        scheduler.want(want(id(content, 0), 10));
    }
    let jobs = start_all(&mut scheduler, at(0));
    assert_eq!(jobs.len(), 2);
    scheduler.landed(id(jobs[0].content.get(), 0));
    assert_eq!(start_all(&mut scheduler, at(1)).len(), 1);
    // Those that fell silent do not hold up the others, but are not started without end either.
    assert_eq!(start_all(&mut scheduler, at(3_001)).len(), 2);
    assert_eq!(start_all(&mut scheduler, at(9_000)).len(), 0);
}

#[test]
fn what_fails_is_tried_again_after_longer_and_longer_pauses() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 60_000));
    let mut now = 0;
    for (attempt, pause) in [(1, 250), (2, 1000), (3, 3000)] {
        let job = scheduler.next(at(now), |_| 0).expect("it is due");
        assert_eq!(job.attempt, attempt);
        assert!(scheduler.failed(at(now), &job, Failure::Broken).is_empty());
        assert_eq!(scheduler.next_wake(), Some(at(now + pause)));
        assert!(scheduler.next(at(now + pause - 1), |_| 0).is_none());
        now += pause;
    }
    let job = scheduler.next(at(now), |_| 0).expect("it is due");
    assert_eq!(scheduler.failed(at(now), &job, Failure::Broken), [id(1, 0)]);
    assert!(!scheduler.has(id(1, 0)));
}

#[test]
fn a_run_that_breaks_costs_only_the_piece_at_which_it_broke_an_attempt() {
    let mut scheduler = Scheduler::new(LIMITS);
    for piece in 0..2 {
        scheduler.want(want(id(1, piece), 60_000));
    }
    let mut now = 0;
    let first = scheduler.next(at(0), |_| 0).expect("both");
    scheduler.landed(id(1, 0));
    assert!(scheduler.failed(at(0), &first, Failure::Broken).is_empty());
    for pause in [250, 1000, 3000] {
        now += pause;
        let job = scheduler.next(at(now), |_| 0).expect("it is due");
        assert_eq!(job.pieces(), 1..2);
        let given_up = scheduler.failed(at(now), &job, Failure::Broken);
        assert_eq!(given_up.is_empty(), pause < 3000);
    }
}

#[test]
fn a_busy_origin_is_left_alone_for_all_pieces_of_the_object() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 10));
    let job = scheduler.next(at(0), |_| 0).expect("it is due");
    scheduler.want(want(id(1, 5), 10));
    scheduler.want(want(id(2, 0), 10));
    let busy = Failure::Busy(Duration::ZERO);
    assert!(scheduler.failed(at(0), &job, busy).is_empty());
    assert_eq!(spans(&start_all(&mut scheduler, at(999))), [(2, 0..1)]);
    assert_eq!(start_all(&mut scheduler, at(1000)).len(), 2);
}

#[test]
fn an_origin_that_says_how_long_is_left_alone_so_long() {
    for (asked_ms, pause_ms) in [(500, 1000), (7000, 7000), (3_600_000, 10_000)] {
        let mut scheduler = Scheduler::new(LIMITS);
        scheduler.want(want(id(1, 0), 1_000_000));
        let job = scheduler.next(at(0), |_| 0).expect("it is due");
        let busy = Failure::Busy(Duration::from_millis(asked_ms));
        assert!(scheduler.failed(at(0), &job, busy).is_empty());
        assert_eq!(start_all(&mut scheduler, at(pause_ms - 1)), []);
        assert_eq!(start_all(&mut scheduler, at(pause_ms)).len(), 1);
    }
}

#[test]
fn of_what_is_due_at_about_the_same_time_most_waited_for_goes_first() {
    let mut scheduler = Scheduler::new(LIMITS);
    let near = u64::try_from(SAME_TIME.as_millis()).expect("small");
    for (content, deadline) in [(1, 0), (2, near / 2), (3, near), (4, near + 1)] {
        scheduler.want(want(id(content, 0), 10 + deadline));
    }
    scheduler.want(Want {
        background: true,
        ..want(id(5, 0), 1)
    });
    let waiting =
        |id: PieceId| [0, 1, 2, 2, 9, 9][usize::try_from(id.content.get()).expect("small")];
    let order: Vec<u64> = std::iter::from_fn(|| scheduler.next(at(0), waiting))
        .map(|job| job.content.get())
        .collect();
    // The fourth is due too long after the first to come before it, and nobody is to wait for the fifth.
    assert_eq!(order, [2, 3, 1, 4, 5]);
}

/// The objects of [`served_early`], by their pieces.
const OBJECTS: [u32; 3] = [32, 24, 8];

/// 200 clients with seven connections each want the same three objects, each in an order of its own: how many answers
/// of 100 are out when four fifths of the pieces have come.
fn served_early(waiting_counts: bool, mut seed: u64) -> usize {
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let mut orders = Vec::new();
    for _ in 0..200 {
        orders.push(OBJECTS.map(|pieces| {
            let mut order: Vec<u32> = (0..pieces).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, random(last + 1));
            }
            order
        }));
    }
    let mut scheduler = Scheduler::new(Limits {
        connections_max: 1,
        run_bytes_max: PIECE,
        ..LIMITS
    });
    let pieces = OBJECTS.iter().sum::<u32>() as usize;
    let mut come = BTreeSet::new();
    let mut waiting: BTreeMap<PieceId, Vec<(usize, usize)>> = BTreeMap::new();
    // Connections that are free, by their clients and numbers.
    let mut free: Vec<_> = (0..200 * 7).map(|n| (n / 7, n % 7)).collect();
    let (mut served, mut early) = (0, 0);
    for now in 0.. {
        while let Some((client, number)) = free.pop() {
            // Each begins with one of the objects, and helps the others when that is done.
            let next = (number..number + 3).find_map(|at| {
                let piece = orders[client][at % 3].pop()?;
                Some(id(at as u64 % 3 + 1, piece))
            });
            let Some(next) = next else {
                continue;
            };
            if come.contains(&next) {
                served += 1;
                free.push((client, number));
                continue;
            }
            waiting.entry(next).or_default().push((client, number));
            if !scheduler.has(next) {
                scheduler.want(want(next, now + 12_000));
            }
        }
        if come.len() * 5 <= pieces * 4 {
            early = served;
        }
        let count = |id: PieceId| match waiting_counts {
            true => waiting.get(&id).map_or(0, Vec::len),
            false => 0,
        };
        let Some(job) = scheduler.next(at(now), count) else {
            break;
        };
        let piece = id(job.content.get(), job.first);
        scheduler.received(at(now), &job, PIECE);
        scheduler.landed(piece);
        come.insert(piece);
        free = waiting.remove(&piece).unwrap_or_default();
        served += free.len();
    }
    assert_eq!(served, 200 * pieces);
    early * 100 / served
}

#[test]
fn what_most_wait_for_frees_many_before_the_end() {
    for seed in 1..4 {
        let (in_turn, by_waiting) = (served_early(false, seed), served_early(true, seed));
        assert!(
            in_turn < 55 && by_waiting > 65,
            "seed {seed}: {in_turn}, {by_waiting}"
        );
    }
}

#[test]
fn what_is_final_is_not_tried_again() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 10));
    scheduler.want(want(id(1, 1), 10));
    let job = scheduler.next(at(0), |_| 0).expect("both");
    let given_up = scheduler.failed(at(0), &job, Failure::Final);
    assert_eq!(given_up, [id(1, 0), id(1, 1)]);
    // Twice is as good as once.
    assert!(scheduler.failed(at(0), &job, Failure::Final).is_empty());
    assert_eq!(scheduler.depth(), (0, 0));
}

#[test]
fn a_piece_that_nobody_wants_any_more_is_finished_but_not_tried_again() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 10));
    scheduler.want(want(id(2, 0), 10));
    let job = scheduler.next(at(0), |_| 0).expect("the first");
    scheduler.drop_want(id(1, 0));
    scheduler.drop_want(id(2, 0));
    assert!(scheduler.next(at(0), |_| 0).is_none());
    assert_eq!(scheduler.failed(at(0), &job, Failure::Broken), [id(1, 0)]);
}

#[test]
fn what_is_too_late_is_reported_on_both_sides_of_the_deadline() {
    let mut scheduler = Scheduler::new(Limits {
        connections_max: 1,
        ..LIMITS
    });
    scheduler.want(want(id(1, 0), 10));
    scheduler.want(want(id(2, 0), 20));
    let _ = scheduler.next(at(0), |_| 0).expect("the first");
    assert!(scheduler.overdue(at(19)).is_empty());
    // What is under way is not late any more, whatever its deadline.
    assert_eq!(scheduler.overdue(at(20)), [id(2, 0)]);
    scheduler.extend(id(2, 0), at(30));
    assert!(scheduler.overdue(at(29)).is_empty());
    assert_eq!(scheduler.next_wake(), Some(at(30)));
}

#[test]
fn the_window_follows_what_the_link_brings() {
    let mut scheduler = Scheduler::new(LIMITS);
    let mut contents = 1..;
    // Keeps the window full, on a link of `bytes_per_ms`.
    let mut run = |scheduler: &mut Scheduler, from_ms: u64, for_ms: u64, bytes_per_ms: u64| {
        let mut jobs: Vec<(Job, u64)> = Vec::new();
        for ms in from_ms..from_ms + for_ms {
            while scheduler.depth().1 < 3 {
                scheduler.want(want(id(contents.next().expect("endless"), 0), 10));
            }
            jobs.extend(
                start_all(scheduler, at(ms))
                    .into_iter()
                    .map(|job| (job, PIECE)),
            );
            if let Some((job, left)) = jobs.first_mut() {
                let some = bytes_per_ms.min(*left);
                scheduler.received(at(ms), job, some);
                *left -= some;
                if *left == 0 {
                    scheduler.landed(id(job.content.get(), 0));
                    jobs.remove(0);
                }
            }
        }
        for (job, _) in jobs {
            scheduler.failed(at(from_ms + for_ms), &job, Failure::Final);
        }
    };
    // 10 Mbit/s: two pieces.
    run(&mut scheduler, 0, 10_000, 1250);
    assert_eq!(scheduler.window_bytes(), 2 * PIECE);
    // 100 Mbit/s: about a second's worth.
    run(&mut scheduler, 10_000, 5_000, 12_500);
    let window = scheduler.window_bytes();
    assert!((10_000_000..15_000_000).contains(&window), "{window}");
    // More than may be.
    run(&mut scheduler, 15_000, 2_000, 1_000_000);
    assert_eq!(scheduler.window_bytes(), 64 << 20);
}

#[test]
fn little_demand_does_not_shrink_the_window() {
    let mut scheduler = Scheduler::new(LIMITS);
    for step in 0..100 {
        scheduler.want(want(id(step + 1, 0), 10));
        let job = scheduler.next(at(step * 1000), |_| 0).expect("it is due");
        for part in 0..4 {
            scheduler.received(at(step * 1000 + part * 200), &job, PIECE / 4);
        }
        scheduler.landed(id(step + 1, 0));
    }
    assert!(scheduler.window_bytes() >= 8 << 20);
}

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
