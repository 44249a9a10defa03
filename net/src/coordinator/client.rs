//! Asks a coordinator. The rule: every call ends within its timeout, and an answer is bounded and checked before
//! anybody acts on it; a coordinator that is away is an error to go on without, never a wait.

use super::key::Key;
use crate::origin::tls::Roots;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use larder_content::ContentId;
use larder_proto::UnixSecs;
use larder_proto::tracker::message::{
    ContentPolicy, ErrorAnswer, Geo, JoinAnswer, JoinRequest, LeaveRequest, PEERS_WANTED_MAX,
    PublishRequest,
};
use larder_proto::tracker::query::{Named, PolicyQuery};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer but one with piece hashes is longer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Nor is one with them.
const POLICY_BYTES_MAX: usize = 17 << 20;

/// Connections that are kept for the next call.
const KEPT_MAX: usize = 4;

/// How to reach a coordinator, and as whom.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `http://host:port` or `https://host:port`, without a path.
    pub url: String,
    /// A PEM file of certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The key of the group, where the coordinator wants its members to have it. Its name is the group's GUID.
    pub group_key: Option<Key>,
    /// The key by which this process publishes.
    pub publisher_key: Option<Key>,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
}

impl ClientOptions {
    /// A caller without keys.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            group_key: None,
            publisher_key: None,
            timeout_ms: 5_000,
        }
    }
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The coordinator's URL can not be used.
    #[error("{url:?} is no coordinator's URL; write it as in \"http://larder.example.org:7681\"")]
    Url {
        /// As it was given.
        url: String,
    },
    /// It can not be reached, or leaves in the middle: go on without it and try again later.
    #[error("the coordinator {url} is away: {cause}")]
    Away {
        /// Which.
        url: String,
        /// Why.
        cause: String,
    },
    /// It has too much to do, or this address asks too often: ask again after that long.
    #[error("the coordinator {url} asks for patience: {cause}; ask again in {retry_secs} s")]
    Busy {
        /// Which.
        url: String,
        /// What it said.
        cause: String,
        /// Seconds to wait.
        retry_secs: u64,
    },
    /// It does not take this call from this caller.
    #[error("the coordinator {url} refuses ({status}): {cause}")]
    Refused {
        /// Which.
        url: String,
        /// The answer's status.
        status: u16,
        /// What it said.
        cause: String,
    },
    /// It answers what no coordinator would.
    #[error("{url} does not answer as a coordinator: {cause}")]
    Answer {
        /// Which.
        url: String,
        /// What is wrong.
        cause: String,
    },
}

impl ClientError {
    /// Whether the same call can succeed later without anybody changing a setting.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Busy { .. })
    }
}

/// A coordinator as its callers see it; clones share its connections.
#[derive(Clone)]
pub struct CoordinatorClient(Arc<Remote>);

impl fmt::Debug for CoordinatorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoordinatorClient")
            .field(&self.0.options.url)
            .finish()
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

struct Remote {
    options: ClientOptions,
    https: bool,
    /// With its brackets, if it is an IPv6 address.
    host: String,
    port: u16,
    roots: Roots,
    kept: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    /// Seconds by which the coordinator's clock is ahead of ours, once it has told.
    ahead_secs: AtomicI64,
}

