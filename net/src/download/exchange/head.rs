//! What is kept of an answer's head, and what a confirmation makes of it. The rule: all fields that concern the object
//! are kept as they came, and none that concerns one connection (RFC 9111, section 3.1).

use super::super::Inner;
use super::super::reading::title_case;
use super::super::through::end_to_end;
use crate::origin::OriginAnswer;
use ::http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LAST_MODIFIED,
};
use larder_proto::UnixSecs;
use larder_proto::answer::parse_http_date;
use larder_proto::freshness::{Exchange, Verdict, judge};
use larder_proto::http::route::OwnedRoute;
use larder_proto::renewal::{Validators, selects, stays};
use larder_proto::reuse::Stored;
use larder_storage::record::{Content, Record};
use std::sync::Arc;

/// Fields that a record has a place for, or that are found out anew for each answer.
const OWN: [HeaderName; 6] = [AGE, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED];

/// What counts of a stored answer.
pub(crate) fn facts(content: &Content, now: UnixSecs) -> Stored {
    let record = content.record();
    Stored {
        status: record.status,
        fresh_until: content.fresh_until(),
        age_s: content.age_s(now),
        must_revalidate: record.must_revalidate,
        immutable_while_fresh: record.immutable_while_fresh,
        stale_if_error_s: record.stale_if_error_s,
        stale_while_revalidate_s: record.stale_while_revalidate_s,
    }
}

/// All fields to keep of an answer, names in title case; None where one can not be kept.
fn kept(headers: &HeaderMap, without: &[String]) -> Option<Vec<(String, String)>> {
    let headers = end_to_end(headers.clone());
    let kept = |name: &HeaderName| {
        !OWN.contains(name) && !without.iter().any(|other| other == name.as_str())
    };
    let fields = headers.iter().filter(|(name, _)| kept(name));
    fields
        .map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((title_case(name.as_str()), value.to_owned()))
        })
        .collect()
}

/// The record of an answer whose body is `length` bytes long; None where a field can not be kept.
pub(in crate::download) fn record(
    route: &OwnedRoute,
    answer: &OriginAnswer,
    length: u64,
    verdict: &Verdict,
    now: UnixSecs,
) -> Option<Record> {
    let own = |name: &HeaderName| match answer.headers.get(name) {
        None => Some(None),
        Some(value) => Some(Some(std::str::from_utf8(value.as_bytes()).ok()?.to_owned())),
    };
    let last_modified = own(&LAST_MODIFIED)?;
    let status = answer.status.as_u16();
    let mut vary = verdict.vary.clone();
    let encoded = is_encoded(&answer.headers);
    if encoded && !vary.iter().any(|field| field == "accept-encoding") {
        // Its origin forgot to say so, and a client that did not ask for the coding could not read it.
        vary.push("accept-encoding".to_owned());
        vary.sort_unstable();
    }
    Some(Record {
        url: route.url.clone(),
        host: route.origin.to_string(),
        length,
        etag: own(&ETAG)?,
        last_modified_unix: last_modified
            .as_ref()
            .and_then(|date| parse_http_date(date.as_bytes())),
        last_modified,
        content_type: own(&CONTENT_TYPE)?,
        extra: kept(&answer.headers, &verdict.without)?,
        date: verdict.date,
        fresh_until: verdict.fresh_until,
        age_at_receipt_s: verdict.age_at_receipt_s,
        stored_at: now,
        immutable: false,
        pinned: false,
        must_revalidate: verdict.must_revalidate,
        status,
        age_said_s: answer
            .headers
            .get(AGE)
            .and_then(|age| age.to_str().ok()?.parse().ok())
            .unwrap_or(0),
        answered_at: now,
        whole: status != 200 || encoded || !vary.is_empty(),
        vary,
        immutable_while_fresh: verdict.immutable_while_fresh,
        for_authorized: verdict.for_authorized,
        stale_if_error_s: verdict.stale_if_error_s,
        stale_while_revalidate_s: verdict.stale_while_revalidate_s,
        asked_as: None,
    })
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether a 304 is about what is stored.
pub(super) fn confirms(known: &Content, headers: &HeaderMap) -> bool {
    let record = known.record();
    let stored = Validators {
        etag: record.etag.as_deref().map(str::as_bytes),
        last_modified: record.last_modified.as_deref().map(str::as_bytes),
    };
    let answer = Validators {
        etag: headers.get(ETAG).map(HeaderValue::as_bytes),
        last_modified: headers.get(LAST_MODIFIED).map(HeaderValue::as_bytes),
    };
    selects(&stored, &answer)
}

/// Whether an answer is in the coding of what is stored.
pub(super) fn is_coded_alike(known: &Content, headers: &HeaderMap) -> bool {
    let mut fields = known.record().extra.iter();
    let stored = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let stored = stored.map(|(_, coding)| coding.as_bytes());
    headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) == stored
}

