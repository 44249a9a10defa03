//! Which origins may be asked, and where they are. The rule: default deny; a host is asked only where a pattern that
//! an administrator (or the vendor's list) wrote matches it whole.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Scheme, host and port of an origin. `Display` gives `host` or `host:port` (without the scheme's default port).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Authority {
    /// TLS or not.
    pub https: bool,
    /// The host in lower case; an IPv6 literal keeps its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Authority {
    /// The address, where the host is a literal one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match HostKind::of(&self.host) {
            Ok(HostKind::Address(ip)) => Some(ip),
            _ => None,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port == default_port(self.https) {
            f.write_str(&self.host)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The port that a scheme's URLs need not name.
#[must_use]
pub const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// What is wrong with a rule about origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A pattern of `allow` that can match nothing or too much.
    #[error("origins.allow: {pattern:?} {why}")]
    Allow {
        /// The pattern as written.
        pattern: String,
        /// What is wrong and what to write.
        why: &'static str,
    },
    /// A name or target of `[origins.connect]`.
    #[error("origins.connect: {name:?} = {to:?}: {why}")]
    Connect {
        /// The name as written.
        name: String,
        /// The target as written.
        to: String,
        /// What is wrong and what to write.
        why: &'static str,
    },
    /// The default origin.
    #[error("origins.default: {host:?} {why}")]
    Default {
        /// The host as written.
        host: String,
        /// What is wrong and what to write.
        why: &'static str,
    },
    /// A path pattern of immutable content.
    #[error("origins.immutable: {pattern:?} {why}")]
    Immutable {
        /// The pattern as written.
        pattern: String,
        /// What is wrong and what to write.
        why: &'static str,
    },
}

/// What a host is, by its spelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostKind {
    Name,
    Address(IpAddr),
}

/// Why a spelling is no host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostError {
    /// No reader would take it for a host.
    Malformed(&'static str),
    /// Some readers take it for an address: `127.1`, `0x7f000001`, `2130706433`.
    OddAddress,
}

impl HostKind {
    /// Reads a host without trailing dot. An IPv6 literal has brackets.
    pub(crate) fn of(host: &str) -> Result<Self, HostError> {
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner
                .strip_suffix(']')
                .ok_or(HostError::Malformed("a bracket is not closed"))?;
            let ip: Ipv6Addr = inner
                .parse()
                .map_err(|_| HostError::Malformed("no IPv6 address in the brackets"))?;
            return Ok(Self::Address(IpAddr::V6(ip)));
        }
        if host.is_empty() {
            return Err(HostError::Malformed("the host is empty"));
        }
        if host.len() > 253 {
            return Err(HostError::Malformed(
                "the host is longer than 253 characters",
            ));
        }
        for label in host.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(HostError::Malformed(
                    "a label of the host is empty or longer than 63 characters",
                ));
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return Err(HostError::Malformed(
                    "the host holds a character that no host name has",
                ));
            }
        }
        // Resolvers and URL libraries take whatever ends in a number for an IPv4 address, in many spellings.
        let last = host.rsplit('.').next().unwrap_or(host).as_bytes();
        let number = last.iter().all(u8::is_ascii_digit) || matches!(last, [b'0', b'x' | b'X', ..]);
        if !number {
            return Ok(Self::Name);
        }
        let ip: Ipv4Addr = host.parse().map_err(|_| HostError::OddAddress)?;
        Ok(Self::Address(IpAddr::V4(ip)))
    }
}

/// Splits `host[:port]`; one trailing dot of the host is removed. An empty port is none (RFC 3986, section 3.2.3).
pub(crate) fn split_authority(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let end = match text.find(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err("something other than a port follows the host"),
        Some("") => None,
        Some(digits) if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) => {
            return Err("the port is no number");
        }
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port != 0 => Some(port),
            _ => return Err("the port is not between 1 and 65535"),
        },
    };
    Ok((host.strip_suffix('.').unwrap_or(host), port))
}

/// How a host may be spelled to be allowed.
#[derive(Debug, Clone)]
enum Spelling {
    /// `*.example.org`, kept as `.example.org`: every name below it.
    Below(String),
    /// This name.
    Name(String),
    /// This address.
    Address(IpAddr),
    /// With `*` inside labels: it stands for any characters but dots.
    Glob(String),
}

