//! What shard threads do not serve: other methods, requests with rules of their own for caches, answers
//! that cannot be stored. The rule: one request for each connection that is handed over, passed through to its origin
//! and answered with `Connection: close`; so only heads that the strict parser has accepted are ever acted on here,
//! and the client's next connection is served by a shard again.

use crate::download::{Download, ThroughBody};
use crate::http::handoff::{HandedOver, TakeOver};
use crate::metrics::Figures;
use crate::origin::{BoxError, RequestBody};
use crate::settings::Settings;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, VIA};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_proto::answer::CacheStatus;
use larder_proto::http::route::{OwnedRoute, Refusal, route};
use std::convert::Infallible;
use std::fmt;
use std::io::Cursor;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

const X_CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const BYPASS: HeaderValue = HeaderValue::from_static("BYPASS");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VIA_LARDER: HeaderValue = HeaderValue::from_static("1.1 larder");

/// The service; clones share it.
#[derive(Clone)]
pub struct HyperService(Arc<Inner>);

struct Inner {
    download: Download,
    settings: Arc<ArcSwap<Settings>>,
    figures: Arc<Figures>,
    runtime: Handle,
    /// How many connections there are.
    open: watch::Sender<usize>,
}

impl HyperService {
    /// A service on the present tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(
        download: Download,
        settings: Arc<ArcSwap<Settings>>,
        figures: Arc<Figures>,
    ) -> Self {
        Self(Arc::new(Inner {
            download,
            settings,
            figures,
            runtime: Handle::current(),
            open: watch::Sender::new(0),
        }))
    }

    /// Waits until the requests at hand are answered, at most `cut_after`. Says whether they are. None comes after them
    /// once the shards have stopped.
    pub async fn drain(&self, cut_after: Duration) -> bool {
        let mut open = self.0.open.subscribe();
        let none_left = open.wait_for(|count| *count == 0);
        tokio::time::timeout(cut_after, none_left).await.is_ok()
    }
}

impl fmt::Debug for HyperService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperService")
            .field("open", &*self.0.open.borrow())
            .finish_non_exhaustive()
    }
}

impl TakeOver for HyperService {
    fn take_over(&self, connection: HandedOver) {
        let open = Open::new(Arc::clone(&self.0));
        self.0.runtime.spawn(async move {
            // A client that leaves is no news, and what is wrong with an origin was answered.
            if let Err(error) = serve(&open.0, connection).await {
                tracing::debug!(%error, "a connection that was handed over ended early");
            }
        });
    }
}

/// One connection among those that are counted.
struct Open(Arc<Inner>);

impl Open {
    fn new(inner: Arc<Inner>) -> Self {
        inner.open.send_modify(|count| *count += 1);
        inner.figures.connections.increment(1.0);
        Self(inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|count| *count -= 1);
        self.0.figures.connections.decrement(1.0);
    }
}

