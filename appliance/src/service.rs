//! The appliance as a service of the machine: signals, and what systemd is told. The rule: the first SIGTERM or SIGINT
//! stops in good order, the second at once; SIGHUP reads the configuration again; one that comes while the store is still
//! being opened waits until it is open.

use crate::appliance::Appliance;
use crate::reload::reload;
use crate::systemd;
use sd_notify::NotifyState;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long answers under way may take once we are told to stop.
const CUT_AFTER: Duration = Duration::from_secs(10);
/// When the order is not kept: stopped by a second signal.
const EXIT_AT_ONCE: i32 = 1;

/// What a signal asks for.
enum Order {
    Reload,
    /// By the signal of this name.
    Stop(&'static str),
}

/// The signals that a service is sent, caught from the moment this exists.
pub(crate) struct Signals(Receiver<Order>);

impl Signals {
    /// Catches them, on a thread that waits for nothing else.
    ///
    /// # Errors
    /// Where signals cannot be caught.
    pub(crate) fn caught() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let entered = runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        let (tell, told) = channel();
        let listen = async move {
            let mut is_stopping = false;
            loop {
                let order = tokio::select! {
                    // Of those that came together, what is asked of a running service first.
                    biased;
                    _ = hang_up.recv() => Order::Reload,
                    _ = terminate.recv() => Order::Stop("SIGTERM"),
                    _ = interrupt.recv() => Order::Stop("SIGINT"),
                };
                let stops = matches!(order, Order::Stop(_));
                if stops && is_stopping {
                    tracing::warn!("stopped at once by a second signal");
                    std::process::exit(EXIT_AT_ONCE);
                }
                is_stopping |= stops;
                // Whoever would hear it is stopping.
                let _ = tell.send(order);
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(listen))?;
        Ok(Self(told))
    }
}

/// Runs until a signal says to stop, and stops.
pub(crate) fn run(appliance: Appliance, signals: &Signals) -> ExitCode {
    systemd::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    let mut which = "nobody catches signals any more";
    for order in &signals.0 {
        match order {
            Order::Reload => {
                systemd::reloading();
                // What is wrong was logged and is the status, and the settings are as they were.
                let _ = reload(appliance.state());
                systemd::notify(&[NotifyState::Ready]);
            }
            Order::Stop(by) => {
                which = by;
                break;
            }
        }
    }
    tracing::info!("{which}: stopping; answers under way have 10 s");
    systemd::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    appliance.stop(CUT_AFTER);
    tracing::info!("stopped");
    ExitCode::SUCCESS
}
