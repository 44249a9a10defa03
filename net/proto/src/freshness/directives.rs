//! The directives of `Cache-Control` (RFC 9111, section 5.2) that decide about storing. The rule: a directive that is
//! there counts, however strangely it is written; a number that is none makes the answer stale.

/// Delta-seconds that can not be counted are this many (section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

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
    fn add(&mut self, argument: Option<&[u8]>) {
        let given = argument
            .and_then(delta_seconds)
            .map_or(Self::Invalid, Self::Given);
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
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) max_age: Seconds,
    pub(super) s_maxage: Seconds,
    pub(super) stale_if_error: Seconds,
    pub(super) stale_while_revalidate: Seconds,
}

impl Directives {
    /// Takes the directives of one line in.
    pub(super) fn add(&mut self, line: &[u8]) {
        let mut rest = line;
        while let Some((item, after)) = next_item(rest) {
            rest = after;
            let equals = item.iter().position(|byte| *byte == b'=');
            let (name, argument) = match equals {
                Some(at) => (&item[..at], Some(unquoted(&item[at + 1..]))),
                None => (item, None),
            };
            let is = |directive: &str| name.trim_ascii().eq_ignore_ascii_case(directive.as_bytes());
            // "no-cache" and "private" may name fields; that form says less, and is read as the plain one.
            match () {
                () if is("no-store") => self.no_store = true,
                () if is("private") => self.private = true,
                () if is("public") => self.public = true,
                () if is("no-cache") => self.no_cache = true,
                () if is("must-revalidate") => self.must_revalidate = true,
                () if is("proxy-revalidate") => self.proxy_revalidate = true,
                () if is("max-age") => self.max_age.add(argument),
                () if is("s-maxage") => self.s_maxage.add(argument),
                () if is("stale-if-error") => self.stale_if_error.add(argument),
                () if is("stale-while-revalidate") => self.stale_while_revalidate.add(argument),
                () => {}
            }
        }
    }
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

/// The next element of a list. A comma inside quotes is part of it.
pub(super) fn next_item(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list
        .iter()
        .position(|byte| !byte.is_ascii_whitespace() && *byte != b',')?;
    let list = &list[start..];
    let (mut quoted, mut escaped) = (false, false);
    let end = list.iter().position(|byte| {
        if escaped {
            escaped = false;
        } else {
            match byte {
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
        }
        *byte == b',' && !quoted
    });
    // A quote that is never closed hides nothing: then every comma separates.
    let comma = || list.iter().position(|byte| *byte == b',');
    let end = end.or_else(|| if quoted { comma() } else { None });
    let (item, rest) = list.split_at(end.unwrap_or(list.len()));
    Some((item.trim_ascii(), rest))
}

/// Both forms of an argument are to be accepted (section 5.2).
fn unquoted(argument: &[u8]) -> &[u8] {
    let argument = argument.trim_ascii();
    argument
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(argument)
}
