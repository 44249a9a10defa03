//! The coordinator's API over HTTP and HTTPS. The rule: however slow, many or rude its callers are, what one of them
//! holds of this process is bounded, and the one that has been idle for the longest makes room.

use super::figures::CALLS;
use super::service::{Caller, Coordinator, Proven, Refusal};
use crate::http::patience::Patience;
use crate::http::seats::{Connections, Seat};
use crate::http::tls::{Certificates, server_config};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_proto::tracker::message::{
    ErrorAnswer, JOIN_BYTES_MAX, JoinRequest, LeaveRequest, MessageError, PUBLISH_BYTES_MAX,
    PublishRequest,
};
use larder_proto::tracker::proof::Proof;
use larder_proto::tracker::query::PolicyQuery;
use larder_proto::tracker::reach::ReachRequest;
use serde::Serialize;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_rustls::TlsAcceptor;

/// How long a listener that could not accept is left alone.
const LISTEN_PAUSE: Duration = Duration::from_millis(200);

/// A head of a call has fewer bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What an API answers in.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What may be held by callers, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Connections at once; one more, and the one that has been idle for the longest is cut.
    pub connections_max: usize,
    /// How long a connection may be idle, and how long a head may take, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long a body may take, in milliseconds; that of a publication ten times as long.
    pub body_timeout_ms: u64,
    /// How long a caller may take no byte of its answer, in milliseconds.
    pub stall_timeout_ms: u64,
    /// Publications that are read at once; each may be as long as a piece-hash file.
    pub publications_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            idle_timeout_ms: 75_000,
            body_timeout_ms: 5_000,
            stall_timeout_ms: 20_000,
            publications_max: 4,
        }
    }
}

/// A running server.
pub struct Server {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    coordinator: Coordinator,
    options: ServerOptions,
    connections: Arc<Connections>,
    publications: Semaphore,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Serves on these listeners, on the present tokio runtime; those of the second list by TLS.
    ///
    /// # Errors
    /// Where the kernel refuses something about a listener, or there is no certificate for TLS.
    pub fn start(
        coordinator: Coordinator,
        http: Vec<TcpListener>,
        https: Vec<TcpListener>,
        certificates: Option<Arc<Certificates>>,
        options: ServerOptions,
    ) -> io::Result<Self> {
        let acceptor = match certificates {
            Some(certificates) => {
                let config = server_config(certificates).map_err(io::Error::other)?;
                Some(TlsAcceptor::from(Arc::new(config)))
            }
            None if https.is_empty() => None,
            None => return Err(io::Error::other("there is no certificate")),
        };
        let shared = Arc::new(Shared {
            coordinator,
            connections: Arc::new(Connections::new(options.connections_max)),
            publications: Semaphore::new(options.publications_max),
            options,
            stopping: watch::Sender::new(false),
        });
        let mut addresses = Vec::new();
        let plain = http.into_iter().map(|listener| (listener, None));
        let by_tls = https
            .into_iter()
            .map(|listener| (listener, acceptor.clone()));
        for (listener, acceptor) in plain.chain(by_tls) {
            addresses.push(listener.local_addr()?);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(accept(Arc::clone(&shared), listener, acceptor));
        }
        tokio::spawn(turn(Arc::clone(&shared)));
        Ok(Self { addresses, shared })
    }

    /// Where it serves, with real ports: those without TLS first.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.count()
    }

    /// Stops accepting, and waits until calls at hand are answered, at most `cut_after`.
    pub async fn stop(self, cut_after: Duration) {
        self.shared.stopping.send_replace(true);
        let _ = timeout(cut_after, self.shared.connections.until_none()).await;
        self.shared.connections.cut_all();
    }
}

/// Keeps what is kept in order while nobody calls.
async fn turn(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => shared.coordinator.turn(),
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
) {
    let mut stopping = shared.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((socket, from)) => {
                let (seat, when_cut) = shared.connections.enter();
                if shared.connections.is_over() {
                    shared.connections.cut_idlest();
                    shared.coordinator.inner().figures.cut.increment(1);
                }
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    shared
                        .coordinator
                        .inner()
                        .figures
                        .connections
                        .increment(1.0);
                    tokio::select! {
                        () = serve(&shared, socket, from.ip(), acceptor, &seat) => {}
                        _ = when_cut => {}
                    }
                    shared
                        .coordinator
                        .inner()
                        .figures
                        .connections
                        .decrement(1.0);
                });
            }
            // The one that was first in line has left.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!("a connection to the coordinator could not be accepted: {error}");
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    socket: TcpStream,
    from: IpAddr,
    acceptor: Option<TlsAcceptor>,
    seat: &Seat,
) {
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return talk(shared, socket, from, seat).await;
    };
    let limit = Duration::from_millis(shared.options.body_timeout_ms);
    match timeout(limit, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => talk(shared, stream, from, seat).await,
        Ok(Err(error)) => tracing::debug!(%error, "a handshake with the coordinator failed"),
        Err(_) => tracing::debug!("a handshake with the coordinator took too long"),
    }
}

