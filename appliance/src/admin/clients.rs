//! `GET /api/v1/clients`: who is served, who seems to have left, and why. The rule: an address leaves here only as
//! `[privacy]` says, and what a cache can not know is called unknown.

use crate::state::State;
use axum::Json;
use axum::extract::State as Of;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use larder_net::clients::{CLIENTS_MAX, name};
use larder_proto::clients::{Ban, Client, Refused};
use larder_proto::time::{Time, UnixSecs};
use larder_storage::store::Store;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One row: a client, or all of a network where `[privacy]` shows no more.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    client: String,
    /// Addresses in this row.
    addresses: u64,
    first_seen_unix: UnixSecs,
    last_seen_unix: UnixSecs,
    requests: u64,
    bytes_from_store: u64,
    bytes_fetched: u64,
    bytes_as_peer: u64,
    peer_connections: u64,
    errors: Errors,
    /// What it was sent last.
    object: Option<String>,
    /// What it seems to get elsewhere: that of the last one to leave, where the row is of several.
    banned: Option<Banned>,
    /// Why some of what it wants may not come from here, in words.
    skips: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Errors {
    refused_hosts: u64,
    client_errors: u64,
    server_errors: u64,
    cut_here: u64,
    left_by_client: u64,
    tls_failed: u64,
    not_cached: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Banned {
    /// For what host; none where it is for all.
    host: Option<String>,
    since_unix: UnixSecs,
    until_unix: UnixSecs,
    why: String,
}

pub(super) async fn clients(Of(state): Of<Arc<State>>) -> Response {
    let shown = tokio::task::spawn_blocking(move || {
        state.gather_clients();
        answer(&state)
    });
    match shown.await {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let words = format!("this failed inside larder: {error}");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                Json(json!({ "error": words })),
            )
                .into_response()
        }
    }
}

fn answer(state: &State) -> serde_json::Value {
    let seen = state.config.load().seen;
    let (now, unix) = (state.clock.now(), state.clock.unix());
    let book = state.figures.clients.look();
    let (forgotten, known) = (book.forgotten(), book.len());
    // Looked up without the lock, since a name may have to be read.
    let all: Vec<_> = book
        .clients()
        .map(|(from, client)| (from, client.clone()))
        .collect();
    drop(book);
    let mut rows: BTreeMap<String, Shown> = BTreeMap::new();
    for (from, client) in all {
        let shown = name(from, seen.clients);
        let row = rows.entry(shown).or_default();
        add(row, &client, &state.store, (now, unix));
    }
    let mut rows: Vec<Shown> = rows
        .into_iter()
        .map(|(client, row)| Shown { client, ..row })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.last_seen_unix));
    json!({
        "now_unix": unix,
        "privacy": { "clients": seen.clients.word(), "retention_hours": seen.retention_hours },
        "known": known,
        "known_max": CLIENTS_MAX,
        "made_room": forgotten,
        "clients": rows,
        "never_connected": {
            "clients": "unknown",
            "why": "a client that never connects can not be seen from here; look on it for DOCacheHost, the DHCP \
                    option or DNS-SD, and for what lies between it and this port",
        },
    })
}

fn add(row: &mut Shown, client: &Client, store: &Store, (now, unix): (Time, UnixSecs)) {
    let at = |moment: Time| unix.saturating_sub(now.since(moment).as_secs());
    let (first, last) = (at(client.first), at(client.last));
    row.first_seen_unix = match row.addresses {
        0 => first,
        _ => row.first_seen_unix.min(first),
    };
    row.addresses += 1;
    row.requests += client.requests;
    row.bytes_from_store += client.bytes_stored;
    row.bytes_fetched += client.bytes_fetched;
    row.bytes_as_peer += client.bytes_as_peer;
    row.peer_connections += client.peerings;
    let errors = &mut row.errors;
    errors.refused_hosts += client.refused_hosts;
    errors.client_errors += client.client_errors;
    errors.server_errors += client.server_errors;
    errors.cut_here += client.cut;
    errors.left_by_client += client.left;
    errors.tls_failed += client.tls_failed;
    errors.not_cached += client.bypassed;
    let record = |no| store.by_no(no);
    if last >= row.last_seen_unix {
        row.last_seen_unix = last;
        let object = client.content.and_then(record);
        row.object = object.map(|content| content.record().url.clone());
    }
    let host_of = |no| record(no).map(|content| content.record().host.clone());
    if let Some(ban) = client.banned(now, host_of) {
        let until_unix = unix + ban.until().since(now).as_secs();
        let is_later = |known: &Banned| known.until_unix <= until_unix;
        if row.banned.as_ref().is_none_or(is_later) {
            row.banned = Some(Banned {
                host: ban.host.as_deref().map(str::to_owned),
                since_unix: at(ban.since),
                until_unix,
                why: ban.why.words(),
            });
        }
    }
    for why in skips(client) {
        if !row.skips.contains(&why) {
            row.skips.push(why);
        }
    }
}

/// What is known from here of why a client gets things elsewhere.
fn skips(client: &Client) -> Vec<String> {
    let mut skips = Vec::new();
    if let Some(host) = &client.refused_host {
        skips.push(format!(
            "it asks for {host}, which is not on the list of [origins] allow"
        ));
    }
    if let Some(Ban {
        why: why @ (Refused::Status(_) | Refused::TooSlow),
        ..
    }) = &client.ban
    {
        skips.push(why.words());
    }
    if client.tls_failed > 0 && client.requests == 0 {
        skips.push(
            "it came to no terms by TLS: it may not trust the certificate, or asks for a name that is not in it"
                .to_owned(),
        );
    }
    if client.bypassed > 0 {
        skips.push("some of what it asks for may not be cached and is passed through".to_owned());
    }
    if client.cut > 0 || client.server_errors > 0 {
        skips.push(
            "it got errors, after each of which the rest of a download comes from the WAN"
                .to_owned(),
        );
    }
    if client.left > 0 {
        skips.push("it broke off answers, for a reason that is unknown here".to_owned());
    }
    if client.peerings > 0 && client.requests == 0 {
        skips.push(
            "it takes pieces as a peer and asks for nothing by HTTP; whether it knows of this cache host is unknown"
                .to_owned(),
        );
    }
    skips
}
