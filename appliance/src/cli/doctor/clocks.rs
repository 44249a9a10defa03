//! Clocks: this machine's own, and what the origins say. The rule: a clock is compared with another by what both said at
//! the same moment, and a difference that their seconds and the way explain is none.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use super::ranges;
use crate::admin::token_file_in;
use larder_net::clock::Clock;
use larder_proto::time::UnixSecs;
use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// A difference that nobody has to look at, in seconds.
const NEAR_S: u64 = 10;
/// From this one on signatures are refused and freshness is misjudged.
const FAR_S: u64 = 300;
/// By how much a file may seem to be of the future, as one that another machine wrote may.
const FUTURE_S: u64 = 60;
/// 2024-01-01: no clock that was ever set is before it.
const LONG_AGO: UnixSecs = 1_704_067_200;

/// What a clock elsewhere is, compared with this one.
pub(super) fn compared(whose: &str, there: UnixSecs, here: UnixSecs) -> Told {
    let apart = there.abs_diff(here);
    let word = if there > here { "ahead of" } else { "behind" };
    let found = format!("that of {whose} is {apart} s {word} this machine's");
    let advice = "set both by NTP (`timedatectl status`, `chronyc tracking`)";
    if apart <= NEAR_S {
        good(format!("that of {whose} and this machine's agree"))
    } else if apart <= FAR_S {
        fair(found, advice)
    } else {
        bad(found, advice)
    }
}

pub(super) fn own(patient: &Patient) -> Vec<Told> {
    let now = Clock::start().unix();
    let ntp = "look whether NTP runs (`timedatectl status`, `chronyc tracking`)";
    if now < LONG_AGO {
        let found = format!("it says {now} s since 1970, which is long ago");
        return vec![bad(found, ntp)];
    }
    let mut files: Vec<PathBuf> = std::env::current_exe().into_iter().collect();
    if let Some(config) = &patient.config {
        files.extend(config.files.iter().cloned());
        for store in &config.store_paths {
            files.push(store.clone());
            files.push(token_file_in(store));
        }
    }
    let changed = |file: &PathBuf| {
        let at = fs::metadata(file).ok()?.modified().ok()?;
        Some((at.duration_since(UNIX_EPOCH).ok()?.as_secs(), file.clone()))
    };
    let newest = files.iter().filter_map(changed).max();
    vec![match newest {
        Some((at, file)) if at > now + FUTURE_S => bad(
            format!(
                "it is {} s behind the last change of {}: it went back, or was wrong then",
                at - now,
                file.display()
            ),
            ntp,
        ),
        _ => match patient.figure("larder_clock_steps_total").unwrap_or(0.0) {
            0.0 => good("not behind what was written last, and not set since the start"),
            times => {
                let last = patient
                    .figure("larder_clock_last_step_seconds")
                    .unwrap_or(0.0);
                fair(
                    format!("it was set {times} times since the start, last by {last:.0} s"),
                    ntp,
                )
            }
        },
    }]
}

/// What the origins say, by the answers that ranges were tried with.
pub(super) fn origins(patient: &Patient) -> Vec<Told> {
    let compare = |probed: &ranges::Probed| {
        let (there, here) = probed.clock?;
        Some(compared(&probed.origin, there, here))
    };
    ranges::probed(patient).iter().filter_map(compare).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn clocks_are_told_apart_from_ten_seconds_on() {
        let grade = |there, here| compared("x", there, here).grade;
        assert_eq!(grade(1000, 1010), Grade::Good);
        assert_eq!(grade(1011, 1000), Grade::Fair);
        assert_eq!(grade(1000, 1301), Grade::Bad);
        let told = compared("x", 2000, 1000);
        assert!(told.found.contains("1000 s ahead of"), "{told:?}");
    }
}
