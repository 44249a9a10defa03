//! Every way that is known of naming an origin which is not allowed, through a running appliance. The rule: a hook at
//! the resolver and the sockets sees each address that is tried, and only the allowed origin's may ever be among them.

#[path = "../rig/mod.rs"]
mod rig;
mod stand;
mod table;

use rig::fetch::Get;
use stand::{ALLOWED, REBINDING, Stand, pack};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use table::{Allowed, Forbidden, NoUrl, ODD_TARGETS, Verdict, table};

fn fits(verdict: Verdict, status: u16) -> bool {
    match verdict {
        Forbidden => status == 403,
        // A byte that no request may hold is found before anything else.
        NoUrl => matches!(status, 400 | 403 | 505),
        Allowed => status == 200,
    }
}

/// A request that names its origin in one of the forms.
type Spelled<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn only_the_allowed_origin_is_ever_connected() {
    let stand = Stand::start();
    let table = table(&stand.traps);
    let urls: BTreeSet<&str> = table.iter().map(|(url, _)| url.as_str()).collect();
    assert!(urls.len() >= 200, "{} URLs", urls.len());
    let forms: [(&str, Spelled<'_>); 5] = [
        ("Host", &|a| format!("GET /p HTTP/1.1\r\nHost: {a}\r\n\r\n")),
        ("absolute", &|a| {
            format!("GET http://{a}/p HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n")
        }),
        ("absolute, handed over", &|a| {
            format!("GET http://{a}/p HTTP/1.1\r\nHost: {a}\r\nAuthorization: Basic eA==\r\n\r\n")
        }),
        ("cacheHostOrigin", &|a| {
            format!("GET /p?cacheHostOrigin={a} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n")
        }),
        ("cacheHostOrigin, with a body", &|a| {
            format!(
                "POST /p?cacheHostOrigin={a} HTTP/1.1\r\nHost: {ALLOWED}\r\nContent-Length: 1\r\n\r\nx"
            )
        }),
    ];
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<(&str, u16), u32> = BTreeMap::new();
    let mut refused = 0;
    for (form, request) in forms {
        for (authority, verdict) in &table {
            let status = stand.status(&request(authority));
            // The port in a Host field is larder's own as often as not: the name alone decides.
            let name = authority.split(':').next().unwrap_or("");
            let is_allowed = name.trim_end_matches('.').eq_ignore_ascii_case(ALLOWED);
            let verdict = match verdict {
                Forbidden if form == "Host" && is_allowed => Allowed,
                verdict => *verdict,
            };
            *counts.entry((form, status)).or_default() += 1;
            refused += u32::from(status == 403);
            let strayed = stand.strayed();
            if !fits(verdict, status) || !strayed.is_empty() {
                wrong.push(format!(
                    "{form} {authority:?}: {status} instead of {verdict:?}, tried {strayed:?}"
                ));
            }
        }
    }
    for target in ODD_TARGETS {
        let status = stand.status(&format!("GET {target} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
        *counts.entry(("odd target", status)).or_default() += 1;
        let strayed = stand.strayed();
        let served = status == 200 && target == "//";
        if !(matches!(status, 400 | 403) || served) || !strayed.is_empty() {
            wrong.push(format!("target {target:?}: {status}, tried {strayed:?}"));
        }
    }
    rig::tell(&format!(
        "{} URLs in five forms, {} odd targets: {counts:?}",
        urls.len(),
        ODD_TARGETS.len()
    ));
    assert!(
        wrong.is_empty(),
        "{} mismatches:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    stand.all_is_closed();

    let counted = stand.metric("larder_http_refused_hosts_total")
        + stand.metric("larder_origin_refused_total");
    assert!(
        counted >= f64::from(refused),
        "{counted} of {refused} are counted"
    );
    let hosts = Get::new(stand.appliance.admin(), "/api/v1/hosts")
        .run()
        .expect("an answer");
    let listed = String::from_utf8(hosts.body).expect("text");
    assert_eq!(hosts.status, 200, "{listed}");
    let odd = format!("0x7f.1:{}", stand.traps[0].address.port());
    for host in [odd.as_str(), "loop.inside.example", ALLOWED] {
        assert!(
            listed.contains(&format!("{host:?}")),
            "{host} is missing in {listed}"
        );
    }
    let metrics = stand.appliance.metrics();
    assert!(
        !metrics.contains("0x7f") && !metrics.contains("inside"),
        "a host is a label"
    );
    stand.appliance.stop(Duration::ZERO);
}

#[test]
fn redirects_are_judged_at_every_hop() {
    let stand = Stand::start();
    let table = table(&stand.traps);
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<(u32, u16), u32> = BTreeMap::new();
    for (nth, (authority, verdict)) in table.iter().enumerate() {
        let location = pack(&format!("http://{authority}/p"));
        // Every hop for some, the edges for all.
        let hops: &[u32] = match nth % 10 {
            0 => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            _ => &[1, 10, 11],
        };
        for hop in hops {
            let path = format!("/to/{hop}/{location}");
            let status = stand.status(&format!("GET {path} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"));
            *counts.entry((*hop, status)).or_default() += 1;
            let right = match (hop, verdict) {
                // More than ten are followed nowhere.
                (11.., _) => status == 502,
                // What is no URL is a fault of the origin.
                (_, NoUrl) => matches!(status, 403 | 502),
                _ => fits(*verdict, status),
            };
            let strayed = stand.strayed();
            if !right || !strayed.is_empty() {
                wrong.push(format!(
                    "hop {hop} {authority:?}: {status} instead of {verdict:?}, tried {strayed:?}"
                ));
            }
        }
    }
    rig::tell(&format!("{} redirects' targets: {counts:?}", table.len()));
    assert!(
        wrong.is_empty(),
        "{} mismatches:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    stand.all_is_closed();
    assert!(stand.metric("larder_origin_refused_total") >= 200.0);
    stand.appliance.stop(Duration::ZERO);
}

#[test]
fn a_name_that_changes_its_address_gains_nothing() {
    let stand = Stand::start();
    // The first answer is public, every later one is this machine: each connection is judged by its own answer.
    let statuses: Vec<u16> = (0..6)
        .map(|n| {
            let close = "Connection: close\r\n";
            stand.status(&format!(
                "GET /keep{n} HTTP/1.1\r\nHost: {REBINDING}\r\n{close}\r\n"
            ))
        })
        .collect();
    assert_eq!(stand.strayed(), []);
    assert_eq!(statuses[0], 200, "{statuses:?}");
    // The connection that was allowed may be used again, and new ones may not be opened.
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 403)),
        "{statuses:?}"
    );
    let by_redirect = stand.status(&format!(
        "GET /to/1/{} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n",
        pack(&format!("http://{REBINDING}:80/x"))
    ));
    assert!(matches!(by_redirect, 200 | 403));
    // A request with a body never goes over a connection that was open already.
    let posted = stand.status(&format!(
        "POST /x HTTP/1.1\r\nHost: {REBINDING}\r\nContent-Length: 1\r\n\r\nx"
    ));
    assert_eq!(posted, 403);
    assert_eq!(stand.strayed(), []);
    stand.all_is_closed();
    stand.appliance.stop(Duration::ZERO);
}
