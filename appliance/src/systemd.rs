//! What systemd is told. The rule: no service manager, or one that does not listen, is never a reason to fail.

use sd_notify::NotifyState;

/// Tells the service manager, if there is one.
pub(crate) fn notify(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}

/// Says that a reload begins, as `Type=notify-reload` wants it: with the time.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}
