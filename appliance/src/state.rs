//! What a running appliance is to those who ask about it or change it: the admin API, signals, background work. The
//! rule: everything here may be read at any moment, from any thread, also while the appliance stops.

use crate::admin::Token;
use crate::admin::warm::Warming;
use crate::budget::Budget;
use crate::certificates::Keeper;
use crate::cmdlets::rates::Looks;
use crate::config::Checked;
use crate::journal::Journal;
use crate::months::Kept;
use crate::telemetry::Telemetry;
use crate::telemetry::gauges::{Gauges, Shards};
use arc_swap::ArcSwap;
use larder_net::clock::Clock;
use larder_net::coordinator::Coordinator;
use larder_net::download::Download;
use larder_net::http::{Plane, ShardReport, TlsPlane};
use larder_net::metrics::Figures;
use larder_net::origin::OriginClient;
use larder_net::settings::Settings;
use larder_net::swarm::Swarm;
use larder_storage::driver::DriverKind;
use larder_storage::store::Store;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a shard thread may take to give its book of clients.
const GATHER_WITHIN: Duration = Duration::from_secs(1);

/// The parts, shared.
pub(crate) struct State {
    pub(crate) store: Store,
    /// Who asks the origins.
    pub(crate) origin: OriginClient,
    /// What is counted.
    pub(crate) figures: Arc<Figures>,
    /// Who brings in what is missing.
    pub(crate) download: Download,
    /// What was counted in each month.
    pub(crate) months: Kept,
    /// What has become of downloads.
    pub(crate) journal: Journal,
    /// How much went through at the last looks.
    pub(crate) looks: Looks,
    /// What administrators have brought in.
    pub(crate) warming: Warming,
    /// What shard threads and origins go by; published anew by a reload.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    /// The configuration in force; keys that need a restart are as they were at start.
    pub(crate) config: ArcSwap<Checked>,
    /// Where the configuration is read from again.
    pub(crate) file: Option<PathBuf>,
    /// Held while a reload runs, so that two do not mix.
    pub(crate) reloading: Mutex<()>,
    /// None once the appliance has stopped.
    pub(crate) plane: Arc<RwLock<Option<Plane>>>,
    /// None where https is not served, and once the appliance has stopped.
    pub(crate) tls_plane: RwLock<Option<TlsPlane>>,
    pub(crate) certificates: Keeper,
    pub(crate) reports: Vec<ShardReport>,
    pub(crate) telemetry: Telemetry,
    pub(crate) gauges: Gauges,
    pub(crate) token: Token,
    pub(crate) budget: Budget,
    pub(crate) clock: Clock,
    /// When it started, in seconds since 1970.
    pub(crate) started_unix: u64,
    /// Where clients are served.
    pub(crate) http: Vec<SocketAddr>,
    /// Where they are served by https.
    pub(crate) https: Vec<SocketAddr>,
    /// Where peers are served.
    pub(crate) peer: Vec<SocketAddr>,
    /// Names of this machine, by which the admin address may be called.
    pub(crate) host_name: String,
    pub(crate) pulse: Pulse,
    /// Where pieces come from besides origins, once it is joined.
    pub(crate) swarm: OnceLock<Swarm>,
    /// The coordinator in this process.
    pub(crate) coordinator: Option<Coordinator>,
    /// Where it serves others.
    pub(crate) coordinator_at: Vec<SocketAddr>,
    pub(crate) stopping: AtomicBool,
}

/// Whether clients should be sent here, and what is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<String>,
}

impl State {
    /// Ready means that requests are answered. A store that is degraded does not change that, since what can not be
    /// stored passes through; it is a reason to look, not to send clients over the WAN.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let stopping = self.stopping.load(Ordering::Relaxed);
        if stopping {
            reasons.push("larder is stopping".to_owned());
        }
        let stuck = self.pulse.stuck();
        if stuck > 0 {
            reasons.push(format!(
                "{stuck} of {} serving threads hang",
                self.pulse.threads()
            ));
        }
        let ready = reasons.is_empty();
        reasons.extend(self.store.figures().degraded);
        reasons.extend(self.certificates.troubles(self.clock.unix()));
        reasons.extend(self.origin.proxy_notes());
        if self.coordinator_answers() == Some(false) {
            reasons.push("the coordinator does not answer; no new peers are found".to_owned());
        }
        Readiness { ready, reasons }
    }

    /// The shards, counted.
    pub(crate) fn shards(&self) -> Shards {
        let on_ring = |report: &&ShardReport| report.driver == DriverKind::Ring;
        Shards {
            threads: self.reports.len(),
            on_ring: self.reports.iter().filter(on_ring).count(),
            stuck: self.pulse.stuck(),
        }
    }

    /// All figures, as Prometheus reads them. Asks the store, so not for shard threads.
    pub(crate) fn metrics(&self) -> String {
        self.gauges.update(
            &self.store.figures(),
            self.shards(),
            self.coordinator_answers(),
        );
        self.gauges.configured(self.config.load().hash);
        self.telemetry.within(|| self.certificates.update_gauges());
        self.telemetry.render()
    }

    /// Whether the coordinator answers; None while nobody has asked it.
    fn coordinator_answers(&self) -> Option<bool> {
        self.swarm.get().and_then(Swarm::coordinator_answers)
    }

    /// Brings the book of clients up to date, and forgets in it who was not here for long. Waits for the shard threads,
    /// so not for those.
    pub(crate) fn gather_clients(&self) {
        if let Some(plane) = self.plane.read().as_ref() {
            plane.gather_clients(GATHER_WITHIN);
        }
        let hours = self.config.load().seen.retention_hours;
        let retention = Duration::from_secs(hours.saturating_mul(3600));
        self.figures.clients.forget(retention, self.clock.now());
    }

    /// Open connections of clients.
    pub(crate) fn connections(&self) -> usize {
        let by_http = self.plane.read().as_ref().map_or(0, Plane::connections);
        let by_https = self.tls_plane.read().as_ref().map(TlsPlane::connections);
        by_http + by_https.unwrap_or(0)
    }

    /// Takes the pulse of all threads that serve; to be called at intervals of over a second. True where none hangs.
    pub(crate) fn take_pulse(&self) -> bool {
        let turns = self.plane.read().as_ref().map(Plane::turns);
        let by_tls = self.tls_plane.read().as_ref().map(TlsPlane::turns);
        let mut turns = turns.unwrap_or_default();
        turns.extend(by_tls.unwrap_or_default());
        self.pulse.take(turns) == 0
    }
}

/// Which threads turn, of the shards and of https. Each one's number grows at least once a second.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    last: Mutex<Vec<u64>>,
    stuck: AtomicUsize,
}

impl Pulse {
    /// How many stood still between the last two looks.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// How many there were at the last look.
    fn threads(&self) -> usize {
        self.last.lock().len()
    }

    fn take(&self, turns: Vec<u64>) -> usize {
        let mut last = self.last.lock();
        let stuck = last
            .iter()
            .zip(&turns)
            .filter(|(then, now)| then == now)
            .count();
        *last = turns;
        self.stuck.store(stuck, Ordering::Relaxed);
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_stands_still_is_stuck_until_it_turns() {
        let pulse = Pulse::default();
        assert_eq!(pulse.take(vec![5, 5]), 0, "the first look knows nothing");
        assert_eq!(pulse.take(vec![6, 5]), 1);
        assert_eq!(pulse.stuck(), 1);
        assert_eq!(pulse.take(vec![7, 6]), 0);
        assert_eq!(
            pulse.take(Vec::new()),
            0,
            "a plane that is gone has no shards"
        );
    }
}
