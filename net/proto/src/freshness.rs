//! What may be stored of an origin's answer, and for how long it is fresh (RFC 9111). The rule: where the answer
//! leaves room, the narrower reading is taken.

mod directives;

use crate::UnixSecs;
use crate::date::parse_http_date;
use directives::{Directives, Seconds, delta_seconds, next_item};

/// Of the time since an object was last changed, this part is what it is taken to be fresh for where its origin does
/// not say: the "typical setting" of section 4.2.2.
const HEURISTIC_PART: u64 = 10;

/// At most this long, in seconds: a day.
const HEURISTIC_MAX_S: u64 = 24 * 3600;

/// The judgement on one answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// It may be stored.
    pub storable: bool,
    /// Why not, for the log.
    pub why_not: Option<&'static str>,
    /// It is fresh before this moment; `u64::MAX` for immutable content.
    pub fresh_until: UnixSecs,
    /// How old it was when it came, seconds.
    pub age_at_receipt_s: u64,
    /// Once stale it must not be sent without asking the origin.
    pub must_revalidate: bool,
    /// The origin's `Date`, or `now` where it sent none.
    pub date: UnixSecs,
    /// For how long after `fresh_until` it may be sent where the origin fails; `None` where it does not say.
    pub stale_if_error_s: Option<u64>,
    /// For how long after `fresh_until` it may be sent while it is being fetched anew.
    pub stale_while_revalidate_s: Option<u64>,
}

/// What the fields of an answer say, each read as its section demands.
#[derive(Default)]
struct Fields {
    directives: Directives,
    date: Option<UnixSecs>,
    age: Option<u64>,
    last_modified: Option<UnixSecs>,
    /// The moment of `Expires`; a value that is no date is a moment long past (section 5.3).
    expires: Option<UnixSecs>,
    varies: Option<&'static str>,
    sets_cookie: bool,
}

impl Fields {
    fn read<'h>(headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let is = |field: &str| name.eq_ignore_ascii_case(field);
            let value = value.trim_ascii();
            if is("cache-control") {
                fields.directives.add(value);
            } else if is("date") {
                fields.date = fields.date.or_else(|| parse_http_date(value));
            } else if is("age") {
                // Section 5.1: of several the first counts, and what is no number is ignored.
                let first = next_item(value).map_or(value, |(first, _)| first);
                fields.age = fields.age.or_else(|| delta_seconds(first));
            } else if is("last-modified") {
                fields.last_modified = fields.last_modified.or_else(|| parse_http_date(value));
            } else if is("expires") {
                // Section 4.2.1: where there are several, the earliest is the safe one.
                let at = parse_http_date(value).unwrap_or(0);
                fields.expires = Some(fields.expires.map_or(at, |other| other.min(at)));
            } else if is("vary") {
                fields.varies = fields.varies.or_else(|| vary(value));
            } else if is("set-cookie") {
                fields.sets_cookie = true;
            }
        }
        fields
    }

    /// For how many seconds after its generation the answer is fresh (section 4.2.1).
    fn lifetime_s(&self, date: UnixSecs) -> u64 {
        let Directives {
            s_maxage, max_age, ..
        } = self.directives;
        if self.directives.no_cache {
            return 0;
        }
        for seconds in [s_maxage, max_age] {
            match seconds {
                Seconds::Absent => {}
                Seconds::Invalid => return 0,
                Seconds::Given(seconds) => return seconds,
            }
        }
        if let Some(expires) = self.expires {
            return expires.saturating_sub(date);
        }
        // Section 4.2.2; without the time of the last change there is nothing to go by.
        self.last_modified.map_or(0, |modified| {
            (date.saturating_sub(modified) / HEURISTIC_PART).min(HEURISTIC_MAX_S)
        })
    }

    /// What forbids storing (section 3).
    fn forbidden(&self, authorized: bool) -> Option<&'static str> {
        let d = &self.directives;
        if d.no_store {
            return Some("no-store");
        }
        if d.private {
            return Some("private");
        }
        // Section 3.5.
        let shared = d.public || d.must_revalidate || d.s_maxage != Seconds::Absent;
        if authorized && !shared {
            return Some("the request carried Authorization");
        }
        if self.sets_cookie {
            return Some("it sets a cookie, which is for one client");
        }
        self.varies
    }
}

/// Why an answer with this `Vary` is not stored. Requests for content always ask for the identity, so that a choice by
/// `Accept-Encoding` alone is the same for everybody (section 4.1).
fn vary(value: &[u8]) -> Option<&'static str> {
    let mut rest = value;
    while let Some((field, after)) = next_item(rest) {
        rest = after;
        if field == b"*" {
            return Some("Vary: *");
        }
        if !field.eq_ignore_ascii_case(b"accept-encoding") {
            return Some("Vary names a field of the request");
        }
    }
    None
}

/// Judges an answer with `status` and `headers` that came at `now`. `immutable`: the URL names its content;
/// `authorized`: the request carried `Authorization`.
///
/// Immutable content is stored whatever its headers say (facts: clients 1.12): its name is the proof that everybody
/// gets the same, and clients can not be given another.
#[must_use]
pub fn judge<'h>(
    status: u16,
    headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
    immutable: bool,
    authorized: bool,
    now: UnixSecs,
) -> Verdict {
    let fields = Fields::read(headers);
    let directives = fields.directives;
    let date = fields.date.unwrap_or(now);
    // Section 4.2.3. The delay of the answer is not known here; it is a matter of milliseconds.
    let age_at_receipt_s = now.saturating_sub(date).max(fields.age.unwrap_or(0));
    let why_not = match status {
        200 | 206 if immutable => None,
        200 | 206 => fields.forbidden(authorized),
        _ => Some("its status is not one that is stored"),
    };
    // Section 5.2.2.10: s-maxage "incorporates the semantics of the proxy-revalidate directive". No-cache asks for
    // more than that (5.2.2.4).
    let must_revalidate = !immutable
        && (directives.must_revalidate
            || directives.proxy_revalidate
            || directives.no_cache
            || directives.s_maxage != Seconds::Absent);
    let fresh_until = if immutable {
        UnixSecs::MAX
    } else {
        now.saturating_add(fields.lifetime_s(date).saturating_sub(age_at_receipt_s))
    };
    let stale = |seconds: Seconds| seconds.given().filter(|_| !must_revalidate);
    Verdict {
        storable: why_not.is_none(),
        why_not,
        fresh_until,
        age_at_receipt_s,
        must_revalidate,
        date,
        stale_if_error_s: stale(directives.stale_if_error),
        stale_while_revalidate_s: stale(directives.stale_while_revalidate),
    }
}

#[cfg(test)]
mod tests;
