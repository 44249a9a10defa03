//! Which fields of a request an origin may not be told by clients. The rule: what chooses an answer and is no part of
//! the key under which the answer is stored would let one client choose what all others get.

/// Words that a field's name is made of where it speaks of an address, or of another request than the one that bears it.
const WORDS: [&str; 20] = [
    "client",
    "forwarded",
    "host",
    "ip",
    "method",
    "original",
    "override",
    "path",
    "port",
    "prefix",
    "proto",
    "protocol",
    "proxy",
    "real",
    "rewrite",
    "scheme",
    "server",
    "ssl",
    "uri",
    "url",
];

/// Whether a field speaks for a proxy in front of the origin, or for another request than its own: `X-Forwarded-Host`,
/// `X-HTTP-Method-Override`, `X-Original-URL`, `True-Client-IP`, `Forwarded` and their kin.
#[must_use]
pub fn speaks_for_another(name: &str) -> bool {
    name.split(['-', '_']).any(|word| {
        WORDS.iter().any(|known| {
            word.get(..known.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(known))
                && (word.len() == known.len() || matches!(*known, "forwarded" | "host" | "proto"))
        })
    })
}

/// The value of `Max-Forwards` (RFC 9110, section 7.6.2); more than can be counted counts as very many.
#[must_use]
pub fn max_forwards(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_request_may_go_is_a_number() {
        for (value, far) in [
            ("0", Some(0)),
            (" 010 ", Some(10)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("1, 2", None),
        ] {
            assert_eq!(max_forwards(value.as_bytes()), far, "{value:?}");
        }
    }

    #[test]
    fn fields_of_proxies_are_known_by_their_words() {
        for name in [
            "Host",
            "Forwarded",
            "X-Forwarded",
            "X-Forwarded-Host",
            "x-forwarded-server",
            "X-Forwarded-SSL",
            "X-Forwarded_Path",
            "X-Host",
            "X-HTTP-Host-Override",
            "X-Original-Host",
            "X-Original-URL",
            "X-Rewrite-Url",
            "X-Override-URL",
            "X-HTTP-Method-Override",
            "X-Method",
            "X-Real-IP",
            "True-Client-IP",
            "Client-IP",
            "CF-Connecting-IP",
            "X-ProxyUser-Ip",
            "X-Url-Scheme",
            "Proxy-Host",
            "Front-End-Https-Proto",
            "X-Hostname",
            "X-Envoy-Original-Path",
            "Base-Url",
            "Request-Uri",
        ] {
            assert!(speaks_for_another(name), "{name}");
        }
    }

    #[test]
    fn others_are_left_alone() {
        for name in [
            "Accept",
            "Accept-Language",
            "Authorization",
            "Cookie",
            "Origin",
            "Range",
            "If-None-Match",
            "Req-Num",
            "Test-ID",
            "X-Requested-With",
            "X-Recipient",
            "Ipsum",
        ] {
            assert!(!speaks_for_another(name), "{name}");
        }
    }
}
