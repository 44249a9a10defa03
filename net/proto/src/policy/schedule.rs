//! Business hours: which percentage holds at a moment. The rule: the hours are those on the wall's clock, whatever a time
//! zone does; an hour that the clock skips is not there, and one that it repeats counts twice.
//!
//! A zone comes in as data, since this crate reads no files.

use super::settings::Hours;
use crate::UnixSecs;
use std::fmt;
use std::str::FromStr;

const DAY_S: i64 = 86_400;
const WEEK_DAYS: u8 = 7;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours that change nothing for so long change nothing at all: all of a week's days have been.
const LOOK_AHEAD_S: i64 = 9 * DAY_S;

/// Nothing is told of moments that late.
const END: i64 = i64::MAX / 4;

/// Days of the week, Monday the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Days(u8);

impl Days {
    /// Each day.
    pub const ALL: Self = Self(0b111_1111);

    /// Whether the day is one of them; 0 is Monday.
    #[must_use]
    pub const fn has(self, weekday: u8) -> bool {
        self.0 >> (weekday % WEEK_DAYS) & 1 == 1
    }
}

impl FromStr for Days {
    type Err = String;

    /// From days with commas between, and ranges of them: `mon-fri`, `sat, sun`, `fri-mon`.
    fn from_str(text: &str) -> Result<Self, String> {
        let day = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            let found = (0..WEEK_DAYS).find(|day| NAMES[usize::from(*day)] == name);
            found.ok_or_else(|| format!("{name:?} is no day; write days as in \"mon-fri\""))
        };
        let mut days = 0;
        for item in text.split(',') {
            let (first, last) = match item.split_once('-') {
                None => (day(item)?, day(item)?),
                Some((first, last)) => (day(first)?, day(last)?),
            };
            let count = (last + WEEK_DAYS - first) % WEEK_DAYS + 1;
            for nth in 0..count {
                days |= 1 << ((first + nth) % WEEK_DAYS);
            }
        }
        Ok(Self(days))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("mon-sun");
        }
        let mut between = "";
        for day in (0..WEEK_DAYS).filter(|day| self.has(*day)) {
            write!(f, "{between}{}", NAMES[usize::from(day)])?;
            between = ",";
        }
        Ok(())
    }
}

/// A moment on the wall's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    /// 0 is Monday.
    pub weekday: u8,
    /// Seconds since midnight.
    pub second: u32,
}

/// By how much local time differs from UTC, and since when. Beyond the last change that is known it stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Zone {
    name: String,
    first_offset_s: i32,
    changes: Vec<(i64, i32)>,
}

impl Zone {
    /// A zone of this name that is `first_offset_s` seconds east of UTC until the first of the changes; a change is a moment, in seconds
    /// since 1970, and the offset from then on.
    #[must_use]
    pub fn new(name: &str, first_offset_s: i32, mut changes: Vec<(i64, i32)>) -> Self {
        changes.sort_unstable();
        Self {
            name: name.to_owned(),
            first_offset_s,
            changes,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.name.is_empty() {
            "UTC"
        } else {
            &self.name
        }
    }

    /// What the wall's clock shows.
    #[must_use]
    pub fn local(&self, unix: UnixSecs) -> Local {
        self.local_at(i64::try_from(unix).unwrap_or(END).min(END))
    }

    fn local_at(&self, unix: i64) -> Local {
        let seconds = unix + self.offset_s(unix);
        // 1 January 1970 was a Thursday.
        let weekday = (seconds.div_euclid(DAY_S) + 3).rem_euclid(7);
        Local {
            weekday: u8::try_from(weekday).unwrap_or(0),
            second: u32::try_from(seconds.rem_euclid(DAY_S)).unwrap_or(0),
        }
    }

    fn offset_s(&self, unix: i64) -> i64 {
        let past = self.changes.partition_point(|(at, _)| *at <= unix);
        let last = past.checked_sub(1).and_then(|nth| self.changes.get(nth));
        i64::from(last.map_or(self.first_offset_s, |(_, offset)| *offset))
    }

    fn next_change(&self, unix: i64) -> Option<i64> {
        let past = self.changes.partition_point(|(at, _)| *at <= unix);
        self.changes.get(past).map(|(at, _)| *at)
    }
}

impl Hours {
    /// Whether these are business hours. Where they end before they begin they go on past midnight, and belong to the day
    /// on which they began; where they end as they begin they last the whole day.
    #[must_use]
    pub fn contains(&self, local: Local) -> bool {
        let (from, to) = (u32::from(self.from) * 3600, u32::from(self.to) * 3600);
        let today = self.days.has(local.weekday);
        if from < to {
            return today && (from..to).contains(&local.second);
        }
        let yesterday = self.days.has(local.weekday + WEEK_DAYS - 1);
        (today && local.second >= from) || (yesterday && local.second < to)
    }

    /// The percentage that holds then.
    #[must_use]
    pub fn percent_at(&self, unix: UnixSecs, zone: &Zone) -> u8 {
        if self.contains(zone.local(unix)) {
            self.inside
        } else {
            self.outside
        }
    }

    /// When business hours begin or end the next time after that; None where they never do.
    #[must_use]
    pub fn changes_after(&self, unix: UnixSecs, zone: &Zone) -> Option<UnixSecs> {
        let unix = i64::try_from(unix).ok().filter(|unix| *unix < END)?;
        let inside = self.contains(zone.local_at(unix));
        let mut at = unix;
        while at < unix + LOOK_AHEAD_S {
            let second = i64::from(zone.local_at(at).second);
            // Midnight, too, since with it the day changes.
            let marks = [0, i64::from(self.from) * 3600, i64::from(self.to) * 3600];
            let to_mark = |mark: i64| match (mark - second).rem_euclid(DAY_S) {
                0 => DAY_S,
                wait => wait,
            };
            let next = at + marks.map(to_mark).into_iter().min().unwrap_or(DAY_S);
            at = zone.next_change(at).map_or(next, |change| change.min(next));
            if self.contains(zone.local_at(at)) != inside {
                return UnixSecs::try_from(at).ok();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
