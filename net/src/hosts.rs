//! Which hosts were refused and which were asked, for the administrator who wonders why a client goes past the cache.
//! The rule: a client can choose these names, so that they are never a metric's label and only so many are kept.

use parking_lot::Mutex;
use std::collections::HashMap;

/// Hosts that are remembered of each kind; the one that was met longest ago makes room.
const HOSTS_MAX: usize = 256;

/// A name longer than this is none.
const NAME_BYTES_MAX: usize = 255;

/// One host.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Met {
    /// As it was written, with its port where it had one.
    pub host: String,
    /// How often.
    pub count: u64,
    /// The last time, in seconds since 1970.
    pub last_unix: u64,
    /// What came of it the last time, in words; empty where it was asked.
    pub why: &'static str,
}

/// A bounded list of hosts.
#[derive(Default)]
pub struct Hosts(Mutex<HashMap<String, Met>>);

impl Hosts {
    /// Counts one more meeting.
    pub fn met(&self, host: &str, why: &'static str, now_unix: u64) {
        let name = &host[..host.floor_char_boundary(NAME_BYTES_MAX)];
        let mut hosts = self.0.lock();
        if let Some(met) = hosts.get_mut(name) {
            met.count += 1;
            met.last_unix = now_unix;
            met.why = why;
            return;
        }
        if hosts.len() >= HOSTS_MAX {
            let oldest = hosts.values().min_by_key(|met| (met.last_unix, met.count));
            if let Some(oldest) = oldest.map(|met| met.host.clone()) {
                hosts.remove(&oldest);
            }
        }
        let met = Met {
            host: name.to_owned(),
            count: 1,
            last_unix: now_unix,
            why,
        };
        hosts.insert(name.to_owned(), met);
    }

    /// All that are remembered, the most frequent first.
    #[must_use]
    pub fn list(&self) -> Vec<Met> {
        let mut all: Vec<Met> = self.0.lock().values().cloned().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.host.cmp(&b.host)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_whatever_clients_write() {
        let hosts = Hosts::default();
        hosts.met("often.example", "x", 1);
        hosts.met("often.example", "y", 2_000);
        for n in 0..1_000 {
            hosts.met(&format!("h{n}.example"), "x", 1_000 + n);
        }
        hosts.met(&"ä".repeat(10_000), "x", 3_000);
        let list = hosts.list();
        assert_eq!(list.len(), HOSTS_MAX);
        let first = &list[0];
        assert_eq!(
            (first.host.as_str(), first.count, first.why),
            ("often.example", 2, "y")
        );
        assert!(list.iter().all(|met| met.host.len() <= NAME_BYTES_MAX));
        assert!(list.iter().any(|met| met.host == "h999.example"));
        assert!(!list.iter().any(|met| met.host == "h0.example"));
    }
}
