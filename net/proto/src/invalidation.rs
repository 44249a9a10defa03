//! What an answer to a request that changes something makes stale (RFC 9111, section 4.4). The rule: only where the
//! change was made, and never at another origin, so that nobody empties the store for others.

use crate::http::reference::follow;
use crate::http::route::Authority;

/// The targets (path and query) at `origin` whose stored answers are not to be given any more, after an answer with
/// `status` and `headers` to a request by `method` for `target`.
///
/// Empty for safe methods (RFC 9110, section 9.2.1) and where the answer is an error: nothing is known to have changed.
#[must_use]
pub fn invalidated<'h>(
    method: &str,
    origin: &Authority,
    target: &str,
    status: u16,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
) -> Vec<String> {
    let safe = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
    if safe || !matches!(status, 200..400) {
        return Vec::new();
    }
    let mut targets = vec![target.to_owned()];
    for (name, value) in headers {
        let names_a_target = ["location", "content-location"]
            .iter()
            .any(|field| name.eq_ignore_ascii_case(field));
        if names_a_target
            && let Ok(location) = std::str::from_utf8(value)
            && let Ok((authority, named)) = follow(origin, target, location.trim())
            && authority == *origin
            && !targets.contains(&named)
        {
            targets.push(named);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header lines of an answer.
    type Lines<'l> = &'l [(&'l str, &'l str)];

    fn after(method: &str, status: u16, headers: Lines<'_>) -> Vec<String> {
        let origin = Authority {
            https: false,
            host: "a.example".to_owned(),
            port: 80,
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        invalidated(method, &origin, "/x/y?q", status, headers)
    }

    #[test]
    fn a_change_that_was_made_is_seen() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
            for status in [200, 201, 204, 299, 303, 399] {
                assert_eq!(after(method, status, &[]), ["/x/y?q"], "{method} {status}");
            }
            for status in [100, 199, 400, 404, 500, 503] {
                assert!(after(method, status, &[]).is_empty(), "{method} {status}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(after(method, 200, &[("Location", "/z")]).is_empty());
        }
    }

    #[test]
    fn what_it_names_goes_too_at_the_same_origin() {
        let table: &[(Lines<'_>, &[&str])] = &[
            (&[("Location", "z")], &["/x/y?q", "/x/z"]),
            (&[("content-location", "/z?1")], &["/x/y?q", "/z?1"]),
            (&[("Location", "http://A.example:80/z")], &["/x/y?q", "/z"]),
            (
                &[("Location", "/1"), ("Content-Location", "/2")],
                &["/x/y?q", "/1", "/2"],
            ),
            (&[("Location", "/x/y?q")], &["/x/y?q"]),
            (&[("Location", "http://b.example/z")], &["/x/y?q"]),
            (&[("Location", "https://a.example/z")], &["/x/y?q"]),
            (&[("Location", "http://a.example:81/z")], &["/x/y?q"]),
            (&[("Location", "mailto:x")], &["/x/y?q"]),
        ];
        for (headers, targets) in table {
            assert_eq!(after("POST", 201, headers), *targets, "{headers:?}");
        }
    }
}