impl CoordinatorClient {
    /// A client of the coordinator at that URL. Nothing is connected yet.
    ///
    /// # Errors
    /// Where the URL can not be used.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let (https, host, port) = parts(&options.url).ok_or_else(|| ClientError::Url {
            url: options.url.clone(),
        })?;
        Ok(Self(Arc::new(Remote {
            https,
            host,
            port,
            options,
            roots: Roots::default(),
            kept: Mutex::new(Vec::new()),
            ahead_secs: AtomicI64::new(0),
        })))
    }

    /// The address that the coordinator sees this process at.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn geo(&self) -> Result<Geo, ClientError> {
        self.0.get("/v1/geo", None, ANSWER_BYTES_MAX).await
    }

    /// Takes part, goes on to, and learns of others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn join(&self, join: &JoinRequest) -> Result<JoinAnswer, ClientError> {
        let key = self.0.group_key(join.group_id.map(|id| id.to_string()));
        let mut answer: JoinAnswer = self.0.post("/v1/join", join, key).await?;
        answer
            .peers
            .retain(|peer| peer.port != 0 && peer.peer_id != join.peer_id);
        answer
            .peers
            .truncate(join.peers_wanted.min(PEERS_WANTED_MAX).into());
        Ok(answer)
    }

    /// Ends to take part.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn leave(&self, leave: &LeaveRequest) -> Result<(), ClientError> {
        let key = self.0.group_key(leave.group_id.map(|id| id.to_string()));
        let _: serde_json::Value = self.0.post("/v1/leave", leave, key).await?;
        Ok(())
    }

    /// What is known of a content. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy(&self, asked: &PolicyQuery) -> Result<Option<ContentPolicy>, ClientError> {
        let key = self.0.group_key(asked.group_id.map(|id| id.to_string()));
        let answer = self.0.get(&asked.target(), key, POLICY_BYTES_MAX).await;
        let policy: ContentPolicy = match answer {
            Err(ClientError::Refused { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let wrong = |cause: &str| {
            Err(ClientError::Answer {
                url: self.0.options.url.clone(),
                cause: cause.to_owned(),
            })
        };
        if let Named::ContentId(id) = asked.named
            && policy.content_id != id
        {
            return wrong("it told of another content than was asked for");
        }
        match &policy.phf {
            Some(phf) if phf.content_id() != policy.content_id => {
                wrong("the piece hashes are those of another content")
            }
            Some(phf) if phf.length() != policy.content_length => {
                wrong("the piece hashes are those of another length")
            }
            _ => Ok(Some(policy)),
        }
    }

    /// What is known of a content by its id, with its piece hashes. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy_by_id(&self, id: ContentId) -> Result<Option<ContentPolicy>, ClientError> {
        self.policy(&PolicyQuery::new(Named::ContentId(id))).await
    }

    /// What is known of the content at a URL, with its piece hashes. None where nothing is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn policy_by_url(&self, url: &str) -> Result<Option<ContentPolicy>, ClientError> {
        self.policy(&PolicyQuery::new(Named::Url(url.to_owned())))
            .await
    }

    /// Says what a content is. Asks for the publisher's key.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn publish(&self, publish: &PublishRequest) -> Result<(), ClientError> {
        let key = self.0.options.publisher_key.as_ref();
        let _: serde_json::Value = self.0.post("/v1/publish", publish, key).await?;
        Ok(())
    }
}

/// Scheme, host and port of a URL that has nothing else.
fn parts(url: &str) -> Option<(bool, String, u16)> {
    let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // A colon inside the brackets of an IPv6 address is no port's.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port != 0)?)
        }
        _ => (rest, if https { 443 } else { 80 }),
    };
    let of_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    (!host.is_empty() && host.chars().all(of_host)).then(|| (https, host.to_owned(), port))
}

