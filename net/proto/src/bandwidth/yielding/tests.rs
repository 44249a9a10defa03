//! A background on a line with a queue, beside others that want it.

use super::{SEGMENT, Sample, WINDOW_BYTES_MIN, Yielding};
use crate::time::Time;
use std::time::Duration;

const TICK_US: u64 = 1000;

/// A line: bytes a second, an empty round trip, and what its queue holds.
struct Line {
    bytes_s: u64,
    round_trip_us: u64,
    queue_bytes_max: u64,
    queue_bytes: u64,
}

/// Somebody else who takes all that it can get, as TCP does: more with each round trip, and half after a loss.
struct Other {
    window: u64,
    wait_us: u64,
}

#[derive(Default, Debug)]
struct Seen {
    ours: u64,
    others: u64,
    queues_us: Vec<u64>,
}

impl Seen {
    fn p95_us(&mut self) -> u64 {
        self.queues_us.sort_unstable();
        self.queues_us[self.queues_us.len() * 95 / 100]
    }
}

/// Runs both for so long. What is on its way comes back after a round trip with the queue that it met, and makes room for
/// as much.
fn run(
    line: &mut Line,
    yielding: &mut Yielding,
    other: &mut Option<Other>,
    from_s: u64,
    to_s: u64,
) -> Seen {
    let mut seen = Seen::default();
    let mut since_sample = 0;
    let mut lost = false;
    let mut now_us = from_s * 1_000_000;
    while now_us < to_s * 1_000_000 {
        let queue_us = line.queue_bytes * 1_000_000 / line.bytes_s;
        let round_trip_us = line.round_trip_us + queue_us;
        // Each offers its window once a round trip.
        let ours = yielding.window() * TICK_US / round_trip_us;
        let others = other
            .as_ref()
            .map_or(0, |other| other.window * TICK_US / round_trip_us);
        let offered = ours + others;
        let brings = line.bytes_s * TICK_US / 1_000_000;
        let sent = (line.queue_bytes + offered).min(brings);
        line.queue_bytes = line.queue_bytes + offered - sent;
        let dropped = line.queue_bytes > line.queue_bytes_max;
        line.queue_bytes = line.queue_bytes.min(line.queue_bytes_max);
        let got = (sent.min(offered) * ours).checked_div(offered).unwrap_or(0);
        seen.ours += got;
        seen.others += sent.min(offered) - got;
        seen.queues_us.push(queue_us);
        since_sample += got;
        lost |= dropped && ours > others / 20;
        if let Some(other) = other {
            other.window += 1448 * TICK_US / round_trip_us;
            other.wait_us = other.wait_us.saturating_sub(TICK_US);
            if dropped && other.wait_us == 0 {
                other.window /= 2;
                other.wait_us = round_trip_us;
            }
        }
        now_us += TICK_US;
        if now_us.is_multiple_of(10_000) {
            let sample = Sample {
                path: 1,
                round_trip: Duration::from_micros(round_trip_us),
                bytes: since_sample,
                lost: std::mem::take(&mut lost),
            };
            yielding.sampled(&[sample], Time::from_micros(now_us));
            since_sample = 0;
        }
    }
    seen
}

fn line(mbit: u64, round_trip_ms: u64, queue_ms: u64) -> Line {
    let bytes_s = mbit * 125_000;
    Line {
        bytes_s,
        round_trip_us: round_trip_ms * 1000,
        queue_bytes_max: bytes_s * queue_ms / 1000,
        queue_bytes: 0,
    }
}

