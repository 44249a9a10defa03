//! A download from beginning to end: settings, store, signals. The rule: whatever happens, there is a report, and the
//! store is written out before the process ends.

use super::cache::{self, Opened, SLAB_BYTES};
use super::fetch::Fetch;
use super::found;
use super::peering::{self, Peering};
use super::progress::{Meter, Shown};
use super::report::{Report, Status, Verified};
use super::target::Target;
use super::url::route_of;
use super::{Failure, Order, plain};
use crate::appliance::StartError;
use crate::background::forget_old;
use crate::cmdlets::file_id;
use crate::device;
use crate::node::{Node, NodeOptions};
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use larder_net::metrics::Figures;
use larder_net::origin::OriginClient;
use larder_net::settings::Settings;
use larder_net::swarm::Swarm;
use larder_proto::http::route::OwnedRoute;
use larder_proto::policy::eligibility::may_use_cache_host;
use larder_proto::policy::{
    DownloadMode, Facts, Policies, Role, Taken, cache as limits, delay, mode, taken,
};
use larder_storage::store::{OpenError, SizeLimit};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Memory of a device that only downloads; an appliance has its machine to itself.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// How long answers to peers may take once a device that stays for others is told to end.
const CUT_AFTER: Duration = Duration::from_secs(2);
/// It serves nobody but peers.
const SHARDS: usize = 1;

/// A device that is done, and stays for others.
pub(crate) struct Seeding {
    node: Node,
    swarm: Swarm,
}

impl Seeding {
    /// Stays until a signal, and leaves.
    pub(crate) fn until_signal(self) {
        let Self { node, swarm } = self;
        let waited = node.runtime.block_on(async {
            let what = Signals::caught()?.any().await;
            tracing::info!("leaving the swarm: {what}");
            std::io::Result::Ok(())
        });
        if let Err(error) = waited {
            tracing::error!("catching signals failed: {error}");
        }
        peering::leave(&node, &swarm);
        node.stop(CUT_AFTER, async { true });
    }
}

/// Downloads, and says what came of it.
pub(crate) fn run(order: &Order) -> (Report, Option<Seeding>) {
    let began = Instant::now();
    let mut report = Report::new(&order.url, order.priority);
    let mut seeding = None;
    let result = match Plan::of(order) {
        Ok(plan) => {
            report.in_mode(plan.taken);
            report.path = Some(plan.target.name());
            report.file_id = file_id(&plan.route.identity.key.0, &order.url);
            report.cache_host = plan.settings.cache_hosts.first().cloned();
            let meter = Arc::new(Meter::default());
            let result = plan.run(&meter, &mut report, &mut seeding);
            let (sources, disk) = meter.counts();
            // What was on disk and gone again before its turn was fetched after all.
            let rest = report
                .file_size
                .map(|size| size.saturating_sub(sources.all()));
            report.came(sources, rest.map_or(disk, |rest| rest.min(disk)));
            result
        }
        Err(failure) => Err(failure),
    };
    let mut report = report.ended(result, began.elapsed());
    if seeding.is_some() {
        report.status = Status::Caching;
    }
    (report, seeding)
}

/// What is decided before anything is opened.
struct Plan {
    route: Arc<OwnedRoute>,
    target: Target,
    folder: PathBuf,
    policies: Policies,
    taken: Taken,
    settings: Settings,
    peering: Option<Peering>,
    seed: bool,
    memory_bytes_max: u64,
    driver: Option<larder_storage::driver::DriverKind>,
}

impl Plan {
    fn of(order: &Order) -> Result<Self, Failure> {
        let config = &order.config;
        let policies = config.policy.typed(Role::Device);
        let mut settings = config.settings.clone();
        settings.rules = settings.rules.opened();
        let route = route_of(&order.url, &settings.rules)?;
        let target = Target::of(order.output.as_deref(), &route.target)?;
        let folder = cache::folder(&config.policy);
        let facts = device::facts(&folder, &policies);
        let peering = Peering::of(config, &policies, order.seed);
        let known = peering::coordinator(peering.as_ref(), None);
        let taken = taken(&policies, None, known);
        settings.own_store = true;
        settings.priority = order.priority;
        settings.cache_hosts = cache_hosts(&policies, &facts, taken);
        let patience = delay::cache_host_patience(&policies, order.priority);
        settings.cache_host_patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        settings.policies = policies.clone();
        Ok(Self {
            route: Arc::new(route),
            target,
            folder,
            policies,
            taken,
            settings,
            peering,
            seed: order.seed,
            memory_bytes_max: config.memory_bytes_max.min(MEMORY_BYTES_MAX),
            driver: config.driver,
        })
    }

