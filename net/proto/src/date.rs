//! Dates as HTTP writes them (RFC 9110, section 5.6.7). The rule: a date that is not exactly in one of the three forms
//! is no date; only the case of letters does not count, as caches are to read dates (RFC 9111, section 4.2).

use crate::UnixSecs;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const LONG_DAYS: [&[u8]; 7] = [
    b"Thursday",
    b"Friday",
    b"Saturday",
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The last second of the year 9999, after which the form has no room.
const LAST: UnixSecs = 253_402_300_799;

/// `unix` as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Moments after the year 9999 are written as its last.
#[must_use]
pub fn http_date(unix: UnixSecs) -> [u8; 29] {
    let unix = unix.min(LAST);
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[index(days % 7)]);
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[index(month - 1)]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], second / 3600);
    two_digits(&mut text[20..22], second / 60 % 60);
    two_digits(&mut text[23..25], second % 60);
    text
}

/// Reads a date in any of the three forms. A year of two digits is taken to be between 1970 and 2069. `None` for
/// anything else, and for dates before 1970.
#[must_use]
pub fn parse_http_date(text: &[u8]) -> Option<UnixSecs> {
    if let [
        w1,
        w2,
        w3,
        b',',
        b' ',
        d1,
        d2,
        b' ',
        m1,
        m2,
        m3,
        b' ',
        y1,
        y2,
        y3,
        y4,
        b' ',
        rest @ ..,
    ] = text
    {
        weekday([*w1, *w2, *w3])?;
        let clock = before_gmt(rest)?;
        return moment(
            number(&[*y1, *y2, *y3, *y4])?,
            &[*m1, *m2, *m3],
            number(&[*d1, *d2])?,
            clock,
        );
    }
    if let Some(comma) = text.iter().position(|byte| *byte == b',') {
        // Sunday, 06-Nov-94 08:49:37 GMT
        let [
            b' ',
            d1,
            d2,
            b'-',
            m1,
            m2,
            m3,
            b'-',
            y1,
            y2,
            b' ',
            rest @ ..,
        ] = &text[comma + 1..]
        else {
            return None;
        };
        LONG_DAYS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(&text[..comma]))?;
        let year = number(&[*y1, *y2])?;
        let year = year + if year < 70 { 2000 } else { 1900 };
        return moment(
            year,
            &[*m1, *m2, *m3],
            number(&[*d1, *d2])?,
            before_gmt(rest)?,
        );
    }
    // Sun Nov  6 08:49:37 1994
    let [a, b, c, b' ', m1, m2, m3, b' ', d1, d2, b' ', rest @ ..] = text else {
        return None;
    };
    let (clock, [b' ', year @ ..]) = rest.split_at_checked(8)? else {
        return None;
    };
    weekday([*a, *b, *c])?;
    let day = if *d1 == b' ' {
        number(&[*d2])?
    } else {
        number(&[*d1, *d2])?
    };
    if year.len() != 4 {
        return None;
    }
    moment(number(year)?, &[*m1, *m2, *m3], day, clock)
}

fn weekday(name: [u8; 3]) -> Option<usize> {
    DAYS.iter()
        .position(|known| known.eq_ignore_ascii_case(&name))
}

fn before_gmt(text: &[u8]) -> Option<&[u8]> {
    let (clock, zone) = text.split_at_checked(text.len().checked_sub(4)?)?;
    zone.eq_ignore_ascii_case(b" GMT").then_some(clock)
}

fn moment(year: u64, month: &[u8; 3], day: u64, clock: &[u8]) -> Option<UnixSecs> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
        return None;
    };
    let (hour, minute, second) = (
        number(&[*h1, *h2])?,
        number(&[*m1, *m2])?,
        number(&[*s1, *s2])?,
    );
    let month = MONTHS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(month))? as u64
        + 1;
    unix_of([year, month, day], [hour, minute, second])
}

/// The moment of a day (year, month, day) and a time of it (hour, minute, second), in UTC. `None` where there is none,
/// and before 1970.
pub(crate) fn unix_of(
    [year, month, day]: [u64; 3],
    [hour, minute, second]: [u64; 3],
) -> Option<UnixSecs> {
    // Second 60 is a leap second: as in POSIX, the same moment as the next second.
    let fits = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    fits.then(|| days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |n, digit| {
        digit
            .is_ascii_digit()
            .then(|| n * 10 + u64::from(digit - b'0'))
    })
}

fn two_digits(out: &mut [u8], n: u64) {
    for (place, digit) in out.iter_mut().zip([n / 10 % 10, n % 10]) {
        *place = b"0123456789"[index(digit)];
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date. Years are counted from March, so that the odd day comes last.
const fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    // Days from the first of March of the year 0 to the first of January 1970: 719,468.
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a day since 1970.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 {
        (era * 400 + year, month + 3, day)
    } else {
        (era * 400 + year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_forms_of_the_specification() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gmt",
            "sunday, 06-nov-94 08:49:37 Gmt",
            "sun nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                parse_http_date(text.as_bytes()),
                Some(784_111_777),
                "{text}"
            );
        }
        assert_eq!(&http_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&http_date(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(
            parse_http_date(b"Tuesday, 19-Jan-38 03:14:08 GMT"),
            Some(1 << 31)
        );
        assert_eq!(parse_http_date(b"Thu Jan 01 00:00:00 1970"), Some(0));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Thu, 29 Feb 1900 00:00:00 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sum, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov  6 08:49:37 19940",
            "Sun Nov  6 08:49",
            "\u{e4}\u{e4}",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
    }

    /// Counts the days one by one.
    fn slow_date(days: u64) -> (u64, u64, u64) {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for _ in 0..days {
            day += 1;
            if day > days_in(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        (year, month, day)
    }

    proptest! {
        #[test]
        fn writing_and_reading_are_inverse(unix in 0..=LAST) {
            prop_assert_eq!(parse_http_date(&http_date(unix)), Some(unix));
        }

        #[test]
        fn days_are_those_counted_one_by_one(days in 0_u64..200_000) {
            let (year, month, day) = slow_date(days);
            prop_assert_eq!(civil(days), (year, month, day));
            prop_assert_eq!(days_before(year, month, day), days);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_http_date(&bytes);
        }

        #[test]
        fn a_damaged_date_is_no_other_date(unix in 0..=LAST, at in 0_usize..29, byte in any::<u8>()) {
            let mut text = http_date(unix);
            text[at] = byte;
            if let Some(read) = parse_http_date(&text) {
                // Only the weekday is not checked against the rest; second 60 reads as the next.
                let same = http_date(read);
                prop_assert!(same[4..25].eq_ignore_ascii_case(&text[4..25]) || &text[23..25] == b"60");
            }
        }
    }
}