#[derive(Debug, Clone)]
struct Pattern {
    spelling: Spelling,
    /// `None`: the default port of the scheme that is used.
    port: Option<u16>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('/') {
            return Err("is no host; write the host alone, as in \"*.windowsupdate.com\"");
        }
        let (host, port) = split_authority(text)?;
        let host = host.to_ascii_lowercase();
        if host.contains('*') && !host.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Err("would make an open proxy; name the domains that clients may fetch from");
        }
        let below = host.strip_prefix("*.");
        // A digit for each star, so that a pattern that could match a part of an address is seen to be one.
        let probe = below.unwrap_or(&host).replace('*', "1");
        let spelling = match HostKind::of(&probe) {
            Ok(HostKind::Address(ip)) if probe == host => Spelling::Address(ip),
            Ok(HostKind::Address(_)) | Err(HostError::OddAddress) => {
                return Err(
                    "looks like an address; write each address plainly, as in \"10.1.2.3\"",
                );
            }
            Err(HostError::Malformed(why)) => return Err(why),
            Ok(HostKind::Name) => match below {
                Some(domain) if !domain.contains('*') => Spelling::Below(format!(".{domain}")),
                Some(_) => return Err("has a second *; write one pattern for each domain"),
                None if host.contains('*') => Spelling::Glob(host),
                None => Spelling::Name(host),
            },
        };
        Ok(Self { spelling, port })
    }

    fn matches(&self, host: &str, kind: HostKind) -> bool {
        match (&self.spelling, kind) {
            (Spelling::Below(suffix), HostKind::Name) => {
                let front = host.len().checked_sub(suffix.len());
                front.is_some_and(|front| {
                    front > 0 && host.as_bytes()[front..].eq_ignore_ascii_case(suffix.as_bytes())
                })
            }
            (Spelling::Name(name), HostKind::Name) => name.eq_ignore_ascii_case(host),
            (Spelling::Address(ip), HostKind::Address(asked)) => *ip == asked,
            (Spelling::Glob(glob), HostKind::Name) => {
                let host = host.as_bytes();
                glob_matches(
                    glob.as_bytes(),
                    host.len(),
                    |at| host[at].to_ascii_lowercase(),
                    Some(b'.'),
                )
            }
            _ => false,
        }
    }
}

