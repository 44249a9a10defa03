//! Tables of what is stored, what is wished and what is given. The rule: each row names its section.

use super::*;
use proptest::prelude::*;

const NOW: UnixSecs = 1_700_000_000;

/// Fresh for another `left` seconds (stale for so long where negative), 100 seconds old.
fn stored(left: i64) -> Stored {
    Stored {
        status: 200,
        fresh_until: NOW.saturating_add_signed(left),
        age_s: 100,
        must_revalidate: false,
        immutable_while_fresh: false,
        stale_if_error_s: None,
        stale_while_revalidate_s: None,
    }
}

fn must(stored: Stored) -> Stored {
    Stored {
        must_revalidate: true,
        ..stored
    }
}

fn wishes(text: &str) -> Directives {
    Directives::read([text.as_bytes()], [])
}

#[test]
fn what_is_given_without_asking() {
    use Reuse::{Refuse504, Revalidate, Serve, ServeStaleAndRevalidate};
    let fixed = Stored {
        immutable_while_fresh: true,
        ..stored(60)
    };
    let meanwhile = |left| Stored {
        stale_while_revalidate_s: Some(30),
        ..stored(left)
    };
    let table = [
        ("4.2: fresh", stored(1), "", Serve),
        ("4.2: just stale", stored(0), "", Revalidate),
        ("4.2: stale", stored(-1), "", Revalidate),
        ("5.2.1.4", stored(60), "no-cache", Revalidate),
        ("5.2.1.1", stored(60), "max-age=99", Revalidate),
        ("5.2.1.1", stored(60), "max-age=100", Serve),
        ("5.2.1.3", stored(60), "min-fresh=60", Serve),
        ("5.2.1.3", stored(60), "min-fresh=61", Revalidate),
        ("5.2.1.2", stored(-9), "max-stale=9", Serve),
        ("5.2.1.2", stored(-9), "max-stale=8", Revalidate),
        ("5.2.1.2: any", stored(-9), "max-stale", Serve),
        (
            "5.2.1.2: and not too old",
            stored(-9),
            "max-stale, max-age=99",
            Revalidate,
        ),
        ("5.2.2.2", must(stored(-9)), "max-stale", Revalidate),
        ("5.2.2.2: fresh", must(stored(9)), "", Serve),
        ("5.2.1.7", stored(60), "only-if-cached", Serve),
        ("5.2.1.7", stored(-9), "only-if-cached", Refuse504),
        (
            "5.2.1.7: no-cache wins",
            stored(60),
            "only-if-cached, no-cache",
            Refuse504,
        ),
        (
            "5.2.1.7: stale where allowed",
            stored(-9),
            "only-if-cached, max-stale",
            Serve,
        ),
        ("RFC 5861, 3", meanwhile(-30), "", ServeStaleAndRevalidate),
        ("RFC 5861, 3: over", meanwhile(-31), "", Revalidate),
        ("RFC 5861, 3: fresh", meanwhile(1), "", Serve),
        (
            "RFC 5861, 3: not for the picky",
            meanwhile(-1),
            "max-age=1000",
            Revalidate,
        ),
        ("RFC 5861, 3", meanwhile(-1), "no-cache", Revalidate),
        ("RFC 8246, 2", fixed, "max-age=0", Serve),
        ("RFC 8246, 2", fixed, "no-cache", Revalidate),
        (
            "RFC 8246, 2: once stale",
            Stored {
                fresh_until: NOW,
                ..fixed
            },
            "max-age=0",
            Revalidate,
        ),
        (
            "errors are given fresh or not at all",
            Stored {
                status: 404,
                ..stored(-1)
            },
            "max-stale",
            Revalidate,
        ),
    ];
    for (section, stored, wish, given) in table {
        assert_eq!(
            reuse(Some(&stored), &wishes(wish), NOW),
            given,
            "{section}: {wish}"
        );
    }
    assert_eq!(reuse(None, &wishes(""), NOW), Revalidate);
    assert_eq!(reuse(None, &wishes("only-if-cached"), NOW), Refuse504);
}

#[test]
fn what_is_given_for_trouble() {
    use AfterTrouble::{PassOn, Refuse504, ServeStale};
    use Trouble::{Disconnected, Failing};
    let within = |most| Stored {
        stale_if_error_s: Some(most),
        ..stored(-60)
    };
    let table = [
        ("4.2.4", stored(-60), "", Disconnected, ServeStale),
        ("4.3.3", stored(-60), "", Failing, ServeStale),
        ("5.2.2.2", must(stored(-60)), "", Disconnected, Refuse504),
        ("5.2.2.2", must(stored(-60)), "", Failing, PassOn),
        ("RFC 5861, 4", within(60), "", Failing, ServeStale),
        ("RFC 5861, 4: over", within(59), "", Failing, PassOn),
        ("RFC 5861, 4: over", within(59), "", Disconnected, PassOn),
        ("5.2.1.4", stored(-60), "no-cache", Disconnected, PassOn),
        ("5.2.1.4: fresh", stored(60), "no-cache", Failing, PassOn),
        ("5.2.1.1", stored(60), "max-age=99", Failing, PassOn),
        ("5.2.1.3", stored(60), "min-fresh=90", Failing, ServeStale),
        (
            "5.2.2.2: still fresh",
            must(stored(60)),
            "min-fresh=90",
            Failing,
            PassOn,
        ),
        (
            "an error is no help against another",
            Stored {
                status: 404,
                ..stored(-1)
            },
            "",
            Disconnected,
            PassOn,
        ),
    ];
    for (section, stored, wish, trouble, given) in table {
        assert_eq!(
            after_trouble(Some(&stored), &wishes(wish), trouble, NOW),
            given,
            "{section}: {wish}"
        );
    }
    assert_eq!(after_trouble(None, &wishes(""), Disconnected, NOW), PassOn);
    for status in [500, 502, 503, 504, 520, 599] {
        assert!(is_trouble(status), "{status}");
    }
    for status in [200, 304, 404, 429, 501, 505] {
        assert!(!is_trouble(status), "{status}");
    }
}

proptest! {
    /// Whatever is wished: what must be confirmed is never given stale, and who wants nothing of the origin is never
    /// the cause of a request to it.
    #[test]
    fn no_wish_breaks_a_ban(
        left in -1000_i64..1000,
        age_s in 0_u64..2000,
        banned in any::<bool>(),
        meanwhile in proptest::option::of(0_u64..1000),
        wish in "(no-cache|max-age=[0-9]{1,3}|min-fresh=[0-9]{1,3}|max-stale(=[0-9]{1,3})?|only-if-cached|, ){0,4}",
    ) {
        let stored = Stored {
            age_s,
            must_revalidate: banned,
            stale_while_revalidate_s: meanwhile,
            ..stored(left)
        };
        let wishes = wishes(&wish);
        let given = reuse(Some(&stored), &wishes, NOW);
        if left <= 0 && banned {
            prop_assert!(!matches!(given, Reuse::Serve | Reuse::ServeStaleAndRevalidate));
            for trouble in [Trouble::Disconnected, Trouble::Failing] {
                let after = after_trouble(Some(&stored), &wishes, trouble, NOW);
                prop_assert!(after != AfterTrouble::ServeStale);
            }
        }
        prop_assert_eq!(given == Reuse::Revalidate, given == Reuse::Revalidate && !wishes.only_if_cached);
        if wishes.no_cache {
            prop_assert!(matches!(given, Reuse::Revalidate | Reuse::Refuse504));
        }
    }
}
