//! Which addresses an origin's name may lead to. The rule: a connection is opened to the very address that was
//! checked, so that a name which resolves differently the second time (DNS rebinding) gains nothing.
//!
//! With an upstream proxy the proxy resolves: only the allow-list stands between a name and what it leads to there.

use super::error::OriginError;
use super::network::Network;
use larder_proto::http::address::refused_address;
use larder_proto::http::route::Authority;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where a connection for an authority goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// The administrator said where: that is trusted, private address or not.
    Trusted(String),
    /// Wherever the name leads, but for addresses that are refused.
    Guarded,
    /// To the upstream proxy at this `host:port`, which resolves the name itself.
    Proxy(String),
}

/// The addresses to try for an authority, in the resolver's order.
///
/// # Errors
/// The name does not resolve within `timeout`, or leads to refused addresses alone.
pub(super) async fn addresses(
    origin: &Authority,
    target: &Target,
    network: &dyn Network,
    timeout: Duration,
) -> Result<Vec<SocketAddr>, OriginError> {
    let (host, port) = match target {
        Target::Trusted(to) | Target::Proxy(to) => split(to, origin.port),
        Target::Guarded => (bare(&origin.host), origin.port),
    };
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => lookup(origin, host, port, network, timeout).await?,
    };
    match target {
        Target::Trusted(_) | Target::Proxy(_) => Ok(found),
        Target::Guarded => permitted(origin, found),
    }
}

async fn lookup(
    origin: &Authority,
    host: &str,
    port: u16,
    network: &dyn Network,
    timeout: Duration,
) -> Result<Vec<SocketAddr>, OriginError> {
    let looked = tokio::time::timeout(timeout, network.resolve(host, port)).await;
    let cause = match looked {
        Ok(Ok(found)) => {
            if !found.is_empty() {
                return Ok(found);
            }
            "the name has no address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            let limit_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(OriginError::Timeout {
                origin: origin.to_string(),
                doing: "to resolve",
                limit_ms,
            });
        }
    };
    Err(OriginError::Resolve {
        origin: origin.to_string(),
        cause,
    })
}

/// Keeps the addresses that may be connected to; one that remains is enough.
fn permitted(origin: &Authority, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, OriginError> {
    let mut refused = None;
    let mut kept = Vec::with_capacity(found.len());
    for address in found {
        match refused_address(address.ip()) {
            Some(why) => refused = Some((address.ip(), why)),
            None => kept.push(address),
        }
    }
    match (kept.is_empty(), refused) {
        (true, Some((address, why))) => Err(OriginError::ForbiddenAddress {
            origin: origin.to_string(),
            address,
            why,
        }),
        _ => Ok(kept),
    }
}

/// `host:port`, `host` or `[v6]:port` as the administrator wrote it.
fn split(to: &str, port_default: u16) -> (&str, u16) {
    if to.parse::<IpAddr>().is_ok() {
        return (to, port_default);
    }
    match to.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (bare(host), port),
            Err(_) => (bare(to), port_default),
        },
        None => (to, port_default),
    }
}

/// A host without the brackets of an IPv6 literal.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::network::SystemNetwork;

    fn authority(host: &str, port: u16) -> Authority {
        Authority {
            https: false,
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn a_connect_entry_may_carry_a_port() {
        assert_eq!(split("wsus.corp:8530", 80), ("wsus.corp", 8530));
        assert_eq!(split("wsus.corp", 80), ("wsus.corp", 80));
        assert_eq!(split("[::1]:81", 80), ("::1", 81));
        assert_eq!(split("::1", 80), ("::1", 80));
    }

    #[tokio::test]
    async fn names_that_lead_inside_are_refused_unless_the_administrator_says_so() {
        let second = Duration::from_secs(1);
        for host in [
            "127.0.0.1",
            "localhost",
            "10.0.0.1",
            "[::1]",
            "169.254.169.254",
            "[::ffff:10.0.0.1]",
        ] {
            let error = addresses(
                &authority(host, 80),
                &Target::Guarded,
                &SystemNetwork,
                second,
            )
            .await
            .expect_err(host);
            assert_eq!(error.status(), 403, "{host}: {error}");
        }
        let to = Target::Trusted("127.0.0.1:8000".to_owned());
        let found = addresses(&authority("dl.example", 80), &to, &SystemNetwork, second)
            .await
            .expect("trusted");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 8000))]);
    }

    #[test]
    fn of_mixed_addresses_the_public_ones_are_used() {
        let public = SocketAddr::from(([8, 8, 8, 8], 80));
        let private = SocketAddr::from(([192, 168, 0, 1], 80));
        assert_eq!(
            permitted(&authority("x", 80), vec![private, public]),
            Ok(vec![public])
        );
    }
}
