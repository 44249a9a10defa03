//! What is not stored passes through here, from its origin to the one client that asked. The rule: only listed
//! request headers go upstream, and no header that concerns one connection goes either way.

use super::reading::{head_of, pairs};
use super::{Download, Inner};
use crate::origin::{
    BoxError, Lane, OriginAnswer, OriginError, OriginRequest, RequestBody, VIA_OLD,
};
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Response, StatusCode, Version, request};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use larder_proto::http::fields::{max_forwards, speaks_for_another};
use larder_proto::http::route::OwnedRoute;
use larder_proto::invalidation::invalidated;
use larder_proto::upstream::contradiction;
use larder_storage::store::Filter;
use tokio::task::JoinSet;

/// The body of an answer that passes through.
pub type ThroughBody = UnsyncBoxBody<Bytes, BoxError>;

/// Request headers that an origin may see. What is not here can not be used to give two clients different bytes.
const FORWARDED: [HeaderName; 19] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::PRAGMA,
    header::RANGE,
    header::USER_AGENT,
    header::VIA,
];

/// What makes 304 an answer.
const CONDITIONS: [HeaderName; 2] = [header::IF_MODIFIED_SINCE, header::IF_NONE_MATCH];

/// Headers that concern one connection only (RFC 9110 section 7.6.1), and what the data plane writes itself.
const OF_ONE_CONNECTION: [HeaderName; 11] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-connection"),
    header::EXPECT,
];

impl Download {
    /// Asks the origin just what the client asked, and gives its answer on, body streaming. Trouble with the origin
    /// becomes a short answer of 403, 502 or 504.
    pub async fn pass_through(
        &self,
        request: request::Parts,
        body: Option<RequestBody>,
        route: &OwnedRoute,
    ) -> Response<ThroughBody> {
        let mut headers = self.0.forwarded(route, &request);
        if request.method == Method::OPTIONS
            && let Some(left) = further(&request.headers)
        {
            headers.insert(header::MAX_FORWARDS, HeaderValue::from(left));
        }
        let reads = [Method::GET, Method::HEAD].contains(&request.method);
        if let Some(place) = request
            .headers
            .get(header::CONTENT_RANGE)
            .filter(|_| !reads)
        {
            // Without it a part that is put would take the place of the whole (RFC 9110, section 14.5).
            headers.insert(header::CONTENT_RANGE, place.clone());
        }
        let asked = OriginRequest {
            origin: route.origin.clone(),
            target: route.target.clone(),
            method: request.method.clone(),
            headers,
            body,
            lane: Lane::Through,
            interim: request.extensions.get().cloned(),
        };
        // Connections to origins belong to one runtime, whoever asks.
        let origin = self.0.origin.clone();
        let mut asking = JoinSet::new();
        asking.spawn_on(async move { origin.send(asked).await }, &self.0.runtime);
        let Some(Ok(answered)) = asking.join_next().await else {
            return refusal(&OriginError::NoAnswer {
                origin: route.origin.to_string(),
                cause: "larder is stopping".to_owned(),
            });
        };
        match answered {
            Ok(answer) => {
                self.0.invalidate(&request.method, route, &answer).await;
                if let Some(why) = wrong(&request.headers, &answer).filter(|_| reads) {
                    self.0.figures().origin_lies.increment(1);
                    tracing::warn!(url = %route.url, why, "an answer of the origin can not be passed on");
                    return refused(StatusCode::BAD_GATEWAY, why);
                }
                let body = answer
                    .body
                    .map_err(|e| Box::new(e) as BoxError)
                    .boxed_unsync();
                let mut response = Response::new(body);
                *response.status_mut() = answer.status;
                *response.headers_mut() = end_to_end(answer.headers);
                response
            }
            Err(error) => refusal(&error),
        }
    }
}

/// What is wrong with an answer to a request with these fields.
fn wrong(asked: &HeaderMap, answer: &OriginAnswer) -> Option<&'static str> {
    let range = asked.get(header::RANGE).map(HeaderValue::as_bytes);
    let conditional = CONDITIONS.iter().any(|name| asked.contains_key(name));
    contradiction(&head_of(answer), range, conditional)
}

impl Inner {
    /// What an origin gets to see of a client's fields: those of the list; the default origin, which has larder before
    /// it as a plain reverse proxy, all but those by which a client could speak for a proxy.
    pub(super) fn forwarded(&self, route: &OwnedRoute, request: &request::Parts) -> HeaderMap {
        let headers = &request.headers;
        let settings = self.settings.load();
        let all = settings.rules.default_origin() == Some(&route.origin);
        let named = named_by_connection(headers);
        let mut kept = HeaderMap::new();
        for (name, value) in headers {
            let passes = FORWARDED.contains(name)
                || (all && !speaks_for_another(name.as_str()) && !OF_ONE_CONNECTION.contains(name));
            if passes && !named.contains(name) {
                kept.append(name, value.clone());
            }
        }
        if request.version == Version::HTTP_10 {
            kept.append(header::VIA, VIA_OLD);
        }
        kept
    }
}

/// What remains of `Max-Forwards` after this hop (RFC 9110, section 7.6.2).
fn further(headers: &HeaderMap) -> Option<u64> {
    let said = headers.get(header::MAX_FORWARDS)?;
    Some(max_forwards(said.as_bytes())?.saturating_sub(1))
}

/// The headers that travel on to whoever asked.
pub(crate) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in named_by_connection(&headers)
        .into_iter()
        .chain(OF_ONE_CONNECTION)
    {
        headers.remove(name);
    }
    headers
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

impl Inner {
    /// Forgets what an answer to a change makes stale, before anybody hears of the change (RFC 9111, section 4.4).
    async fn invalidate(&self, method: &Method, route: &OwnedRoute, answer: &OriginAnswer) {
        let status = answer.status.as_u16();
        let (origin, target) = (&route.origin, &route.target);
        let targets = invalidated(
            method.as_str(),
            origin,
            target,
            status,
            pairs(&answer.headers),
        );
        let rules = &self.settings.load().rules;
        let filters: Vec<Filter> = targets
            .iter()
            .map(|target| route.beside(target, rules))
            .filter(|identity| !identity.immutable)
            .filter_map(|identity| self.store.load(&identity.key))
            // By its URL, so that all that the URL's answers vary by goes.
            .map(|content| Filter::Url(content.record().url.clone()))
            .collect();
        if filters.is_empty() {
            return;
        }
        let store = self.store.clone();
        let purge = move || {
            for filter in &filters {
                store.purge(filter);
            }
        };
        if let Err(error) = self.runtime.spawn_blocking(purge).await {
            tracing::warn!(url = %route.url, %error, "what a request changed is still stored");
        }
    }
}

fn refusal(error: &OriginError) -> Response<ThroughBody> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    refused(status, &error.to_string())
}

fn refused(status: StatusCode, why: &str) -> Response<ThroughBody> {
    let body = Full::new(Bytes::from(format!("larder: {why}\n")))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
