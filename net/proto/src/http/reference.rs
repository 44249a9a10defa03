//! Where a reference in an answer leads (`Location`). The rule: only what is written in full decides; anything with a
//! user name, without a host or with another scheme than http and https leads nowhere.

use super::rules::Authority;

/// The authority and target that `location` names, seen from `target` on `from` (RFC 3986 section 5.2, without
/// fragments).
///
/// # Errors
/// What is wrong with the location, in words.
pub fn follow(
    from: &Authority,
    target: &str,
    location: &str,
) -> Result<(Authority, String), &'static str> {
    let location = location.split('#').next().unwrap_or_default();
    if location
        .bytes()
        .any(|b| b <= b' ' || b == 0x7f || b == b'\\')
    {
        return Err("its Location has a space, a backslash or a control character");
    }
    if let Some(rest) = location.strip_prefix("//") {
        return absolute(from.https, rest);
    }
    if let Some((scheme, rest)) = location.split_once("://")
        && !scheme.contains(['/', '?'])
    {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" => absolute(false, rest),
            "https" => absolute(true, rest),
            _ => Err("its Location is neither http nor https"),
        };
    }
    let path_now = target.split('?').next().unwrap_or_default();
    let joined = if location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with('?') {
        format!("{path_now}{location}")
    } else if location.is_empty() {
        return Err("its Location is empty");
    } else if location
        .split(['/', '?'])
        .next()
        .is_some_and(|s| s.contains(':'))
    {
        return Err("its Location is neither http nor https");
    } else {
        let folder = path_now.rfind('/').map_or("/", |at| &path_now[..=at]);
        format!("{folder}{location}")
    };
    Ok((from.clone(), without_dots(&joined)))
}

fn absolute(https: bool, rest: &str) -> Result<(Authority, String), &'static str> {
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(cut);
    if authority.contains('@') {
        return Err("its Location carries a user name");
    }
    let default = if https { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            if port.is_empty() {
                (host, default)
            } else {
                (
                    host,
                    port_of(port).ok_or("its Location has a port that is no port")?,
                )
            }
        }
        _ => (authority, default),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() || port == 0 {
        return Err("its Location has no host");
    }
    let target = if tail.starts_with('/') {
        without_dots(tail)
    } else {
        format!("/{tail}")
    };
    Ok((Authority { https, host, port }, target))
}

/// Digits alone, as in a client's request: Rust's reader would take `+80` as well.
fn port_of(text: &str) -> Option<u16> {
    let plain = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// RFC 3986 section 5.2.4, on the path only.
fn without_dots(target: &str) -> String {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(p, q)| (p, Some(q)));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut joined = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        joined.push('?');
        joined.push_str(query);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(location: &str) -> Result<(String, String), &'static str> {
        let from = Authority {
            https: false,
            host: "a.example".to_owned(),
            port: 80,
        };
        follow(&from, "/x/y/z?q=1", location)
            .map(|(a, t)| (format!("{}{}:{}", a.https, a.host, a.port), t))
    }

    #[test]
    fn locations_are_read_as_the_standard_says() {
        let ok = |authority: &str, target: &str| Ok((authority.to_owned(), target.to_owned()));
        assert_eq!(at("http://B.example/p?q"), ok("falseb.example:80", "/p?q"));
        assert_eq!(
            at("https://b.example:8443?q#f"),
            ok("trueb.example:8443", "/?q")
        );
        assert_eq!(at("//b.example./p"), ok("falseb.example:80", "/p"));
        assert_eq!(at("/p/../r"), ok("falsea.example:80", "/r"));
        assert_eq!(at("w?n=%2f"), ok("falsea.example:80", "/x/y/w?n=%2f"));
        assert_eq!(at("../w"), ok("falsea.example:80", "/x/w"));
        assert_eq!(at("?n"), ok("falsea.example:80", "/x/y/z?n"));
        assert_eq!(
            at("/r?to=http://c.example/"),
            ok("falsea.example:80", "/r?to=http://c.example/")
        );
        assert_eq!(
            at("http://[2001:db8::1]:81/"),
            ok("false[2001:db8::1]:81", "/")
        );
    }

    #[test]
    fn what_could_be_read_two_ways_leads_nowhere() {
        for location in [
            "",
            "#",
            "ftp://b.example/",
            "javascript:alert(1)",
            "http://",
            "http:///p",
            "http://u@b.example/",
            "http://b.example:0/",
            "http://b.example:99999/",
            "http://b.example:+80/",
            "http://b.example:000080/",
            "http://b.example\\@c.example/",
            "http://b.exa mple/",
            "/a\r\nX: y",
        ] {
            assert!(
                at(location).is_err(),
                "{location:?} leads to {:?}",
                at(location)
            );
        }
    }
}
