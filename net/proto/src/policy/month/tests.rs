//! Months that come, go and come again. The rule of the oracle: true time only goes on, the wall clock does anything, and
//! once it is right the count holds all that was sent in the true month.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const OCT: Month = Month::of(2026, 10);
const NOV: Month = Month::of(2026, 11);
const DEC: Month = Month::of(2026, 12);
const FAR: Month = Month::of(2040, 1);

/// Sends in each month in turn, and says what counted after each step.
fn counts(steps: &[(Month, u64)]) -> Vec<u64> {
    let mut ledger = Ledger::default();
    let mut counts = Vec::new();
    for (month, bytes) in steps {
        ledger.apply(Event::Sending(*bytes), *month);
        assert!(ledger.is_sound());
        assert_eq!(ledger.month(), Some(*month));
        counts.push(ledger.bytes());
    }
    counts
}

#[test]
fn a_month_ends_and_the_next_begins_at_nothing() {
    assert_eq!(counts(&[(NOV, 5), (NOV, 6), (DEC, 1)]), [5, 11, 1]);
    assert_eq!(Month::of(2026, 12).parts(), (2026, 12));
    assert_eq!(Month::of(2027, 1).parts(), (2027, 1));
    assert!(DEC < Month::of(2027, 1));
}

#[test]
fn a_clock_that_jumps_neither_loses_the_count_nor_opens_a_month_twice() {
    // Forward by mistake, and back: what was sent meanwhile counts.
    assert_eq!(counts(&[(NOV, 20), (FAR, 3), (NOV, 0)]), [20, 3, 23]);
    // And the month that it was in is not opened again when it comes.
    assert_eq!(
        counts(&[(NOV, 20), (DEC, 3), (NOV, 1), (DEC, 0)]),
        [20, 3, 24, 4]
    );
    // To and fro over the end of a month.
    assert_eq!(
        counts(&[(NOV, 5), (DEC, 5), (NOV, 0), (DEC, 0), (NOV, 0), (DEC, 1)]),
        [5, 5, 10, 5, 10, 6]
    );
    // Backward by mistake, into a month that was, and forth.
    assert_eq!(
        counts(&[(OCT, 7), (NOV, 20), (OCT, 2), (NOV, 0)]),
        [7, 20, 29, 22]
    );
    // A first start with a clock that is ahead.
    assert_eq!(counts(&[(FAR, 20), (NOV, 1), (DEC, 1)]), [20, 21, 1]);
    // Backward into a month that nothing is known of.
    assert_eq!(counts(&[(DEC, 20), (OCT, 1), (DEC, 0)]), [20, 21, 21]);
}

#[test]
fn what_was_not_sent_after_all_is_given_back() {
    let mut ledger = Ledger::default();
    ledger.apply(Event::Sending(100), NOV);
    ledger.apply(Event::NotSent(60), NOV);
    assert_eq!(ledger.bytes(), 40);
    ledger.apply(Event::NotSent(60), DEC);
    assert_eq!(ledger.bytes(), 0);
    ledger.apply(Event::Looked, NOV);
    assert_eq!(
        ledger.bytes(),
        40,
        "it stays with the month it was promised in"
    );
}

#[test]
fn months_without_end_take_no_more_room() {
    let mut ledger = Ledger::default();
    for year in 2000..2200 {
        ledger.apply(Event::Sending(1), Month::of(year, 1));
        assert!(ledger.is_sound());
    }
}

proptest! {
    /// True time in months, how far the clock is off, and what is asked for, up to a cap.
    #[test]
    fn no_clock_sends_more_than_the_cap(
        steps in prop::collection::vec((0..2_i8, -3..4_i8, 0..40_u64), 1..80),
    ) {
        const CAP: u64 = 100;
        let (mut ledger, mut truth) = (Ledger::default(), 0_i8);
        let mut by_wall: BTreeMap<Month, u64> = BTreeMap::new();
        let mut by_truth: BTreeMap<i8, u64> = BTreeMap::new();
        for (passed, off, asked) in steps {
            truth = (truth + passed).min(100);
            let wall = Month::of(2026, 1 + truth + off);
            ledger.apply(Event::Looked, wall);
            // Once the clock is right, all of the true month is there.
            if off == 0 {
                let sent = by_truth.get(&truth).copied().unwrap_or(0);
                prop_assert!(ledger.bytes() >= sent, "{} < {sent}", ledger.bytes());
            }
            let bytes = asked.min(CAP.saturating_sub(ledger.bytes()));
            ledger.apply(Event::Sending(bytes), wall);
            // No month of the clock's is opened twice.
            let of_wall = by_wall.entry(wall).or_default();
            *of_wall += bytes;
            prop_assert!(*of_wall <= CAP);
            // A clock that is behind begins the month anew when it is put right: nothing tells that from time that
            // goes on, but for where it was in that month before.
            if off >= 0 || by_wall.contains_key(&Month::of(2026, 1 + truth)) {
                *by_truth.entry(truth).or_default() += bytes;
            } else {
                by_truth.remove(&truth);
            }
            prop_assert!(ledger.is_sound());
            // It is the same from the disk.
            let text = serde_json::to_string(&ledger).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<Ledger>(&text).expect("read"), &ledger);
        }
    }
}
