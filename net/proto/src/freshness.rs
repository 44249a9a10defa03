//! What may be stored of an origin's answer, and for how long it is fresh (RFC 9111). The rule: where the answer
//! leaves room, the narrower reading is taken.
//!
//! The crate http-cache-semantics (3.0.0) is not used: it splits `Cache-Control` at commas inside quotes, reads dates in
//! one of the three forms, and knows neither RFC 5861 nor RFC 9213. It also answers from whole stored requests, where
//! larder compiles the verdict into numbers that a shard thread compares.

mod directives;
mod targeted;

use crate::UnixSecs;
use crate::date::parse_http_date;
use crate::list::{is_token, items};
use directives::{Directives, Seconds, delta_seconds};

/// Of the time since an object was last changed, this part is what it is taken to be fresh for where its origin does
/// not say: the "typical setting" of section 4.2.2.
const HEURISTIC_PART: u64 = 10;

/// At most this long, in seconds: a day.
const HEURISTIC_MAX_S: u64 = 24 * 3600;

/// Answers with a status of 400 or more are used for so many seconds at most, whatever they say: an error that lives
/// on when its cause is gone costs a whole office its downloads.
const NEGATIVE_MAX_S: u64 = 5;

/// The circumstances of one exchange with an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The URL names its content.
    pub immutable: bool,
    /// The request carried `Authorization`.
    pub authorized: bool,
    /// When the request was sent.
    pub asked_at: UnixSecs,
    /// When the answer came.
    pub now: UnixSecs,
}

/// The judgement on one answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// It may be stored.
    pub storable: bool,
    /// Why not, for the log.
    pub why_not: Option<&'static str>,
    /// It is fresh before this moment, which may have been before it came; `u64::MAX` for immutable content.
    pub fresh_until: UnixSecs,
    /// How old it was when it came, seconds.
    pub age_at_receipt_s: u64,
    /// Once stale it must not be sent without asking the origin.
    pub must_revalidate: bool,
    /// While it is fresh, a client's wish for something younger is no reason to ask the origin (RFC 8246).
    pub immutable_while_fresh: bool,
    /// It may answer requests with `Authorization`, and may be an answer to one (section 3.5).
    pub for_authorized: bool,
    /// The origin's `Date`, or `now` where it sent none.
    pub date: UnixSecs,
    /// For how long after `fresh_until` it may be sent where the origin fails; `None` where it does not say.
    pub stale_if_error_s: Option<u64>,
    /// For how long after `fresh_until` it may be sent while it is being fetched anew.
    pub stale_while_revalidate_s: Option<u64>,
    /// The request fields that choose between answers (`Vary`), in lower case, each once, in order.
    pub vary: Vec<String>,
    /// The fields that are not to be stored (sections 5.2.2.4 and 5.2.2.7), in lower case.
    pub without: Vec<String>,
}

impl Verdict {
    /// True where everybody who asks for the identity coding is given the same.
    #[must_use]
    pub fn varies_by_coding_alone(&self) -> bool {
        self.vary.iter().all(|field| field == "accept-encoding")
    }
}

/// What the fields of an answer say, each read as its section demands.
#[derive(Default)]
struct Fields {
    /// Those of `CDN-Cache-Control` where it is there, or those of `Cache-Control`.
    directives: Directives,
    /// They are those of `CDN-Cache-Control`.
    targeted: bool,
    date: Option<UnixSecs>,
    age: Option<u64>,
    last_modified: Option<UnixSecs>,
    /// The moment of `Expires`; a value that is no date is a moment long past (section 5.3).
    expires: Option<UnixSecs>,
    /// It has something to ask its origin by whether it is still the one.
    has_validator: bool,
    vary: Vec<String>,
    varies_by_all: bool,
    sets_cookie: bool,
}

