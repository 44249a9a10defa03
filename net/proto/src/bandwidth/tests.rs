//! Downloads on a line in virtual time. The rule: whoever reads does so as the edges do: it asks, reads what it was
//! granted, and comes back when it was told to, up to a millisecond late.

mod limits;

use super::{Flow, Governor, Sample};
use crate::bucket::Take;
use crate::policy::settings::{KB, Policies};
use crate::policy::{Dialect, Priority, Role};
use crate::time::Time;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(1);
/// Bytes in 30 seconds are counted from here on.
const BEGIN: Time = Time::from_micros(5_000_000);

fn policies(change: impl FnOnce(&mut Policies)) -> Policies {
    let mut policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
    change(&mut policies);
    policies
}

/// One connection.
struct Reader {
    flow: Flow,
    back_at: Time,
    /// Bytes a second that its server sends.
    speed: u64,
    arrived: u64,
    from: Time,
    until: Time,
    got: Vec<(Time, u64)>,
}

fn reader(download: u64, priority: Priority, by_line: bool) -> Reader {
    Reader {
        flow: Flow {
            download,
            priority,
            by_line,
        },
        back_at: BEGIN,
        speed: 1 << 40,
        arrived: 0,
        from: BEGIN,
        until: Time::from_micros(u64::MAX),
        got: Vec::new(),
    }
}

impl Reader {
    fn of(&self, from: Time, to: Time) -> u64 {
        let got = self.got.iter().filter(|(at, _)| *at >= from && *at < to);
        got.map(|(_, bytes)| bytes).sum()
    }
}

/// A line that brings so many bytes a second, shared alike between those who read; None: as many as are read.
fn run(governor: &mut Governor, readers: &mut [Reader], line: Option<u64>, until: Time) {
    let mut now = readers
        .iter()
        .map(|reader| reader.from)
        .min()
        .unwrap_or(BEGIN);
    let mut first = 0;
    while now < until {
        let mut line_left = line.map_or(u64::MAX, |line| line / 1000);
        // Nobody is always the first.
        first += 1;
        let count = readers.len();
        for nth in 0..count {
            let reader = &mut readers[(first + nth) % count];
            if now < reader.from || now >= reader.until {
                continue;
            }
            reader.arrived = (reader.arrived + reader.speed / 1000).min(1 << 20);
            while now >= reader.back_at {
                let want = reader.arrived.min(line_left).min(256 << 10);
                if want == 0 {
                    break;
                }
                match governor.take(&reader.flow, want, now) {
                    Take::Later(at) => {
                        assert!(at > now, "it would ask for ever");
                        reader.back_at = at;
                    }
                    Take::Granted(bytes) => {
                        assert!((1..=want).contains(&bytes));
                        reader.arrived -= bytes;
                        line_left -= if reader.flow.by_line { bytes } else { 0 };
                        reader.got.push((now, bytes));
                        governor.came(&reader.flow, bytes, now);
                    }
                }
            }
        }
        now = now + TICK;
    }
}

fn seconds(seconds: u64) -> Time {
    BEGIN + Duration::from_secs(seconds)
}

/// What all got in the fastest second.
fn fastest_second(readers: &[Reader]) -> u64 {
    let mut all: Vec<(Time, u64)> = readers.iter().flat_map(|r| r.got.iter().copied()).collect();
    all.sort_unstable();
    let (mut from, mut sum, mut most) = (0, 0, 0);
    for (at, bytes) in &all {
        sum += bytes;
        while at.since(all[from].0) >= Duration::from_secs(1) {
            sum -= all[from].1;
            from += 1;
        }
        most = most.max(sum);
    }
    most
}

fn within_percent(got: u64, wanted: u64, percent: u64, what: &str) {
    let off = got.abs_diff(wanted);
    assert!(off * 100 <= wanted * percent, "{what}: {got} of {wanted}");
}

fn kb(bytes: u64) -> u64 {
    bytes * KB
}

#[test]
fn a_background_without_a_limit_of_its_own_yields() {
    let mut governor = Governor::new(Time::default());
    let mut now = Time::from_micros(1);
    let set = |governor: &mut Governor, now, change: &dyn Fn(&mut Policies)| {
        governor.set(&policies(change), 0, now);
    };
    set(&mut governor, now, &|_| {});
    let sample = |bytes| Sample {
        path: 1,
        round_trip: Duration::from_millis(20),
        bytes,
        lost: false,
    };
    let few = governor.window(1).expect("it yields");
    for _ in 0..100 {
        now = now + Duration::from_millis(20);
        let window = governor.window(1).expect("it yields");
        governor.sampled(&[sample(window)], now);
    }
    let many = governor.window(1).expect("it yields");
    assert!(many > 10 * few, "{few} {many}");
    assert_eq!(governor.window(4), Some(many / 4), "they share it");
    // Somebody waits: at once, and until he does no longer.
    let foreground = reader(1, Priority::Foreground, true).flow;
    governor.came(&foreground, 1, now);
    assert!(governor.window(1) <= Some(few), "{:?}", governor.window(1));
    let lan = reader(2, Priority::Foreground, false).flow;
    for _ in 0..200 {
        now = now + Duration::from_millis(20);
        governor.came(&lan, 1, now);
        let window = governor.window(1).expect("it yields");
        governor.sampled(&[sample(window)], now);
    }
    assert!(
        governor.window(1) > Some(10 * few),
        "what is of the LAN is in nobody's way"
    );
    // A limit of its own is what it takes; one for all is not.
    set(&mut governor, now, &|p| {
        p.download_percent_max_of.background = 50
    });
    assert_eq!(governor.window(1), None);
    set(&mut governor, now, &|p| p.download_bytes_s_max = 100 * KB);
    assert!(governor.window(1).is_some());
}