async fn talk(
    shared: &Arc<Shared>,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send,
    from: IpAddr,
    seat: &Seat,
) {
    let stall = Duration::from_millis(shared.options.stall_timeout_ms);
    let io = TokioIo::new(Patience::new(socket, stall));
    let service = service_fn(|request| async move {
        seat.is_busy();
        Ok::<_, Infallible>(shared.answer(from, request).await)
    });
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .title_case_headers(true)
        .max_header_size(HEAD_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(shared.options.idle_timeout_ms));
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut stopping = shared.stopping.subscribe();
    let until_stop = async { stopping.wait_for(|stopping| *stopping).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = until_stop => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the coordinator ended early");
    }
}

type Answer = Response<Full<Bytes>>;

impl Shared {
    async fn answer(&self, from: IpAddr, request: Request<Incoming>) -> Answer {
        let began = Instant::now();
        let path = request.uri().path();
        let call = path
            .strip_prefix("/v1/")
            .unwrap_or(path.trim_start_matches('/'));
        let call = CALLS.iter().position(|known| *known == call);
        let call = call.unwrap_or(CALLS.len() - 1);
        let answer = match self.called(from, request).await {
            Ok(answer) => answer,
            Err(refusal) => self.refused(&refusal),
        };
        let figures = &self.coordinator.inner().figures;
        figures.answered(call, answer.status().as_u16());
        figures.seconds.record(began.elapsed().as_secs_f64());
        answer
    }

    async fn called(&self, from: IpAddr, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_post = *request.method() == Method::POST;
        let path = request.uri().path().to_owned();
        if is_get && path == "/healthz" {
            return Ok(plain(StatusCode::OK, "alive\n"));
        }
        self.coordinator.admit(from)?;
        match path.as_str() {
            "/v1/geo" if is_get => {
                let (caller, _) = self.read(from, request, 0).await?;
                Ok(json(StatusCode::OK, &self.coordinator.geo(&caller)))
            }
            "/v1/policy" if is_get => {
                let query = request.uri().query().unwrap_or("").to_owned();
                let (caller, _) = self.read(from, request, 0).await?;
                let asked = PolicyQuery::parse(&query)?;
                let policy = self.coordinator.policy(&caller, &asked).await?;
                Ok(json(StatusCode::OK, &policy))
            }
            "/v1/join" if is_post => {
                let (caller, body) = self.read(from, request, JOIN_BYTES_MAX).await?;
                let join = JoinRequest::parse(&body)?;
                let answer = self.coordinator.join(&caller, &join).await?;
                Ok(json(StatusCode::OK, &answer))
            }
            "/v1/leave" if is_post => {
                let (caller, body) = self.read(from, request, JOIN_BYTES_MAX).await?;
                let leave = LeaveRequest::parse(&body)?;
                self.coordinator.leave(&caller, &leave).await?;
                Ok(json(StatusCode::OK, &serde_json::json!({})))
            }
            "/v1/reach" if is_post => {
                let (caller, body) = self.read(from, request, JOIN_BYTES_MAX).await?;
                let reach = ReachRequest::parse(&body)?;
                let answer = self.coordinator.reach(&caller, reach).await?;
                Ok(json(StatusCode::OK, &answer))
            }
            "/v1/publish" if is_post => {
                // Who is no publisher does not get to send millions of bytes.
                let proof = proof(request.headers())?;
                let is_one = proof.is_some_and(|proof| self.coordinator.is_publisher(&proof.key));
                let (bytes_max, _permit) = if is_one {
                    let permit = self.publications.acquire().await;
                    (PUBLISH_BYTES_MAX, permit.ok())
                } else {
                    (JOIN_BYTES_MAX, None)
                };
                let (caller, body) = self.read(from, request, bytes_max).await?;
                if caller.proven == Proven::Nothing {
                    let why = "only publishers may say what contents are; sign the call with a publisher's key";
                    return Err(Refusal::Unproven(why.to_owned()));
                }
                let publish = PublishRequest::parse(&body)?;
                let answer =
                    serde_json::json!({ "ContentId": publish.phf.content_id().to_string() });
                self.coordinator.publish(&caller, publish).await?;
                Ok(json(StatusCode::OK, &answer))
            }
            "/v1/geo" | "/v1/policy" | "/v1/join" | "/v1/leave" | "/v1/publish" | "/v1/reach"
            | "/healthz" => {
                let error = "GET /v1/geo and /v1/policy, POST /v1/join, /v1/leave, /v1/publish and /v1/reach";
                Ok(self.error(StatusCode::METHOD_NOT_ALLOWED, error))
            }
            _ => {
                let error = "this is a coordinator of larder: /v1/geo, /v1/join, /v1/leave, /v1/policy, /v1/publish, /v1/reach";
                Ok(self.error(StatusCode::NOT_FOUND, error))
            }
        }
    }