/// Matches a text of `len` bytes, byte `i` of which is `at(i)`, against a pattern in which `*` stands for any bytes but
/// `never`. Only the last star is ever tried again: where it can not help, no earlier one can.
fn glob_matches(pattern: &[u8], len: usize, at: impl Fn(usize) -> u8, never: Option<u8>) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the pattern goes on after the last star, and where the text goes on after what it stands for.
    let mut retry: Option<(usize, usize)> = None;
    while t < len {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(byte) if *byte == at(t) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, end)) if Some(at(end)) != never => {
                    retry = Some((after, end + 1));
                    (p, t) = (after, end + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Which origins may be asked, where they are, and which of their paths an administrator declared immutable.
#[derive(Debug, Clone, Default)]
pub struct OriginRules {
    allow: Vec<Pattern>,
    default: Option<Authority>,
    connect: Vec<Connect>,
    immutable: Vec<String>,
    /// Every host may be asked.
    open: bool,
}

/// One entry of `connect`.
#[derive(Debug, Clone)]
struct Connect {
    name: String,
    /// `host:port`.
    to: String,
    /// TLS or not; None: as it is asked for.
    https: Option<bool>,
}

impl OriginRules {
    /// Checks and compiles the rules.
    ///
    /// `allow`: hosts (`wsus.example`), all below a domain (`*.windowsupdate.com`), or `*` inside a label, each with an
    /// optional port. `connect`: host to `host:port`, or with the scheme that is spoken there (`http://host:port`),
    /// whichever clients name. `immutable`: patterns of `host/path` in which `*` stands for anything.
    ///
    /// # Errors
    /// The first rule that can not be meant as it is written.
    pub fn new(
        allow: &[String],
        default: Option<Authority>,
        connect: impl IntoIterator<Item = (String, String)>,
        immutable: &[String],
    ) -> Result<Self, RuleError> {
        let parse = |text: &String| {
            Pattern::parse(text).map_err(|why| RuleError::Allow {
                pattern: text.to_owned(),
                why,
            })
        };
        Ok(Self {
            allow: allow.iter().map(parse).collect::<Result<_, _>>()?,
            default: default.map(check_default).transpose()?,
            connect: connect
                .into_iter()
                .map(check_connect)
                .collect::<Result<_, _>>()?,
            immutable: immutable
                .iter()
                .map(|text| check_immutable(text))
                .collect::<Result<_, _>>()?,
            open: false,
        })
    }

    /// The rules of a device whose user names what is fetched: every host may be asked, at any address, and there is no
    /// default. Not for whoever fetches on behalf of others.
    #[must_use]
    pub fn opened(self) -> Self {
        Self {
            open: true,
            default: None,
            ..self
        }
    }

    /// The vendor's own list of content hosts (facts: clients, 1.8), the busiest first.
    #[must_use]
    pub fn vendor_allow() -> &'static [&'static str] {
        VENDOR_ALLOW
    }

    /// The hosts that are listed by their whole name.
    pub fn listed_names(&self) -> impl Iterator<Item = &str> {
        self.allow
            .iter()
            .filter_map(|pattern| match &pattern.spelling {
                Spelling::Name(name) => Some(name.as_str()),
                _ => None,
            })
    }

    /// Each host of `connect`, with where to connect for it.
    pub fn connects(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.connect.iter();
        all.map(|connect| (connect.name.as_str(), connect.to.as_str()))
    }

    /// Whether this origin may be asked.
    #[must_use]
    pub fn allows(&self, https: bool, host: &str, port: u16) -> bool {
        let is_default =
            |d: &Authority| d.https == https && d.port == port && d.host.eq_ignore_ascii_case(host);
        if self.default.as_ref().is_some_and(is_default) {
            return true;
        }
        let Ok(kind) = HostKind::of(host) else {
            return false;
        };
        if self.open {
            return true;
        }
        (port == default_port(https) && self.connect_to(host).is_some())
            || self
                .allow
                .iter()
                .any(|p| p.port.unwrap_or(default_port(https)) == port && p.matches(host, kind))
    }

    /// The port at which a host is asked that was named without one; `None` where it may not be asked.
    pub(crate) fn port_of(&self, https: bool, host: &str, kind: HostKind) -> Option<u16> {
        if self.open || self.connect_to(host).is_some() {
            return Some(default_port(https));
        }
        let pattern = self
            .allow
            .iter()
            .find(|pattern| pattern.matches(host, kind))?;
        Some(pattern.port.unwrap_or(default_port(https)))
    }

    /// The origin of requests that name none.
    #[must_use]
    pub fn default_origin(&self) -> Option<&Authority> {
        self.default.as_ref()
    }

    /// Where to connect for `host` instead of resolving it: `host:port`.
    #[must_use]
    pub fn connect_to(&self, host: &str) -> Option<&str> {
        self.connect_of(host).map(|connect| connect.to.as_str())
    }

    /// Who is asked in place of `origin`: the same host by the scheme that its entry in `connect` has, where it has one.
    /// Its port is that of the scheme, where clients named none.
    #[must_use]
    pub fn spoken_to(&self, origin: &Authority) -> Authority {
        let connect = self.connect_of(&origin.host);
        let https = connect.and_then(|connect| connect.https);
        let https = https.unwrap_or(origin.https);
        let is_default = origin.port == default_port(origin.https);
        Authority {
            https,
            host: origin.host.clone(),
            port: if is_default {
                default_port(https)
            } else {
                origin.port
            },
        }
    }

    fn connect_of(&self, host: &str) -> Option<&Connect> {
        let named = |connect: &&Connect| connect.name.eq_ignore_ascii_case(host);
        self.connect.iter().find(named)
    }

    /// True where an administrator named this very host or address, so that a private address is no reason to refuse
    /// it: it is listed in `connect`, is the default origin, or is a literal address in `allow`. Of opened rules every
    /// host is.
    #[must_use]
    pub fn trusts(&self, host: &str) -> bool {
        let literal = |pattern: &Pattern| match HostKind::of(host) {
            Ok(kind @ HostKind::Address(_)) => pattern.matches(host, kind),
            _ => false,
        };
        self.open
            || self.connect_to(host).is_some()
            || self
                .default
                .as_ref()
                .is_some_and(|default| default.host.eq_ignore_ascii_case(host))
            || self.allow.iter().any(literal)
    }

    /// True where an administrator declared that this URL names its content.
    #[must_use]
    pub fn lists_immutable(&self, host: &str, path: &str) -> bool {
        let (host, path) = (host.as_bytes(), path.as_bytes());
        let at = |i: usize| match i.checked_sub(host.len()) {
            None => host[i].to_ascii_lowercase(),
            Some(i) => path[i],
        };
        self.immutable
            .iter()
            .any(|glob| glob_matches(glob.as_bytes(), host.len() + path.len(), at, None))
    }
}

fn check_default(mut origin: Authority) -> Result<Authority, RuleError> {
    origin.host.make_ascii_lowercase();
    if origin.host.parse::<Ipv6Addr>().is_ok() {
        origin.host = format!("[{}]", origin.host);
    }
    match HostKind::of(&origin.host) {
        Ok(_) => Ok(origin),
        Err(HostError::OddAddress) => Err(RuleError::Default {
            host: origin.host,
            why: "looks like an address; write it plainly",
        }),
        Err(HostError::Malformed(why)) => Err(RuleError::Default {
            host: origin.host,
            why,
        }),
    }
}

fn check_connect((name, to): (String, String)) -> Result<Connect, RuleError> {
    let (https, at) = match to.split_once("://") {
        Some(("http", at)) => (Some(false), at),
        Some(("https", at)) => (Some(true), at),
        Some(_) => (None, ""),
        None => (None, to.as_str()),
    };
    let why = match (split_authority(&name), split_authority(at)) {
        (Ok((_, Some(_))), _) => Some("the name has a port; write the host alone"),
        (Ok((host, None)), _) if HostKind::of(host).is_err() => Some("the name is no host"),
        _ if at.contains('/') => Some("the target has a path; write host:port"),
        _ if at.is_empty() => {
            Some("the target is none; write host:port, http://host:port or https://host:port")
        }
        (_, Ok((_, None))) => Some("the target has no port; write host:port"),
        (_, Ok((host, _))) if HostKind::of(host).is_err() => {
            Some("the target is no host; write host:port")
        }
        (Err(why), _) | (_, Err(why)) => Some(why),
        _ => None,
    };
    match why {
        Some(why) => Err(RuleError::Connect { name, to, why }),
        None => Ok(Connect {
            name: name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase(),
            to: at.to_owned(),
            https,
        }),
    }
}

fn check_immutable(text: &str) -> Result<String, RuleError> {
    let error = |why| RuleError::Immutable {
        pattern: text.to_owned(),
        why,
    };
    if text.contains("://") {
        return Err(error(
            "has a scheme; write host/path, as in \"wsus.example/Content/*\"",
        ));
    }
    let (host, path) = text
        .split_once('/')
        .ok_or_else(|| error("has no path; write host/path, as in \"wsus.example/Content/*\""))?;
    if host.is_empty() {
        return Err(error(
            "has no host; write \"*\" for any, as in \"*/Content/*\"",
        ));
    }
    Ok(format!("{}/{path}", host.to_ascii_lowercase()))
}

/// Facts on clients, section 1.8. Suffixes rather than exact names, since hosts appear that no list has.
const VENDOR_ALLOW: &[&str] = &[
    "*.dl.delivery.mp.microsoft.com",
    "*.windowsupdate.com",
    "*.delivery.mp.microsoft.com",
    "*.emdl.ws.microsoft.com",
    "*.do.dsp.mp.microsoft.com",
    "officecdn.microsoft.com",
    "officecdn.microsoft.com.edgesuite.net",
    "*.officecdn.microsoft.com",
    "*.cdn.office.net",
    "*.tscdn.m365.static.microsoft",
    "*.teams.static.microsoft",
    "statics.teams.cdn.office.net",
    "swd*.manage.microsoft.com",
    "assets*.xboxlive.com",
    "assets.xbox.com",
    "dlassets*.xboxlive.com",
    "d1.xboxlive.com",
    "d2.xboxlive.com",
    "xvcb1.xboxlive.com",
    "xvcb2.xboxlive.com",
    "xvcf1.xboxlive.com",
    "xvcf2.xboxlive.com",
    "*.tlu.dl.adu.microsoft.com",
    "*.nlu.dl.adu.microsoft.com",
];

#[cfg(test)]
mod tests;
