//! The directives of `Cache-Control` (RFC 9111, section 5.2) that decide about storing. The rule: a directive that is
//! there counts, however strangely it is written; a number that is none makes the answer stale.

use crate::list::{is_token, items, unquoted};

/// Delta-seconds that can not be counted are this many (section 1.2.2).
pub(super) const SECONDS_MAX: u64 = 1 << 31;

/// A number of seconds that a directive gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Seconds {
    #[default]
    Absent,
    /// It is there, and can not be read, or is there twice with two values (section 4.2.1).
    Invalid,
    Given(u64),
}

impl Seconds {
    fn add(&mut self, given: Option<u64>) {
        let given = given.map_or(Self::Invalid, Self::Given);
        *self = if matches!(*self, Self::Absent) || *self == given {
            given
        } else {
            Self::Invalid
        };
    }

    pub(super) fn given(self) -> Option<u64> {
        match self {
            Self::Given(seconds) => Some(seconds),
            _ => None,
        }
    }
}

/// What the directives of all `Cache-Control` lines say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    /// RFC 8246.
    pub(super) immutable: bool,
    pub(super) max_age: Seconds,
    pub(super) s_maxage: Seconds,
    pub(super) stale_if_error: Seconds,
    pub(super) stale_while_revalidate: Seconds,
    /// Fields that "no-cache" and "private" name, in lower case: the rest of the answer may be stored without them.
    pub(super) without: Vec<String>,
}

/// What follows a directive's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    None,
    /// Digits, or what stands in their place.
    Seconds(Option<u64>),
    /// Names of fields, or something else.
    Text(&'a [u8]),
}

impl Directives {
    /// One of the directives of section 3.5 is there.
    pub(super) fn for_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage != Seconds::Absent
    }

    /// Takes the directives of one line in.
    pub(super) fn add(&mut self, line: &[u8]) {
        for item in items(line) {
            let Some(at) = item.iter().position(|byte| *byte == b'=') else {
                self.take(item, Argument::None);
                continue;
            };
            let (name, argument) = (&item[..at], &item[at + 1..]);
            // No space is allowed around the sign. What has one is there, but is no number.
            let spaced =
                name.ends_with(b" ") || name.ends_with(b"\t") || argument.starts_with(b" ");
            let seconds = delta_seconds(unquoted(argument)).filter(|_| !spaced);
            let text = unquoted(argument.trim_ascii());
            let name = name.trim_ascii();
            if is_number(name) {
                self.take(name, Argument::Seconds(seconds));
            } else {
                self.take(name, Argument::Text(text));
            }
        }
    }

    /// Takes one directive in.
    pub(super) fn take(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        let seconds = match argument {
            Argument::Seconds(seconds) => seconds,
            _ => None,
        };
        match () {
            () if is("no-store") => self.no_store = true,
            () if is("private") => self.private |= !self.hide(argument),
            () if is("public") => self.public = true,
            () if is("no-cache") => self.no_cache |= !self.hide(argument),
            () if is("must-revalidate") => self.must_revalidate = true,
            () if is("proxy-revalidate") => self.proxy_revalidate = true,
            () if is("must-understand") => self.must_understand = true,
            () if is("immutable") => self.immutable = true,
            () if is("max-age") => self.max_age.add(seconds),
            () if is("s-maxage") => self.s_maxage.add(seconds),
            () if is("stale-if-error") => self.stale_if_error.add(seconds),
            () if is("stale-while-revalidate") => self.stale_while_revalidate.add(seconds),
            () => {}
        }
    }

    /// Takes the fields that a directive names (sections 5.2.2.4 and 5.2.2.7). False where it names none that could
    /// be told: then it speaks of the whole answer.
    fn hide(&mut self, argument: Argument<'_>) -> bool {
        let Argument::Text(list) = argument else {
            return false;
        };
        let mut names = items(list).peekable();
        if names.peek().is_none() || !items(list).all(is_token) {
            return false;
        }
        let name = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
        self.without.extend(names.map(name));
        true
    }
}

/// True for the directives whose argument is a number of seconds.
pub(super) fn is_number(name: &[u8]) -> bool {
    [
        "max-age",
        "s-maxage",
        "stale-if-error",
        "stale-while-revalidate",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A number of seconds, digits only; what is too large to be counted is the largest.
pub(super) fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = text.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(value.min(SECONDS_MAX))
}
