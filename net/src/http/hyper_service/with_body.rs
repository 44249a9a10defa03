//! Requests with a body. The rule: one request, passed through to its origin and answered with `Connection: close`; so
//! only a head that the strict parser has accepted is ever acted on here. A client that has sent more behind it learns
//! by that field that it must ask again, and gets the whole answer first.

use super::talk::{goes_round, linger};
use super::{Inner, Said};
use crate::download::ThroughBody;
use crate::http::client_io::ClientIo;
use crate::origin::{BoxError, RequestBody};
use crate::settings::Settings;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, VIA};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_proto::answer::CacheStatus;
use larder_proto::http::route::{OwnedRoute, Refusal, route};
use std::convert::Infallible;
use std::io::Cursor;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

const X_CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const BYPASS: HeaderValue = HeaderValue::from_static("BYPASS");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VIA_LARDER: HeaderValue = HeaderValue::from_static("1.1 larder");

/// Serves the request that begins in `inbox`.
pub(super) async fn serve(
    inner: &Arc<Inner>,
    socket: Box<dyn ClientIo>,
    inbox: Vec<u8>,
) -> Result<(), BoxError> {
    let from = socket.from();
    let (receive, send) = tokio::io::split(socket);
    let io = tokio::io::join(Cursor::new(inbox).chain(receive), send);
    let mut io = TokioIo::new(io);
    let head_timeout = Duration::from_millis(inner.settings.load().head_timeout_ms);
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(inner.answer(request, from).await) });
    http1::Builder::new()
        .keep_alive(false)
        .half_close(false)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(&mut io, service)
        .await?;
    // Closing with what follows unread would take the answer from the client (RFC 9112, section 9.6).
    linger(io.inner_mut()).await.map_err(Into::into)
}

impl Inner {
    async fn answer(
        &self,
        request: Request<Incoming>,
        from: Option<IpAddr>,
    ) -> Response<ThroughBody> {
        let settings = self.settings.load_full();
        let mut response = match self.judge(&request, &settings) {
            Ok(route) => {
                let (parts, body) = request.into_parts();
                let body: Option<RequestBody> = (!body.is_end_stream())
                    .then(|| body.map_err(|e| Box::new(e) as BoxError).boxed_unsync());
                self.download.pass_through(parts, body, &route).await
            }
            Err((status, reason)) => refusal(status, &reason),
        };
        self.count(&Said {
            to: from,
            status: Some((response.status().as_u16(), Some(CacheStatus::Bypass))),
            ..Said::default()
        });
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
        &self,
        request: &Request<B>,
        settings: &Settings,
    ) -> Result<OwnedRoute, (StatusCode, String)> {
        if goes_round(request.headers()) {
            let reason = "the request has been here before; an origin points back at larder";
            return Err((StatusCode::LOOP_DETECTED, reason.to_owned()));
        }
        let target = request.uri().to_string();
        let host = request.headers().get(HOST).and_then(|h| h.to_str().ok());
        let judged = |refusal: Refusal| {
            if let Refusal::Forbidden { host } = &refusal {
                self.figures.refused(host);
            }
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, refusal.to_string())
        };
        route(&target, host, self.https, &settings.rules)
            .map(|route| route.to_owned())
            .map_err(judged)
    }
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
