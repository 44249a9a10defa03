//! The certificates of a running appliance, kept up to date. The rule: a new one is taken as soon as its files are
//! there, and one that is about to expire, has expired, or could not be read is told until it is put right.

use crate::config::Checked;
use crate::state::State;
use larder_net::http::tls::{Certificates, InForce};
use larder_proto::UnixSecs;
use metrics::{Gauge, describe_gauge, gauge};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often files are looked at. Programs that renew certificates write the two of a pair one after the other.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// So many days before its end a certificate is told to need a new one: in the log, by `larder doctor` and `larder fleet`,
/// and by the alert in deploy/prometheus.
pub(crate) const WARN_BEFORE_DAYS: u64 = 21;
const WARN_BEFORE_S: u64 = WARN_BEFORE_DAYS * DAY_S;
pub(crate) const DAY_S: u64 = 24 * 3600;

const NOT_AFTER: &str = "larder_tls_certificate_not_after_seconds";

/// How often the log says that a certificate expires.
const TELL_EVERY_S: u64 = DAY_S;

/// The certificates, with what is said about them.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    certificates: Option<Arc<Certificates>>,
    gauges: Mutex<BTreeMap<String, Gauge>>,
    /// When the log last said what is not as it should be.
    told_at: Mutex<UnixSecs>,
}

impl Keeper {
    pub(crate) fn new(certificates: Option<Arc<Certificates>>) -> Self {
        describe_gauge!(
            NOT_AFTER,
            "When a certificate for clients expires, in seconds since 1970, by its first name."
        );
        Self {
            certificates,
            ..Self::default()
        }
    }

    fn in_force(&self) -> Vec<InForce> {
        let certificates = self.certificates.as_ref();
        certificates.map_or_else(Vec::new, |certificates| certificates.in_force())
    }

    /// What is not as it should be with those that are in force.
    pub(crate) fn troubles(&self, now: UnixSecs) -> Vec<String> {
        self.in_force()
            .iter()
            .flat_map(|one| troubles(one, now))
            .filter_map(|(grave, what)| grave.then_some(what))
            .collect()
    }

    /// Says when each expires. To be called where handles count for this appliance.
    pub(crate) fn update_gauges(&self) {
        let mut ends: BTreeMap<String, UnixSecs> = BTreeMap::new();
        for one in self.in_force() {
            if let Some(not_after) = one.not_after() {
                let end = ends.entry(one.name()).or_insert(not_after);
                *end = not_after.min(*end);
            }
        }
        let mut gauges = self.gauges.lock();
        for (name, gauge) in &*gauges {
            if !ends.contains_key(name) {
                // A series can not be taken back; one that is no number is compared with nothing.
                gauge.set(f64::NAN);
            }
        }
        for (name, end) in ends {
            let make = || gauge!(NOT_AFTER, "certificate" => name.clone());
            gauges
                .entry(name.clone())
                .or_insert_with(make)
                .set(end as f64);
        }
    }

    /// Reads them again, from the files that `config` names.
    pub(crate) fn renew(&self, config: &Checked, now: UnixSecs) {
        let Some(certificates) = &self.certificates else {
            return;
        };
        let errors = certificates.renew(&config.tls);
        for error in &errors {
            tracing::error!("[tls] {error}; the certificate in force stays");
        }
        if errors.is_empty() {
            let names: Vec<String> = self.in_force().iter().map(InForce::name).collect();
            tracing::info!("certificates were read again: {}", names.join(", "));
        }
        self.tell(now);
    }

    /// Logs what is not as it should be.
    pub(crate) fn tell(&self, now: UnixSecs) {
        *self.told_at.lock() = now;
        for one in self.in_force() {
            for (grave, what) in troubles(&one, now) {
                match grave {
                    true => tracing::error!("[tls] {what}"),
                    false => tracing::warn!("[tls] {what}"),
                }
            }
        }
    }

    fn look(&self, config: &Checked, now: UnixSecs) {
        let changed = |certificates: &Arc<Certificates>| certificates.files_changed();
        if self.certificates.as_ref().is_some_and(changed) {
            self.renew(config, now);
        } else if now.saturating_sub(*self.told_at.lock()) >= TELL_EVERY_S {
            self.tell(now);
        }
    }
}

/// What is not as it should be with one certificate, and whether clients suffer from it.
fn troubles(one: &InForce, now: UnixSecs) -> Vec<(bool, String)> {
    let (name, file) = (one.name(), one.files.cert.display());
    let mut troubles = Vec::new();
    if let Some(trouble) = &one.trouble {
        troubles.push((true, format!("certificate for {name}: {trouble}")));
    }
    let Some(pair) = &one.pair else {
        return troubles;
    };
    match pair.validity.left_s(now) {
        None => troubles.push((
            true,
            format!("the certificate for {name} HAS EXPIRED, clients refuse it; put a new one in {file}"),
        )),
        Some(left) if left < WARN_BEFORE_S => troubles.push((
            false,
            format!("the certificate for {name} expires in {} days; put a new one in {file}", left / DAY_S),
        )),
        Some(_) if pair.validity.not_before > now => troubles.push((
            true,
            format!("the certificate for {name} does not hold yet, clients refuse it; look at the clock and at {file}"),
        )),
        Some(_) => {}
    }
    if pair.key_is_open {
        let key = one.files.key.display();
        troubles.push((
            false,
            format!("others on this machine may read or change {key}; run `chmod 640 {key}`"),
        ));
    }
    if pair.names.is_empty() {
        troubles.push((
            false,
            format!("{file} names no host (subjectAltName); it is shown to clients that ask for no other"),
        ));
    }
    troubles
}

/// What `larder doctor` says of the certificates in a configuration: whether it is good, of which, what.
pub(crate) fn looked_at(config: &Checked, now: UnixSecs) -> Vec<(Option<bool>, String, String)> {
    let looked = |files| match Certificates::load(std::slice::from_ref(files)) {
        Err(error) => vec![(
            Some(true),
            files.cert.display().to_string(),
            error.to_string(),
        )],
        Ok(certificates) => certificates
            .in_force()
            .iter()
            .flat_map(|one| found(one, now))
            .collect(),
    };
    config.tls.iter().flat_map(looked).collect()
}

fn found(one: &InForce, now: UnixSecs) -> Vec<(Option<bool>, String, String)> {
    let troubles = troubles(one, now);
    if troubles.is_empty() {
        let left = one.not_after().map_or(0, |end| end.saturating_sub(now));
        return vec![(
            None,
            one.name(),
            format!("holds for {} more days", left / DAY_S),
        )];
    }
    let told = troubles.into_iter();
    told.map(|(grave, what)| (Some(grave), one.name(), what))
        .collect()
}

/// Looks at the files from time to time, on the present runtime.
pub(crate) fn watch(state: &Arc<State>) {
    if state.certificates.certificates.is_none() {
        return;
    }
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(LOOK_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let state = Arc::clone(&state);
            let looked = tokio::task::spawn_blocking(move || {
                let _one_at_a_time = state.reloading.lock();
                state
                    .certificates
                    .look(&state.config.load(), state.clock.unix());
            });
            if let Err(error) = looked.await {
                tracing::error!("looking at the certificates failed: {error}");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_comes_as_early_as_the_log() {
        let rules = include_str!("../../deploy/prometheus/rules.yml");
        let expression = format!("{NOT_AFTER} - time() < {WARN_BEFORE_DAYS} * 86400");
        assert!(rules.contains(&expression), "{expression}");
    }
}
