//! The scheduler against its rules, one by one, against a slow and obvious model of them all, and on a thin link.

mod model;
mod peers;
mod thin_link;

use super::*;
use larder_content::ContentNo;
use std::collections::BTreeSet;
use std::ops::Range;

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
        http_not_before: at(0),
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
fn a_request_falls_silent_once() {
    let mut scheduler = Scheduler::new(Limits {
        connections_max: 1,
        ..LIMITS
    });
    for content in 1..=3 {
        scheduler.want(Want {
            background: true,
            ..want(id(content, 0), 10)
        });
    }
    assert_eq!(start_all(&mut scheduler, at(0)).len(), 1);
    assert_eq!(scheduler.next_wake(), Some(at(3000)));
    assert_eq!(start_all(&mut scheduler, at(3000)).len(), 1);
    assert_eq!(scheduler.next_wake(), Some(at(6000)));
    // As many as may be are silent, so nothing changes by itself, and nobody looks again and again.
    assert_eq!(start_all(&mut scheduler, at(6000)).len(), 0);
    assert_eq!(scheduler.next_wake(), None);
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

#[test]
fn a_held_content_begins_nothing_and_goes_on_as_it_was() {
    let mut scheduler = Scheduler::new(LIMITS);
    for piece in 0..3 {
        scheduler.want(want(id(1, piece), 1000));
    }
    scheduler.want(want(id(2, 0), 2000));
    let first = scheduler.next(at(0), |_| 0).expect("it is due");
    assert_eq!(spans(&[first]), [(1, 0..2)]);
    scheduler.hold(ContentNo::new(1));
    assert!(scheduler.is_held(ContentNo::new(1)) && !scheduler.is_held(ContentNo::new(2)));
    // What is under way is broken off by whoever brings it, and that was no attempt.
    assert!(scheduler.failed(at(100), &first, Failure::Held).is_empty());
    assert_eq!(spans(&start_all(&mut scheduler, at(100))), [(2, 0..1)]);
    // Neither peers nor deadlines get at it, nor what comes in addition.
    scheduler.want(want(id(1, 7), 500));
    assert!(scheduler.take_for_peer(at(100), id(1, 1)).is_none());
    assert_eq!(scheduler.open(ContentNo::new(1)).count(), 0);
    assert!(scheduler.overdue(at(60_000)).is_empty());
    assert!(scheduler.waits(id(1, 7)));
    scheduler.release_http(ContentNo::new(1));
    scheduler.extend(id(1, 0), at(1200));
    assert_eq!(start_all(&mut scheduler, at(60_000)).len(), 0);
    scheduler.let_go(ContentNo::new(1));
    let jobs = start_all(&mut scheduler, at(60_000));
    assert_eq!(spans(&jobs), [(1, 7..8), (1, 1..3), (1, 0..1)]);
    assert!(jobs.iter().all(|job| job.attempt == 1));
    for piece in [0, 1, 2, 7] {
        scheduler.landed(id(1, piece));
    }
    assert_eq!(scheduler.depth(), (1, 0));
}

#[test]
fn a_job_of_which_all_was_called_off_is_known() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 10));
    scheduler.want(want(id(1, 1), 10));
    let job = scheduler.next(at(0), |_| 0).expect("it is due");
    assert!(!scheduler.brings_none(&job, |_| true));
    assert!(!scheduler.brings_none(&job, |id| id.piece == 1));
    assert!(scheduler.brings_none(&job, |_| false));
    scheduler.landed(id(1, 0));
    scheduler.landed(id(1, 1));
    assert!(!scheduler.brings_none(&job, |_| false), "it is over");
}