    fn run(
        self,
        meter: &Arc<Meter>,
        report: &mut Report,
        seeding: &mut Option<Seeding>,
    ) -> Result<Verified, Failure> {
        if self.taken.mode == DownloadMode::Bypass {
            return self.run_plain(meter, report);
        }
        let telemetry = Telemetry::new();
        let opened = cache::open(
            &self.folder,
            &self.route.identity.key,
            |place| self.options(place),
            &telemetry,
        );
        match opened {
            Ok(opened) => self.run_by_pieces(opened, meter, report, seeding),
            Err(StartError::Store(error @ (OpenError::Path { .. } | OpenError::Format { .. }))) => {
                eprintln!("larder: {error}; without a store the download can not be resumed");
                self.run_plain(meter, report)
            }
            Err(error) => Err(Failure::Other(error.to_string())),
        }
    }

    fn options(&self, place: PathBuf) -> NodeOptions {
        let limit = limits::limit(&self.policies);
        NodeOptions {
            shards: SHARDS,
            driver: self.driver,
            memory_bytes_max: self.memory_bytes_max,
            store_paths: vec![place],
            uploads: self.folder.clone(),
            store_bytes_max: SizeLimit {
                percent: limit.percent,
                absolute: limit.bytes,
            },
            slab_bytes: SLAB_BYTES,
            settings: self.settings.clone(),
            http: Vec::new(),
            peer: self
                .peering
                .as_ref()
                .map_or_else(Vec::new, Peering::listeners),
            network: None,
        }
    }

    fn run_by_pieces(
        self,
        opened: Opened,
        meter: &Arc<Meter>,
        report: &mut Report,
        seeding: &mut Option<Seeding>,
    ) -> Result<Verified, Failure> {
        let Opened { node, beside } = opened;
        let peering = self.peering.as_ref();
        let swarm = peering.map(|peering| peering.join(&node, &self.folder));
        if let Some(age_s_max) = self.policies.cache_age_s_max {
            forget_old(&node.store, age_s_max, node.clock.unix());
            cache::sweep(&self.folder, age_s_max);
        }
        let peers = peering.is_some() && mode::peers(self.taken.mode);
        let route = Arc::clone(&self.route);
        let mut fetch = Fetch::new(&node, route, &self.target, meter, peers);
        let result = under_signals(&node.runtime, meter, &self.target, fetch.run());
        for note in std::mem::take(&mut fetch.notes) {
            eprintln!("larder: {note}");
        }
        fetch.give_up();
        drop(fetch);
        let result = result.map_err(|failure| self.with_hint(failure));
        let length = result.as_ref().ok().map(|(length, _)| *length);
        let known = peering::coordinator(peering, swarm.as_ref());
        report.in_mode(taken(&self.policies, length, known));
        match swarm {
            Some(swarm) if self.seed && result.is_ok() => *seeding = Some(Seeding { node, swarm }),
            swarm => {
                if let Some(swarm) = &swarm {
                    peering::leave(&node, swarm);
                }
                node.stop(Duration::ZERO, async { true });
            }
        }
        let goes_on = matches!(
            result,
            Err(Failure::Network(_) | Failure::DiskFull(_) | Failure::Interrupted(_))
        );
        if let Some(beside) = beside.filter(|_| !goes_on && seeding.is_none()) {
            // Nobody else was to have this store, and the file has the bytes or never will.
            if let Err(error) = std::fs::remove_dir_all(&beside) {
                tracing::warn!(%error, "{} can not be removed", beside.display());
            }
        }
        let (length, verified) = result?;
        report.file_size = Some(length);
        Ok(verified)
    }

    /// A download without a store.
    fn run_plain(self, meter: &Arc<Meter>, report: &mut Report) -> Result<Verified, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failure::Other(format!("starting threads failed: {error}")))?;
        let settings = Arc::new(ArcSwap::from_pointee(self.settings));
        let client = OriginClient::new(settings, Arc::new(Figures::new()));
        let fetch = plain::fetch(&client, &self.route, &self.target, meter);
        let (length, verified) = under_signals(&runtime, meter, &self.target, fetch)?;
        report.file_size = Some(length);
        Ok(verified)
    }

    fn with_hint(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Interrupted(what) => Failure::Interrupted(format!(
                "{what}; the pieces that came are kept in {}, and the same command goes on from there",
                self.folder.display()
            )),
            other => other,
        }
    }
}

fn cache_hosts(policies: &Policies, facts: &Facts, taken: Taken) -> Vec<String> {
    if !may_use_cache_host(policies, facts, taken) {
        return Vec::new();
    }
    let (hosts, why_not) = found::of_this_network(policies);
    if let Some(why) = why_not {
        tracing::info!("DHCP names no cache host: {why}");
    }
    hosts
}

/// Runs a download with its bar, until it ends or a signal ends it.
fn under_signals<T>(
    runtime: &Runtime,
    meter: &Arc<Meter>,
    target: &Target,
    download: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    runtime.block_on(async {
        let mut signals = Signals::caught()
            .map_err(|error| Failure::Other(format!("catching signals failed: {error}")))?;
        let shown = Shown::begin(meter, &target.name());
        let result = tokio::select! {
            result = download => result,
            what = signals.any() => Err(Failure::Interrupted(format!("stopped by {what}"))),
        };
        if let Some(shown) = shown {
            shown.end();
        }
        result
    })
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn caught() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "an interrupt",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
