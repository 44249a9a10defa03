//! The appliance as a service of the machine: signals, and what systemd is told. The rule: the first SIGTERM or SIGINT
//! stops in good order, the second at once; SIGHUP reads the configuration again.

use crate::appliance::Appliance;
use crate::reload::reload;
use crate::state::State;
use crate::systemd;
use sd_notify::NotifyState;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long answers under way may take once we are told to stop.
const CUT_AFTER: Duration = Duration::from_secs(10);
/// When the order is not kept: stopped by a second signal.
const EXIT_AT_ONCE: i32 = 1;

/// The signals that a service is sent, caught from the moment this exists.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// Where signals cannot be caught.
    pub(crate) fn caught(runtime: &Runtime) -> io::Result<Self> {
        let _entered = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to stop, and reloads meanwhile.
    async fn until_stop(&mut self, state: &Arc<State>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    systemd::reloading();
                    let state = Arc::clone(state);
                    // What is wrong was logged, and the settings are as they were.
                    let _ = tokio::task::spawn_blocking(move || reload(&state)).await;
                    systemd::notify(&[NotifyState::Ready]);
                }
            }
        }
    }
}

/// Runs until a signal says to stop, and stops.
pub(crate) fn run(appliance: Appliance, mut signals: Signals) -> ExitCode {
    let runtime = appliance.runtime();
    systemd::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    let which = runtime.block_on(signals.until_stop(appliance.state()));
    tracing::info!("{which}: stopping; answers under way have 10 s");
    systemd::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    runtime.spawn(async move {
        tokio::select! {
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(EXIT_AT_ONCE);
    });
    appliance.stop(CUT_AFTER);
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
