//! Byte ranges (RFC 9110, section 14). The rule: what is answered is never more than the object, whatever is asked.

use larder_content::Span;

/// Most ranges of one request that are honoured; more are answered with the whole object.
pub const RANGES_MAX: usize = 16;

/// What a `Range` field asks of an object whose length is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// Nothing to honour: no field, an unknown unit, an empty object, too many ranges or more bytes than there are.
    None,
    /// One stretch, not empty.
    One(Span),
    /// Several stretches, neither overlapping nor touching, at most [`RANGES_MAX`], in the order asked for.
    Many(Vec<Span>),
    /// Nothing that can be satisfied, or nonsense: 416.
    Unsatisfiable,
}

/// Reads a `Range` field for an object of `length` bytes. Allocates only for [`Ranges::Many`].
///
/// A malformed set in the unit `bytes` is [`Ranges::Unsatisfiable`] rather than ignored (section 14.2 allows both): a
/// client that asked for a part does not take a whole object for it.
#[must_use]
pub fn parse_range(value: Option<&[u8]>, length: u64) -> Ranges {
    let Some(set) = value.and_then(byte_set).filter(|_| length > 0) else {
        return Ranges::None;
    };
    let mut spans = [Span::new(0, 0); RANGES_MAX];
    let (mut asked, mut kept, mut malformed) = (0, 0, false);
    for spec in specs(set) {
        asked += 1;
        if asked > RANGES_MAX {
            return Ranges::None;
        }
        match Spec::read(spec) {
            None => malformed = true,
            Some(spec) => {
                if let Some(span) = spec.within(length) {
                    spans[kept] = span;
                    kept += 1;
                }
            }
        }
    }
    if malformed || kept == 0 {
        return Ranges::Unsatisfiable;
    }
    // CVE-2011-3192: many ranges must not be a way to get more than the object.
    let sum = spans[..kept]
        .iter()
        .fold(0_u64, |sum, span| sum.saturating_add(span.len()));
    if sum > length {
        return Ranges::None;
    }
    match coalesce(&mut spans, kept) {
        1 => Ranges::One(spans[0]),
        kept => Ranges::Many(spans[..kept].to_vec()),
    }
}

/// Before the length is known: where the first range that names its first byte begins, and one past its last byte
/// where it names that too. Of a suffix alone nothing is known but that the length is wanted, which the first byte
/// brings. `None` where there is none (no field, nonsense).
#[must_use]
pub fn first_wanted(value: Option<&[u8]>) -> Option<(u64, Option<u64>)> {
    let mut all = specs(byte_set(value?)?).filter_map(Spec::read).peekable();
    let suffix = all.peek().map(|_| (0, Some(1)));
    let named = all.find_map(|spec| match spec {
        Spec::From(first) => Some((first, None)),
        Spec::Between(first, last) => Some((first, Some(last.saturating_add(1)))),
        Spec::Last(_) => None,
    });
    named.or(suffix)
}

/// Whether a single part `span` of an object of `length` bytes can be the answer to this field. Fewer bytes than asked
/// for can be; what other units mean is not known here.
pub(crate) fn can_answer(value: &[u8], span: Span, length: u64) -> bool {
    let Some(set) = byte_set(value) else {
        return true;
    };
    let mut all = specs(set);
    match (all.next().and_then(Spec::read), all.next()) {
        (Some(Spec::From(first)), None) => span.start == first,
        (Some(Spec::Between(first, last)), None) => {
            span.start == first && span.end <= last.saturating_add(1)
        }
        (Some(Spec::Last(count)), None) => span.start == length.saturating_sub(count),
        // One of several, or what the origin made of nonsense.
        _ => true,
    }
}

/// How many ranges a field names.
pub(crate) fn count(value: &[u8]) -> usize {
    byte_set(value).map_or(1, |set| specs(set).count())
}

/// What follows `bytes=`. Units are compared without regard to case (section 14.1).
fn byte_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// The elements of a list; empty ones count for nothing (section 5.6.1.2), but a list of nothing is one bad element.
fn specs(set: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut all = set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let first = all.find(|spec| !spec.is_empty()).unwrap_or(b"");
    std::iter::once(first).chain(all.filter(|spec| !spec.is_empty()))
}

/// One range as written. Numbers too large to count are as good as the largest.
enum Spec {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Spec {
    fn read(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        match (&spec[..dash], &spec[dash + 1..]) {
            (b"", last) => Some(Self::Last(number(last)?)),
            (first, b"") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn within(&self, length: u64) -> Option<Span> {
        let span = match *self {
            Self::From(first) => Span::new(first, length),
            Self::Between(first, last) => Span::new(first, last.saturating_add(1).min(length)),
            Self::Last(count) => Span::new(length.saturating_sub(count), length),
        };
        (span.start < length && !span.is_empty()).then_some(span)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, digit| {
        digit
            .is_ascii_digit()
            .then(|| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

/// Joins what overlaps or touches, each at the place of the first of them; returns how many are left.
fn coalesce(spans: &mut [Span; RANGES_MAX], mut count: usize) -> usize {
    let mut at = 0;
    while at < count {
        let joined = (at + 1..count).find(|&other| {
            spans[other].start <= spans[at].end && spans[at].start <= spans[other].end
        });
        match joined {
            Some(other) => {
                spans[at] = Span::new(
                    spans[at].start.min(spans[other].start),
                    spans[at].end.max(spans[other].end),
                );
                spans.copy_within(other + 1..count, other);
                count -= 1;
                // The longer one may now reach one that was passed over.
                at = 0;
            }
            None => at += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests;