/// Whether an answer to HEAD has the validators of what is stored, as many as it has.
pub(super) fn agrees(known: &Content, headers: &HeaderMap) -> bool {
    let record = known.record();
    let is_same = |name: &HeaderName, stored: &Option<String>| {
        let said = headers.get(name).map(HeaderValue::as_bytes);
        said.is_none_or(|said| stored.as_ref().is_some_and(|it| it.as_bytes() == said))
    };
    is_same(&ETAG, &record.etag) && is_same(&LAST_MODIFIED, &record.last_modified)
}

impl Inner {
    /// Freshens what is stored by the fields of an answer about it (section 3.2); those which it lacks hold on.
    pub(in crate::download) fn renew(
        &self,
        known: &Arc<Content>,
        fresh: &HeaderMap,
        asked_at: UnixSecs,
    ) -> Arc<Content> {
        let now = self.clock.unix();
        let old = known.snapshot();
        let fresh = end_to_end(fresh.clone());
        let replaces = |name: &str| fresh.contains_key(name) && !stays(name);
        let mut fields: Vec<(String, String)> = Vec::new();
        let own = [
            ("ETag", &old.etag),
            ("Last-Modified", &old.last_modified),
            ("Content-Type", &old.content_type),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                fields.push((name.to_owned(), value.clone()));
            }
        }
        fields.extend(old.extra.iter().cloned());
        fields.retain(|(name, _)| !replaces(&name.to_ascii_lowercase()));
        for (name, value) in &fresh {
            if replaces(name.as_str())
                && let Ok(value) = std::str::from_utf8(value.as_bytes())
            {
                fields.push((title_case(name.as_str()), value.to_owned()));
            }
        }
        let exchange = Exchange {
            immutable: old.immutable,
            authorized: false,
            asked_at,
            now,
        };
        let mut pairs = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let verdict = judge(old.status, &mut pairs, exchange);
        let find = |wanted: &str| {
            let field = fields.iter().find(|(name, _)| name == wanted);
            field.map(|(_, value)| value.clone())
        };
        let own = |name: &str| {
            let name = name.to_ascii_lowercase();
            OWN.iter().any(|own| *own == name.as_str()) || verdict.without.contains(&name)
        };
        // What its answers have turned out to vary by was not looked at when it was stored, so that nobody is given it
        // without asking (section 4.1).
        let other = |field: &String| field != "accept-encoding" && !old.vary.contains(field);
        let is_shared = verdict.storable && !verdict.vary.iter().any(other);
        let last_modified = find("Last-Modified");
        let record = Record {
            last_modified_unix: last_modified
                .as_ref()
                .and_then(|date| parse_http_date(date.as_bytes())),
            last_modified,
            content_type: find("Content-Type"),
            extra: fields
                .iter()
                .filter(|(name, _)| !own(name))
                .cloned()
                .collect(),
            date: verdict.date,
            // What its origin would not have stored any more is given to nobody without asking.
            fresh_until: if is_shared { verdict.fresh_until } else { now },
            age_at_receipt_s: verdict.age_at_receipt_s,
            answered_at: now,
            must_revalidate: verdict.must_revalidate || !is_shared,
            immutable_while_fresh: verdict.immutable_while_fresh,
            for_authorized: verdict.for_authorized,
            stale_if_error_s: verdict.stale_if_error_s,
            stale_while_revalidate_s: verdict.stale_while_revalidate_s,
            ..old
        };
        self.store.renew(known, record)
    }
}
