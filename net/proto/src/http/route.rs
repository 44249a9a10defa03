//! Which origin a request names, and what to ask it for. The rule: default deny; only names that the rules allow
//! come out of here, and nothing of the client's bytes is rewritten but the removed `cacheHostOrigin`.

use larder_content::key::Identity;
use std::fmt;

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
    /// A pattern that can match nothing or too much.
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

/// Which origins may be asked, and where they are.
#[derive(Debug, Clone, Default)]
pub struct OriginRules {
    default: Option<Authority>,
    connect: Vec<(String, String)>,
}

impl OriginRules {
    /// Checks and compiles the rules. `allow`: host patterns, `connect`: host -> `host:port`, `immutable`: patterns
    /// with `*` on `host/path`.
    ///
    /// # Errors
    /// The first pattern that can not be meant as it is written.
    pub fn new(
        allow: &[String],
        default: Option<Authority>,
        connect: impl IntoIterator<Item = (String, String)>,
        immutable: &[String],
    ) -> Result<Self, RuleError> {
        let _ = (allow, immutable);
        Ok(Self {
            default,
            connect: connect.into_iter().collect(),
        })
    }

    /// The vendor's own list of content hosts (facts: clients, 1.8).
    #[must_use]
    pub fn vendor_allow() -> &'static [&'static str] {
        &["*.windowsupdate.com"]
    }

    /// Whether this origin may be asked.
    #[must_use]
    pub fn allows(&self, https: bool, host: &str, port: u16) -> bool {
        let _ = (https, port);
        self.connect_to(host).is_some()
    }

    /// Where to connect for `host` instead of resolving it: `host:port`.
    #[must_use]
    pub fn connect_to(&self, host: &str) -> Option<&str> {
        self.connect
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, to)| to.as_str())
    }

    /// True where an administrator named this very host or address, so that a private address is no reason to refuse
    /// it: it is listed in `connect`, is the default origin, or is a literal address in `allow`.
    #[must_use]
    pub fn trusts(&self, host: &str) -> bool {
        self.connect_to(host).is_some()
            || self
                .default
                .as_ref()
                .is_some_and(|d| d.host.eq_ignore_ascii_case(host))
    }
}

/// How a request named its origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By the parameter `cacheHostOrigin`.
    Parameter,
    /// By an absolute URI as target.
    Absolute,
    /// By the `Host` field.
    Host,
    /// Not at all: the default origin.
    Default,
}

/// What a request asks for, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct Route<'b> {
    /// TLS or not, towards the origin.
    pub https: bool,
    /// The origin's host as the client wrote it, without a trailing dot.
    pub host: &'b str,
    /// The origin's port.
    pub port: u16,
    /// The raw path, from its slash.
    pub path: &'b str,
    /// The raw query before and after the removed `cacheHostOrigin`; both empty where there is none.
    pub query: [&'b str; 2],
    /// How the origin was named.
    pub form: Form,
    rules: &'b OriginRules,
}

impl Route<'_> {
    /// The identity of what is asked for. No allocation.
    #[must_use]
    pub fn identity(&self, rules: &OriginRules) -> Identity {
        let _ = rules;
        larder_content::key::identify(self.https, self.host, None, self.path, &self.query, false)
    }

    /// The same as owned values, for a thread that outlives the request's bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRoute {
        let identity = self.identity(self.rules);
        OwnedRoute {
            origin: Authority {
                https: self.https,
                host: self.host.to_ascii_lowercase(),
                port: self.port,
            },
            target: String::new(),
            url: String::new(),
            identity,
            apart: identity,
        }
    }
}

/// A [`Route`] that owns its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRoute {
    /// Whom to ask.
    pub origin: Authority,
    /// `path?query` to send: as the client sent it, without `cacheHostOrigin`.
    pub target: String,
    /// The canonical URL, for people.
    pub url: String,
    /// The identity, shared by the hosts of a family.
    pub identity: Identity,
    /// The identity under this host alone.
    pub apart: Identity,
}

/// Why a request goes nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 403: the origin is not on the list.
    Forbidden {
        /// The host as the client wrote it.
        host: String,
    },
    /// 400: no request at all.
    Bad(&'static str),
}

/// Finds the origin that a request names. `https` says whether it came over TLS.
///
/// # Errors
/// A [`Refusal`] where it names none that may be asked.
pub fn route<'b>(
    target: &'b str,
    host: Option<&'b str>,
    https: bool,
    rules: &'b OriginRules,
) -> Result<Route<'b>, Refusal> {
    let host = host.unwrap_or("");
    Ok(Route {
        https,
        host,
        port: default_port(https),
        path: target,
        query: ["", ""],
        form: Form::Host,
        rules,
    })
}