async fn serve(inner: &Arc<Inner>, connection: HandedOver) -> Result<(), BoxError> {
    let socket = TcpStream::from(connection.socket);
    let socket = tokio::net::TcpStream::from_std(socket)?;
    let (receive, send) = socket.into_split();
    let io = tokio::io::join(Cursor::new(connection.received).chain(receive), send);
    let head_timeout = Duration::from_millis(inner.settings.load().head_timeout_ms);
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(inner.answer(request).await) });
    http1::Builder::new()
        .keep_alive(false)
        .half_close(false)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(io), service)
        .await
        .map_err(Into::into)
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>) -> Response<ThroughBody> {
        let settings = self.settings.load_full();
        let mut response = match Self::judge(&request, &settings) {
            Ok(route) => {
                let (parts, body) = request.into_parts();
                let body: Option<RequestBody> = (!body.is_end_stream())
                    .then(|| body.map_err(|e| Box::new(e) as BoxError).boxed_unsync());
                self.download.pass_through(parts, body, &route).await
            }
            Err((status, reason)) => {
                if status == StatusCode::FORBIDDEN {
                    self.figures.refused_hosts.increment(1);
                }
                refusal(status, &reason)
            }
        };
        self.figures.requests_handed_over.increment(1);
        let status = response.status().as_u16();
        self.figures.request(status, Some(CacheStatus::Bypass));
        let headers = response.headers_mut();
        headers.append(VIA, VIA_LARDER);
        if settings.cache_status {
            headers.insert(X_CACHE_STATUS, BYPASS);
            let field = HeaderValue::from_static(CacheStatus::Bypass.field());
            headers.append(CACHE_STATUS, field);
        }
        response
    }

    /// Where a request leads, or why it leads nowhere.
    fn judge<B>(
        request: &Request<B>,
        settings: &Settings,
    ) -> Result<OwnedRoute, (StatusCode, String)> {
        if request.method() == Method::CONNECT {
            let reason = "larder opens no tunnels".to_owned();
            return Err((StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        if request.method() == Method::TRACE {
            // RFC 9110, section 9.3.8: what it shows of a request is for nobody else.
            let reason = "larder shows nobody what requests look like".to_owned();
            return Err((StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        if wants_stored_only(request) {
            // RFC 9111, section 5.2.1.7. Who says so is content with 504 as well.
            let reason = "only what is stored is wanted, and the store is not asked for this";
            return Err((StatusCode::GATEWAY_TIMEOUT, reason.to_owned()));
        }
        if goes_round(request) {
            let reason = "the request has been here before; an origin points back at larder";
            return Err((StatusCode::LOOP_DETECTED, reason.to_owned()));
        }
        let target = request.uri().to_string();
        let host = request.headers().get(HOST).and_then(|h| h.to_str().ok());
        let judged = |refusal: Refusal| {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, refusal.to_string())
        };
        route(&target, host, false, &settings.rules)
            .map(|route| route.to_owned())
            .map_err(judged)
    }
}

fn wants_stored_only<B>(request: &Request<B>) -> bool {
    let fields = request.headers().get_all(CACHE_CONTROL).into_iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
}

/// True where a `Via` says that larder has passed this request on already.
fn goes_round<B>(request: &Request<B>) -> bool {
    let fields = request.headers().get_all(VIA).into_iter();
    fields
        .filter_map(|via| via.to_str().ok())
        .flat_map(|via| via.split(','))
        .any(|hop| {
            let by = hop.split_ascii_whitespace().nth(1);
            by.is_some_and(|by| by.eq_ignore_ascii_case("larder"))
        })
}

fn refusal(status: StatusCode, reason: &str) -> Response<ThroughBody> {
    let body = Full::new(Bytes::from(format!("{reason}\n")))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::origin::OriginClient;
    use larder_proto::http::route::OriginRules;
    use larder_storage::store::{Store, StoreOptions};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// An origin that answers one request with what it received, and says what that was.
    fn echo(listener: TcpListener, until: &'static [u8]) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("accepted");
            let mut got = Vec::new();
            let mut more = [0; 4096];
            while !got.ends_with(until) {
                let count = socket.read(&mut more).expect("a request");
                assert!(count > 0, "it ended early");
                got.extend_from_slice(&more[..count]);
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
            socket.write_all(head.as_bytes()).expect("answered");
            got
        })
    }

    /// Hands a connection over on which `received` came and `late` follows; gives back all that is answered.
    fn answered(port: u16, received: &str, late: &str) -> String {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(StoreOptions::new(folder.path())).expect("a store");
        let to = format!("127.0.0.1:{port}");
        let rules = OriginRules::new(&[], None, [("files.example".to_owned(), to)], &[]);
        let settings = Arc::new(ArcSwap::from_pointee(Settings::new(rules.expect("rules"))));
        let figures = Arc::new(Figures::new());
        let origin = OriginClient::new(Arc::clone(&settings), Arc::clone(&figures));
        let download = Download::spawn(store, Arc::clone(&settings), origin, Clock::start());
        let service = HyperService::new(download, settings, figures);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).expect("connected");
        let (socket, _) = listener.accept().expect("accepted");
        socket.set_nonblocking(true).expect("non-blocking");
        service.take_over(HandedOver {
            socket: socket.into(),
            received: received.as_bytes().to_vec(),
        });
        client.write_all(late.as_bytes()).expect("written");
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .expect("an answer and the end");
        let over = service.drain(Duration::from_secs(10));
        assert!(runtime.block_on(over));
        answer
    }

    #[test]
    fn a_request_with_a_body_passes_through_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let origin = echo(listener, b"abcdef");
        let head = "POST /up HTTP/1.1\r\nHost: files.example\r\nContent-Length: 6\r\n\r\nab";
        let answer = answered(port, head, "cdef");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("\r\nX-Cache-Status: BYPASS\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nCache-Status: larder; fwd=bypass\r\n"));
        assert!(
            answer.to_lowercase().contains("\r\nconnection: close\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        let asked = origin.join().expect("it served");
        assert!(asked.starts_with(b"POST /up HTTP/1.1\r\n"));
    }

    #[test]
    fn what_leads_nowhere_is_refused_without_asking_anybody() {
        for (request, status) in [
            ("GET /a HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 403),
            (
                "CONNECT files.example:443 HTTP/1.1\r\nHost: files.example\r\n\r\n",
                405,
            ),
            ("TRACE /a HTTP/1.1\r\nHost: files.example\r\n\r\n", 405),
            (
                "GET /a HTTP/1.1\r\nHost: files.example\r\nCache-Control: only-if-cached\r\n\r\n",
                504,
            ),
            (
                "GET /a HTTP/1.1\r\nHost: files.example\r\nVia: 1.1 x, 1.1 larder\r\n\r\n",
                508,
            ),
        ] {
            let answer = answered(9, request, "");
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    }
}
