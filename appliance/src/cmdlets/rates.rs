//! How much goes through at present, and what it costs. The rule: what is told is over seconds that were measured, and
//! nothing where none were.

use crate::telemetry::process;
use larder_net::metrics::Figures;
use larder_proto::time::Time;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// Looks that are remembered; one is taken every few seconds.
const LOOKS_MAX: usize = 3;

/// Over less nothing is told.
const LEAST: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Time,
    down: u64,
    up: u64,
    cpu_ticks: u64,
}

/// The last looks.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<VecDeque<Look>>);

/// What they come to.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Rates {
    /// Bytes a second that come in, from wherever.
    pub(crate) down_bytes_s: u64,
    /// Bytes a second that go out to peers.
    pub(crate) up_bytes_s: u64,
    /// CPU time of this process, in percent of all cores.
    pub(crate) cpu_percent: f64,
}

impl Looks {
    /// Takes a look; to be called every few seconds.
    pub(crate) fn look(&self, figures: &Figures, now: Time) {
        let mut looks = self.0.lock();
        if looks.len() >= LOOKS_MAX {
            looks.pop_front();
        }
        looks.push_back(taken(figures, now));
    }

    /// What has gone through since the oldest of the last looks.
    pub(crate) fn rates(&self, figures: &Figures, now: Time) -> Rates {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let oldest = self.0.lock().front().copied();
        oldest.map_or(Rates::default(), |then| {
            between(then, taken(figures, now), cores)
        })
    }
}

fn taken(figures: &Figures, at: Time) -> Look {
    let (mut down, mut up) = (0, 0);
    for (name, all) in figures.sums() {
        match name {
            "received_http"
            | "received_cache_server"
            | "fetched_lan"
            | "fetched_group"
            | "fetched_internet"
            | "fetched_link" => down += all,
            "given_lan" | "given_group" | "given_internet" => up += all,
            _ => {}
        }
    }
    Look {
        at,
        down,
        up,
        cpu_ticks: process::cpu_ticks().unwrap_or(0),
    }
}

fn between(then: Look, now: Look, cores: usize) -> Rates {
    let passed = now.at.since(then.at);
    if passed < LEAST {
        return Rates::default();
    }
    let millis = passed.as_millis().max(1);
    let per_second = |from: u64, to: u64| {
        let grown = u128::from(to.saturating_sub(from));
        u64::try_from(grown * 1000 / millis).unwrap_or(u64::MAX)
    };
    let ticks = per_second(then.cpu_ticks, now.cpu_ticks);
    let most = u64::from(process::TICKS_PER_SECOND) * cores as u64;
    Rates {
        down_bytes_s: per_second(then.down, now.down),
        up_bytes_s: per_second(then.up, now.up),
        cpu_percent: super::percent(ticks, most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_measured_seconds() {
        let look = |ms: u64, bytes, cpu_ticks| Look {
            at: Time::from_micros(ms * 1000),
            down: 4 * bytes,
            up: bytes,
            cpu_ticks,
        };
        let rates = between(look(0, 0, 0), look(2000, 1000, 100), 2);
        let expected = Rates {
            down_bytes_s: 2000,
            up_bytes_s: 500,
            cpu_percent: 25.0,
        };
        assert_eq!(rates, expected);
        assert_eq!(between(look(0, 0, 0), look(999, 9, 9), 2), Rates::default());
        let busy = between(look(0, 0, 0), look(1000, 0, 999), 2);
        assert_eq!(busy.cpu_percent, 100.0);
    }
}
