//! What was counted in each calendar month, for reports. The rule: whatever the wall clock does, nothing that was counted
//! is taken away for it: a month is only ever added to, and makes room for another when it is the one that was not
//! added to for longest.
//!
//! Sums are kept by name, so that a program which knows fewer of them, or more, hands on what another has written.

use crate::policy::month::Month;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Months that are told.
pub const TOLD_MAX: usize = 24;

/// Months that are remembered: so many more that those in which a wrong clock has been push none of the last two years
/// out.
const MONTHS_MAX: usize = 2 * TOLD_MAX;

/// Names of sums that are kept of a month at most; a file can hold anything.
const NAMES_MAX: usize = 64;

/// What was counted, by name.
pub type Sums = BTreeMap<String, u64>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Counted {
    /// As `2026-10`.
    month: String,
    sums: Sums,
}

/// See the module's head.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Months {
    /// The one that was added to last is the last.
    months: Vec<Counted>,
}

impl Months {
    /// Adds to the month that the clock says it is. What is nothing leaves no trace.
    pub fn add<'n>(&mut self, now: Month, more: impl IntoIterator<Item = (&'n str, u64)>) {
        let more: Vec<_> = more.into_iter().filter(|(_, count)| *count > 0).collect();
        if more.is_empty() {
            return;
        }
        let month = text(now);
        let known = self.months.iter().position(|one| one.month == month);
        let mut counted = match known {
            Some(at) => self.months.remove(at),
            None => Counted {
                month,
                sums: Sums::new(),
            },
        };
        for (name, count) in more {
            let sum = counted.sums.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(count);
        }
        if self.months.len() >= MONTHS_MAX {
            self.months.remove(0);
        }
        self.months.push(counted);
    }

    /// What was counted in a month; None where nothing was.
    #[must_use]
    pub fn of(&self, month: Month) -> Option<&Sums> {
        let month = text(month);
        let counted = self.months.iter().find(|one| one.month == month)?;
        Some(&counted.sums)
    }

    /// The last months in which something was counted, the newest first, [`TOLD_MAX`] at most.
    #[must_use]
    pub fn told(&self) -> Vec<(Month, &Sums)> {
        let mut all: Vec<_> = self
            .months
            .iter()
            .filter_map(|one| Some((parse(&one.month)?, &one.sums)))
            .collect();
        all.sort_by_key(|(month, _)| std::cmp::Reverse(*month));
        all.truncate(TOLD_MAX);
        all
    }

    /// Whether this can be what was counted: what is read from a disk need not.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let sound = |one: &Counted| parse(&one.month).is_some() && one.sums.len() <= NAMES_MAX;
        self.months.len() <= MONTHS_MAX && self.months.iter().all(sound)
    }
}

/// A month as people write it: `2026-10`.
#[must_use]
pub fn text(month: Month) -> String {
    let (year, of_year) = month.parts();
    format!("{year:04}-{of_year:02}")
}

/// Reads a month as [`text`] writes it.
#[must_use]
pub fn parse(text: &str) -> Option<Month> {
    let (year, of_year) = text.split_once('-')?;
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(year, 4) || !digits(of_year, 2) {
        return None;
    }
    let (year, of_year) = (year.parse().ok()?, of_year.parse().ok()?);
    (1..=12)
        .contains(&of_year)
        .then(|| Month::of(year, of_year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_as_people_do() {
        for (of, written) in [
            ((2026, 10), "2026-10"),
            ((1970, 1), "1970-01"),
            ((2026, 12), "2026-12"),
        ] {
            let month = Month::of(of.0, of.1);
            assert_eq!(text(month), written);
            assert_eq!(parse(written), Some(month));
        }
        for wrong in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "26-10",
            "+026-10",
            "2026-1x",
            "2026-10-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_jumps_takes_nothing_away() {
        let month = |year, of_year| Month::of(year, of_year);
        let mut months = Months::default();
        let mut counted = 0;
        for at in 0..24 {
            months.add(
                month(2025 + at / 12, i8::try_from(at % 12).unwrap() + 1),
                [("served", 10)],
            );
            counted += 10;
        }
        // To the beginning of time, far ahead, and back again, each for some months.
        for wrong in [
            month(1970, 1),
            month(1970, 2),
            month(2099, 1),
            month(2026, 11),
        ] {
            months.add(wrong, [("served", 1), ("nothing", 0)]);
            counted += 1;
        }
        let all: u64 = months
            .months
            .iter()
            .filter_map(|one| one.sums.get("served"))
            .sum();
        assert_eq!(all, counted);
        assert_eq!(
            months.of(month(2026, 11)),
            Some(&Sums::from([("served".to_owned(), 11)]))
        );
        assert_eq!(
            months.of(month(2025, 1)),
            Some(&Sums::from([("served".to_owned(), 10)]))
        );
        let told = months.told();
        assert_eq!(
            (told.len(), told[0].0, told[1].0),
            (TOLD_MAX, month(2099, 1), month(2026, 12))
        );
    }

    #[test]
    fn memory_is_bounded_and_what_is_new_is_kept() {
        let mut months = Months::default();
        for year in 1900..2000 {
            months.add(Month::of(year, 6), [("served", 1)]);
        }
        assert_eq!(months.months.len(), MONTHS_MAX);
        assert!(months.of(Month::of(1999, 6)).is_some() && months.of(Month::of(1900, 6)).is_none());
        assert!(months.is_sound());
    }

    #[test]
    fn what_another_version_counts_is_handed_on() {
        let written =
            r#"{"version":7,"months":[{"month":"2026-10","sums":{"served":5,"of_tomorrow":9}}]}"#;
        let mut months: Months = serde_json::from_str(written).expect("read");
        assert!(months.is_sound());
        months.add(Month::of(2026, 10), [("served", 1)]);
        let sums = months.of(Month::of(2026, 10)).expect("there");
        assert_eq!((sums["served"], sums["of_tomorrow"]), (6, 9));
        let wrong: Months =
            serde_json::from_str(r#"{"months":[{"month":"x","sums":{}}]}"#).expect("read");
        assert!(!wrong.is_sound());
    }
}
