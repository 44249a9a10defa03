//! What is done from time to time. The rule: each look is short, runs off the shard threads, and a missed one does no
//! harm.

use crate::scrub;
use crate::state::State;
use crate::systemd;
use crate::telemetry::steps::Steps;
use larder_storage::store::{Filter, Listed, Store};
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often histograms are moved and the shards' pulse is taken; longer than the second within which they turn.
const TICK: Duration = Duration::from_secs(5);
/// The shortest where systemd wants to hear of us more often; still longer than the second.
const TICK_MIN: Duration = Duration::from_millis(1500);
/// How often objects that are too old are looked for.
const AGE_TICK: Duration = Duration::from_secs(60);

/// Starts the background work on the present runtime; it ends with the runtime. `watchdog` is how often systemd wants
/// to hear of us.
pub(crate) fn spawn(state: &Arc<State>, watchdog: Option<Duration>) {
    let tick = watchdog.map_or(TICK, |every| (every / 3).clamp(TICK_MIN, TICK));
    let of_pulse = Arc::clone(state);
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(tick);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hung = false;
        let mut steps = of_pulse.telemetry.within(Steps::new);
        loop {
            timer.tick().await;
            of_pulse.telemetry.upkeep();
            steps.look();
            let gathering = Arc::clone(&of_pulse);
            // Before a shard thread's own book of clients is full. It may wait for them, and nobody for it.
            tokio::task::spawn_blocking(move || {
                gathering.gather_clients();
                gathering
                    .looks
                    .look(&gathering.figures, gathering.clock.now());
                gathering.months.keep();
                gathering.journal.look(&gathering);
            });
            let all_turn = of_pulse.take_pulse();
            if !all_turn {
                let hang = format!("{} serving threads hang", of_pulse.pulse.stuck());
                tracing::error!("{hang}");
                systemd::status(&hang);
            } else if hung {
                systemd::status("serving; all threads turn again");
            }
            hung = !all_turn;
            if all_turn && watchdog.is_some() {
                systemd::notify(&[NotifyState::Watchdog]);
            }
        }
    });
    tokio::spawn(scrub::run(state.store.clone(), scrub::FIRST_AFTER));
    let of_age = Arc::clone(state);
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(AGE_TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let state = Arc::clone(&of_age);
            let swept = tokio::task::spawn_blocking(move || {
                let age_max_s = state.config.load().age_max_s;
                forget_old(&state.store, age_max_s, state.clock.unix());
            })
            .await;
            if let Err(error) = swept {
                tracing::error!("looking for objects over DOMaxCacheAge failed: {error}");
            }
        }
    });
}

/// Forgets objects that have been here for longer than `DOMaxCacheAge` (0: never); pinned ones stay.
pub(crate) fn forget_old(store: &Store, age_max_s: u64, now: u64) {
    if age_max_s == 0 {
        return;
    }
    for listed in store.list(&Filter::All) {
        if is_too_old(&listed, now, age_max_s) {
            store.purge(&Filter::Content(listed.no));
        }
    }
}

/// A clock that has gone back makes nothing older.
fn is_too_old(listed: &Listed, now: u64, age_max_s: u64) -> bool {
    !listed.record.pinned && now.saturating_sub(listed.record.stored_at) > age_max_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::{ContentNo, UrlKey};
    use larder_storage::record::Record;

    fn listed(stored_at: u64, pinned: bool) -> Listed {
        let record = Record {
            url: "http://a.example/x".to_owned(),
            host: "a.example".to_owned(),
            length: 1,
            date: stored_at,
            fresh_until: 0,
            stored_at,
            pinned,
            ..Record::default()
        };
        Listed {
            no: ContentNo::new(1),
            key: UrlKey([0; 32]),
            record,
            bytes_stored: 1,
            pieces_stored: 1,
            pieces: 1,
        }
    }

    #[test]
    fn an_object_may_stay_for_just_its_age() {
        assert!(!is_too_old(&listed(1000, false), 1060, 60));
        assert!(is_too_old(&listed(1000, false), 1061, 60));
        assert!(
            !is_too_old(&listed(1000, true), 9999, 60),
            "a pinned one stays"
        );
        assert!(
            !is_too_old(&listed(1000, false), 5, 60),
            "a clock that went back"
        );
    }
}
