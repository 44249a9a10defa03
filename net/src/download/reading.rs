//! Heads of requests to origins and of their answers, between the HTTP client's types and the rules'. The rule: what
//! is not on a list here is not kept of an answer about immutable content.

use super::exchange::head;
use super::through::end_to_end;
use crate::ask::SmallAnswer;
use crate::origin::{OriginAnswer, OriginRequest};
use ::http::header::{
    self, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED, RANGE, TRANSFER_ENCODING,
};
use bytes::Bytes;
use larder_content::Span;
use larder_proto::UnixSecs;
use larder_proto::answer::parse_http_date;
use larder_proto::freshness::Verdict;
use larder_proto::http::route::OwnedRoute;
use larder_proto::upstream::{OriginHead, Validator};
use larder_storage::record::Record;

/// Headers kept besides those that a record has fields for, as they are written to clients.
const KEPT: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "Cache-Control"),
    (header::EXPIRES, "Expires"),
    (header::CONTENT_LANGUAGE, "Content-Language"),
    (header::CONTENT_DISPOSITION, "Content-Disposition"),
    (HeaderName::from_static("content-md5"), "Content-MD5"),
    (HeaderName::from_static("x-cid"), "X-CID"),
    (HeaderName::from_static("x-ccc"), "X-CCC"),
    (header::LINK, "Link"),
];

/// A GET for `span` of what the route names, or for all of it.
pub(super) fn request(route: &OwnedRoute, span: Option<Span>) -> OriginRequest {
    let mut request = OriginRequest::get(route.origin.clone(), route.target.clone());
    if let Some(span) = span {
        let text = format!("bytes={}-{}", span.start, span.end.saturating_sub(1));
        if let Ok(value) = HeaderValue::try_from(text) {
            request.headers.insert(RANGE, value);
        }
    }
    request
}

/// What the rules want to see of an answer's head.
pub(super) fn head_of(answer: &OriginAnswer) -> OriginHead<'_> {
    let headers = &answer.headers;
    OriginHead {
        status: answer.status.as_u16(),
        content_length: text(headers, &CONTENT_LENGTH).and_then(|v| v.trim().parse().ok()),
        content_range: headers.get(CONTENT_RANGE).map(HeaderValue::as_bytes),
        etag: text(headers, &ETAG),
        last_modified: text(headers, &LAST_MODIFIED),
        content_encoding: text(headers, &CONTENT_ENCODING),
        chunked: headers.contains_key(TRANSFER_ENCODING),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The version that a record is of.
pub(super) fn validator_of(record: &Record) -> Validator {
    Validator {
        length: record.length,
        etag: record.etag.clone(),
        last_modified: record.last_modified.clone(),
    }
}

/// What to keep of an answer that brings bytes of an object of `length` bytes; None where a field can not be kept.
/// Immutable content keeps what is on the list, since the rest of an answer speaks of one moment; everything else keeps
/// all of it.
pub(super) fn record_of(
    route: &OwnedRoute,
    answer: &OriginAnswer,
    length: u64,
    verdict: &Verdict,
    now: UnixSecs,
) -> Option<Record> {
    let own = |name: &HeaderName| text(&answer.headers, name).map(str::to_owned);
    if !route.identity.immutable {
        let mut record = head::record(route, answer, length, verdict, now)?;
        // The identity was asked for; whoever takes other codings, too, is content with it. And a 206 is of a 200.
        record.vary.clear();
        (record.whole, record.status) = (false, 200);
        record.extra.retain(|(name, _)| name != "Content-Range");
        return Some(record);
    }
    let last_modified = own(&LAST_MODIFIED);
    Some(Record {
        url: route.url.clone(),
        host: route.origin.to_string(),
        length,
        etag: own(&ETAG),
        last_modified_unix: last_modified
            .as_ref()
            .and_then(|date| parse_http_date(date.as_bytes())),
        last_modified,
        content_type: own(&header::CONTENT_TYPE),
        extra: KEPT
            .iter()
            .filter_map(|(name, title)| Some(((*title).to_owned(), own(name)?)))
            .collect(),
        date: verdict.date,
        fresh_until: verdict.fresh_until,
        age_at_receipt_s: verdict.age_at_receipt_s,
        stored_at: now,
        answered_at: now,
        immutable: true,
        must_revalidate: verdict.must_revalidate,
        asked_as: (!route.url.ends_with(&route.target)).then(|| route.target.clone()),
        ..Record::default()
    })
}

/// The answer's headers as the judge of freshness takes them.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// An answer with its whole body, for clients.
pub(super) fn small_answer(status: u16, headers: HeaderMap, body: Bytes) -> SmallAnswer {
    let headers = end_to_end(headers);
    SmallAnswer {
        status,
        headers: headers
            .iter()
            .filter(|(name, _)| **name != CONTENT_LENGTH)
            .filter_map(|(name, value)| {
                Some((title_case(name.as_str()), value.to_str().ok()?.to_owned()))
            })
            .collect(),
        body,
    }
}

/// A header's name as clients look for it (facts: clients 1.6).
pub(super) fn title_case(name: &str) -> String {
    if name == "etag" {
        return "ETag".to_owned();
    }
    let mut at_start = true;
    name.chars()
        .map(|c| {
            let upper = at_start;
            at_start = c == '-';
            if upper { c.to_ascii_uppercase() } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_title_case() {
        for (name, title) in [
            ("content-type", "Content-Type"),
            ("etag", "ETag"),
            ("x-cid", "X-Cid"),
        ] {
            assert_eq!(title_case(name), title);
        }
    }
}
