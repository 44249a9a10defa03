//! The HTTP client towards the origins: who may be asked, over which connections, for how long. The rule: no byte is
//! sent to an authority that the allow-list and the address guard have not both passed, redirects included.

mod body;
mod cache_host;
mod connect;
mod error;
mod guard;
mod interim;
mod network;
mod pool;
mod proxy;
mod redirect;
pub(crate) mod tls;

pub use body::OriginBody;
pub use error::OriginError;
pub use interim::TellInterim;
pub(crate) use interim::{HearInterim, Interim, interim};
pub use network::{Doing, Network, SystemNetwork};
pub use pool::{BoxError, Lane, RequestBody};

use crate::bandwidth::Bandwidth;
use crate::metrics::{Astray, Figures};
use crate::settings::{Proxy, Settings};
use ::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap,
    HeaderValue, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT, VIA,
};
use ::http::{Method, Request, StatusCode, Version};
use arc_swap::ArcSwap;
use bytes::Bytes;
use connect::Means;
use guard::Target;
use http_body_util::{BodyExt, Empty};
use larder_proto::http::route::Authority;
use pool::{Lease, Link, Place, Pool};
use proxy::Knowledge;
use redirect::REDIRECTS_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tls::Roots;
use tokio::sync::OwnedSemaphorePermit;

/// How often idle connections are looked over.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// A redirect's body that is worth reading to its end, so as to keep the connection.
const REDIRECT_BODY_BYTES_MAX: usize = 16 << 10;

/// The longest head of an answer, names and values. It is kept with what is stored, so it is not to be of any length.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How larder names itself to origins.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("larder/", env!("CARGO_PKG_VERSION")));
const VIA_LARDER: HeaderValue = HeaderValue::from_static("1.1 larder");
/// Of a client that spoke HTTP/1.0; whoever asks on its behalf says so (RFC 9110, section 7.6.3).
pub(crate) const VIA_OLD: HeaderValue = HeaderValue::from_static("1.0 larder");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// One request to an origin.
#[derive(Debug)]
pub struct OriginRequest {
    /// Who is asked.
    pub origin: Authority,
    /// Path and query, as they go on the wire.
    pub target: String,
    /// GET nearly always.
    pub method: Method,
    /// Headers besides Host, Via, User-Agent and Accept-Encoding, which are added where they are missing.
    pub headers: HeaderMap,
    /// The body, where there is one. Such a request is sent once, on a fresh connection, and follows no redirect.
    pub body: Option<RequestBody>,
    /// What it is for.
    pub lane: Lane,
    /// Who hears of interim answers.
    pub interim: Option<TellInterim>,
}

impl OriginRequest {
    /// A GET that brings content into the store.
    #[must_use]
    pub fn get(origin: Authority, target: String) -> Self {
        Self {
            origin,
            target,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: None,
            lane: Lane::Content,
            interim: None,
        }
    }
}

/// What an origin answered.
pub struct OriginAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers, all of them.
    pub headers: HeaderMap,
    /// The body, still on its way.
    pub body: OriginBody,
    /// Who answered, after redirects.
    pub origin: Authority,
}

/// The client; clones share their connections.
#[derive(Clone)]
pub struct OriginClient(Arc<Inner>);

struct Inner {
    settings: Arc<ArcSwap<Settings>>,
    figures: Arc<Figures>,
    pool: Arc<Pool>,
    roots: Roots,
    network: Arc<dyn Network>,
    proxy: Knowledge,
    cache_hosts: cache_host::Known,
    bandwidth: Bandwidth,
    swept: AtomicBool,
}

impl OriginClient {
    /// A client under these settings, which it reads anew for each request.
    #[must_use]
    pub fn new(settings: Arc<ArcSwap<Settings>>, figures: Arc<Figures>) -> Self {
        Self::on(Arc::new(SystemNetwork), settings, figures)
    }

    /// The same, with names and sockets of another kind.
    #[must_use]
    pub fn on(
        network: Arc<dyn Network>,
        settings: Arc<ArcSwap<Settings>>,
        figures: Arc<Figures>,
    ) -> Self {
        Self(Arc::new(Inner {
            network,
            proxy: Knowledge::default(),
            cache_hosts: cache_host::Known::default(),
            bandwidth: Bandwidth::new(Arc::clone(&settings)),
            settings,
            figures,
            pool: Arc::new(Pool::default()),
            roots: Roots::default(),
            swept: AtomicBool::new(false),
        }))
    }

