//! How often one address may ask. The rule: what it costs to remember who asked is bounded, and one who asks too often
//! is told when to ask again.

use super::site::network;
use crate::Time;
use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses that are remembered. Of more, those are forgotten who have not asked for the longest.
const ADDRESSES_MAX: usize = 100_000;

/// A bucket of one call for each `1 / rate` of a minute, for each address; of an IPv6 address, for its network of 64
/// bits.
#[derive(Debug)]
pub struct Quota {
    per_minute: u32,
    /// Until when each has spent what it gets, in microseconds.
    spent_until: HashMap<IpAddr, u64>,
}

impl Quota {
    /// So many calls a minute, and as many at once.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            spent_until: HashMap::new(),
        }
    }

    /// From now on this many.
    pub const fn set(&mut self, per_minute: u32) {
        self.per_minute = if per_minute == 0 { 1 } else { per_minute };
    }

    /// Takes one call from an address.
    ///
    /// # Errors
    /// In how many seconds it may call again.
    pub fn take(&mut self, from: IpAddr, now: Time) -> Result<(), u64> {
        const MINUTE: u64 = 60_000_000;
        let now = now.as_micros();
        let each = MINUTE / u64::from(self.per_minute);
        if self.spent_until.len() >= ADDRESSES_MAX {
            self.forget(now);
        }
        let spent = self.spent_until.entry(network(from)).or_insert(now);
        let next = (*spent).max(now) + each;
        if next > now + MINUTE {
            return Err((next - now - MINUTE).div_ceil(1_000_000));
        }
        *spent = next;
        Ok(())
    }

    fn forget(&mut self, now: u64) {
        self.spent_until.retain(|_, until| *until > now);
        // Where so many ask at once, nobody is told apart for a moment.
        if self.spent_until.len() >= ADDRESSES_MAX {
            self.spent_until.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_who_asks_too_often_waits_and_others_do_not() {
        let mut quota = Quota::new(60);
        let start = Time::from_micros(5);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for call in 0..60 {
            assert_eq!(quota.take(one, start), Ok(()), "{call}");
        }
        assert_eq!(quota.take(one, start), Err(1));
        assert_eq!(quota.take(other, start), Ok(()));
        assert_eq!(quota.take(one, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(quota.take(one, start + Duration::from_secs(1)), Err(1));
        // However long it waited, a minute's worth is what it gets at once.
        let later = start + Duration::from_secs(3600);
        let calls = (0..100).filter(|_| quota.take(one, later).is_ok()).count();
        assert_eq!(calls, 60);
    }

    #[test]
    fn a_network_of_ipv6_is_one_who_asks() {
        let mut quota = Quota::new(1);
        let now = Time::default();
        assert!(quota.take("2001:db8::1".parse().unwrap(), now).is_ok());
        assert!(quota.take("2001:db8::2".parse().unwrap(), now).is_err());
        assert!(quota.take("2001:db8:0:1::2".parse().unwrap(), now).is_ok());
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_addresses() {
        let mut quota = Quota::new(1);
        for number in 0..250_000_u32 {
            let _ = quota.take(IpAddr::from(number.to_be_bytes()), Time::default());
            assert!(quota.spent_until.len() <= ADDRESSES_MAX);
        }
    }
}
