//! The way through the upstream proxy, tried out. The rule: one byte is asked for as an appliance would ask, and no
//! more than the head of the answer is read.

use super::{Bad, Fair, Finding, Good, finding};
use crate::config::Checked;
use arc_swap::ArcSwap;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE};
use larder_net::metrics::Figures;
use larder_net::origin::{OriginClient, OriginRequest};
use larder_proto::http::proxy::{RangeEvidence, Ranged};
use larder_proto::http::route::route;
use std::sync::Arc;

/// What the vendor lets administrators ask for to test a cache host (facts: clients 1.7).
pub(super) const PROBE: &str = "http://au.download.windowsupdate.com/mscomtest/wuidt.gif";
const ABOUT: &str = "byte ranges through the proxy";
const ASKED: &[u8] = b"bytes=0-0";

/// Asks for the first byte of `url` through the proxy of that configuration, where it has one.
pub(super) fn try_ranges(checked: &Checked, url: &str) -> Option<Finding> {
    let proxy = checked.settings.proxy.as_ref()?;
    let authority = proxy.rules.authority();
    let asked = match route(url, None, false, &checked.settings.rules) {
        Ok(route) => route.to_owned(),
        Err(refusal) => {
            let words = format!(
                "not tried, since {refusal} ({url}); name an object of one that is by --probe"
            );
            return Some(finding(Fair, ABOUT, words));
        }
    };
    let origin = &asked.origin;
    let rules = &checked.settings.rules;
    if rules.connect_to(&origin.host).is_some() || !proxy.rules.serves(&origin.host, origin.port) {
        let words = format!(
            "not tried, since {origin} is asked past it; name an object of another by --probe"
        );
        return Some(finding(Fair, ABOUT, words));
    }
    let mut request = OriginRequest::get(asked.origin.clone(), asked.target);
    request
        .headers
        .insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Some(finding(Bad, ABOUT, error.to_string())),
    };
    let answer = runtime.block_on(async {
        let settings = Arc::new(ArcSwap::from_pointee(checked.settings.clone()));
        let client = OriginClient::new(settings, Arc::new(Figures::new()));
        let answer = client.send(request).await?;
        Ok::<_, larder_net::origin::OriginError>((answer.status, answer.headers))
    });
    Some(match answer {
        Err(error) => finding(Bad, ABOUT, error.to_string()),
        Ok((status, headers)) => judge(&authority, url, status, &headers),
    })
}

fn judge(proxy: &str, url: &str, status: StatusCode, headers: &HeaderMap) -> Finding {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let ranged = Ranged {
        range: ASKED,
        conditional: false,
        status: status.as_u16(),
        accept_ranges: headers.get(ACCEPT_RANGES).map(HeaderValue::as_bytes),
        length: length.and_then(|text| text.parse().ok()),
    };
    match ranged.evidence() {
        RangeEvidence::Kept => finding(Good, ABOUT, format!("{proxy} lets them through ({url})")),
        RangeEvidence::Dropped => finding(
            Bad,
            ABOUT,
            format!(
                "{proxy} takes them out of requests ({url} came whole), so that whole objects cross the line for a \
                 piece of them; let Range through for larder (in Squid: no `request_header_access Range deny`)"
            ),
        ),
        RangeEvidence::None => finding(
            Fair,
            ABOUT,
            format!(
                "not known: {url} is answered {status}, without a range; name another object by --probe"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_the_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5000"));
        let grade = |status, headers: &HeaderMap| judge("p:1", "u", status, headers).grade;
        assert_eq!(grade(StatusCode::PARTIAL_CONTENT, &headers), Good);
        assert_eq!(grade(StatusCode::OK, &headers), Fair);
        assert_eq!(grade(StatusCode::NOT_FOUND, &headers), Fair);
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        assert_eq!(grade(StatusCode::OK, &headers), Bad);
    }
}
