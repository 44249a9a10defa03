//! The way to the origins, tried out. The rule: one byte is asked for as an appliance would ask, and no more than the head
//! of the answer is read.

use super::finding::{Grade, Told, bad, fair, good, sentence};
use super::patient::Patient;
use crate::config::Checked;
use arc_swap::ArcSwap;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, RANGE};
use larder_net::clock::Clock;
use larder_net::metrics::Figures;
use larder_net::origin::{OriginClient, OriginError, OriginRequest};
use larder_proto::date::parse_http_date;
use larder_proto::http::proxy::{RangeEvidence, Ranged};
use larder_proto::http::route::route;
use larder_proto::time::UnixSecs;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the vendor lets administrators ask for to test a cache host (facts: clients 1.7).
pub(super) const PROBE: &str = "http://au.download.windowsupdate.com/mscomtest/wuidt.gif";
const ASKED: &[u8] = b"bytes=0-0";
/// Objects of clients that are tried besides.
const OBJECTS_MAX: usize = 3;

/// What came of asking for one byte of an object.
pub(super) struct Probed {
    pub(super) origin: String,
    /// The origin's clock and this machine's, at the same moment.
    pub(super) clock: Option<(UnixSecs, UnixSecs)>,
    told: Told,
    /// It is an object that must be there: of the command line, or one that a client got.
    certain: bool,
    by_proxy: bool,
}

/// What was tried, by whoever wants to know first.
pub(super) fn probed(patient: &Patient) -> &[Probed] {
    patient.probed.get_or_init(|| {
        let Some(config) = &patient.config else {
            return Vec::new();
        };
        // This asks the appliance, so not within what waits below.
        let urls = urls(patient);
        let tried = patient.wait(async {
            let settings = Arc::new(ArcSwap::from_pointee(config.settings.clone()));
            let client = OriginClient::new(settings, Arc::new(Figures::new()));
            let mut asked = tokio::task::JoinSet::new();
            for (number, (url, certain)) in urls.into_iter().enumerate() {
                let (client, config) = (client.clone(), config.clone());
                asked.spawn(async move { (number, one(&client, &config, &url, certain).await) });
            }
            let mut tried = asked.join_all().await;
            tried.sort_by_key(|(number, _)| *number);
            tried.into_iter().map(|(_, probed)| probed).collect()
        });
        tried.unwrap_or_default()
    })
}

/// The objects to try with, each with whether it must be there.
fn urls(patient: &Patient) -> Vec<(String, bool)> {
    if let Some(probe) = &patient.probe {
        return vec![(probe.clone(), true)];
    }
    let clients = patient.clients().unwrap_or_default();
    let rows = clients.get("clients").and_then(|rows| rows.as_array());
    let objects = rows
        .into_iter()
        .flatten()
        .filter_map(|row| row.get("object")?.as_str());
    let mut hosts = BTreeSet::new();
    let of_other_hosts =
        objects.filter(|url| hosts.insert(url.split('/').nth(2).map(str::to_owned)));
    let got: Vec<_> = of_other_hosts
        .take(OBJECTS_MAX)
        .map(|url| (url.to_owned(), true))
        .collect();
    got.into_iter().chain([(PROBE.to_owned(), false)]).collect()
}

async fn one(client: &OriginClient, config: &Checked, url: &str, certain: bool) -> Probed {
    let rules = &config.settings.rules;
    let mut probed = Probed {
        origin: url.split('/').nth(2).unwrap_or(url).to_owned(),
        clock: None,
        told: good(""),
        certain,
        by_proxy: false,
    };
    let asked = match route(url, None, false, rules) {
        Ok(route) => route.to_owned(),
        Err(refusal) => {
            let words = format!("not tried, since {refusal} ({url})");
            probed.told = fair(words, "name an object of one that is by --probe");
            return probed;
        }
    };
    let origin = &asked.origin;
    let proxy = config.settings.proxy.as_ref().map(|proxy| &proxy.rules);
    let proxy = proxy.filter(|proxy| {
        rules.connect_to(&origin.host).is_none() && proxy.serves(&origin.host, origin.port)
    });
    let way = proxy.map_or_else(|| origin.to_string(), |proxy| proxy.authority());
    probed.by_proxy = proxy.is_some();
    probed.origin = origin.to_string();
    let mut request = OriginRequest::get(origin.clone(), asked.target);
    request
        .headers
        .insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    probed.told = match client.send(request).await {
        Err(error) => failed(&error, certain),
        Ok(answer) => {
            probed.clock = clock(&answer.headers);
            judge(&way, probed.by_proxy, url, answer.status, &answer.headers)
        }
    };
    probed
}

