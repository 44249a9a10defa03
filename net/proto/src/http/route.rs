//! Which origin a request names, and what to ask it for. The rule: only names that the rules allow come out of here,
//! and nothing of the client's bytes is rewritten but the removed `cacheHostOrigin`.

pub use crate::http::rules::{Authority, OriginRules, RuleError, default_port};

use crate::http::rules::{HostError, HostKind, split_authority};
use larder_content::key::{self, Identity};
use std::fmt;

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

/// What a request asks for, borrowed from it (the host of the default origin from the rules).
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
        let listed = rules.lists_immutable(self.host, self.path);
        key::identify(
            self.https,
            self.host,
            self.port_in_url(),
            self.path,
            &self.query,
            listed,
        )
    }

    /// The same as owned values, for a thread that outlives the request's bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRoute {
        let port = self.port_in_url();
        let listed = self.rules.lists_immutable(self.host, self.path);
        let mut target =
            String::with_capacity(self.path.len() + self.query[0].len() + self.query[1].len() + 2);
        target.push_str(self.path);
        for (part, joint) in self
            .query
            .iter()
            .filter(|part| !part.is_empty())
            .zip(['?', '&'])
        {
            target.push(joint);
            target.push_str(part);
        }
        OwnedRoute {
            origin: Authority {
                https: self.https,
                host: self.host.to_ascii_lowercase(),
                port: self.port,
            },
            target,
            url: key::canonical(self.https, self.host, port, self.path, &self.query, listed),
            identity: key::identify(self.https, self.host, port, self.path, &self.query, listed),
            apart: key::identify_apart(self.https, self.host, port, self.path, &self.query, listed),
        }
    }

    fn port_in_url(&self) -> Option<u16> {
        (self.port != default_port(self.https)).then_some(self.port)
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

impl OwnedRoute {
    /// The identity of another target (`path?query`) at the same origin.
    #[must_use]
    pub fn beside(&self, target: &str, rules: &OriginRules) -> Identity {
        let Authority { https, host, port } = &self.origin;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let port = (*port != default_port(*https)).then_some(*port);
        let listed = rules.lists_immutable(host, path);
        key::identify(*https, host, port, path, &[query], listed)
    }
}

/// Why a request goes nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 403: the origin is not on the list.
    Forbidden {
        /// The host as the client wrote it; empty where it named none.
        host: String,
    },
    /// 400: no request at all.
    Bad(&'static str),
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Forbidden { .. } => 403,
            Self::Bad(_) => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { host } if host.is_empty() => {
                f.write_str("the request names no origin")
            }
            Self::Forbidden { host } => write!(f, "{host} is not one of the allowed origins"),
            Self::Bad(why) => f.write_str(why),
        }
    }
}

/// Finds the origin that a request names: by the parameter `cacheHostOrigin`, else by an absolute URI, else by a
/// `Host` that is allowed, else the default origin. `https` says whether the request came over TLS.
///
/// A URL from elsewhere, a redirect's `Location` for example, is judged the same way: as `target`, without host.
/// A query that is empty counts as none.
///
/// # Errors
/// A [`Refusal`] where it names none that may be asked, or names it in a way that two readers could take differently.
pub fn route<'b>(
    target: &'b str,
    host: Option<&'b str>,
    https: bool,
    rules: &'b OriginRules,
) -> Result<Route<'b>, Refusal> {
    if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Refusal::Bad(
            "the target holds a fragment, or a byte that is not visible ASCII",
        ));
    }
    let (absolute, rest) = split_target(target)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    let (named, query) = take_parameter(query)?;
    let found = |https, (host, port), form| Route {
        https,
        host,
        port,
        path,
        query,
        form,
        rules,
    };
    if let Some(authority) = named {
        return Ok(found(
            https,
            allowed(authority, https, rules)?,
            Form::Parameter,
        ));
    }
    if let Some((https, authority)) = absolute {
        return Ok(found(
            https,
            allowed(authority, https, rules)?,
            Form::Absolute,
        ));
    }
    // The port in a Host field is that of our own listener as often as the origin's: the name alone decides.
    let host = host.unwrap_or("");
    let name = split_authority(host).map(|(name, _)| name).unwrap_or("");
    let port = HostKind::of(name)
        .ok()
        .and_then(|kind| rules.port_of(https, name, kind));
    match (port, rules.default_origin()) {
        (Some(port), _) => Ok(found(https, (name, port), Form::Host)),
        (None, Some(origin)) => Ok(found(
            origin.https,
            (&origin.host, origin.port),
            Form::Default,
        )),
        (None, None) => Err(Refusal::Forbidden {
            host: host.to_owned(),
        }),
    }
}

/// Where a URL leads that somebody wants fetched from just there: `cacheHostOrigin` in it is a parameter like any other.
///
/// # Errors
/// As [`route`].
pub fn direct(url: &str, rules: &OriginRules) -> Result<OwnedRoute, Refusal> {
    if !url.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Refusal::Bad(
            "the URL holds a fragment, or a byte that is not visible ASCII",
        ));
    }
    let (Some((https, authority)), rest) = split_target(url)? else {
        return Err(Refusal::Bad("it is a path; write the whole URL"));
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, port) = allowed(authority, https, rules)?;
    let route = Route {
        https,
        host,
        port,
        path: if path.is_empty() { "/" } else { path },
        query: [query, ""],
        form: Form::Absolute,
        rules,
    };
    Ok(route.to_owned())
}

/// Scheme and authority of an absolute URI.
type Absolute<'b> = Option<(bool, &'b str)>;

fn split_target(target: &str) -> Result<(Absolute<'_>, &str), Refusal> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let scheme = |name: &str| {
        target
            .get(..name.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(name))
    };
    let (https, rest) = match () {
        () if scheme("http://") => (false, &target[7..]),
        () if scheme("https://") => (true, &target[8..]),
        () => {
            return Err(Refusal::Bad(
                "the target is neither a path nor an http or https URL",
            ));
        }
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Ok((Some((https, authority)), rest))
}

/// The host and port that an authority names, where they may be asked.
fn allowed<'b>(
    authority: &'b str,
    https: bool,
    rules: &OriginRules,
) -> Result<(&'b str, u16), Refusal> {
    if authority.contains('@') {
        return Err(Refusal::Bad("the origin is named with user information"));
    }
    let (host, port) = split_authority(authority).map_err(Refusal::Bad)?;
    let forbidden = || Refusal::Forbidden {
        host: authority.to_owned(),
    };
    let kind = HostKind::of(host).map_err(|error| match error {
        HostError::Malformed(why) => Refusal::Bad(why),
        HostError::OddAddress => forbidden(),
    })?;
    match port {
        Some(port) if rules.allows(https, host, port) => Ok((host, port)),
        Some(_) => Err(forbidden()),
        None => rules
            .port_of(https, host, kind)
            .map(|port| (host, port))
            .ok_or_else(forbidden),
    }
}

/// Takes `cacheHostOrigin` out of a query: its value, and what was before and after it.
fn take_parameter(query: &str) -> Result<(Option<&str>, [&str; 2]), Refusal> {
    let mut taken = None;
    let mut parts = [query, ""];
    let mut start = 0;
    for parameter in query.split('&') {
        let end = start + parameter.len();
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("cacheHostOrigin") {
            if taken.replace(value).is_some() {
                return Err(Refusal::Bad("two cacheHostOrigin parameters"));
            }
            parts = [
                &query[..start.saturating_sub(1)],
                query.get(end + 1..).unwrap_or(""),
            ];
        }
        start = end + 1;
    }
    Ok((taken, parts))
}

#[cfg(test)]
mod tests;
