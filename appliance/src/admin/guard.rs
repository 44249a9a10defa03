//! Who may do what on the admin address. The rule: reading is free from this machine itself; from elsewhere, and for
//! whatever changes something, the token is asked for; and no page of a browser gets in by a name of its own, nor one
//! that somebody else has made.

use super::token::Token;
use std::net::IpAddr;

/// What a request looks like from here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'r> {
    /// Where it came from.
    pub(super) from: IpAddr,
    /// Its path.
    pub(super) path: &'r str,
    /// Whether it may change something: every method but GET and HEAD.
    pub(super) changes: bool,
    /// Its Host header.
    pub(super) host: Option<&'r str>,
    /// Its Origin header: the page that a browser sends it for.
    pub(super) origin: Option<&'r str>,
    /// Its Authorization header.
    pub(super) authorization: Option<&'r str>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It came by a name that is not ours.
    Host,
    /// A page of another origin sent it.
    Origin,
    /// It has no token.
    NoToken,
    /// Its token is another.
    WrongToken,
}

impl Refusal {
    /// What the answer says.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Host => {
                "larder: the Host of this request is no name of this machine; use its address, or list the name \
                 under [server] admin_names\n"
            }
            Self::Origin => {
                "larder: this was sent by a page of another origin; open the page on the admin address itself\n"
            }
            Self::NoToken => {
                "larder: this asks for the token; send it as `Authorization: Bearer <token>`; it lies in \
                 admin.token in the first directory of the store\n"
            }
            Self::WrongToken => "larder: this is not the token; it may have been made anew\n",
        }
    }

    /// The answer's status code.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::NoToken => 401,
            Self::Host | Self::Origin | Self::WrongToken => 403,
        }
    }
}

/// Lets a request pass, or says why not. `names` are ours, in lower case.
pub(super) fn check(asked: Asked<'_>, names: &[String], token: &Token) -> Result<(), Refusal> {
    // A page in a browser on this machine or near it can send requests to any address that its own name resolves to,
    // but the Host is still that name. What sends no Host is no browser.
    if asked.host.is_some_and(|host| !is_ours(host, names)) {
        return Err(Refusal::Host);
    }
    // A browser says by which page a request was made; ours is at the very address that it asks.
    if let Some(origin) = asked.origin
        && !asked.host.is_some_and(|host| is_same(origin, host))
    {
        return Err(Refusal::Origin);
    }
    let near = asked.from.to_canonical().is_loopback();
    // The page itself says nothing; what it shows it has to ask for.
    if !asked.changes && (near || matches!(asked.path, "/healthz" | "/")) {
        return Ok(());
    }
    let offered = asked
        .authorization
        .and_then(bearer)
        .ok_or(Refusal::NoToken)?;
    if token.is(offered) {
        Ok(())
    } else {
        Err(Refusal::WrongToken)
    }
}

