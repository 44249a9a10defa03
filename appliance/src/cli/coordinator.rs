//! `larder coordinator`: the coordinator alone, without a store and without clients. The rule: the same configuration
//! file as that of an appliance, of which `[coordinator]`, `[tls]`, `[log]` and the admin addresses count.

use crate::admin;
use crate::config::{self, Coordination};
use crate::coordination::{self, Sockets};
use crate::listen::{self, Purpose};
use crate::systemd;
use crate::telemetry::{Telemetry, log};
use larder_net::clock::Clock;
use larder_net::coordinator::Coordinator;
use larder_net::http::Certificates;
use larder_net::sock;
use sd_notify::NotifyState;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How long calls under way may take once we are told to stop.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// How often certificates are looked at, and histograms tidied up.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Options of `larder coordinator`.
#[derive(clap::Args, Debug)]
pub(super) struct CoordinatorArgs {
    /// The configuration; without one: port 7681, state in memory, figures on 127.0.0.1:9180.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &CoordinatorArgs) -> anyhow::Result<ExitCode> {
    let config = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    log::install(&config.log);
    let mut coordination = config.coordination.clone();
    let Coordination::Embedded(embedded) = &mut coordination else {
        anyhow::bail!(
            "[coordinator] has mode = \"off\" or a url; a coordinator alone needs neither, take them out"
        );
    };
    // Whoever runs nothing else wants its addresses.
    embedded.is_asked_for = true;
    let certificates = match (embedded.https.is_empty(), config.tls.is_empty()) {
        (true, _) => None,
        (false, true) => {
            anyhow::bail!("[coordinator] https needs a certificate; write [tls] with cert and key")
        }
        (false, false) => Some(Arc::new(Certificates::load(&config.tls)?)),
    };
    if let Err(error) = sock::raise_open_files() {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    let telemetry = Telemetry::new();
    telemetry.install();
    let sockets = Sockets::open(&coordination)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("coordinator")
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let started = coordination::start(
        &coordination,
        sockets,
        certificates.clone(),
        Clock::start(),
        &telemetry,
    )?;
    let Some(mut coordinating) = started else {
        anyhow::bail!("[coordinator] has nothing to serve");
    };
    for address in [
        Some(config.admin).filter(|admin| admin.ip().is_loopback()),
        config.metrics,
    ] {
        let Some(address) = address else { continue };
        match listen::one(address, Purpose::Metrics) {
            Ok(listener) => admin::spawn_figures(listener, telemetry.clone())?,
            Err(error) => tracing::warn!("{error}"),
        }
    }
    let signals = Signals::caught()?;
    let addresses: Vec<String> = coordinating
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    tracing::info!(
        "larder {} coordinates on {}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", ")
    );
    systemd::notify(&[NotifyState::Ready, NotifyState::Status("coordinating")]);
    let which = until_stop(
        &runtime,
        signals,
        args,
        &coordinating.coordinator,
        certificates.as_deref(),
        &telemetry,
    );
    tracing::info!("{which}: stopping");
    systemd::notify(&[NotifyState::Stopping]);
    if let Some(server) = coordinating.server.take() {
        runtime.block_on(server.stop(CUT_AFTER));
    }
    Ok(ExitCode::SUCCESS)
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn caught() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

fn until_stop(
    runtime: &Runtime,
    mut signals: Signals,
    args: &CoordinatorArgs,
    coordinator: &Coordinator,
    certificates: Option<&Certificates>,
    telemetry: &Telemetry,
) -> &'static str {
    runtime.block_on(async {
        let mut timer = tokio::time::interval(LOOK_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return "SIGTERM",
                _ = signals.interrupt.recv() => return "SIGINT",
                _ = signals.hang_up.recv() => {
                    systemd::reloading();
                    reload(args, coordinator, certificates);
                    systemd::notify(&[NotifyState::Ready]);
                }
                _ = timer.tick() => {
                    telemetry.upkeep();
                    if certificates.is_some_and(Certificates::files_changed) {
                        reload(args, coordinator, certificates);
                    }
                }
            }
        }
    })
}

/// Sites, keys, bounds and certificates; a file with a mistake changes nothing.
fn reload(args: &CoordinatorArgs, coordinator: &Coordinator, certificates: Option<&Certificates>) {
    let config = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            tracing::error!("{problems}");
            tracing::error!("the configuration has mistakes; the settings stay as they were");
            return;
        }
    };
    if let Some(certificates) = certificates {
        for error in certificates.renew(&config.tls) {
            tracing::error!("[tls] {error}; the certificate in force stays");
        }
    }
    if let Coordination::Embedded(embedded) = config.coordination {
        coordinator.set(embedded.service);
        tracing::info!("the configuration was read again");
    }
}
