//! One coordinator elsewhere, by HTTP or HTTPS. The rule: an exchange on a connection that was kept is made again on a
//! new one where that has ended meanwhile; every call may be made twice.

use super::{ClientError, ClientOptions};
use crate::coordinator::key::Key;
use crate::origin::tls::Roots;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use larder_proto::UnixSecs;
use larder_proto::tls::validity::Validity;
use larder_proto::tracker::message::ErrorAnswer;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer but one with piece hashes is longer, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Nor is one with them.
pub(super) const POLICY_BYTES_MAX: usize = 17 << 20;

/// Connections that are kept for the next call.
const KEPT_MAX: usize = 4;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A coordinator elsewhere.
pub(super) struct Remote {
    options: ClientOptions,
    https: bool,
    /// With its brackets, if it is an IPv6 address.
    host: String,
    port: u16,
    roots: Roots,
    kept: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    /// Of the certificate that was shown last.
    shown: Mutex<Option<Validity>>,
    /// Seconds by which the coordinator's clock is ahead of ours, once it has told.
    ahead_secs: AtomicI64,
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
    pub(super) fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let (https, host, port) = parts(&options.url).ok_or_else(|| ClientError::Url {
            url: options.url.clone(),
        })?;
        Ok(Self {
            https,
            host,
            port,
            options,
            roots: Roots::default(),
            kept: Mutex::new(Vec::new()),
            shown: Mutex::new(None),
            ahead_secs: AtomicI64::new(0),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.options.url
    }

    pub(super) const fn publisher_key(&self) -> Option<&Key> {
        self.options.publisher_key.as_ref()
    }

    pub(super) fn group_key(&self, group: Option<String>) -> Option<&Key> {
        let key = self.options.group_key.as_ref()?;
        (group.as_deref() == Some(key.name())).then_some(key)
    }

    pub(super) fn certificate(&self) -> Option<Validity> {
        *self.shown.lock()
    }

    fn away(&self, cause: impl fmt::Display) -> ClientError {
        ClientError::Away {
            url: self.options.url.clone(),
            cause: cause.to_string(),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        target: &str,
        key: Option<&Key>,
        bytes_max: usize,
    ) -> Result<T, ClientError> {
        self.call(Method::GET, target, Bytes::new(), key, bytes_max)
            .await
    }

    pub(super) async fn post<T: DeserializeOwned>(
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
            let stream = stream.map_err(|error| self.away(error))?;
            let chain = stream.get_ref().1.peer_certificates();
            let first = chain.and_then(|chain| chain.first());
            *self.shown.lock() = first.and_then(|first| Validity::of(first));
            Box::new(stream)
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
}
