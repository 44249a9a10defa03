//! When an origin that is in trouble is asked once more. The rule: it gets the patience that it asks for, as far as
//! those who wait have any; whether it was asked for pieces or what an object is makes no difference.

use super::Failure;
use std::time::Duration;

/// The pauses before a second, third and fourth attempt. The origins see one larder and not a thousand clients, so
/// there is no herd to spread out.
pub(super) const PAUSES: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// The same where the origin asked for patience.
const PAUSES_BUSY: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// No origin is waited for longer in one go, whatever it asks for: who waits for the piece is told 503 by then, and who
/// asks next finds out whether the origin is well again.
pub const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// How long to wait after so many failures in a row, the last of this kind.
#[must_use]
pub fn pause_after(kind: Failure, failures: u32) -> Duration {
    let nth = failures.clamp(1, 3) as usize - 1;
    match kind {
        Failure::Busy(asked) => PAUSES_BUSY[nth].max(asked.min(PATIENCE_MAX)),
        Failure::Broken | Failure::Final => PAUSES[nth],
        Failure::Held => Duration::ZERO,
    }
}

/// What a status that brings nothing means for another attempt; `retry_after` is what the origin asked for.
#[must_use]
pub fn failure_of(status: u16, retry_after: Duration) -> Failure {
    match status {
        429 | 503 => Failure::Busy(retry_after),
        408 | 500.. => Failure::Broken,
        _ => Failure::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_gets_the_patience_that_it_asks_for() {
        let s = Duration::from_secs;
        for (status, asked, failures, pause) in [
            (503, s(0), 1, s(1)),
            (503, s(2), 1, s(2)),
            (429, s(2), 2, s(3)),
            (503, s(9), 3, s(9)),
            (503, s(3600), 1, s(10)),
            (503, s(0), 9, s(5)),
            // Others have no say.
            (500, s(9), 1, Duration::from_millis(250)),
            (408, s(9), 2, s(1)),
            (502, s(9), 3, s(3)),
        ] {
            let failure = failure_of(status, asked);
            assert_eq!(
                pause_after(failure, failures),
                pause,
                "{status} {asked:?} {failures}"
            );
        }
        for status in [400, 401, 403, 404, 410] {
            assert_eq!(failure_of(status, s(9)), Failure::Final);
        }
    }
}
