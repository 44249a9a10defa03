//! The admin address: metrics, health, and what an administrator asks and changes. The rule: nothing here runs on a
//! shard thread or waits for a disk on a control thread.

mod api;
mod clients;
mod cmdlets;
mod downloads;
mod guard;
pub(crate) mod objects;
mod page;
mod serve;
mod token;
mod verify;
pub(crate) mod warm;

pub(crate) use token::{Token, file_in as token_file_in};

use crate::state::State;
use crate::telemetry::Telemetry;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State as Of};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serve::serve;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// The form of Prometheus' text (version 0.0.4).
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the admin address on the present runtime; it ends with the runtime.
pub(crate) fn spawn(listener: TcpListener, state: Arc<State>) -> io::Result<()> {
    let routes = Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/objects", get(api::objects))
        .route("/api/v1/object", get(api::object))
        .route("/api/v1/hosts", get(api::hosts))
        .route("/api/v1/search", get(page::search))
        .route("/api/v1/clients", get(clients::clients))
        .route("/api/v1/downloads", get(cmdlets::downloads))
        .route("/api/v1/perfsnap", get(cmdlets::perfsnap))
        .route("/api/v1/report", get(cmdlets::report))
        .route("/api/v1/log/flush", post(downloads::flush_log))
        .route("/api/v1/pause", post(downloads::pause))
        .route("/api/v1/resume", post(downloads::resume))
        .route("/api/v1/cancel", post(downloads::cancel))
        .route("/api/v1/purge", post(api::purge))
        .route("/api/v1/pin", post(api::pin))
        .route("/api/v1/verify", post(api::verify))
        .route("/api/v1/warm", post(warm::warm))
        .route("/api/v1/reload", post(api::reload))
        .fallback(nothing)
        .layer(from_fn_with_state(Arc::clone(&state), pass))
        .with_state(state);
    serve(listener, routes)
}

/// Serves `/metrics` alone, without a token: it names no objects and changes nothing.
pub(crate) fn spawn_metrics(listener: TcpListener, state: Arc<State>) -> io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .fallback(nothing)
        .with_state(state);
    serve(listener, routes)
}

/// Serves the figures and the health of a process that is no appliance.
pub(crate) fn spawn_figures(listener: TcpListener, telemetry: Telemetry) -> io::Result<()> {
    let figures = move || async move { ([(CONTENT_TYPE, METRICS_TYPE)], telemetry.render()) };
    let routes = Router::new()
        .route("/metrics", get(figures))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || "ready\n"))
        .fallback(nothing);
    serve(listener, routes)
}

/// Lets a request pass, or answers it.
async fn pass(
    Of(state): Of<Arc<State>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let refusal = {
        let config = state.config.load();
        let names: Vec<String> = config
            .admin_names
            .iter()
            .chain([&state.host_name])
            .cloned()
            .collect();
        // A header that is no text is none of ours, and an absolute form names its host in the target.
        let text = |name| header(request.headers(), &name);
        let asked = guard::Asked {
            from: from.ip(),
            path: request.uri().path(),
            changes: !matches!(*request.method(), Method::GET | Method::HEAD),
            host: request
                .uri()
                .authority()
                .map(|a| a.as_str())
                .or_else(|| text(HOST)),
            origin: text(ORIGIN),
            authorization: text(AUTHORIZATION),
        };
        guard::check(asked, &names, &state.token).err()
    };
    let Some(refusal) = refusal else {
        let mut answer = next.run(request).await;
        let headers = answer.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return answer;
    };
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
    if refusal == guard::Refusal::NoToken {
        return (status, [(WWW_AUTHENTICATE, "Bearer")], refusal.words()).into_response();
    }
    (status, refusal.words()).into_response()
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

async fn metrics(Of(state): Of<Arc<State>>) -> Response {
    let text = tokio::task::spawn_blocking(move || state.metrics()).await;
    match text {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("larder: {error}\n"),
        )
            .into_response(),
    }
}

/// Alive: this very answer shows it, and shard threads that hang are told.
async fn healthz(Of(state): Of<Arc<State>>) -> Response {
    match state.pulse.stuck() {
        0 => "alive\n".into_response(),
        stuck => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{stuck} serving threads hang\n"),
        )
            .into_response(),
    }
}

/// 200 where requests are answered, with what is degraded; 503 where clients should go elsewhere, with why.
async fn readyz(Of(state): Of<Arc<State>>) -> Response {
    let readiness = tokio::task::spawn_blocking(move || state.readiness()).await;
    let Ok(readiness) = readiness else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (status, word) = match (readiness.ready, readiness.reasons.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::OK, "ready, but degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut text = format!("{word}\n");
    for reason in readiness.reasons {
        text.push_str(&reason);
        text.push('\n');
    }
    (status, text).into_response()
}

async fn nothing() -> Response {
    let text = "larder: there is nothing here; the page at /, /metrics, /healthz, /readyz and /api/v1/... are on the admin address\n";
    (StatusCode::NOT_FOUND, text).into_response()
}
