//! `CDN-Cache-Control` (RFC 9213): what an origin says to the caches on its side alone. The rule: it is a dictionary of
//! structured fields (RFC 8941) or it is not there; half of one is never used.

use super::directives::{Argument, Directives, SECONDS_MAX, is_number};

/// Reads the field, its lines joined by commas. `None` where it is empty, is no dictionary, or gives a number of
/// seconds that is no integer: then `Cache-Control` and `Expires` count (RFC 9213, section 2.2).
pub(super) fn directives(value: &[u8]) -> Option<Directives> {
    let mut directives = Directives::default();
    let mut reader = Reader(value.trim_ascii());
    if reader.0.is_empty() {
        return None;
    }
    // Of a name that is there twice the last one counts (RFC 8941, section 4.2.2).
    let mut members: Vec<(&[u8], Value<'_>)> = Vec::new();
    loop {
        let (name, value) = reader.member()?;
        members.retain(|(other, _)| *other != name);
        members.push((name, value));
        reader.skip_spaces();
        if reader.0.is_empty() {
            break;
        }
        reader.take(b',')?;
        reader.skip_spaces();
        // A comma at the end is an error there.
        if reader.0.is_empty() {
            return None;
        }
    }
    for (name, value) in members {
        let argument = match value {
            Value::Boolean(false) => continue,
            Value::Integer(number) if is_number(name) => {
                Argument::Seconds(u64::try_from(number).ok().map(|n| n.min(SECONDS_MAX)))
            }
            _ if is_number(name) => return None,
            Value::String(text) => Argument::Text(text),
            _ => Argument::None,
        };
        directives.take(name, argument);
    }
    Some(directives)
}

/// A member's value, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value<'v> {
    Boolean(bool),
    Integer(i64),
    /// Without its quotes, escapes as they are: names of fields need none.
    String(&'v [u8]),
    Other,
}

/// What is still to be read. Each step takes what it reads away, or fails (RFC 8941, section 4.2).
struct Reader<'v>(&'v [u8]);

impl<'v> Reader<'v> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// What comes first, as long as its bytes fit.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> &'v [u8] {
        let end = self.0.iter().position(|byte| !fits(*byte));
        let (run, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        run
    }

    fn member(&mut self) -> Option<(&'v [u8], Value<'v>)> {
        let name = self.key()?;
        let value = if self.take(b'=').is_some() {
            self.item_or_list()?
        } else {
            Value::Boolean(true)
        };
        self.parameters()?;
        Some((name, value))
    }

    fn key(&mut self) -> Option<&'v [u8]> {
        let key =
            self.run(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        let first = key.first()?;
        (first.is_ascii_lowercase() || *first == b'*').then_some(key)
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';').is_some() {
            self.run(|b| b == b' ');
            self.key()?;
            if self.take(b'=').is_some() {
                self.bare()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Value<'v>> {
        if self.take(b'(').is_none() {
            return self.bare();
        }
        loop {
            self.run(|b| b == b' ');
            if self.take(b')').is_some() {
                return Some(Value::Other);
            }
            self.bare()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn bare(&mut self) -> Option<Value<'v>> {
        match self.0.first()? {
            b'"' => self.string(),
            b':' => {
                self.take(b':')?;
                self.run(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                self.take(b':')?;
                Some(Value::Other)
            }
            b'?' => {
                self.take(b'?')?;
                match self.run(|b| matches!(b, b'0' | b'1')) {
                    b"1" => Some(Value::Boolean(true)),
                    b"0" => Some(Value::Boolean(false)),
                    _ => None,
                }
            }
            b'-' | b'0'..=b'9' => self.number(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.run(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<Value<'v>> {
        self.take(b'"')?;
        let whole = self.0;
        loop {
            self.run(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
            match self.0 {
                [b'"', ..] => break,
                [b'\\', b'"' | b'\\', rest @ ..] => self.0 = rest,
                _ => return None,
            }
        }
        let text = &whole[..whole.len() - self.0.len()];
        self.take(b'"')?;
        Some(Value::String(text))
    }

    fn number(&mut self) -> Option<Value<'v>> {
        let negative = self.take(b'-').is_some();
        let digits = self.run(|b| b.is_ascii_digit());
        if self.0.first() == Some(&b'.') {
            self.take(b'.')?;
            let fraction = self.run(|b| b.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let digit = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
        let value = digits.iter().fold(0, digit);
        Some(Value::Integer(if negative { -value } else { value }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::directives::Seconds;
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<Directives> {
        directives(value.as_bytes())
    }

    #[test]
    fn dictionaries_are_read() {
        let max_age = |value: &str| read(value).map(|d| d.max_age);
        for (value, seconds) in [
            ("max-age=60", 60),
            (" max-age=60 ", 60),
            ("foobar, max-age=60", 60),
            ("max-age=1, max-age=60", 60),
            (
                "max-age=60;a=1;b, x=(a \"b\" 1);p, y=:YQ==:, z=1.5, t=tok/x",
                60,
            ),
            ("a=?1 ,\tmax-age=060", 60),
            ("max-age=99999999999", SECONDS_MAX),
        ] {
            assert_eq!(max_age(value), Some(Seconds::Given(seconds)), "{value}");
        }
        assert_eq!(max_age("max-age=-1"), Some(Seconds::Invalid));
        let said = read("private, no-store=?0, no-cache=\"a, B\"").expect("a dictionary");
        assert!(said.private && !said.no_store && !said.no_cache);
        assert_eq!(said.without, ["a", "b"]);
    }

    #[test]
    fn what_is_no_dictionary_is_not_there() {
        for value in [
            "",
            " ",
            "max-age=60,",
            "max-age=60, &&&&&",
            "max-age=\"60\"",
            "max-age=60.5",
            "max-age",
            "max-age =60",
            "max-age= 60",
            "MaX-aGe=60",
            "max-age=60 no-store",
            "max-age=60, x=\"open",
            "max-age=60, x=(a",
            "max-age=60, x=(a\"b\")",
            "max-age=1234567890123456",
            "max-age=60;",
            "max-age=60;A=1",
            "x=:%:, max-age=60",
            "x=?2",
            "x=\"\\a\"",
            "x=\"\u{e4}\"",
        ] {
            assert!(read(value).is_none(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = directives(&value);
        }

        #[test]
        fn what_is_plain_reads_as_it_would_in_cache_control(
            members in proptest::collection::vec(
                "(no-store|private|public|no-cache|must-revalidate|x|max-age=[0-9]{1,9}|s-maxage=[0-9]{1,9})",
                1..4,
            ),
        ) {
            let mut names: Vec<&str> = members.iter().filter_map(|m| m.split('=').next()).collect();
            names.sort_unstable();
            names.dedup();
            prop_assume!(names.len() == members.len());
            let line = members.join(", ");
            let mut plain = Directives::default();
            plain.add(line.as_bytes());
            let targeted = read(&line).map(|d| format!("{d:?}"));
            prop_assert_eq!(targeted, Some(format!("{plain:?}")));
        }
    }
}
