//! From when to when a certificate holds (RFC 5280, section 4.1.2.5), read from its DER. The rule: what is not exactly
//! in the form of the RFC has no validity, and nobody is told a date that was guessed.

use crate::UnixSecs;
use crate::date::unix_of;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, constructed: the version.
const VERSION: u8 = 0xa0;

/// From when to when, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second; 0 where it lies before 1970.
    pub not_before: UnixSecs,
    /// The last second.
    pub not_after: UnixSecs,
}

impl Validity {
    /// Of a certificate in DER; None for what is no certificate.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut outer = Der(certificate);
        let mut certificate = Der(outer.take(SEQUENCE)?);
        let mut tbs = Der(certificate.take(SEQUENCE)?);
        if tbs.0.first() == Some(&VERSION) {
            tbs.take(VERSION)?;
        }
        // Serial number, algorithm of the signature, issuer.
        tbs.take(INTEGER)?;
        tbs.take(SEQUENCE)?;
        tbs.take(SEQUENCE)?;
        let mut validity = Der(tbs.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        validity.0.is_empty().then_some(Self {
            not_before,
            not_after,
        })
    }

    /// Seconds from `now` until it has expired; None where it has.
    #[must_use]
    pub const fn left_s(&self, now: UnixSecs) -> Option<u64> {
        self.not_after.checked_sub(now)
    }
}

/// What is left of a sequence of elements.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The content of the next element, which must bear this tag.
    fn take(&mut self, wanted: u8) -> Option<&'d [u8]> {
        let (tag, rest) = self.0.split_first()?;
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*tag == wanted).then_some(content)
    }

    fn time(&mut self) -> Option<UnixSecs> {
        let tag = *self.0.first()?;
        let text = self.take(tag)?.strip_suffix(b"Z")?;
        let mut digits = text.iter().map(|byte| {
            let digit = byte.is_ascii_digit().then_some(byte.wrapping_sub(b'0'))?;
            Some(u64::from(digit))
        });
        let mut pair = || Some(digits.next()?? * 10 + digits.next()??);
        let year = match tag {
            // Two digits, from 1950 to 2049.
            UTC_TIME => pair().map(|year| year + if year < 50 { 2000 } else { 1900 })?,
            GENERALIZED_TIME => pair()? * 100 + pair()?,
            _ => return None,
        };
        let (month, day) = (pair()?, pair()?);
        let (hour, minute, second) = (pair()?, pair()?, pair()?);
        if digits.next().is_some() {
            return None;
        }
        if year < 1970 {
            return Some(0);
        }
        unix_of([year, month, day], [hour, minute, second])
    }
}

/// A length and what follows it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let Some(count) = first.checked_sub(0x80) else {
        return Some((usize::from(*first), rest));
    };
    // No certificate has over 16 MiB; a length without end (0x80) is no DER.
    if !(1..=3).contains(&count) {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(usize::from(count))?;
    let length = digits.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=0x7f => out.push(u8::try_from(short).unwrap()),
            long => {
                out.push(0x82);
                out.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        out.extend(content);
        out
    }

    fn certificate(version: bool, times: &[(u8, &str)]) -> Vec<u8> {
        let validity: Vec<u8> = times
            .iter()
            .flat_map(|(tag, text)| element(*tag, text.as_bytes()))
            .collect();
        let mut tbs = Vec::new();
        if version {
            tbs.extend(element(VERSION, &element(INTEGER, &[2])));
        }
        tbs.extend(element(INTEGER, &[1; 20]));
        tbs.extend(element(SEQUENCE, &[5; 300]));
        tbs.extend(element(SEQUENCE, &[6; 12]));
        tbs.extend(element(SEQUENCE, &validity));
        tbs.extend(element(SEQUENCE, &[7; 40]));
        element(SEQUENCE, &element(SEQUENCE, &tbs))
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let of = |times: &[(u8, &str)]| {
            let validity = Validity::of(&certificate(true, times))?;
            assert_eq!(Validity::of(&certificate(false, times)), Some(validity));
            Some((validity.not_before, validity.not_after))
        };
        let utc = |text| (UTC_TIME, text);
        let long = |text| (GENERALIZED_TIME, text);
        assert_eq!(
            of(&[utc("261125120000Z"), utc("491231235959Z")]),
            Some((1_795_608_000, 2_524_607_999))
        );
        assert_eq!(
            of(&[utc("500101000000Z"), long("20500101000000Z")]),
            Some((0, 2_524_608_000)),
            "1950 is before all"
        );
        assert_eq!(
            of(&[utc("700101000001Z"), long("99991231235959Z")]),
            Some((1, 253_402_300_799)),
            "one that does not expire"
        );
        for bad in [
            "261325120000Z",
            "260229120000Z",
            "2611251200Z",
            "261125120000",
            "261125240000Z",
            "26112512000aZ",
            "2611251200000Z",
        ] {
            assert_eq!(of(&[utc("261125120000Z"), utc(bad)]), None, "{bad}");
        }
        assert_eq!(of(&[utc("261125120000Z")]), None);
    }

    #[test]
    fn what_is_left_is_counted_to_the_last_second() {
        let validity = Validity {
            not_before: 5,
            not_after: 10,
        };
        assert_eq!(validity.left_s(4), Some(6));
        assert_eq!(validity.left_s(10), Some(0));
        assert_eq!(validity.left_s(11), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Validity::of(&bytes);
        }

        #[test]
        fn a_cut_certificate_has_no_validity(cut in 0..200usize) {
            let whole = certificate(true, &[(UTC_TIME, "261125120000Z"), (UTC_TIME, "271125120000Z")]);
            prop_assert_eq!(Validity::of(&whole[..cut]), None);
        }
    }
}