    /// The figures that it counts in.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        &self.0.figures
    }

    /// What all downloads share, those from peers as well.
    pub(crate) fn bandwidth(&self) -> &Bandwidth {
        &self.0.bandwidth
    }

    /// What is wrong with the upstream proxy, in words; nothing where there is none.
    #[must_use]
    pub fn proxy_notes(&self) -> Vec<String> {
        let settings = self.0.settings.load();
        let proxy = settings.proxy.as_ref();
        proxy.map_or_else(Vec::new, |proxy| self.0.proxy.notes(proxy))
    }

    /// Asks, and follows redirects of GET and HEAD up to ten times; those of the default origin are answers. A GET of
    /// content is put to the cache hosts first, where there are any.
    ///
    /// # Errors
    /// See [`OriginError`]; an answer with any status is no error.
    pub async fn send(&self, request: OriginRequest) -> Result<OriginAnswer, OriginError> {
        self.sweep_from_time_to_time();
        let settings = self.0.settings.load_full();
        let OriginRequest {
            mut origin,
            mut target,
            method,
            mut headers,
            mut body,
            lane,
            interim,
        } = request;
        complete(&mut headers);
        let told = headers.get_all(VIA).iter().any(|via| via == VIA_OLD);
        if !settings.own_store && !told {
            // Whoever asks for itself is no proxy, and may ask an appliance.
            headers.append(VIA, VIA_LARDER);
        }
        if lane == Lane::Content
            && method == Method::GET
            && body.is_none()
            && !settings.cache_hosts.is_empty()
            && let Some(answer) = self
                .by_cache_host(&settings, &origin, &target, &headers)
                .await
        {
            return Ok(answer);
        }
        // The default origin has larder before it as a plain reverse proxy: its redirects are for its clients.
        let follows = body.is_none()
            && (method == Method::GET || method == Method::HEAD)
            && settings.rules.default_origin() != Some(&origin);
        let mut hops = 0;
        loop {
            let place = self.place(&settings, &origin);
            let place = place.inspect_err(|error| self.refused(&origin, error))?;
            self.0.figures.asked(&origin.to_string());
            let sent = self
                .once(
                    &settings,
                    &place,
                    &target,
                    &method,
                    &headers,
                    body.take(),
                    lane,
                    interim.as_ref(),
                )
                .await;
            if let (Target::Proxy(_), Some(proxy)) = (&place.target, &settings.proxy) {
                let error = sent.as_ref().err();
                self.0
                    .proxy
                    .went(proxy, origin.https, error, Instant::now());
            }
            let answer = match sent {
                Ok(answer) => answer,
                Err(error) => {
                    self.refused(&origin, &error);
                    self.0.figures.origin_failures.increment(1);
                    return Err(error);
                }
            };
            self.0.figures.origin_answered(answer.status.as_u16());
            let Some(location) = answer
                .headers
                .get(LOCATION)
                .filter(|_| follows && redirects(answer.status))
            else {
                return Ok(answer);
            };
            let wrong = |cause| {
                let error = OriginError::Redirect {
                    origin: origin.to_string(),
                    cause,
                };
                self.refused(&origin, &error);
                error
            };
            hops += 1;
            if hops > REDIRECTS_MAX {
                return Err(wrong("it leads to more than ten others"));
            }
            let location = location
                .to_str()
                .map_err(|_| wrong("its Location is not ASCII"))?;
            let (next, next_target) =
                redirect::follow(&origin, &target, location).map_err(wrong)?;
            // Read to its end, a short body leaves the connection usable; whether that works does not matter here.
            let _ = answer.body.small(REDIRECT_BODY_BYTES_MAX).await;
            if next != origin {
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            (origin, target) = (next, next_target);
        }
    }

    /// Counts a way that is not gone.
    fn refused(&self, origin: &Authority, error: &OriginError) {
        let astray = match error {
            OriginError::Forbidden { .. } => Astray::List,
            OriginError::ForbiddenAddress { .. } => Astray::Address,
            OriginError::Redirect { .. } => Astray::Location,
            _ => return,
        };
        self.0.figures.refused_origin(&origin.to_string(), astray);
    }

    /// Where connections to `origin` go, if they may go anywhere.
    fn place(&self, settings: &Settings, origin: &Authority) -> Result<Place, OriginError> {
        let rules = &settings.rules;
        let proxy = settings.proxy.as_ref().map(|proxy| &proxy.rules);
        let proxy = proxy.filter(|proxy| proxy.serves(&origin.host, origin.port));
        let trusted = rules.trusts(&origin.host);
        // What the administrator said where to find is found there, without anybody between.
        let target = match (rules.connect_to(&origin.host), proxy) {
            (Some(to), _) => Target::Trusted(to.to_owned()),
            (None, _) if !trusted && !rules.allows(origin.https, &origin.host, origin.port) => {
                return Err(OriginError::Forbidden {
                    origin: origin.to_string(),
                });
            }
            (None, Some(proxy)) => Target::Proxy(proxy.authority()),
            (None, None) if trusted => Target::Trusted(origin.host.clone()),
            (None, None) => Target::Guarded,
        };
        Ok(Place {
            origin: rules.spoken_to(origin),
            target,
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the parts of one request, borrowed for each redirect"
    )]
    async fn once(
        &self,
        settings: &Settings,
        place: &Place,
        target: &str,
        method: &Method,
        headers: &HeaderMap,
        mut body: Option<RequestBody>,
        lane: Lane,
        interim: Option<&TellInterim>,
    ) -> Result<OriginAnswer, OriginError> {
        let origin = place.origin.to_string();
        let proxy = settings
            .proxy
            .as_ref()
            .filter(|_| matches!(place.target, Target::Proxy(_)));
        let limit_ms = settings.origin_head_timeout_ms;
        let limit = Duration::from_millis(limit_ms);
        let timeout = |doing| OriginError::Timeout {
            origin: origin.clone(),
            doing,
            limit_ms,
        };
        let permits = self
            .0
            .pool
            .permits(place, lane, settings.origin_connections_max);
        let permit = tokio::time::timeout(limit, permits.acquire_owned()).await;
        let permit: OwnedSemaphorePermit = permit
            .map_err(|_| timeout("to finish earlier requests"))?
            .map_err(|_| OriginError::Connect {
                origin: origin.clone(),
                cause: "shutting down".to_owned(),
            })?;
        // On a connection that was idle a request may have to be sent again, which one that changes something must not
        // be (RFC 9110, section 9.2.2).
        let mut idle = if body.is_none() && method.is_idempotent() {
            self.0.pool.idle(place).await
        } else {
            None
        };
        loop {
            let reused = idle.is_some();
            let mut link = match idle.take() {
                Some(link) => link,
                None => self.open(settings, place).await?,
            };
            let mut request = build(&origin, target, method, headers, body.take())?;
            if let Some(interim) = interim {
                interim.of(&mut request);
            }
            if let Some(proxy) = proxy.filter(|_| !place.origin.https) {
                self.address_proxy(&mut request, proxy, &place.origin)?;
            }
            match tokio::time::timeout(limit, link.sender.send_request(request)).await {
                Err(_) => return Err(timeout("to begin its answer")),
                // A server may close an idle connection just as it is used again: once more, on a fresh one.
                Ok(Err(error)) if reused && !error.is_parse() => {
                    tracing::debug!(origin, "an idle connection was dead: {error}");
                }
                Ok(Err(error)) if error.is_user() => {
                    return Err(OriginError::Body {
                        origin,
                        cause: words(&error),
                    });
                }
                Ok(Err(error)) => {
                    return Err(OriginError::NoAnswer {
                        origin,
                        cause: words(&error),
                    });
                }
                Ok(Ok(response)) => {
                    let (parts, incoming) = response.into_parts();
                    if let Some(cause) = unusable(parts.status, &parts.headers) {
                        let cause = cause.to_owned();
                        return Err(OriginError::NoAnswer { origin, cause });
                    }
                    if parts.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                        // Whoever asked larder can do nothing about it.
                        return Err(match proxy {
                            Some(proxy) => {
                                let basic = proxy::basic_offered(&parts.headers);
                                self.0.proxy.asks_for_login(proxy, &place.origin, basic)
                            }
                            None => OriginError::NoAnswer {
                                origin,
                                cause: "it asks for a proxy's login (407); a proxy stands between that \
                                        [origins] proxy does not name"
                                    .to_owned(),
                            },
                        });
                    }
                    if let Some(proxy) = proxy {
                        let status = parts.status.as_u16();
                        let https = place.origin.https;
                        self.0
                            .proxy
                            .answered(proxy, https, headers, status, &parts.headers);
                    }
                    let lease = Lease::new(&self.0.pool, place.clone(), link, permit);
                    let stall = Duration::from_millis(settings.origin_stall_timeout_ms);
                    let keeps = keeps_open(parts.version, &parts.headers);
                    let mut allowance = self.0.bandwidth.allowance(settings.priority, true);
                    if let Some(socket) = lease.socket() {
                        allowance.comes_on(socket);
                    }
                    let body = OriginBody::new(
                        incoming,
                        lease,
                        keeps,
                        origin,
                        stall,
                        Arc::clone(&self.0.figures),
                        allowance,
                    );
                    let origin = place.origin.clone();
                    return Ok(OriginAnswer {
                        status: parts.status,
                        headers: parts.headers,
                        body,
                        origin,
                    });
                }
            }
        }
    }

    /// Makes of a request to an http origin one to the proxy: in absolute form (RFC 9112, section 3.2.2), with the
    /// login for it.
    fn address_proxy(
        &self,
        request: &mut Request<RequestBody>,
        proxy: &Proxy,
        origin: &Authority,
    ) -> Result<(), OriginError> {
        let wrong = |cause: String| OriginError::by_proxy(proxy, origin, cause);
        let path = request.uri().to_string();
        let path = path.strip_prefix('*').unwrap_or(&path);
        let absolute = format!("http://{origin}{path}");
        *request.uri_mut() = absolute
            .parse()
            .map_err(|e: ::http::uri::InvalidUri| wrong(e.to_string()))?;
        if let Some(login) = self.0.proxy.login(proxy, Instant::now()).map_err(wrong)? {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        Ok(())
    }

    async fn open(&self, settings: &Settings, place: &Place) -> Result<Link, OriginError> {
        let means = Means {
            settings,
            network: &self.0.network,
            roots: &self.0.roots,
            knowledge: &self.0.proxy,
        };
        let stream = connect::connect(place, &means).await?;
        Link::open(stream).await.map_err(|e| OriginError::NoAnswer {
            origin: place.origin.to_string(),
            cause: words(&e),
        })
    }

    fn sweep_from_time_to_time(&self) {
        if self.0.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = Arc::downgrade(&self.0.pool);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_EVERY);
            loop {
                ticks.tick().await;
                match pool.upgrade() {
                    Some(pool) => pool.sweep(),
                    None => return,
                }
            }
        });
    }
}

