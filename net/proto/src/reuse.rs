//! Whether a stored answer may be given without asking its origin, or instead of its origin's trouble (RFC 9111,
//! section 4). The rule: what is stale is given only where its origin, the client or trouble allows it, and never where
//! the origin forbade it.

use crate::UnixSecs;
use crate::directives::Directives;

/// What counts of a stored answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its status.
    pub status: u16,
    /// It is fresh before this moment.
    pub fresh_until: UnixSecs,
    /// How old it is now, in seconds (section 4.2.3).
    pub age_s: u64,
    /// See [`crate::freshness::Verdict::must_revalidate`].
    pub must_revalidate: bool,
    /// See [`crate::freshness::Verdict::immutable_while_fresh`].
    pub immutable_while_fresh: bool,
    /// See [`crate::freshness::Verdict::stale_if_error_s`].
    pub stale_if_error_s: Option<u64>,
    /// See [`crate::freshness::Verdict::stale_while_revalidate_s`].
    pub stale_while_revalidate_s: Option<u64>,
}

impl Stored {
    /// For how long it has been stale at `now`, in seconds; `None` while it is fresh.
    #[must_use]
    pub fn stale_for_s(&self, now: UnixSecs) -> Option<u64> {
        now.checked_sub(self.fresh_until)
    }

    /// Errors are not given once they are stale: they live on for seconds, or not at all.
    fn may_be_stale(&self) -> bool {
        !self.must_revalidate && self.status < 400
    }
}

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// Give what is stored: it is fresh, or as stale as the client allows.
    Serve,
    /// Give what is stored, stale, and ask the origin behind the client's back (RFC 5861, section 3).
    ServeStaleAndRevalidate,
    /// Ask the origin, by the stored validators where there are some.
    Revalidate,
    /// 504: the client wants nothing of the origin, and nothing that may be given is stored (section 5.2.1.7).
    Refuse504,
}

/// Decides for a request with these `wishes`; `stored`: what is stored and selected by it.
#[must_use]
pub fn reuse(stored: Option<&Stored>, wishes: &Directives, now: UnixSecs) -> Reuse {
    let given = stored.and_then(|stored| without_asking(stored, wishes, now));
    given.unwrap_or(if wishes.only_if_cached {
        Reuse::Refuse504
    } else {
        Reuse::Revalidate
    })
}

fn without_asking(stored: &Stored, wishes: &Directives, now: UnixSecs) -> Option<Reuse> {
    if wishes.no_cache {
        return None;
    }
    let young = wishes.max_age_s.is_none_or(|most| stored.age_s <= most);
    let Some(stale_for_s) = stored.stale_for_s(now) else {
        // RFC 8246, section 2: a reload, which asks for max-age=0, is no reason; no-cache is one.
        let young = young || stored.immutable_while_fresh;
        let left_s = stored.fresh_until - now;
        let long = wishes.min_fresh_s.is_none_or(|least| left_s >= least);
        return (young && long).then_some(Reuse::Serve);
    };
    if !stored.may_be_stale() || !young || wishes.min_fresh_s.is_some() {
        return None;
    }
    // Section 5.2.1.2.
    if wishes.max_stale_s.is_some_and(|most| stale_for_s <= most) {
        return Some(Reuse::Serve);
    }
    // Section 5.2.1.1: who says how old it may be wants nothing stale without saying so.
    let meanwhile = stored.stale_while_revalidate_s;
    (wishes.max_age_s.is_none() && meanwhile.is_some_and(|most| stale_for_s <= most))
        .then_some(Reuse::ServeStaleAndRevalidate)
}

/// What went wrong with an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It could not be reached, or broke off before its answer was known.
    Disconnected,
    /// It answered, with a status that speaks of itself; see [`is_trouble`].
    Failing,
}

/// True where an answer to a request for confirmation may be treated as none (section 4.3.3): the statuses of RFC 5861,
/// section 4, and those that caches and guards in front of an origin make up in their place.
#[must_use]
pub const fn is_trouble(status: u16) -> bool {
    matches!(status, 500 | 502..=504 | 507..=599)
}

/// What to give for trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterTrouble {
    /// What is stored.
    ServeStale,
    /// What the origin answered, or words about what went wrong.
    PassOn,
    /// 504: what is stored must not be given unconfirmed, and the origin gave nothing (section 5.2.2.2).
    Refuse504,
}

/// Decides what to give where the origin was asked and is in trouble (section 4.2.4).
///
/// Where the origin names a time (stale-if-error), that is the limit; where it does not, there is none: the clients
/// of a branch office can do more with an old list than with an error.
#[must_use]
pub fn after_trouble(
    stored: Option<&Stored>,
    wishes: &Directives,
    trouble: Trouble,
    now: UnixSecs,
) -> AfterTrouble {
    let Some(stored) = stored else {
        return AfterTrouble::PassOn;
    };
    let stale_for_s = stored.stale_for_s(now);
    // What is fresh was asked for because the client wished so: its wish is not met by what it did not want.
    if wishes.no_cache || wishes.max_age_s.is_some_and(|most| stored.age_s > most) {
        return AfterTrouble::PassOn;
    }
    if stale_for_s.is_some() && stored.must_revalidate {
        return match trouble {
            Trouble::Disconnected => AfterTrouble::Refuse504,
            Trouble::Failing => AfterTrouble::PassOn,
        };
    }
    let within = |most| stale_for_s.is_none_or(|stale_for_s| stale_for_s <= most);
    if stored.may_be_stale() && stored.stale_if_error_s.is_none_or(within) {
        AfterTrouble::ServeStale
    } else {
        AfterTrouble::PassOn
    }
}

#[cfg(test)]
mod tests;
