//! What a request says to caches on its way (RFC 9111, section 5.2.1). The rule: a wish that is not understood is not
//! there, and a client is never given something older than it asked for without the origin being asked.

use crate::list::{items, unquoted};

/// The wishes of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Directives {
    /// Do not use what is stored without asking the origin.
    pub no_cache: bool,
    /// Store nothing of this exchange.
    pub no_store: bool,
    /// Answer from what is stored, or 504.
    pub only_if_cached: bool,
    /// At most so old, in seconds.
    pub max_age_s: Option<u64>,
    /// Fresh for at least so long, in seconds.
    pub min_fresh_s: Option<u64>,
    /// Stale for at most so long, in seconds; `u64::MAX` where any will do.
    pub max_stale_s: Option<u64>,
}

impl Directives {
    /// Reads the `Cache-Control` fields, or where there is none the `Pragma` fields (section 5.4).
    #[must_use]
    pub fn read<'f>(
        cache_control: impl IntoIterator<Item = &'f [u8]>,
        pragma: impl IntoIterator<Item = &'f [u8]>,
    ) -> Self {
        let mut wishes = Self::default();
        let mut said = false;
        for field in cache_control {
            said = true;
            items(field).for_each(|wish| wishes.take(wish));
        }
        if !said {
            let mut tokens = pragma.into_iter().flat_map(items);
            wishes.no_cache = tokens.any(|token| token.eq_ignore_ascii_case(b"no-cache"));
        }
        wishes
    }

    fn take(&mut self, wish: &[u8]) {
        let (name, value) = match wish.iter().position(|byte| *byte == b'=') {
            Some(at) => (&wish[..at], seconds(&wish[at + 1..])),
            None => (wish, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            // Nonsense counts as the strictest (section 4.2.1).
            self.max_age_s = Some(value.unwrap_or(0));
        } else if is("min-fresh") {
            self.min_fresh_s = value.or(self.min_fresh_s);
        } else if is("max-stale") {
            // Section 5.2.1.2: without a value any age will do; nonsense is no permission.
            let any = (!wish.contains(&b'=')).then_some(u64::MAX);
            self.max_stale_s = value.or(any).or(self.max_stale_s);
        }
    }

    /// Whether something fresh, `age_s` seconds old and fresh for another `fresh_for_s`, may be given without asking.
    #[must_use]
    pub fn accepts(&self, age_s: u64, fresh_for_s: u64) -> bool {
        !self.no_cache
            && self.max_age_s.is_none_or(|most| age_s <= most)
            && self.min_fresh_s.is_none_or(|least| fresh_for_s >= least)
    }
}

/// Digits, perhaps in quotes; more of them than fit count as very many.
fn seconds(value: &[u8]) -> Option<u64> {
    let value = unquoted(value.trim_ascii());
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cache_control: &[&str], pragma: &[&str]) -> Directives {
        Directives::read(
            cache_control.iter().map(|f| f.as_bytes()),
            pragma.iter().map(|f| f.as_bytes()),
        )
    }

    #[test]
    fn wishes_are_read_from_all_fields() {
        let wishes = read(
            &["max-age=60, no-transform", " Min-Fresh=\"9\",NO-STORE"],
            &[],
        );
        assert_eq!(
            wishes,
            Directives {
                no_store: true,
                max_age_s: Some(60),
                min_fresh_s: Some(9),
                ..Directives::default()
            }
        );
        assert!(read(&["no-cache=x,"], &[]).no_cache);
        assert!(read(&["only-if-cached"], &[]).only_if_cached);
        assert_eq!(read(&["max-stale"], &[]).max_stale_s, Some(u64::MAX));
        assert_eq!(read(&["max-stale=9"], &[]).max_stale_s, Some(9));
        assert_eq!(read(&["max-stale=x"], &[]).max_stale_s, None);
        assert!(!read(&["x=\"a, no-cache\""], &[]).no_cache);
        assert_eq!(read(&["max-age"], &[]).max_age_s, Some(0));
        assert_eq!(
            read(&["max-age=99999999999999999999"], &[]).max_age_s,
            Some(u64::MAX)
        );
    }

    #[test]
    fn pragma_counts_where_nothing_else_is_said() {
        assert!(read(&[], &["a, No-Cache"]).no_cache);
        assert!(!read(&["max-age=5"], &["no-cache"]).no_cache);
        assert!(!read(&[], &[]).no_cache);
    }

    #[test]
    fn what_is_too_old_or_soon_stale_is_not_accepted() {
        assert!(read(&[], &[]).accepts(u64::MAX, 0));
        assert!(!read(&["no-cache"], &[]).accepts(0, u64::MAX));
        assert!(read(&["max-age=5"], &[]).accepts(5, 0));
        assert!(!read(&["max-age=5"], &[]).accepts(6, 0));
        assert!(!read(&["min-fresh=5"], &[]).accepts(0, 4));
    }
}
