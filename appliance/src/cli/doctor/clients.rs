//! Clients that pass the cache by, and why, as far as a cache can know. The rule: it is the appliance's own book that is
//! told, with addresses as its settings show them.

use super::finding::{Told, fair, good};
use super::patient::Patient;
use crate::cli::table::bytes;
use serde_json::Value;

/// Hosts that are named in a line; `/api/v1/hosts` has all.
const HOSTS_MAX: usize = 5;
/// Clients that have a line of their own; `/api/v1/clients` has all.
const CLIENTS_MAX: usize = 10;

/// Hosts that clients asked for in vain: content that passes the cache by.
pub(super) fn hosts(patient: &Patient) -> Vec<Told> {
    let Some(hosts) = patient.hosts() else {
        return Vec::new();
    };
    let Some(refused) = hosts.get("refused").and_then(|list| list.as_array()) else {
        return Vec::new();
    };
    if refused.is_empty() {
        return vec![good("none since its start")];
    }
    let shown = refused.iter().take(HOSTS_MAX).filter_map(|met| {
        let (host, why) = (met.get("host")?.as_str()?, met.get("why")?.as_str()?);
        Some(format!("{host} ({} times; {why})", met.get("count")?))
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    vec![fair(
        format!("{}: {shown}", refused.len()),
        "add to [origins] allow what clients should get from here",
    )]
}

pub(super) fn skips(patient: &Patient) -> Vec<Told> {
    let Some(book) = patient.clients() else {
        return Vec::new();
    };
    let now = number(&book, "now_unix");
    let rows = book.get("clients").and_then(|rows| rows.as_array());
    // Who only looked whether a port is open, as this program does, is no client.
    let is_client = |row: &&Value| number(row, "requests") > 0 || skips_it(row);
    let rows: Vec<&Value> = rows.into_iter().flatten().filter(is_client).collect();
    if rows.is_empty() {
        return vec![fair(
            "nobody has asked this one for anything since its start",
            "point clients at it: DOCacheHost by policy, DHCP option 235 or DNS-SD; and see that they reach its port",
        )];
    }
    let skipping: Vec<&Value> = rows.iter().copied().filter(|row| skips_it(row)).collect();
    let mut told: Vec<Told> = skipping
        .iter()
        .take(CLIENTS_MAX)
        .map(|row| one(row, now))
        .collect();
    let more = skipping.len().saturating_sub(CLIENTS_MAX);
    if more > 0 {
        told.push(fair(
            format!("{more} more seem to get things elsewhere"),
            "`curl -s` of /api/v1/clients at the admin address has all of them",
        ));
    }
    if told.is_empty() {
        told.push(good(format!(
            "{} seen, and none seems to get things elsewhere",
            rows.len()
        )));
    }
    told
}

fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn words_of(row: &Value) -> Vec<&str> {
    let skips = row.get("skips").and_then(|skips| skips.as_array());
    skips
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn banned(row: &Value) -> Option<&Value> {
    row.get("banned").filter(|banned| banned.is_object())
}

/// It has left, or gets errors: that it broke off an answer, or takes part as a peer, is no more than a way of clients.
fn skips_it(row: &Value) -> bool {
    let errors = row.get("errors");
    let of = |name| errors.map_or(0, |errors| number(errors, name));
    banned(row).is_some()
        || of("refused_hosts") + of("server_errors") + of("cut_here") + of("tls_failed") > 0
}

fn one(row: &Value, now: u64) -> Told {
    let client = row.get("client").and_then(Value::as_str).unwrap_or("?");
    let errors = row.get("errors").and_then(Value::as_object);
    let errors: u64 = errors
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    let mut found = format!(
        "last seen {} ago, {} requests, {} out of the store and {} fetched, {errors} errors",
        ago(now.saturating_sub(number(row, "last_seen_unix"))),
        number(row, "requests"),
        bytes(number(row, "bytes_from_store")),
        bytes(number(row, "bytes_fetched")),
    );
    let mut why = words_of(row);
    if let Some(banned) = banned(row) {
        let host = banned.get("host").and_then(Value::as_str);
        let what = host.map_or_else(|| "everything".to_owned(), str::to_owned);
        let cause = banned
            .get("why")
            .and_then(Value::as_str)
            .unwrap_or("why is not known");
        found.push_str(&format!(
            "; it seems to leave this cache alone for {what} for {} more, since {cause}",
            ago(number(banned, "until_unix").saturating_sub(now))
        ));
    }
    if why.is_empty() {
        why.push("nothing more is known here");
    }
    fair(format!("{found}; {}", why.join("; ")), advice(row)).about(format!("client {client}"))
}

fn advice(row: &Value) -> &'static str {
    let of = |name| row.get("errors").map_or(0, |errors| number(errors, name));
    if of("refused_hosts") > 0 {
        "add the host to [origins] allow if clients should get it from here"
    } else if of("tls_failed") > 0 {
        "see `certificate` and `certificate-name`, and that the client trusts its authority"
    } else if of("server_errors") + of("cut_here") > 0 {
        "see `ranges` and `origin-names` for the way to the origins, and the log for what went wrong"
    } else {
        "see the log for what it was answered; it comes back by itself"
    }
}

/// Seconds in words.
fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_that_has_left_is_told_with_until_when_and_why() {
        let row = json!({
            "client": "10.1.2.3", "last_seen_unix": 940, "requests": 3, "bytes_from_store": 2048, "bytes_fetched": 0,
            "errors": { "refused_hosts": 1, "client_errors": 0, "server_errors": 0, "cut_here": 0, "tls_failed": 0 },
            "banned": { "host": "a.example", "since_unix": 940, "until_unix": 1840, "why": "it was refused" },
            "skips": ["it asks for a.example"],
        });
        assert!(skips_it(&row));
        let told = one(&row, 1000);
        assert_eq!(told.about.as_deref(), Some("client 10.1.2.3"));
        assert_eq!(
            told.found,
            "last seen 60 s ago, 3 requests, 2.0 KiB out of the store and 0 B fetched, 1 errors; it seems to leave this \
             cache alone for a.example for 14 min more, since it was refused; it asks for a.example"
        );
        assert!(told.advice.expect("some").contains("[origins] allow"));
        assert!(!skips_it(
            &json!({ "client": "10.1.2.4", "errors": { "left_by_client": 3 } })
        ));
    }
}
