//! Which of several answers of one URL a request selects (RFC 9111, section 4.1). The rule: two requests select the
//! same answer only where each field that the origin named in `Vary` says the same in both.

use crate::list::items;
use larder_content::UrlKey;

/// The key under which the answer is stored that a request selects: of `primary`, the key of the URL, and of what the
/// request's fields say that `vary` names (lower case, in order; see [`crate::freshness::Verdict::vary`]).
///
/// With an empty `vary` it is `primary`.
#[must_use]
pub fn variant_key<'f>(
    primary: &UrlKey,
    vary: &[String],
    request: impl Iterator<Item = (&'f str, &'f [u8])> + Clone,
) -> UrlKey {
    if vary.is_empty() {
        return *primary;
    }
    let selecting: Vec<(&str, Option<Vec<u8>>)> = vary
        .iter()
        .map(|field| (field.as_str(), normalised(field, request.clone())))
        .collect();
    let selecting: Vec<(&str, Option<&[u8]>)> = selecting
        .iter()
        .map(|(field, value)| (*field, value.as_deref()))
        .collect();
    larder_content::key::variant(primary, &selecting)
}

/// What a request's `field` says; `None` where it has none.
///
/// Lines are joined, spaces around commas are made one, and case does not count for languages and codings (RFC 9110,
/// sections 12.5.3 and 12.5.4). The order of elements counts: origins give languages by it where no weights are said.
fn normalised<'f>(
    field: &str,
    request: impl Iterator<Item = (&'f str, &'f [u8])>,
) -> Option<Vec<u8>> {
    let mut value: Option<Vec<u8>> = None;
    for (_, line) in request.filter(|(name, _)| name.eq_ignore_ascii_case(field)) {
        let value = value.get_or_insert_default();
        for item in items(line) {
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(item);
        }
    }
    if matches!(field, "accept-language" | "accept-encoding")
        && let Some(value) = &mut value
    {
        value.make_ascii_lowercase();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRIMARY: UrlKey = UrlKey([7; 32]);

    type Fields<'f> = &'f [(&'f str, &'f str)];

    fn key(vary: &[&str], request: Fields<'_>) -> UrlKey {
        let vary: Vec<String> = vary.iter().map(|field| (*field).to_owned()).collect();
        let request = request
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        variant_key(&PRIMARY, &vary, request)
    }

    #[test]
    fn what_says_the_same_selects_the_same() {
        // section 4.1: what may be done to a field without changing what it says
        let same: &[(&[&str], Fields<'_>, Fields<'_>)] = &[
            (&["foo"], &[("Foo", "1")], &[("foo", " 1 "), ("Other", "2")]),
            (&["foo"], &[("Foo", "1, 2")], &[("Foo", "1"), ("Foo", "2")]),
            (&["foo"], &[("Foo", "1,2")], &[("Foo", " 1 , 2 ,")]),
            (&["foo"], &[], &[("Bar", "1")]),
            (
                &["accept-language"],
                &[("Accept-Language", "en, de")],
                &[("Accept-Language", "EN,De")],
            ),
            (
                &["bar", "foo"],
                &[("Foo", "1"), ("Bar", "2")],
                &[("Bar", "2"), ("Foo", "1")],
            ),
        ];
        for (vary, a, b) in same {
            assert_eq!(key(vary, a), key(vary, b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_says_something_else_selects_another() {
        let other: &[(&[&str], Fields<'_>, Fields<'_>)] = &[
            (&["foo"], &[("Foo", "1")], &[("Foo", "2")]),
            (&["foo"], &[("Foo", "1")], &[]),
            (&["foo"], &[("Foo", "")], &[]),
            (&["foo"], &[("Foo", "a")], &[("Foo", "A")]),
            (&["foo"], &[("Foo", "a b")], &[("Foo", "a, b")]),
            (&["foo"], &[("Foo", "\"a,b\"")], &[("Foo", "\"a, b\"")]),
            (
                &["accept-language"],
                &[("Accept-Language", "en, de")],
                &[("Accept-Language", "de, en")],
            ),
            (&["bar", "foo"], &[("Foo", "1")], &[("Bar", "1")]),
            (
                &["bar", "foo"],
                &[("Bar", "1"), ("Foo", "2")],
                &[("Bar", "2"), ("Foo", "1")],
            ),
        ];
        for (vary, a, b) in other {
            assert_ne!(key(vary, a), key(vary, b), "{a:?} {b:?}");
        }
        assert_eq!(key(&[], &[("Foo", "1")]), PRIMARY);
        assert_ne!(key(&["foo"], &[]), PRIMARY);
        assert_ne!(key(&["foo"], &[]), key(&["bar"], &[]));
    }

    proptest! {
        /// A key is the same exactly where a comparison field by field, word by word says so.
        #[test]
        fn keys_agree_where_fields_do(
            a in proptest::collection::vec(("(foo|bar|baz)", "[a-b, ]{0,4}"), 0..4),
            b in proptest::collection::vec(("(foo|bar|baz)", "[a-b, ]{0,4}"), 0..4),
        ) {
            let said = |request: &[(String, String)], field: &str| {
                let lines: Vec<&str> = request
                    .iter()
                    .filter(|(name, _)| name == field)
                    .map(|(_, line)| line.as_str())
                    .collect();
                let joined = lines.join(",");
                let words = joined.split(',').map(|w| w.trim().to_owned());
                let words: Vec<String> = words.filter(|w| !w.is_empty()).collect();
                (lines.is_empty(), words)
            };
            let same = ["bar", "foo"].iter().all(|f| said(&a, f) == said(&b, f));
            let fields = |request: &[(String, String)]| {
                let vary = ["bar".to_owned(), "foo".to_owned()];
                variant_key(
                    &PRIMARY,
                    &vary,
                    request.iter().map(|(n, v)| (n.as_str(), v.as_bytes())),
                )
            };
            prop_assert_eq!(fields(&a) == fields(&b), same);
        }
    }
}
