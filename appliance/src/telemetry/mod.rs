//! Figures and log lines. The rule: each appliance has a recorder of its own, so that several in one process do not
//! mix their figures, and what is only known when somebody asks is asked for at the scrape.

pub(crate) mod gauges;
mod journal;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod steps;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt;
use std::sync::Arc;

/// Bounds of the histograms, in seconds: from a hit in memory to the 20 s at which clients leave (facts: clients 1.6).
const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0, 14.0, 20.0,
];

/// Where the figures of one appliance are kept; clones share it.
#[derive(Clone)]
pub struct Telemetry {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// A recorder that only [`Telemetry::within`] leads to.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Without buckets histograms become summaries, which grow with every value until somebody scrapes.
        let builder = match builder.set_buckets(&SECONDS) {
            Ok(builder) => builder,
            // Only an empty list is refused.
            Err(_) => PrometheusBuilder::new(),
        };
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self {
            recorder: Arc::new(recorder),
            handle,
        }
    }

    /// Makes it the recorder of the whole process, for handles that are made on threads of their own. Does nothing
    /// where there is one already.
    pub fn install(&self) {
        if metrics::set_global_recorder(Arc::clone(&self.recorder)).is_err() {
            tracing::debug!(
                "this process has a recorder already; figures of other threads go there"
            );
        }
    }

    /// Handles that are made on this thread during `make` count here.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, make)
    }

    /// Everything, as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Moves what histograms have collected to where it takes no more room; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}
