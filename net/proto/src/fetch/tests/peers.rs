//! What peers take from the list, and what is left to them.

use super::*;

fn left_to_peers(id: PieceId, deadline_ms: u64, until_ms: u64) -> Want {
    Want {
        http_not_before: at(until_ms),
        ..want(id, deadline_ms)
    }
}

#[test]
fn what_is_left_to_peers_is_passed_over_until_then() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(left_to_peers(id(1, 0), 60_000, 500));
    scheduler.want(left_to_peers(id(1, 1), 60_000, 501));
    scheduler.want(want(id(1, 2), 60_000));
    assert_eq!(spans(&start_all(&mut scheduler, at(499))), [(1, 2..3)]);
    assert_eq!(scheduler.next_wake(), Some(at(500)));
    assert_eq!(spans(&start_all(&mut scheduler, at(500))), [(1, 0..1)]);
    assert_eq!(spans(&start_all(&mut scheduler, at(501))), [(1, 1..2)]);
}

#[test]
fn what_is_left_to_peers_is_late_like_everything() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(left_to_peers(id(1, 0), 1000, 9000));
    assert_eq!(scheduler.next_wake(), Some(at(1000)));
    assert_eq!(scheduler.overdue(at(1000)), [id(1, 0)]);
}

#[test]
fn who_wants_a_piece_of_the_origin_sooner_gets_it_sooner() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(left_to_peers(id(1, 0), 60_000, 5000));
    scheduler.want(left_to_peers(id(1, 0), 60_000, 400));
    scheduler.want(left_to_peers(id(1, 0), 60_000, 7000));
    assert!(scheduler.next(at(399), |_| 0).is_none());
    assert!(scheduler.next(at(400), |_| 0).is_some());
}

#[test]
fn a_release_is_of_one_content_and_leaves_the_patience_that_its_origin_asked_for() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 9), 60_000));
    let job = scheduler.next(at(0), |_| 0).expect("it is due");
    for content in [1, 2] {
        scheduler.want(left_to_peers(id(content, 0), 60_000, 30_000));
    }
    let busy = Failure::Busy(Duration::from_millis(2000));
    assert!(scheduler.failed(at(0), &job, busy).is_empty());
    scheduler.release_http(ContentNo::new(1));
    assert!(scheduler.next(at(1999), |_| 0).is_none());
    let jobs = start_all(&mut scheduler, at(2000));
    assert_eq!(spans(&jobs), [(1, 9..10), (1, 0..1)]);
    // Peers bring it meanwhile, and fail: what is left to them stays so.
    let job = scheduler.take_for_peer(at(0), id(2, 0)).expect("waits");
    assert!(scheduler.failed(at(0), &job, Failure::Broken).is_empty());
    assert!(scheduler.next(at(29_999), |_| 0).is_none());
    // A release reaches what is under way at peers, too.
    let job = scheduler.take_for_peer(at(0), id(2, 0)).expect("waits");
    scheduler.release_http(ContentNo::new(2));
    assert!(scheduler.failed(at(0), &job, Failure::Broken).is_empty());
    assert!(scheduler.next(at(2000), |_| 0).is_some());
}

#[test]
fn what_peers_bring_is_not_on_the_link() {
    let mut scheduler = Scheduler::new(Limits {
        connections_max: 2,
        window_bytes_max: 2 * PIECE,
        ..LIMITS
    });
    for piece in [0, 2, 4, 6, 8] {
        scheduler.want(want(id(1, piece), 60_000));
    }
    for piece in [0, 2, 4] {
        let job = scheduler.take_for_peer(at(0), id(1, piece));
        assert_eq!(job.expect("it waits").pieces(), piece..piece + 1);
    }
    // Neither the window of two pieces nor the two connections are taken.
    let jobs = start_all(&mut scheduler, at(0));
    assert_eq!(spans(&jobs), [(1, 6..7), (1, 8..9)]);
    assert_eq!(scheduler.depth(), (2, 0));
    for job in &jobs {
        scheduler.failed(at(0), job, Failure::Final);
    }
    // Nor does silence of peers wake anybody.
    assert_eq!(scheduler.next_wake(), None);
}

#[test]
fn what_peers_bring_says_nothing_of_the_link() {
    let mut scheduler = Scheduler::new(LIMITS);
    let before = scheduler.window_bytes();
    for piece in 0..50 {
        scheduler.want(want(id(1, piece), 60_000));
        let job = scheduler
            .take_for_peer(at(0), id(1, piece))
            .expect("it waits");
        for ms in 0..10 {
            scheduler.received(at(u64::from(piece) * 10 + ms), &job, PIECE / 10);
        }
        scheduler.landed(id(1, piece));
        assert!(!scheduler.is_under_way(&job));
    }
    assert_eq!(scheduler.window_bytes(), before);
}

#[test]
fn what_peers_fail_is_ready_at_once_and_costs_the_origin_no_attempt() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 60_000));
    for kind in [
        Failure::Broken,
        Failure::Busy(Duration::from_secs(9)),
        Failure::Final,
        Failure::Broken,
        Failure::Broken,
    ] {
        let job = scheduler.take_for_peer(at(0), id(1, 0)).expect("it waits");
        assert!(scheduler.take_for_peer(at(0), id(1, 0)).is_none());
        assert!(scheduler.next(at(0), |_| 0).is_none());
        assert!(scheduler.failed(at(0), &job, kind).is_empty());
    }
    let job = scheduler.next(at(0), |_| 0).expect("it is ready");
    assert_eq!(job.attempt, 1);
    // It pauses for the origin, not for the peers.
    assert!(scheduler.failed(at(0), &job, Failure::Broken).is_empty());
    assert!(scheduler.next(at(249), |_| 0).is_none());
    let job = scheduler.take_for_peer(at(0), id(1, 0)).expect("it waits");
    assert!(scheduler.failed(at(10), &job, Failure::Broken).is_empty());
    assert!(scheduler.next(at(249), |_| 0).is_none());
    assert_eq!(scheduler.next(at(250), |_| 0).expect("due").attempt, 2);
}

#[test]
fn peers_see_what_is_wanted_most_urgent_first() {
    let mut scheduler = Scheduler::new(LIMITS);
    for (piece, deadline) in [(0, 30), (1, 20), (2, 10), (3, 20)] {
        scheduler.want(want(id(1, piece), deadline));
    }
    scheduler.want(left_to_peers(id(1, 4), 15, 9000));
    scheduler.want(want(id(2, 0), 1));
    scheduler.demote(id(1, 2));
    let open = |scheduler: &Scheduler| -> Vec<u32> {
        let open = scheduler.open(ContentNo::new(1));
        open.map(|want| want.id.piece).collect()
    };
    assert_eq!(open(&scheduler), [4, 1, 3, 0, 2]);
    let _ = scheduler.take_for_peer(at(0), id(1, 3)).expect("it waits");
    assert_eq!(open(&scheduler), [4, 1, 0, 2]);
}

#[test]
fn a_piece_that_is_dropped_while_peers_bring_it_is_not_tried_again() {
    let mut scheduler = Scheduler::new(LIMITS);
    scheduler.want(want(id(1, 0), 60_000));
    let job = scheduler.take_for_peer(at(0), id(1, 0)).expect("it waits");
    scheduler.drop_want(id(1, 0));
    assert_eq!(scheduler.failed(at(0), &job, Failure::Broken), [id(1, 0)]);
    assert!(scheduler.take_for_peer(at(0), id(1, 0)).is_none());
}
