//! `/api/v1/...`: what is asked and changed by programs and by the command line. The rule: an error is a JSON object
//! with an `error` in words, and what is not plain changes nothing.

use super::objects::{Looked, Selector, Shown};
use crate::reload::Reloaded;
use crate::state::State;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Of};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_storage::driver::DriverKind;
use larder_storage::store::{Filter, Listed, LookBuf};
use serde_json::{Value, json};
use std::sync::Arc;

/// Objects in one answer at most; a branch office's store holds a few thousand.
const OBJECTS_MAX: usize = 100_000;

pub(super) type Asked = Result<Query<Selector>, QueryRejection>;

/// A refusal, with its status.
pub(super) struct Trouble(pub(super) StatusCode, pub(super) String);

impl Trouble {
    pub(super) fn unclear(words: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, words.into())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Runs `work`, which may wait for a disk, where waiting is allowed.
pub(super) async fn blocking(
    state: Arc<State>,
    work: impl FnOnce(&State) -> Result<Value, Trouble> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || work(&state)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(trouble)) => trouble.into_response(),
        Err(error) => {
            let words = format!("this failed inside larder: {error}");
            Trouble(StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
        }
    }
}

pub(super) fn selector(asked: Asked) -> Result<Selector, Trouble> {
    match asked {
        Ok(Query(selector)) => Ok(selector),
        Err(error) => Err(Trouble::unclear(format!(
            "{}; the parameters are url, prefix, host, content, all and pinned",
            error.body_text()
        ))),
    }
}

pub(super) fn found(state: &State, selector: &Selector) -> Result<Vec<Listed>, Trouble> {
    let rules = &state.settings.load().rules;
    selector.list(&state.store, rules).map_err(Trouble::unclear)
}

pub(super) fn value(of: impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

pub(super) async fn objects(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    blocking(state, |state| {
        let mut selector = selector(asked)?;
        // Without a selector all are listed; to change them all takes a word more.
        if selector == Selector::default() {
            selector.all = Some(true);
        }
        let found = found(state, &selector)?;
        let more = found.len().saturating_sub(OBJECTS_MAX);
        let shown = found
            .into_iter()
            .take(OBJECTS_MAX)
            .map(|listed| Shown::of(listed, &state.store));
        Ok(json!({ "objects": value(shown.collect::<Vec<_>>()), "left_out": more }))
    })
    .await
}

pub(super) async fn object(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    blocking(state, |state| {
        let mut found = found(state, &selector(asked)?)?;
        match found.pop() {
            Some(listed) if found.is_empty() => Ok(value(Shown::of(listed, &state.store))),
            Some(_) => Err(Trouble::unclear(
                "these are several objects; /api/v1/objects lists them",
            )),
            None => Err(Trouble(
                StatusCode::NOT_FOUND,
                "this is not stored here".to_owned(),
            )),
        }
    })
    .await
}

pub(super) async fn purge(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    blocking(state, |state| {
        let meant = found(state, &selector(asked)?)?;
        let (mut objects, mut bytes) = (0, 0);
        for listed in meant {
            let purged = state.store.purge(&Filter::Content(listed.no));
            objects += purged.objects;
            bytes += purged.bytes;
        }
        tracing::info!("an administrator purged {objects} objects of {bytes} bytes");
        Ok(json!({ "objects": objects, "bytes": bytes }))
    })
    .await
}

pub(super) async fn pin(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    blocking(state, |state| {
        let selector = selector(asked)?;
        let pinned = selector
            .pinned
            .ok_or_else(|| Trouble::unclear("say pinned=true or pinned=false"))?;
        let meant = found(state, &selector)?;
        let changed: u64 = meant
            .iter()
            .map(|listed| state.store.pin(&Filter::Content(listed.no), pinned))
            .sum();
        let word = if pinned { "pinned" } else { "unpinned" };
        tracing::info!("an administrator {word} {changed} objects");
        Ok(json!({ "objects": changed, "pinned": pinned }))
    })
    .await
}

/// Reads what is stored of the objects and checks it. It asks for the token, since damaged pieces are forgotten.
pub(super) async fn verify(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    blocking(state, |state| {
        let meant = found(state, &selector(asked)?)?;
        // What waits to be written is on disk then.
        state.store.flush();
        let mut buf = LookBuf::default();
        let looked: Vec<Looked> = meant
            .into_iter()
            .map(|listed| super::verify::look(&state.store, listed, &mut buf))
            .collect();
        Ok(json!({ "objects": value(looked) }))
    })
    .await
}

/// Which hosts were refused and which were asked, each with how often and when last; both lists are bounded.
pub(super) async fn hosts(Of(state): Of<Arc<State>>) -> Response {
    let figures = state.origin.figures();
    let (refused, asked) = (figures.hosts_refused.list(), figures.hosts_asked.list());
    Json(json!({ "refused": value(refused), "asked": value(asked) })).into_response()
}

pub(super) async fn reload(Of(state): Of<Arc<State>>) -> Response {
    blocking(state, |state| {
        crate::reload::reload(state)
            .map(|done: Reloaded| value(done))
            .map_err(|problems| Trouble(StatusCode::UNPROCESSABLE_ENTITY, problems.to_string()))
    })
    .await
}

pub(super) async fn status(Of(state): Of<Arc<State>>) -> Response {
    blocking(state, |state| {
        let (config, store, readiness) = (
            state.config.load(),
            state.store.figures(),
            state.readiness(),
        );
        let shards = state.reports.iter().map(|report| {
            let driver = match report.driver {
                DriverKind::Ring => "io_uring",
                DriverKind::Epoll => "epoll",
            };
            json!({ "driver": driver, "has": report.describe, "advice": report.advice })
        });
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "site": config.site,
            "config_hash": format!("{:012x}", config.hash),
            "config_files": config.files,
            "started_unix": state.started_unix,
            "http": state.http,
            "https": state.https,
            "ready": readiness.ready,
            "reasons": readiness.reasons,
            "connections": state.connections(),
            "shards": shards.collect::<Vec<_>>(),
            "policy": value(&config.policy),
            "warnings": config.warnings,
            "disks": super::page::disks(state),
            "peering": super::page::peering(state),
            "memory": {
                "bytes_max": config.memory_bytes_max,
                "memory_tier_bytes": state.budget.ram_bytes,
                "frames_bytes_of_each_shard": state.budget.arena_bytes,
                "catalogue_bytes": state.budget.catalogue_bytes,
                "index_bytes": state.budget.index_bytes,
                "connections_bytes": state.budget.connection_bytes,
            },
            "store": {
                "paths": config.store_paths,
                "bytes": store.bytes,
                "piece_bytes": store.piece_bytes,
                "capacity_bytes": store.capacity_bytes,
                "objects": store.objects,
                "pieces": store.pieces,
                "memory_tier_bytes": store.ram_bytes,
                "corrupt_total": store.corrupt_total,
                "evictions_total": store.evictions_total,
                "io_errors_total": store.io_errors_total,
                "not_kept_total": store.not_kept_total,
            },
        }))
    })
    .await
}