fn failed(error: &OriginError, certain: bool) -> Told {
    let told = sentence(Grade::Bad, &error.to_string());
    let advice = told.advice.clone().unwrap_or_else(|| {
        "see the line to it, DNS and the firewall (`curl -v`); name another object by --probe"
            .to_owned()
    });
    // A branch office may have no way to the vendor, and get all from a server of its own.
    let blames_proxy = matches!(
        error,
        OriginError::Proxy { .. }
            | OriginError::ProxyLogin { .. }
            | OriginError::ProxyTunnel { .. }
    );
    match certain || blames_proxy {
        true => bad(told.found, advice),
        false => fair(told.found, advice),
    }
}

/// The moment at which an answer was made, as its origin told it, and as it is here.
fn clock(headers: &HeaderMap) -> Option<(UnixSecs, UnixSecs)> {
    let date = parse_http_date(headers.get(DATE)?.as_bytes())?;
    let age = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
    Some((date + age.unwrap_or(0), Clock::start().unix()))
}

fn judge(way: &str, by_proxy: bool, url: &str, status: StatusCode, headers: &HeaderMap) -> Told {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let ranged = Ranged {
        range: ASKED,
        conditional: false,
        status: status.as_u16(),
        accept_ranges: headers.get(ACCEPT_RANGES).map(HeaderValue::as_bytes),
        length: length.and_then(|text| text.parse().ok()),
    };
    match ranged.evidence() {
        RangeEvidence::Kept if by_proxy => good(format!("{way} lets them through ({url})")),
        RangeEvidence::Kept => good(format!("{way} gives them ({url})")),
        RangeEvidence::Dropped => {
            let found = format!(
                "{way} takes them out of requests ({url} came whole), so that whole objects cross the line for a piece of them"
            );
            bad(
                found,
                match by_proxy {
                    true => {
                        "let Range through for larder (in Squid: no `request_header_access Range deny`)"
                    }
                    false => {
                        "something between takes them out: name it by [origins] proxy, or let Range through it"
                    }
                },
            )
        }
        RangeEvidence::None if status == StatusCode::OK => fair(
            format!(
                "{way} ignores them ({url} came whole), so that whole objects cross the line for a piece of them"
            ),
            "nothing, where that origin is made so; name an object of another by --probe",
        ),
        RangeEvidence::None => fair(
            format!("not known: {url} is answered {status}, without a range"),
            "name another object by --probe",
        ),
    }
}

/// The worst that is certain, or the best of what is not.
pub(super) fn kept(patient: &Patient) -> Vec<Told> {
    let by_proxy = patient
        .config
        .as_ref()
        .is_some_and(|config| config.settings.proxy.is_some());
    let about = match by_proxy {
        true => "byte ranges through the proxy",
        false => "byte ranges from the origins",
    };
    let tried = probed(patient);
    let bad = tried.iter().find(|one| one.told.grade == Grade::Bad);
    let good = tried
        .iter()
        .find(|one| one.told.grade == Grade::Good && one.by_proxy == by_proxy);
    let certain = tried.iter().find(|one| one.certain);
    let chosen = bad.or(good).or(certain).or(tried.first());
    chosen
        .map(|one| one.told.clone().about(about))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_the_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5000"));
        let grade = |status, headers: &HeaderMap| judge("p:1", true, "u", status, headers).grade;
        assert_eq!(grade(StatusCode::PARTIAL_CONTENT, &headers), Grade::Good);
        assert_eq!(grade(StatusCode::OK, &headers), Grade::Fair);
        assert_eq!(grade(StatusCode::NOT_FOUND, &headers), Grade::Fair);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        assert_eq!(grade(StatusCode::OK, &headers), Grade::Bad);
    }
}