/// The token of an Authorization header (RFC 6750, section 2.1; the scheme's case is free).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Whether an origin (RFC 6454) is the one of a Host header. A proxy in front may speak TLS.
fn is_same(origin: &str, host: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// An address is no name, so no name can be bound to it anew.
fn is_ours(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names
            .iter()
            .any(|ours| !ours.is_empty() && ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From, path, changes, Host, Authorization, what becomes of it.
    type Case<'c> = (
        &'c str,
        &'c str,
        bool,
        Option<&'c str>,
        Option<&'c str>,
        Result<(), Refusal>,
    );

    #[test]
    fn each_request_gets_what_it_may_have() {
        let store = tempfile::tempdir().expect("a directory");
        let token = Token::of_store(store.path()).expect("made");
        let right = format!("Bearer {}", token.text());
        let lower = format!("bearer {}", token.text());
        let wrong = format!("Bearer {}", "0".repeat(64));
        let basic = format!("Basic {}", token.text());
        let names = [
            "larder-1".to_owned(),
            "larder.example.org".to_owned(),
            String::new(),
        ];
        let (here, there) = ("127.0.0.1", "10.1.2.3");
        let ok = Ok(());
        let (no, bad, host) = (
            Err(Refusal::NoToken),
            Err(Refusal::WrongToken),
            Err(Refusal::Host),
        );
        let api = "/api/v1/objects";
        let cases: &[Case<'_>] = &[
            // Reading, from here and from elsewhere.
            (here, api, false, Some("127.0.0.1:9180"), None, ok),
            ("::1", api, false, Some("[::1]:9180"), None, ok),
            ("::ffff:127.0.0.1", "/metrics", false, None, None, ok),
            (there, api, false, Some("10.1.2.1:9180"), None, no),
            (there, "/metrics", false, Some("10.1.2.1:9180"), None, no),
            (there, "/readyz", false, Some("10.1.2.1:9180"), None, no),
            (
                there,
                "/metrics",
                false,
                Some("10.1.2.1:9180"),
                Some(&right),
                ok,
            ),
            (there, "/healthz", false, Some("10.1.2.1:9180"), None, ok),
            (there, "/", false, Some("10.1.2.1:9180"), None, ok),
            (there, "/", true, Some("10.1.2.1:9180"), None, no),
            (there, "/healthz", true, Some("10.1.2.1:9180"), None, no),
            (there, "/healthz/", false, Some("10.1.2.1:9180"), None, no),
            // Changing, with all kinds of tokens.
            (here, api, true, Some("localhost:9180"), None, no),
            (here, api, true, Some("localhost:9180"), Some(&basic), no),
            (here, api, true, Some("localhost:9180"), Some("Bearer"), no),
            (
                here,
                api,
                true,
                Some("localhost:9180"),
                Some("Bearer "),
                bad,
            ),
            (here, api, true, Some("localhost:9180"), Some(&wrong), bad),
            (here, api, true, Some("localhost:9180"), Some(&right), ok),
            (here, api, true, Some("localhost:9180"), Some(&lower), ok),
            // Names that are ours and names that are not, whatever they resolve to.
            (here, api, false, Some("LOCALHOST"), None, ok),
            (here, api, false, Some("larder-1:9180"), None, ok),
            (here, api, false, Some("Larder.Example.org.:9180"), None, ok),
            (here, api, false, Some("evil.example:9180"), None, host),
            (
                here,
                api,
                true,
                Some("evil.example:9180"),
                Some(&right),
                host,
            ),
            (
                here,
                "/healthz",
                false,
                Some("127.0.0.1.evil.example"),
                None,
                host,
            ),
            (here, api, false, Some(""), None, host),
            (
                here,
                api,
                false,
                Some("larder.example.org.evil.example"),
                None,
                host,
            ),
        ];
        for (from, path, changes, host, authorization, expected) in cases {
            let asked = Asked {
                from: from.parse().expect("an address"),
                path,
                changes: *changes,
                host: *host,
                origin: None,
                authorization: *authorization,
            };
            assert_eq!(check(asked, &names, &token), *expected, "{asked:?}");
        }
    }

    #[test]
    fn only_our_own_page_is_listened_to() {
        let store = tempfile::tempdir().expect("a directory");
        let token = Token::of_store(store.path()).expect("made");
        let right = format!("Bearer {}", token.text());
        let (ok, not) = (Ok(()), Err(Refusal::Origin));
        let cases = [
            (None, "127.0.0.1:9180", ok),
            (Some("http://127.0.0.1:9180"), "127.0.0.1:9180", ok),
            (Some("http://LOCALHOST:9180"), "localhost:9180", ok),
            (Some("https://larder-1"), "larder-1", ok),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:9180", not),
            (Some("http://localhost:9180"), "127.0.0.1:9180", not),
            (Some("http://evil.example"), "127.0.0.1:9180", not),
            (
                Some("http://127.0.0.1:9180.evil.example"),
                "127.0.0.1:9180",
                not,
            ),
            (Some("null"), "127.0.0.1:9180", not),
            (Some(""), "127.0.0.1:9180", not),
        ];
        for changes in [false, true] {
            for (origin, host, expected) in cases {
                let asked = Asked {
                    from: [127, 0, 0, 1].into(),
                    path: "/api/v1/purge",
                    changes,
                    host: Some(host),
                    origin,
                    authorization: Some(&right),
                };
                let names = ["larder-1".to_owned()];
                assert_eq!(check(asked, &names, &token), expected, "{asked:?}");
            }
        }
    }
}
