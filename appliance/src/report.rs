//! What an appliance has served, fetched and saved in a month. The rule: saved is what was served without having crossed
//! the line to the world in that month, and never more than was served.
//!
//! The line is what is crossed by everything but peers on the same network: the origin, a cache host before it, other
//! peers, appliances at the other ends of links. From the origin all bytes count that came, of use or not; of peers
//! those that were kept. What was given to peers on the same network they did not fetch themselves; what went to others
//! saved nothing here.

use crate::cmdlets::percent;
use larder_proto::months::Sums;
use serde::{Deserialize, Serialize};

/// One month.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// As `2026-10`.
    pub(crate) month: String,
    pub(crate) site: String,
    /// Requests of clients, and those that were answered out of the store alone.
    pub(crate) requests: u64,
    pub(crate) requests_hit: u64,
    pub(crate) served_bytes: Served,
    pub(crate) fetched_bytes: Fetched,
    pub(crate) saved_bytes: u64,
    pub(crate) saved_percent: f64,
}

/// Bytes that went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) all: u64,
    /// To clients, from memory.
    pub(crate) memory: u64,
    /// To clients, from disk.
    pub(crate) disk: u64,
    /// To clients, while it came in.
    pub(crate) fetched: u64,
    /// To peers on the same network.
    pub(crate) lan_peers: u64,
    /// To peers of the group, and over links.
    pub(crate) group_peers: u64,
    /// To other peers.
    pub(crate) internet_peers: u64,
}

/// Bytes that came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fetched {
    pub(crate) all: u64,
    /// From origins.
    pub(crate) http: u64,
    /// From cache hosts before them.
    pub(crate) cache_server: u64,
    /// From peers on the same network.
    pub(crate) lan_peers: u64,
    /// From peers of the group.
    pub(crate) group_peers: u64,
    /// From other peers.
    pub(crate) internet_peers: u64,
    /// From appliances at the other ends of links.
    pub(crate) links: u64,
}

impl Report {
    /// Of what was counted in a month.
    pub(crate) fn of(month: String, site: String, sums: &Sums) -> Self {
        let sum = |name: &str| sums.get(name).copied().unwrap_or(0);
        let all = |parts: &[u64]| {
            parts
                .iter()
                .fold(0_u64, |all, part| all.saturating_add(*part))
        };
        let mut served = Served {
            all: 0,
            memory: sum("served_memory"),
            disk: sum("served_disk"),
            fetched: sum("served_fetched"),
            lan_peers: sum("given_lan"),
            group_peers: sum("given_group"),
            internet_peers: sum("given_internet"),
        };
        let near = all(&[served.memory, served.disk, served.fetched, served.lan_peers]);
        served.all = all(&[near, served.group_peers, served.internet_peers]);
        let mut fetched = Fetched {
            all: 0,
            http: sum("received_http"),
            cache_server: sum("received_cache_server"),
            lan_peers: sum("fetched_lan"),
            group_peers: sum("fetched_group"),
            internet_peers: sum("fetched_internet"),
            links: sum("fetched_link"),
        };
        let by_line = all(&[
            fetched.http,
            fetched.cache_server,
            fetched.group_peers,
            fetched.internet_peers,
            fetched.links,
        ]);
        fetched.all = all(&[by_line, fetched.lan_peers]);
        let saved_bytes = near.saturating_sub(by_line);
        Self {
            month,
            site,
            requests: sum("requests"),
            requests_hit: sum("requests_hit"),
            served_bytes: served,
            fetched_bytes: fetched,
            saved_bytes,
            saved_percent: percent(saved_bytes, near),
        }
    }

    /// The columns of a table for programs.
    pub(crate) const COLUMNS: [&str; 20] = [
        "month",
        "site",
        "requests",
        "requests_hit",
        "served_bytes",
        "served_memory_bytes",
        "served_disk_bytes",
        "served_fetched_bytes",
        "served_lan_peers_bytes",
        "served_group_peers_bytes",
        "served_internet_peers_bytes",
        "fetched_bytes",
        "fetched_http_bytes",
        "fetched_cache_server_bytes",
        "fetched_lan_peers_bytes",
        "fetched_group_peers_bytes",
        "fetched_internet_peers_bytes",
        "fetched_links_bytes",
        "saved_bytes",
        "saved_percent",
    ];

    /// What stands in them.
    pub(crate) fn cells(&self) -> [String; 20] {
        let (served, fetched) = (&self.served_bytes, &self.fetched_bytes);
        let number = |number: u64| number.to_string();
        [
            self.month.clone(),
            self.site.clone(),
            number(self.requests),
            number(self.requests_hit),
            number(served.all),
            number(served.memory),
            number(served.disk),
            number(served.fetched),
            number(served.lan_peers),
            number(served.group_peers),
            number(served.internet_peers),
            number(fetched.all),
            number(fetched.http),
            number(fetched.cache_server),
            number(fetched.lan_peers),
            number(fetched.group_peers),
            number(fetched.internet_peers),
            number(fetched.links),
            number(self.saved_bytes),
            format!("{:.2}", self.saved_percent),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counted: &[(&str, u64)]) -> Report {
        let sums = counted.iter().map(|(name, sum)| ((*name).to_owned(), *sum));
        Report::of("2026-10".to_owned(), "berlin".to_owned(), &sums.collect())
    }

    #[test]
    fn saved_is_what_did_not_cross_the_line() {
        let one = report(&[
            ("served_memory", 100),
            ("served_disk", 200),
            ("served_fetched", 50),
            ("given_lan", 150),
            ("given_group", 1000),
            ("given_internet", 2000),
            ("received_http", 40),
            ("received_cache_server", 10),
            ("fetched_http", 39),
            ("fetched_lan", 70),
            ("fetched_group", 20),
            ("fetched_internet", 30),
            ("fetched_link", 25),
            ("of_tomorrow", 7),
        ]);
        assert_eq!((one.served_bytes.all, one.fetched_bytes.all), (3500, 195));
        assert_eq!((one.saved_bytes, one.saved_percent), (500 - 125, 75.0));
    }

    #[test]
    fn nothing_is_saved_where_more_came_than_was_served() {
        let warmed = report(&[("served_disk", 10), ("received_http", 11)]);
        assert_eq!((warmed.saved_bytes, warmed.saved_percent), (0, 0.0));
        let none = report(&[]);
        assert_eq!((none.saved_bytes, none.saved_percent), (0, 0.0));
        let all = report(&[("served_disk", u64::MAX), ("given_lan", 5)]);
        assert_eq!((all.saved_bytes, all.saved_percent), (u64::MAX, 100.0));
    }

    #[test]
    fn each_column_has_its_cell() {
        let cells = report(&[("fetched_link", 9)]).cells();
        let at = |name: &str| Report::COLUMNS.iter().position(|column| *column == name);
        let cell = |name: &str| cells[at(name).expect("a column")].as_str();
        let seen = [
            "month",
            "site",
            "fetched_bytes",
            "fetched_links_bytes",
            "saved_percent",
        ];
        assert_eq!(seen.map(cell), ["2026-10", "berlin", "9", "9", "0.00"]);
    }
}
