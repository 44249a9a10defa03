//! Which cache hosts are asked before an origin. The rule: whatever is wrong with a cache host costs a download some
//! patience and nothing else; one that failed is left alone for a while, for one origin or for all of them.
//!
//! The order and the quarter of an hour are those of the vendor's Linux agent (facts: clients, 1.6 and 1.13).

use super::settings::Policies;
use crate::Time;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a cache host that failed is not asked.
pub const OUT_FOR: Duration = Duration::from_secs(15 * 60);

/// The longest pause between two attempts at a cache host that is given patience.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The shortest one.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// So many are remembered at most; what is forgotten is asked once more.
const OUT_MAX: usize = 4096;

/// More cache hosts than these are not taken from a network that names some.
const TOLD_MAX: usize = 16;

/// Where cache hosts are named besides `DOCacheHost` (facts: clients 1.10 and section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CacheHostSource {
    /// `DOCacheHostSource` = 0: nowhere, and by DNS-SD neither.
    Nowhere,
    /// 1: by DHCP option 235, where `DOCacheHost` names none.
    Dhcp,
    /// 2: by DHCP option 235, which goes before `DOCacheHost`.
    DhcpFirst,
}

impl CacheHostSource {
    /// The source of this number; None where it is no source's.
    #[must_use]
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Nowhere),
            1 => Some(Self::Dhcp),
            2 => Some(Self::DhcpFirst),
            _ => None,
        }
    }
}

impl fmt::Display for CacheHostSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "0 (DOCacheHost alone)",
            Self::Dhcp => "1 (DHCP option 235 where DOCacheHost is not set)",
            Self::DhcpFirst => "2 (DHCP option 235 before DOCacheHost)",
        })
    }
}

/// Whether DHCP option 235 is to be looked for.
#[must_use]
pub fn wants_option(policies: &Policies) -> bool {
    match policies.cache_host_source {
        None | Some(CacheHostSource::Nowhere) => false,
        Some(CacheHostSource::Dhcp) => policies.cache_hosts.is_empty(),
        Some(CacheHostSource::DhcpFirst) => true,
    }
}

/// The cache hosts to ask, in order, where the network told `option` as DHCP option 235. Who told nothing of use is as
/// one who told nothing.
#[must_use]
pub fn hosts(policies: &Policies, option: Option<&str>) -> Vec<String> {
    let told = option
        .filter(|_| wants_option(policies))
        .unwrap_or_default();
    let told: Vec<String> = told
        .split([',', ';', ' '])
        .filter(|host| !host.is_empty())
        .take(TOLD_MAX)
        .map(str::to_owned)
        .collect();
    if told.is_empty() {
        policies.cache_hosts.clone()
    } else {
        told
    }
}

/// What a cache host did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It refused (4xx): it will not serve this origin.
    Refused,
    /// It answered what can not be used: another version than the rest is of, or a redirect.
    Unusable,
    /// It is in trouble itself (5xx), or broke off.
    Failing,
    /// It could not be connected to, or fell silent.
    Silent,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ask it again after this pause.
    Again(Duration),
    /// Ask the next one, or the origin.
    Another,
}

/// What is known of them.
#[derive(Debug, Default)]
pub struct CacheHosts {
    /// Until when a host is not asked, for one origin or for all.
    out: BTreeMap<(String, Option<String>), Time>,
    /// Since when a host fails.
    failing: BTreeMap<String, Time>,
}

impl CacheHosts {
    /// Whether a host may be asked for an origin.
    #[must_use]
    pub fn may_ask(&self, host: &str, origin: &str, now: Time) -> bool {
        let is_in = |origin: Option<&str>| {
            let key = (host.to_owned(), origin.map(str::to_owned));
            self.out.get(&key).is_none_or(|until| *until <= now)
        };
        is_in(None) && is_in(Some(origin))
    }

    /// A host answered as it should.
    pub fn answered(&mut self, host: &str) {
        self.failing.remove(host);
    }

    /// A host did not. `patience` is how long its failures are borne, from the first on.
    pub fn failed(
        &mut self,
        host: &str,
        origin: &str,
        trouble: Trouble,
        patience: Duration,
        now: Time,
    ) -> Next {
        let for_all = match trouble {
            Trouble::Refused | Trouble::Unusable => false,
            Trouble::Failing | Trouble::Silent => {
                let since = *self.failing.entry(host.to_owned()).or_insert(now);
                let borne = now.since(since);
                if borne < patience {
                    let left = patience - borne;
                    // As long again as it has failed already, so that a long patience does not hammer.
                    return Next::Again(borne.clamp(PAUSE_MIN, PAUSE_MAX).min(left));
                }
                self.failing.remove(host);
                trouble == Trouble::Silent
            }
        };
        if self.out.len() >= OUT_MAX {
            self.out.retain(|_, until| *until > now);
        }
        if self.out.len() < OUT_MAX {
            let origin = (!for_all).then(|| origin.to_owned());
            self.out.insert((host.to_owned(), origin), now + OUT_FOR);
        }
        Next::Another
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Dialect, Role};
    use super::*;