impl Fields {
    fn read<'h>(headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut fields = Self::default();
        let mut targeted: Vec<u8> = Vec::new();
        for (name, value) in headers {
            let is = |field: &str| name.eq_ignore_ascii_case(field);
            let value = value.trim_ascii();
            if is("cache-control") {
                fields.directives.add(value);
            } else if is("cdn-cache-control") {
                if !targeted.is_empty() {
                    targeted.extend_from_slice(b", ");
                }
                targeted.extend_from_slice(value);
            } else if is("date") {
                fields.date = fields.date.or_else(|| parse_http_date(value));
            } else if is("age") {
                // Section 5.1: of several the first counts, and what is no number is ignored.
                let first = items(value).next().unwrap_or(value);
                fields.age = fields.age.or_else(|| delta_seconds(first));
            } else if is("last-modified") {
                fields.last_modified = fields.last_modified.or_else(|| parse_http_date(value));
                fields.has_validator = true;
            } else if is("etag") {
                fields.has_validator = true;
            } else if is("expires") {
                // Section 4.2.1: where there are several, the earliest is the safe one.
                let at = parse_http_date(value).unwrap_or(0);
                fields.expires = Some(fields.expires.map_or(at, |other| other.min(at)));
            } else if is("vary") {
                fields.choose_by(value);
            } else if is("set-cookie") {
                fields.sets_cookie = true;
            }
        }
        if let Some(directives) = targeted::directives(&targeted) {
            // RFC 9213, section 2.2: it "MUST ignore the Cache-Control and Expires header fields in that response".
            fields.directives = directives;
            fields.targeted = true;
            fields.expires = None;
        }
        fields.vary.sort_unstable();
        fields.vary.dedup();
        let without = &fields.directives.without;
        fields.sets_cookie &= !without.iter().any(|name| name == "set-cookie");
        fields
    }

    /// Takes a line of `Vary` in. What can not be the name of a field might stand for anything, as `*` does.
    fn choose_by(&mut self, value: &[u8]) {
        for field in items(value) {
            self.varies_by_all |= field == b"*" || !is_token(field);
            let name = String::from_utf8_lossy(field).to_ascii_lowercase();
            self.vary.push(name);
        }
    }

    /// For how many seconds after its generation the answer says that it is fresh (section 4.2.1).
    fn explicit_s(&self, date: UnixSecs) -> Option<u64> {
        if self.directives.no_cache {
            return Some(0);
        }
        for seconds in [self.directives.s_maxage, self.directives.max_age] {
            match seconds {
                Seconds::Absent => {}
                Seconds::Invalid => return Some(0),
                Seconds::Given(seconds) => return Some(seconds),
            }
        }
        self.expires.map(|expires| expires.saturating_sub(date))
    }

    /// For how many seconds it is taken to be fresh where it does not say (section 4.2.2). Without the time of the last
    /// change there is nothing to go by.
    fn heuristic_s(&self, status: u16, date: UnixSecs) -> u64 {
        if !is_heuristically_cacheable(status) && !self.directives.public {
            return 0;
        }
        self.last_modified.map_or(0, |modified| {
            (date.saturating_sub(modified) / HEURISTIC_PART).min(HEURISTIC_MAX_S)
        })
    }

    /// What forbids storing (section 3). `explicit_s` as above.
    fn forbidden(
        &self,
        status: u16,
        authorized: bool,
        explicit_s: Option<u64>,
    ) -> Option<&'static str> {
        let d = &self.directives;
        if !may_be_stored(status) {
            return Some("its status is not one that is stored");
        }
        if d.must_understand && !is_understood(status) {
            return Some("its status is to be understood, and is not");
        }
        // Section 5.2.2.3: who understands the status ignores no-store.
        if d.no_store && !d.must_understand {
            return Some("no-store");
        }
        if d.private {
            return Some("private");
        }
        if explicit_s.is_none() && !d.public && !is_heuristically_cacheable(status) {
            return Some("its status is stored only where the answer says so");
        }
        // Section 3.5.
        if authorized && !d.for_authorized() {
            return Some("the request carried Authorization");
        }
        // Section 7.3. An origin that says how long everybody may have it has thought of that.
        if self.sets_cookie && explicit_s.is_none_or(|seconds| seconds == 0) {
            return Some("it sets a cookie, which is for one client");
        }
        self.varies_by_all.then_some("Vary: *")
    }
}

