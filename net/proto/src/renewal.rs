//! What a 304 says about a stored answer (RFC 9111, sections 3.2 and 4.3.4). The rule: a confirmation of another
//! version confirms nothing, and none changes what the stored bytes are.

/// The validators of an answer, as they were written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Validators<'v> {
    /// `ETag`.
    pub etag: Option<&'v [u8]>,
    /// `Last-Modified`.
    pub last_modified: Option<&'v [u8]>,
}

impl Validators<'_> {
    /// Something to ask its origin by.
    #[must_use]
    pub fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

/// Whether a 304 with the validators `answer`, to a request that carried those of `stored`, is about what is stored
/// (section 4.3.4).
///
/// A tag says it alone. Where the answer has none, its date does; and where it has nothing at all, the request does,
/// which named no other version: origins need not repeat `Last-Modified` (RFC 9110, section 15.4.5).
#[must_use]
pub fn selects(stored: &Validators<'_>, answer: &Validators<'_>) -> bool {
    match (answer.etag, stored.etag) {
        (Some(theirs), Some(ours)) => same_tag(theirs, ours),
        // A tag that the stored answer lacks is that of another, or of the same: nobody can tell.
        (Some(_), None) => false,
        (None, _) => match (answer.last_modified, stored.last_modified) {
            (Some(theirs), Some(ours)) => theirs.trim_ascii() == ours.trim_ascii(),
            (Some(_), None) => stored.etag.is_some(),
            (None, _) => true,
        },
    }
}

/// Tags are compared strongly where the answer's is strong, weakly where it is weak (section 4.3.4).
fn same_tag(theirs: &[u8], ours: &[u8]) -> bool {
    let (theirs, ours) = (theirs.trim_ascii(), ours.trim_ascii());
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag);
    let weak = theirs.starts_with(b"W/");
    if weak {
        opaque(theirs) == opaque(ours)
    } else {
        theirs == ours
    }
}

/// Whether two tags of one URL, seen at different times by different clients, may be those of one version: compared
/// weakly (RFC 9110, section 8.8.3.2), since one of them may have come by a proxy that weakened it.
#[must_use]
pub fn is_same_version(one: &str, other: &str) -> bool {
    let opaque = |tag: &str| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).to_owned()
    };
    opaque(one) == opaque(other)
}

/// True for the fields that a 304 does not replace: they are about the stored bytes, which stay (section 3.2). `ETag`
/// is among them since it selected the answer, and a weak one must not take the place of a strong one.
#[must_use]
pub fn stays(name: &str) -> bool {
    [
        "content-encoding",
        "content-length",
        "content-range",
        "etag",
    ]
    .iter()
    .any(|field| name.eq_ignore_ascii_case(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_one_version_may_differ_in_weakness_alone() {
        assert!(is_same_version("\"a\"", " W/\"a\""));
        assert!(is_same_version("W/\"a\"", "W/\"a\""));
        assert!(!is_same_version("\"a\"", "\"A\""));
        assert!(!is_same_version("\"a\"", "\"W/a\""));
    }

    fn of<'v>(etag: &'v str, last_modified: &'v str) -> Validators<'v> {
        let some = |text: &'v str| (!text.is_empty()).then_some(text.as_bytes());
        Validators {
            etag: some(etag),
            last_modified: some(last_modified),
        }
    }

    #[test]
    fn a_304_selects_what_it_names() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
        // stored, answer, selected
        let table = [
            (of("\"a\"", ""), of("\"a\"", ""), true),
            (of("\"a\"", ""), of(" \"a\" ", ""), true),
            (of("\"a\"", DATE), of("\"a\"", LATER), true),
            (of("\"a\"", ""), of("\"b\"", ""), false),
            (of("\"a\"", DATE), of("\"b\"", DATE), false),
            // A strong tag selects what has the same strong one, and nothing else.
            (of("W/\"a\"", ""), of("\"a\"", ""), false),
            (of("", DATE), of("\"a\"", DATE), false),
            (of("W/\"a\"", ""), of("W/\"a\"", ""), true),
            (of("\"a\"", ""), of("W/\"a\"", ""), true),
            (of("W/\"a\"", ""), of("W/\"b\"", ""), false),
            (of("", DATE), of("", DATE), true),
            (of("", DATE), of("", LATER), false),
            (of("\"a\"", DATE), of("", DATE), true),
            (of("\"a\"", DATE), of("", LATER), false),
            (of("\"a\"", ""), of("", DATE), true),
            (of("\"a\"", DATE), of("", ""), true),
            (of("", DATE), of("", ""), true),
        ];
        for (stored, answer, selected) in table {
            assert_eq!(selects(&stored, &answer), selected, "{stored:?} {answer:?}");
        }
        assert!(of("", DATE).any() && of("\"a\"", "").any() && !of("", "").any());
    }

    #[test]
    fn what_the_bytes_are_stays() {
        for name in [
            "Content-Length",
            "content-encoding",
            "Content-Range",
            "ETag",
        ] {
            assert!(stays(name), "{name}");
        }
        for name in [
            "Cache-Control",
            "Content-Type",
            "Set-Cookie",
            "Date",
            "Vary",
        ] {
            assert!(!stays(name), "{name}");
        }
    }
}
