//! `larder serve`. The rule: it says what it serves once it serves, and why not where it cannot.

use crate::appliance::{Appliance, Origin};
use crate::config::{self, Checked};
use crate::listen;
use crate::service::{self, Signals};
use crate::systemd;
use crate::telemetry::{Telemetry, log};
use larder_net::sock;
use larder_storage::driver::DriverKind;
use sd_notify::NotifyState;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder serve`.
#[derive(clap::Args, Debug)]
pub(super) struct ServeArgs {
    /// The configuration; without one: ports 8080 (HTTP), 7680 (peers), 7681 (coordinator) and 127.0.0.1:9180 (admin), the store in the data directory
    /// of the user.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    log::install(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match sock::raise_open_files() {
        Ok(files) => tracing::debug!("up to {files} files and sockets may be open"),
        Err(error) => tracing::warn!("the limit of open files stays as it is: {error}"),
    }
    let telemetry = Telemetry::new();
    telemetry.install();
    let origin = Origin {
        // Absolute, so that a reload finds it wherever the process is then.
        file: args
            .config
            .as_deref()
            .map(std::path::absolute)
            .transpose()?,
        watchdog: sd_notify::watchdog_enabled(),
        sockets: listen::inherited()?,
        network: None,
    };
    // Before anybody is told that it is there, since whoever was told may stop it at once.
    let signals = Signals::caught()?;
    systemd::notify(&[NotifyState::Status("opening the store")]);
    let appliance = Appliance::start_from(config.clone(), telemetry, origin)?;
    announce(&appliance, &config);
    Ok(service::run(appliance, &signals))
}

/// The line by which an administrator sees what runs.
fn announce(appliance: &Appliance, config: &Checked) {
    let state = appliance.state();
    for report in &state.reports {
        tracing::debug!("a shard has {}", report.describe);
    }
    // Every shard has the same to advise; once is enough.
    if let Some(advice) = state
        .reports
        .iter()
        .find_map(|report| report.advice.as_ref())
    {
        tracing::warn!("{advice}");
    }
    let driver = match state.reports.first().map(|report| report.driver) {
        Some(DriverKind::Ring) => "io_uring",
        Some(DriverKind::Epoll) => "epoll",
        None => "no driver",
    };
    let http: Vec<String> = appliance.http().iter().map(ToString::to_string).collect();
    let https: Vec<String> = appliance.https().iter().map(ToString::to_string).collect();
    let https = match https.is_empty() {
        true => String::new(),
        false => format!(", by https on {}", https.join(", ")),
    };
    let peers: Vec<String> = appliance.peer().iter().map(ToString::to_string).collect();
    let peers = match peers.is_empty() {
        true => String::new(),
        false => format!(", peers on {}", peers.join(", ")),
    };
    let paths: Vec<String> = config
        .store_paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let metrics = appliance
        .metrics_address()
        .map(|address| format!(", metrics on {address}"))
        .unwrap_or_default();
    let coordinator: Vec<String> = appliance
        .coordinator()
        .iter()
        .map(ToString::to_string)
        .collect();
    let coordinator = match coordinator.is_empty() {
        true => String::new(),
        false => format!(", coordinator on {}", coordinator.join(", ")),
    };
    let store = state.store.figures();
    tracing::info!(
        "larder {} serves on {}{https}{peers}{coordinator} by {} shard threads ({driver}), admin on {}{metrics}; store {} with {} objects, \
         {} MiB of at most {} MiB; memory {} MiB, of it {} MiB for hot pieces",
        env!("CARGO_PKG_VERSION"),
        http.join(", "),
        state.reports.len(),
        appliance.admin(),
        paths.join(", "),
        store.objects,
        store.bytes >> 20,
        store.capacity_bytes >> 20,
        config.memory_bytes_max >> 20,
        state.budget.ram_bytes >> 20,
    );
}
