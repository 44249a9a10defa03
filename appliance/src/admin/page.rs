//! The page at `/` of the admin address, and what it alone asks for. The rule: it is one file that loads nothing, and the
//! browser is told to run just what is in it; what it shows of others' making is text, whatever stands in it.

use super::objects::Shown;
use crate::state::State;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Of};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use larder_content::base64;
use larder_content::hash::of_piece;
use larder_net::swarm::Swarm;
use larder_storage::store::Filter;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

const PAGE: &str = include_str!("page.html");

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Objects in one answer to a search, where the asker says nothing, and at most.
const FOUND: usize = 100;
const FOUND_MAX: usize = 1000;

pub(super) async fn page() -> Response {
    static POLICY: OnceLock<String> = OnceLock::new();
    let policy = POLICY.get_or_init(policy).as_str();
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
    ];
    (headers, PAGE).into_response()
}

/// Only the script and the style of the page are run, it talks to larder alone, it is shown in no frame, and no text
/// can be made into elements (`require-trusted-types-for`).
fn policy() -> String {
    let hash = |tag: &str| {
        let inside = between(PAGE, &format!("<{tag}>"), &format!("</{tag}>"));
        format!("'sha256-{}'", base64::encode(&of_piece(inside.as_bytes())))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash("script"),
        hash("style")
    )
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(begin).unwrap_or(("", ""));
    rest.split_once(end).map_or("", |(inside, _)| inside)
}

/// What is searched for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    /// A part of a URL, in any case; all objects where it is empty.
    #[serde(default)]
    text: String,
    limit: Option<usize>,
}

/// The objects whose URL has a text in it, those first that were stored last.
pub(super) async fn search(
    Of(state): Of<Arc<State>>,
    asked: Result<Query<Search>, QueryRejection>,
) -> Response {
    let search = match asked {
        Ok(Query(search)) => search,
        Err(error) => {
            let words = format!("{}; the parameters are text and limit", error.body_text());
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": words }))).into_response();
        }
    };
    let found = tokio::task::spawn_blocking(move || find(&state, &search)).await;
    match found {
        Ok(found) => Json(found).into_response(),
        Err(error) => {
            let words = format!("this failed inside larder: {error}");
            let told = Json(json!({ "error": words }));
            (StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
        }
    }
}

fn find(state: &State, search: &Search) -> Value {
    let wanted = search.text.to_ascii_lowercase();
    let mut found = state.store.list(&Filter::All);
    found.retain(|listed| listed.record.url.to_ascii_lowercase().contains(&wanted));
    found.sort_by_key(|listed| (std::cmp::Reverse(listed.record.stored_at), listed.no));
    let matching = found.len();
    found.truncate(search.limit.unwrap_or(FOUND).min(FOUND_MAX));
    let shown = found
        .into_iter()
        .map(|listed| Shown::of(listed, &state.store));
    json!({ "matching": matching, "objects": shown.collect::<Vec<_>>() })
}

/// The disks of the store, with what the system says of them.
pub(super) fn disks(state: &State) -> Value {
    let config = state.config.load();
    let disks = config.store_paths.iter().map(|path| {
        let told = rustix::fs::statvfs(path).ok();
        let bytes = |blocks: u64, told: &rustix::fs::StatVfs| blocks.saturating_mul(told.f_frsize);
        json!({
            "path": path,
            "bytes": told.as_ref().map(|told| bytes(told.f_blocks, told)),
            "free_bytes": told.as_ref().map(|told| bytes(told.f_bavail, told)),
        })
    });
    disks.collect()
}

/// Where this appliance stands among peers.
pub(super) fn peering(state: &State) -> Value {
    let swarm = state.swarm.get();
    json!({
        "mode": u8::from(state.settings.load().policies.mode),
        "group": swarm.and_then(Swarm::group),
        "listening": state.peer,
        "coordinator_answers": swarm.and_then(Swarm::coordinator_answers),
        "coordinator_at": state.coordinator_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_makes_no_elements_of_text() {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "http-equiv",
            "src=",
            "@import",
            " style=",
            " onclick=",
            "https://",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden} is in the page");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(PAGE.matches("<style").count(), 1);
        assert!(!between(PAGE, "<script>", "</script>").is_empty());
        let style = between(PAGE, "<style>", "</style>");
        assert!(!style.is_empty());
        assert!(!style.contains("url("), "the style loads something");
    }
}