/// "Heuristically cacheable" (RFC 9110, section 15.1), less what is never stored.
fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414
    )
}

/// The statuses whose rules are kept here (section 5.2.2.3).
fn is_understood(status: u16) -> bool {
    is_heuristically_cacheable(status) || matches!(status, 302 | 303 | 307)
}

/// Interim answers and answers to conditions are none of an object (section 3); trouble of the origin is not kept
/// alive; and some answers are about one request and not about what was asked for.
fn may_be_stored(status: u16) -> bool {
    matches!(status, 200..500)
        && !matches!(
            status,
            304 | 401 | 407 | 408 | 412 | 416 | 417 | 421 | 425 | 426 | 428 | 429 | 431
        )
}

/// Judges an answer with `status` and `headers`. A status of 206 is judged as the 200 that it is a part of (section
/// 3.3): whoever can not place its bytes must not store it.
///
/// Immutable content is stored whatever its headers say (facts: clients 1.12): its name is the proof that everybody
/// gets the same, and clients can not be given another.
#[must_use]
pub fn judge<'h>(
    status: u16,
    headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
    exchange: Exchange,
) -> Verdict {
    let Exchange {
        immutable,
        authorized,
        asked_at,
        now,
    } = exchange;
    let fields = Fields::read(headers);
    let directives = &fields.directives;
    let date = fields.date.unwrap_or(now);
    // Section 4.2.3.
    let delay_s = now.saturating_sub(asked_at);
    let age_at_receipt_s = (now.saturating_sub(date)).max(fields.age.unwrap_or(0) + delay_s);
    let negative = status >= 400;
    let explicit_s = fields.explicit_s(date);
    let lifetime_s = explicit_s.unwrap_or_else(|| fields.heuristic_s(status, date));
    let mut fresh_for_s = lifetime_s.saturating_sub(age_at_receipt_s);
    if negative {
        fresh_for_s = fresh_for_s.min(NEGATIVE_MAX_S);
    }
    // Section 5.2.2.10: s-maxage "incorporates the semantics of the proxy-revalidate directive". No-cache asks for
    // more than that (5.2.2.4).
    let must_revalidate = !immutable
        && (directives.must_revalidate
            || directives.proxy_revalidate
            || directives.no_cache
            || directives.s_maxage != Seconds::Absent);
    let why_not = match status {
        200 | 206 if immutable => None,
        _ if immutable => Some("its status is not one that is stored"),
        _ => fields
            .forbidden(status, authorized, explicit_s)
            .or_else(|| {
                let useless = fresh_for_s == 0 && must_revalidate && !fields.has_validator;
                useless.then_some("it may not be used again, and has nothing to confirm it by")
            }),
    };
    let stale = |seconds: Seconds| seconds.given().filter(|_| !must_revalidate && !negative);
    let general = |names: Vec<String>| if immutable { Vec::new() } else { names };
    Verdict {
        storable: why_not.is_none(),
        why_not,
        fresh_until: if immutable {
            UnixSecs::MAX
        } else {
            // What came stale has been so for a while, which counts where it may be stale for some time only.
            let stale_for_s = age_at_receipt_s.saturating_sub(lifetime_s);
            now.saturating_add(fresh_for_s).saturating_sub(stale_for_s)
        },
        age_at_receipt_s,
        must_revalidate,
        immutable_while_fresh: immutable || directives.immutable,
        for_authorized: directives.for_authorized(),
        date,
        stale_if_error_s: stale(directives.stale_if_error),
        stale_while_revalidate_s: stale(directives.stale_while_revalidate),
        vary: general(fields.vary),
        without: general(fields.directives.without),
    }
}

#[cfg(test)]
mod tests;