fn unix_now() -> UnixSecs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Remote {
    fn group_key(&self, group: Option<String>) -> Option<&Key> {
        let key = self.options.group_key.as_ref()?;
        (group.as_deref() == Some(key.name())).then_some(key)
    }

    fn away(&self, cause: impl fmt::Display) -> ClientError {
        ClientError::Away {
            url: self.options.url.clone(),
            cause: cause.to_string(),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        target: &str,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<T, ClientError> {
        self.call(Method::GET, target, Bytes::new(), key, bytes_max)
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        message: &impl Serialize,
        key: Option<&Key>,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(message).map_err(|error| self.away(error))?;
        self.call(Method::POST, target, body.into(), key, ANSWER_BYTES_MAX)
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<T, ClientError> {
        let limit = Duration::from_millis(self.options.timeout_ms);
        let all = async {
            let first = self.ask(&method, target, &body, key, bytes_max).await?;
            let answer = match first {
                // A clock that is wrong here must not keep this machine out: it signs by the coordinator's.
                (StatusCode::UNAUTHORIZED, text, _) if key.is_some() && self.set_clock(&text) => {
                    self.ask(&method, target, &body, key, bytes_max).await?
                }
                other => other,
            };
            self.read(&answer)
        };
        match tokio::time::timeout(limit, all).await {
            Ok(done) => done,
            Err(_) => Err(self.away(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    fn now(&self) -> UnixSecs {
        unix_now().saturating_add_signed(self.ahead_secs.load(Ordering::Relaxed))
    }

    /// Takes the coordinator's clock from an answer; says whether that changes anything.
    fn set_clock(&self, text: &[u8]) -> bool {
        let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(text) else {
            return false;
        };
        let ahead = i64::try_from(i128::from(answer.server_time) - i128::from(unix_now()));
        let ahead = ahead.unwrap_or(0);
        let before = self.ahead_secs.swap(ahead, Ordering::Relaxed);
        ahead.abs_diff(before) > 1
    }

    fn read<T: DeserializeOwned>(
        &self,
        (status, text, retry_secs): &(StatusCode, Bytes, Option<u64>),
    ) -> Result<T, ClientError> {
        let url = self.options.url.clone();
        if status.is_success() {
            return serde_json::from_slice(text).map_err(|error| ClientError::Answer {
                url,
                cause: error.to_string(),
            });
        }
        let cause = match serde_json::from_slice::<ErrorAnswer>(text) {
            Ok(answer) => answer.error,
            Err(_) => format!("it answers {status}"),
        };
        Err(match *status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ClientError::Busy {
                url,
                cause,
                retry_secs: retry_secs.unwrap_or(30).clamp(1, 3600),
            },
            status if status.is_server_error() => ClientError::Away { url, cause },
            status => ClientError::Refused {
                url,
                status: status.as_u16(),
                cause,
            },
        })
    }

    /// One exchange: on a connection that was kept, and where that has ended meanwhile, on a new one. Every call may be
    /// made twice.
    async fn ask(
        &self,
        method: &Method,
        target: &str,
        body: &Bytes,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes, Option<u64>), ClientError> {
        loop {
            let kept = self.kept.lock().pop();
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let request = self.request(method, target, body, key)?;
            if connection.ready().await.is_err() {
                if is_kept {
                    continue;
                }
                return Err(self.away("the connection ended at once"));
            }
            let answer = match connection.send_request(request).await {
                Ok(answer) => answer,
                Err(_) if is_kept => continue,
                Err(error) => return Err(self.away(error)),
            };
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, bytes_max).collect().await;
            let text = body.map_err(|error| self.away(error))?.to_bytes();
            let retry = head.headers.get(http::header::RETRY_AFTER);
            let retry = retry.and_then(|value| value.to_str().ok()?.parse().ok());
            let mut kept = self.kept.lock();
            if kept.len() < KEPT_MAX {
                kept.push(connection);
            }
            return Ok((head.status, text, retry));
        }
    }

    fn request(
        &self,
        method: &Method,
        target: &str,
        body: &Bytes,
        key: Option<&Key>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, format!("{}:{}", self.host, self.port));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            let proof = key.sign(method.as_str(), target, body, self.now());
            request = request.header(AUTHORIZATION, proof.header());
        }
        request
            .body(Full::new(body.clone()))
            .map_err(|error| self.away(error))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((bare, self.port)).await;
        let socket = socket.map_err(|error| self.away(error))?;
        socket.set_nodelay(true).map_err(|error| self.away(error))?;
        let io: Box<dyn Io> = if self.https {
            let config = self.roots.config(self.options.ca_file.as_deref());
            let config = config.map_err(|error| self.away(error))?;
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| self.away(error))?;
            let stream = TlsConnector::from(config).connect(name, socket).await;
            Box::new(stream.map_err(|error| self.away(error))?)
        } else {
            Box::new(socket)
        };
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| self.away(error))?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it is told.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the coordinator ended early");
            }
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_scheme_host_and_port() {
        let cases = [
            ("http://larder:7681", Some((false, "larder", 7681))),
            (
                "https://larder.example.org/",
                Some((true, "larder.example.org", 443)),
            ),
            ("http://[::1]:7681", Some((false, "[::1]", 7681))),
            ("http://[::1]", Some((false, "[::1]", 80))),
            ("http://larder:0", None),
            ("http://larder:70000", None),
            ("http://larder/path", None),
            ("http://a@larder", None),
            ("http://", None),
            ("larder:7681", None),
        ];
        for (url, expected) in cases {
            let expected = expected.map(|(https, host, port)| (https, host.to_owned(), port));
            assert_eq!(parts(url), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_to_go_on_without() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let options = ClientOptions::new(format!("http://127.0.0.1:{port}"));
        let client = CoordinatorClient::new(options).expect("a client");
        let error = client.geo().await.expect_err("nobody there");
        assert!(error.is_passing(), "{error}");
    }
}