#[test]
fn an_idle_line_is_used_and_nobody_waits() {
    for (mbit, round_trip_ms) in [(2, 20), (20, 5), (20, 20), (20, 80), (100, 20), (1000, 30)] {
        let mut line = line(mbit, round_trip_ms, 200);
        let mut yielding = Yielding::default();
        run(&mut line, &mut yielding, &mut None, 0, 5);
        let mut seen = run(&mut line, &mut yielding, &mut None, 5, 35);
        let part = seen.ours * 100 / (line.bytes_s * 30);
        let p95 = seen.p95_us();
        assert!(part >= 80, "{mbit} {round_trip_ms}: {part} %, {p95}");
        assert!(p95 <= 40_000, "{mbit} {round_trip_ms}: {p95} us");
    }
}

#[test]
fn the_others_have_the_line() {
    for (mbit, round_trip_ms, queue_ms) in
        [(20, 20, 100), (20, 20, 50), (100, 10, 100), (5, 40, 300)]
    {
        let mut alone = line(mbit, round_trip_ms, queue_ms);
        let mut empty = Yielding::default();
        let mut other = Some(Other {
            window: 20_000,
            wait_us: 0,
        });
        run(&mut alone, &mut empty, &mut other, 0, 1);
        let mut line = line(mbit, round_trip_ms, queue_ms);
        let mut yielding = Yielding::default();
        run(&mut line, &mut yielding, &mut None, 0, 10);
        let mut other = Some(Other {
            window: 20_000,
            wait_us: 0,
        });
        run(&mut line, &mut yielding, &mut other, 10, 20);
        let seen = run(&mut line, &mut yielding, &mut other, 20, 50);
        let part = seen.others * 100 / (line.bytes_s * 30);
        assert!(part >= 90, "{mbit} {round_trip_ms} {queue_ms}: {part} %");
        // Once they are gone it takes what there is.
        run(&mut line, &mut yielding, &mut None, 50, 60);
        let seen = run(&mut line, &mut yielding, &mut None, 60, 70);
        let part = seen.ours * 100 / (line.bytes_s * 10);
        assert!(
            part >= 80,
            "{mbit} {round_trip_ms} {queue_ms}: {part} % again"
        );
    }
}

#[test]
fn a_foreground_has_the_line_at_once() {
    let mut line = line(20, 20, 100);
    let mut yielding = Yielding::default();
    run(&mut line, &mut yielding, &mut None, 0, 10);
    let before = yielding.window();
    assert!(before > 10 * WINDOW_BYTES_MIN, "{before}");
    yielding.foreground(true);
    assert_eq!(yielding.window(), WINDOW_BYTES_MIN, "at once");
    assert_eq!(yielding.share(4), SEGMENT, "nobody stands still");
    let mut other = Some(Other {
        window: 20_000,
        wait_us: 0,
    });
    run(&mut line, &mut yielding, &mut other, 10, 15);
    let seen = run(&mut line, &mut yielding, &mut other, 15, 30);
    assert!(
        seen.ours * 20 <= seen.others,
        "{seen:?}",
        seen = (seen.ours, seen.others)
    );
    yielding.foreground(false);
    let mut seen = run(&mut line, &mut yielding, &mut None, 30, 34);
    assert!(seen.ours * 100 / (line.bytes_s * 4) >= 75, "{}", seen.ours);
    assert!(seen.p95_us() <= 60_000);
}

#[test]
fn who_says_nothing_of_the_line_does_not_hold_it_up() {
    let mut yielding = Yielding::default();
    let sample = |path, ms, bytes| Sample {
        path,
        round_trip: Duration::from_millis(ms),
        bytes,
        lost: false,
    };
    let (mut now, mut held) = (Time::from_micros(1), 0);
    for nth in 0..200_u64 {
        now = now + Duration::from_millis(20);
        // One far away sends a word now and then, later each time.
        let far = sample(2, 50 + nth, 10);
        let window = yielding.window();
        yielding.sampled(&[sample(1, 20, window), far], now);
        held = held.max(window);
    }
    assert!(held > 1 << 20, "{held}");
    let window = yielding.window();
    yielding.sampled(&[], now + Duration::from_secs(9));
    assert_eq!(yielding.window(), window, "nothing seen, nothing learned");
}