    /// Reads the body, and finds out who calls.
    async fn read(
        &self,
        from: IpAddr,
        request: Request<Incoming>,
        bytes_max: usize,
    ) -> Result<(Caller, Bytes), Refusal> {
        let (head, body) = request.into_parts();
        let too_large =
            || Refusal::TooLarge(format!("a body of this call has at most {bytes_max} bytes"));
        let stated = body.size_hint().lower();
        if usize::try_from(stated).map_or(true, |stated| stated > bytes_max) {
            return Err(too_large());
        }
        let factor = if bytes_max > JOIN_BYTES_MAX { 10 } else { 1 };
        let limit = Duration::from_millis(self.options.body_timeout_ms * factor);
        let read = timeout(limit, Limited::new(body, bytes_max).collect()).await;
        let slow = |why: String| Refusal::Message(MessageError { field: "body", why });
        let body = match read {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(too_large());
            }
            Ok(Err(error)) => return Err(slow(error.to_string())),
            Err(_) => {
                return Err(slow(format!(
                    "did not come within {} ms",
                    limit.as_millis()
                )));
            }
        };
        let mut caller = Caller {
            seen: from,
            proven: Proven::Nothing,
        };
        if let Some(proof) = proof(&head.headers)? {
            let target = head
                .uri
                .path_and_query()
                .map_or("/", |target| target.as_str());
            self.check(&proof, head.method.as_str(), target, &body)?;
            caller.proven = Proven::Key(proof.key);
        }
        Ok((caller, body))
    }

    /// A proof that is offered holds, or the call is refused.
    fn check(&self, proof: &Proof, method: &str, target: &str, body: &[u8]) -> Result<(), Refusal> {
        let now = self.coordinator.now();
        let key = self.coordinator.key(&proof.key);
        let signed = key.is_some_and(|key| key.signed(proof, method, target, body));
        if signed && proof.is_of(now) {
            return Ok(());
        }
        self.coordinator.inner().figures.unproven.increment(1);
        Err(Refusal::Unproven(if signed {
            format!(
                "this was signed at {}, and it is {now} here; sign it anew",
                proof.time
            )
        } else {
            "this was not signed by a key that is known here".to_owned()
        }))
    }

    fn refused(&self, refusal: &Refusal) -> Answer {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut answer = self.error(status, &refusal.to_string());
        let headers = answer.headers_mut();
        if let Refusal::TooMuch { retry_secs, .. } = refusal {
            headers.insert(RETRY_AFTER, HeaderValue::from(*retry_secs));
        }
        if matches!(refusal, Refusal::TooLarge(_)) {
            // The rest of it is not read.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    fn error(&self, status: StatusCode, error: &str) -> Answer {
        let answer = ErrorAnswer {
            error: error.to_owned(),
            server_time: self.coordinator.now(),
        };
        json(status, &answer)
    }
}

/// The proof that a call offers.
fn proof(headers: &HeaderMap) -> Result<Option<Proof>, Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let proof = header.to_str().ok().and_then(Proof::parse);
    let why = "Authorization is Larder-HMAC-SHA256 Key=.., Time=.., Mac=..";
    proof
        .map(Some)
        .ok_or_else(|| Refusal::Unproven(why.to_owned()))
}

fn json(status: StatusCode, answer: &impl Serialize) -> Answer {
    // What is answered has no maps with keys that JSON could not write.
    let text = serde_json::to_vec(answer).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