/// Adds what every request to an origin carries.
fn complete(headers: &mut HeaderMap) {
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.entry(ACCEPT_ENCODING).or_insert(IDENTITY);
    headers
        .entry(::http::header::ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
}

fn build(
    origin: &str,
    target: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Option<RequestBody>,
) -> Result<Request<RequestBody>, OriginError> {
    let wrong = |cause: String| OriginError::Request {
        origin: origin.to_owned(),
        cause,
    };
    let body = body.unwrap_or_else(|| {
        Empty::<Bytes>::new()
            .map_err(|never| match never {})
            .boxed_unsync()
    });
    let request = Request::builder().method(method).uri(target).body(body);
    let mut request = request.map_err(|e| wrong(e.to_string()))?;
    let host = HeaderValue::from_str(origin).map_err(|e| wrong(e.to_string()))?;
    request.headers_mut().insert(HOST, host);
    for (name, value) in headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// Why an answer's head can not be given on or kept, where it can not.
fn unusable(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    // RFC 9110, section 15.2.2: only who asked for another protocol may be told that it follows.
    if status.is_informational() {
        return Some("it changes to a protocol that nobody asked for");
    }
    // RFC 9112, section 6.3: where two readers could find two ends, neither is taken. Of an answer without a body hyper
    // gives both on.
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || (lengths == 1 && headers.contains_key(TRANSFER_ENCODING)) {
        return Some("it says more than once how long it is");
    }
    // Section 7: a coding that nobody asked for can not be taken off, and without chunks at the end nobody can tell a
    // whole body from one that broke off.
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("it has a transfer coding other than chunked");
    }
    let field_bytes = |(name, value): (&::http::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.as_bytes().len()
    };
    let bytes: usize = headers.iter().map(field_bytes).sum();
    (bytes > HEAD_BYTES_MAX).then_some("its head is longer than 64 KiB")
}

/// Whether a connection may be used again after this answer (RFC 9112, section 9.3).
fn keeps_open(version: Version, headers: &HeaderMap) -> bool {
    let closes = headers.get_all(CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    version == Version::HTTP_11 && !closes
}

fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// An error with what caused it, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}