    #[test]
    fn the_source_says_whose_word_counts() {
        use CacheHostSource::{Dhcp, DhcpFirst, Nowhere};
        let named: &[&str] = &["a", "b"];
        // The source, what DOCacheHost names, what option 235 says, whether it is looked for, and who is asked.
        let rows: [(_, &[&str], _, _, &[&str]); 11] = [
            (None, named, Some("x"), false, named),
            (None, &[], Some("x"), false, &[]),
            (Some(Nowhere), named, Some("x"), false, named),
            (Some(Nowhere), &[], Some("x"), false, &[]),
            (Some(Dhcp), named, Some("x"), false, named),
            (
                Some(Dhcp),
                &[],
                Some("x:8080, y,,[::1]"),
                true,
                &["x:8080", "y", "[::1]"],
            ),
            (Some(Dhcp), &[], None, true, &[]),
            (Some(DhcpFirst), named, Some("x"), true, &["x"]),
            (Some(DhcpFirst), named, Some(" , "), true, named),
            (Some(DhcpFirst), named, None, true, named),
            (Some(DhcpFirst), &[], None, true, &[]),
        ];
        for (source, named, option, looked, asked) in rows {
            let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
            policies.cache_host_source = source;
            policies.cache_hosts = named.iter().map(|host| (*host).to_owned()).collect();
            let row = format!("{source:?} {named:?} {option:?}");
            assert_eq!(wants_option(&policies), looked, "{row}");
            assert_eq!(hosts(&policies, option), asked, "{row}");
        }
        let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
        policies.cache_host_source = CacheHostSource::of(2);
        let many = "h,".repeat(1000);
        assert_eq!(hosts(&policies, Some(&many)).len(), TOLD_MAX);
        assert_eq!(CacheHostSource::of(3), None);
    }

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_a_host_did_decides_for_whom_it_is_out() {
        // What it did; may it be asked for the same origin, for another.
        let rows = [
            (Trouble::Refused, false, true),
            (Trouble::Unusable, false, true),
            (Trouble::Failing, false, true),
            (Trouble::Silent, false, false),
        ];
        for (trouble, same, other) in rows {
            let mut hosts = CacheHosts::default();
            assert!(hosts.may_ask("c", "o", at(0)));
            let next = hosts.failed("c", "o", trouble, Duration::ZERO, at(0));
            assert_eq!(next, Next::Another, "{trouble:?}");
            assert_eq!(hosts.may_ask("c", "o", at(899)), same, "{trouble:?}");
            assert_eq!(hosts.may_ask("c", "p", at(899)), other, "{trouble:?}");
            assert!(hosts.may_ask("c", "o", at(900)), "a quarter of an hour");
            assert!(hosts.may_ask("d", "o", at(0)), "another host");
        }
    }

    #[test]
    fn patience_is_counted_from_the_first_failure() {
        let mut hosts = CacheHosts::default();
        let patience = Duration::from_secs(10);
        let fail =
            |hosts: &mut CacheHosts, now| hosts.failed("c", "o", Trouble::Failing, patience, now);
        assert_eq!(fail(&mut hosts, at(0)), Next::Again(PAUSE_MIN));
        assert_eq!(fail(&mut hosts, at(1)), Next::Again(Duration::from_secs(1)));
        assert_eq!(fail(&mut hosts, at(5)), Next::Again(PAUSE_MAX));
        assert_eq!(fail(&mut hosts, at(9)), Next::Again(Duration::from_secs(1)));
        assert!(hosts.may_ask("c", "o", at(9)));
        assert_eq!(fail(&mut hosts, at(10)), Next::Another);
        assert!(!hosts.may_ask("c", "o", at(11)));
        // Well again in between, it has all of it again.
        let mut hosts = CacheHosts::default();
        fail(&mut hosts, at(0));
        hosts.answered("c");
        assert_eq!(fail(&mut hosts, at(60)), Next::Again(PAUSE_MIN));
        // A refusal needs no patience.
        let next = hosts.failed("c", "o", Trouble::Refused, patience, at(61));
        assert_eq!(next, Next::Another);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hosts = CacheHosts::default();
        for origin in 0..2 * OUT_MAX {
            let origin = origin.to_string();
            hosts.failed("c", &origin, Trouble::Refused, Duration::ZERO, at(0));
        }
        assert_eq!(hosts.out.len(), OUT_MAX);
    }
}
