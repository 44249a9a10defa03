//! `POST /api/v1/warm`: one step of filling the store with an object. The rule: a step is bounded in bytes and time,
//! and whoever wants the whole object asks for one step after the other; so one that goes away ends it, nothing is
//! remembered between steps, and the next one goes on where the store shows that the last one was.

use crate::state::State;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Of};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_content::{ContentNo, UrlKey};
use larder_net::download::{Bring, NotBrought};
use larder_proto::http::route::{Refusal, direct};
use larder_storage::flight::FlightError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// What one step asks for at most, and where nothing else is said.
const STEP_BYTES_MAX: u64 = 64 << 20;

/// How long one step may wait for an origin, or for room beside the clients.
const WITHIN: Duration = Duration::from_secs(30);

/// So many objects at a time at most.
const TURNS: usize = 16;

/// Steps at work: of one object one at a time, and a few of all. What is one turn's is told by the key alone, so that
/// no list of them grows.
#[derive(Debug, Default)]
pub(crate) struct Warming([Mutex<()>; TURNS]);

impl Warming {
    async fn turn(&self, key: &UrlKey) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = hasher.finish() % TURNS as u64;
        match self.0.get(usize::try_from(at).unwrap_or(0)) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// The object, as clients know it.
    url: String,
    /// The version that the last step found.
    content: Option<String>,
    /// The piece that the last step named.
    #[serde(default)]
    from: u32,
    /// About so many bytes are asked for.
    #[serde(default = "most")]
    bytes_max: u64,
    /// Bytes that are to stay in the store beside all of the object.
    #[serde(default)]
    beside: u64,
}

const fn most() -> u64 {
    STEP_BYTES_MAX
}

/// What came of a step that went well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Warmed {
    /// The number of the version that the URL names now.
    pub(crate) content: String,
    /// Bytes in it.
    pub(crate) length: u64,
    /// The piece to go on with; none where all of it is there.
    pub(crate) next: Option<u32>,
    /// Bytes that came over the line meanwhile.
    pub(crate) fetched: u64,
    /// Why not all that was asked for came.
    pub(crate) unfinished: Option<String>,
    /// The clients needed the line, so it is to be asked again.
    pub(crate) busy: bool,
}

/// A step that brought nothing, in words, with whether it may go well later.
fn trouble(status: u16, words: &str, may_pass: bool) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (
        status,
        Json(json!({ "error": words, "may_pass": may_pass })),
    )
        .into_response()
}

pub(super) async fn warm(
    Of(state): Of<Arc<State>>,
    asked: Result<Query<Step>, QueryRejection>,
) -> Response {
    let step = match asked {
        Ok(Query(step)) => step,
        Err(error) => {
            let words = format!(
                "{}; the parameters are url, content, from, bytes_max and beside",
                error.body_text()
            );
            return trouble(400, &words, false);
        }
    };
    let route = match direct(&step.url, &state.settings.load().rules) {
        Ok(route) => route,
        Err(refusal @ Refusal::Forbidden { .. }) => {
            let words = format!("{refusal}; [origins] allow lists the hosts that may be asked");
            return trouble(403, &words, false);
        }
        Err(why) => {
            let words = format!("{why}; write it as clients know it: http://host/path");
            return trouble(400, &words, false);
        }
    };
    let version = step.content.as_deref();
    let version = version.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let _turn = state.warming.turn(&route.identity.key).await;
    let brought = state.download.bring(Bring {
        route: Arc::new(route),
        version: version.filter(|no| *no != 0).map(ContentNo::new),
        from: step.from,
        bytes_max: step.bytes_max.min(STEP_BYTES_MAX),
        beside_bytes: step.beside,
        within: WITHIN,
    });
    match brought.await {
        Ok(brought) => Json(Warmed {
            content: brought.version.to_string(),
            length: brought.length_bytes,
            next: Some(brought.next).filter(|next| *next < brought.pieces),
            fetched: brought.fetched_bytes,
            unfinished: brought.unfinished.map(|error| error.to_string()),
            busy: brought.unfinished == Some(FlightError::Overloaded),
        })
        .into_response(),
        Err(not) => {
            let (status, words) = told(&not);
            trouble(status, &words, not.may_pass())
        }
    }
}

fn told(not: &NotBrought) -> (u16, String) {
    match not {
        NotBrought::Origin { status } => (502, format!("the origin answers {status}")),
        NotBrought::Refused { status, reason } => (*status, reason.clone()),
        NotBrought::Unstorable => (
            422,
            "what the origin answers may not or can not be stored".to_owned(),
        ),
        NotBrought::TooLarge {
            length_bytes,
            capacity_bytes,
        } => (
            507,
            format!(
                "its {length_bytes} bytes do not fit in the store, which holds {capacity_bytes}, beside what was warmed \
                 before it"
            ),
        ),
        NotBrought::NotKept => (
            507,
            "it came and the store did not keep it; /readyz says whether the store is degraded"
                .to_owned(),
        ),
        NotBrought::Closing => (503, "larder is stopping".to_owned()),
    }
}
