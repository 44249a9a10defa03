//! Asking cache hosts in the origin's place (`DOCacheHost`). The rule: only a GET of content goes there, and no answer
//! of a cache host is given on that could not be its origin's.

use super::guard::Target;
use super::pool::Place;
use super::{Inner, OriginAnswer, OriginClient, OriginError};
use crate::download::Way;
use crate::settings::Settings;
use ::http::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use ::http::{Method, StatusCode};
use larder_proto::Time;
use larder_proto::http::route::{Authority, default_port};
use larder_proto::policy::cache_host::{CacheHosts, Next, Trouble};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What is known of cache hosts, and the clock by which it is known.
pub(super) struct Known {
    hosts: Mutex<CacheHosts>,
    began: Instant,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            hosts: Mutex::default(),
            began: Instant::now(),
        }
    }
}

impl Known {
    fn now(&self) -> Time {
        let micros = self.began.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn failed(&self, host: &str, origin: &str, trouble: Trouble, patience: Duration) -> Next {
        let now = self.now();
        let next = self
            .hosts
            .lock()
            .failed(host, origin, trouble, patience, now);
        if next == Next::Another {
            tracing::info!(
                host,
                origin,
                ?trouble,
                "a cache host is not asked for a while"
            );
        }
        next
    }
}

/// Whom a body that breaks off is blamed on.
pub(super) struct Blame {
    client: Weak<Inner>,
    host: String,
    origin: String,
    patience: Duration,
}

impl Blame {
    /// The body broke off, or stalled.
    pub(super) fn broke(&self) {
        if let Some(client) = self.client.upgrade() {
            let known = &client.cache_hosts;
            known.failed(&self.host, &self.origin, Trouble::Failing, self.patience);
        }
    }
}

impl OriginClient {
    /// Asks the cache hosts in order for what `origin` has at `target`. None: the origin is to be asked.
    pub(super) async fn by_cache_host(
        &self,
        settings: &Settings,
        origin: &Authority,
        target: &str,
        headers: &HeaderMap,
    ) -> Option<OriginAnswer> {
        let known = &self.0.cache_hosts;
        let name = origin.to_string();
        let patience = Duration::from_millis(settings.cache_host_patience_ms);
        let joint = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{joint}cacheHostOrigin={name}");
        for host in &settings.cache_hosts {
            let Some(place) = place_of(host, origin.https) else {
                continue;
            };
            while known.hosts.lock().may_ask(host, &name, known.now()) {
                let trouble = match self.at_cache_host(settings, &place, &target, headers).await {
                    Ok(mut answer) => {
                        known.hosts.lock().answered(host);
                        answer.body.came_by(
                            Way::CacheServer,
                            Blame {
                                client: Arc::downgrade(&self.0),
                                host: host.clone(),
                                origin: name,
                                patience,
                            },
                        );
                        return Some(answer);
                    }
                    Err(trouble) => trouble,
                };
                match known.failed(host, &name, trouble, patience) {
                    Next::Again(pause) => tokio::time::sleep(pause).await,
                    Next::Another => break,
                }
            }
        }
        None
    }

    async fn at_cache_host(
        &self,
        settings: &Settings,
        place: &Place,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<OriginAnswer, Trouble> {
        self.0.figures.asked(&place.origin.to_string());
        let (get, lane) = (Method::GET, super::Lane::Content);
        let sent = self.once(settings, place, target, &get, headers, None, lane, None);
        let answer = sent.await.map_err(|error| {
            tracing::debug!(%error, "a cache host did not answer");
            match error {
                OriginError::NoAnswer { .. } => Trouble::Failing,
                _ => Trouble::Silent,
            }
        })?;
        match answer.status {
            // Another version than the one that is being fetched: the rest of it is to be had from its origin.
            StatusCode::OK if headers.contains_key(IF_RANGE) && headers.contains_key(RANGE) => {
                Err(Trouble::Unusable)
            }
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
            StatusCode::NOT_MODIFIED
                if headers.contains_key(IF_NONE_MATCH)
                    || headers.contains_key(IF_MODIFIED_SINCE) =>
            {
                Ok(answer)
            }
            status if status.is_client_error() => Err(Trouble::Refused),
            status if status.is_server_error() => Err(Trouble::Failing),
            _ => Err(Trouble::Unusable),
        }
    }
}

/// Where a cache host is: the scheme is the origin's, as clients only swap the host (facts: clients 1.1), and its port
/// where none is named.
fn place_of(host: &str, https: bool) -> Option<Place> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()?),
        _ => (host, default_port(https)),
    };
    Some(Place {
        origin: Authority {
            https,
            host: name.to_ascii_lowercase(),
            port,
        },
        // Its administrator named it, so it may be at any address, and no proxy stands before it.
        target: Target::Trusted(format!("{name}:{port}")),
    })
}
