//! `POST /api/v1/pause`, `/api/v1/resume`, `/api/v1/cancel` and `/api/v1/log/flush`: what is done to downloads. The rule: what is meant is named
//! as for every change, and where nothing changes the answer says why.

use super::api::{Asked, Trouble, blocking, found, selector};
use crate::state::State;
use axum::extract::State as Of;
use axum::http::StatusCode;
use axum::response::Response;
use larder_storage::store::Listed;
use serde_json::json;
use std::sync::Arc;

/// What is done to one download: whether something has changed, or why it can not be.
type Done = Result<bool, String>;

pub(super) async fn pause(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    each(state, asked, "paused", |state, listed| {
        let Some(content) = state.store.by_no(listed.no) else {
            return Ok(false);
        };
        let paused = state.download.pause(&content);
        paused.map(|()| true).map_err(|not| not.to_string())
    })
    .await
}

pub(super) async fn resume(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    each(state, asked, "resumed", |state, listed| {
        match state.download.resume(listed.no) {
            true => Ok(true),
            false => Err("it is not paused".to_owned()),
        }
    })
    .await
}

pub(super) async fn cancel(Of(state): Of<Arc<State>>, asked: Asked) -> Response {
    each(state, asked, "cancelled", |state, listed| {
        let was_paused = state.download.paused().contains(&listed.no);
        match state.download.cancel(listed.no) {
            0 if !was_paused => Err("nothing of it is being downloaded".to_owned()),
            _ => Ok(true),
        }
    })
    .await
}

/// Does it to each that is meant. An error where none has changed, and one was named.
async fn each(
    state: Arc<State>,
    asked: Asked,
    word: &'static str,
    act: impl Fn(&State, &Listed) -> Done + Send + 'static,
) -> Response {
    blocking(state, move |state| {
        let selector = selector(asked)?;
        let meant = found(state, &selector)?;
        let (mut changed, mut why_not) = (Vec::new(), None);
        for listed in meant {
            match act(state, &listed) {
                Ok(true) => changed.push(listed.record.url.clone()),
                Ok(false) => {}
                Err(why) => why_not = Some(format!("{}: {why}", listed.record.url)),
            }
        }
        let names_one = selector.url.is_some() || selector.content.is_some();
        if changed.is_empty() && names_one {
            return Err(match why_not {
                Some(why) => Trouble(StatusCode::CONFLICT, why),
                None => Trouble(
                    StatusCode::NOT_FOUND,
                    "nothing of this is here, and nothing of it is being downloaded".to_owned(),
                ),
            });
        }
        for url in &changed {
            tracing::info!(%url, "an administrator {word} a download");
            let message = format!("an administrator {word} the download of {url}");
            state.journal.note("Administrator", message);
        }
        Ok(json!({ "downloads": changed.len(), "urls": changed }))
    })
    .await
}

/// Writes what has happened and is not yet in the log of downloads.
pub(super) async fn flush_log(Of(state): Of<Arc<State>>) -> Response {
    blocking(state, |state| {
        state.gather_clients();
        state.journal.look(state);
        Ok(json!({ "flushed": true }))
    })
    .await
}
