//! What can go wrong between larder and an origin. The rule: each error says which origin, what was being done, why
//! it failed, and whether asking again can help.

use crate::settings::Proxy;
use larder_proto::http::route::Authority;
use std::net::IpAddr;

/// Why an origin gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The host is not on the allow-list (a redirect may lead there).
    #[error(
        "{origin} is not an allowed origin; add it to [origins] allow if clients may fetch from it"
    )]
    Forbidden {
        /// The authority that was refused.
        origin: String,
    },
    /// The name leads to an address that larder does not connect to.
    #[error(
        "{origin} resolves to {address}, which is {why}; name it under [origins.connect] if it is meant"
    )]
    ForbiddenAddress {
        /// The authority that was asked.
        origin: String,
        /// The address that it resolved to.
        address: IpAddr,
        /// What kind of address that is.
        why: &'static str,
    },
    /// The name could not be resolved.
    #[error("resolving {origin} failed: {cause}")]
    Resolve {
        /// The authority that was asked.
        origin: String,
        /// What the resolver said.
        cause: String,
    },
    /// No address accepted a connection.
    #[error("connecting to {origin} failed: {cause}")]
    Connect {
        /// The authority that was asked.
        origin: String,
        /// The last address's error.
        cause: String,
    },
    /// The TLS handshake failed, or the trusted authorities could not be loaded.
    #[error("TLS with {origin} failed: {cause}")]
    Tls {
        /// The authority that was asked.
        origin: String,
        /// What rustls said.
        cause: String,
    },
    /// The connection broke before a whole head had come.
    #[error("{origin} broke the connection before its answer: {cause}")]
    NoAnswer {
        /// The authority that was asked.
        origin: String,
        /// What hyper said.
        cause: String,
    },
    /// The connection broke in the middle of a body.
    #[error("{origin} broke off in the middle of a body: {cause}")]
    Truncated {
        /// The authority that was asked.
        origin: String,
        /// What hyper said.
        cause: String,
    },
    /// Nothing happened for too long.
    #[error("{origin} took over {limit_ms} ms {doing}")]
    Timeout {
        /// The authority that was asked.
        origin: String,
        /// What was being waited for.
        doing: &'static str,
        /// The limit that was passed.
        limit_ms: u64,
    },
    /// The upstream proxy could not be used.
    #[error("the proxy {proxy} ([origins] proxy), asked for {origin}: {cause}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// The authority that was to be asked.
        origin: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// The upstream proxy wants a login, or another one.
    #[error("the proxy {proxy} ([origins] proxy), asked for {origin}: {cause}")]
    ProxyLogin {
        /// The proxy.
        proxy: String,
        /// The authority that was to be asked.
        origin: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// The upstream proxy opens no tunnel to an https origin.
    #[error(
        "the proxy {proxy} ([origins] proxy) opens no tunnel to {origin} and answers {status}; see its log for why"
    )]
    ProxyTunnel {
        /// The proxy.
        proxy: String,
        /// The authority that was to be asked.
        origin: String,
        /// What it answered.
        status: u16,
    },
    /// More redirects than are followed, or one that leads nowhere.
    #[error("{origin} redirects wrongly: {cause}")]
    Redirect {
        /// The authority that redirected.
        origin: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The body that a client sent for the origin ended before its end, or is none.
    #[error("the body of the request to {origin} is broken: {cause}")]
    Body {
        /// The authority that was asked.
        origin: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The request can not be put on the wire.
    #[error("the request to {origin} can not be built: {cause}")]
    Request {
        /// The authority that was to be asked.
        origin: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl OriginError {
    /// The proxy is at fault, where `origin` was to be asked by it.
    pub(super) fn by_proxy(proxy: &Proxy, origin: &Authority, cause: impl Into<String>) -> Self {
        Self::Proxy {
            proxy: proxy.rules.authority(),
            origin: origin.to_string(),
            cause: cause.into(),
        }
    }

    /// The status that a client hears: 400, 403, 502 or 504.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Forbidden { .. } | Self::ForbiddenAddress { .. } => 403,
            Self::Timeout { .. } => 504,
            Self::Body { .. } => 400,
            _ => 502,
        }
    }

    /// Whether the same request may fare better a moment later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::ProxyTunnel { status: ..500, .. }
                | Self::Forbidden { .. }
                | Self::ForbiddenAddress { .. }
                | Self::Redirect { .. }
                | Self::Request { .. }
                | Self::Body { .. }
                // Once more, and once more again: so accounts are locked.
                | Self::ProxyLogin { .. }
        )
    }

    /// Where the upstream proxy is to blame: what is wrong with it, without the origin.
    pub(super) fn of_proxy(&self) -> Option<String> {
        match self {
            Self::Proxy { proxy, cause, .. } | Self::ProxyLogin { proxy, cause, .. } => {
                Some(format!("the proxy {proxy}: {cause}"))
            }
            _ => None,
        }
    }
}
