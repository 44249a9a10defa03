//! What systemd is told. The rule: no service manager, or one that does not listen, is never a reason to fail.

use sd_notify::NotifyState;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, if there is one.
pub(crate) fn notify(news: &[NotifyState<'_>]) {
    let Some(whom) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let lines: Vec<String> = news.iter().map(ToString::to_string).collect();
    if let Err(error) = tell(&whom, &lines.join("\n")) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}

/// Sends a message as sd_notify(3) does: to a path, or to an abstract name where it begins with `@`.
fn tell(whom: &OsStr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let address = match whom.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(whom)?,
    };
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Says in words how the service is, for `systemctl status`.
pub(crate) fn status(words: &str) {
    // A second line would be a field of its own.
    notify(&[NotifyState::Status(&words.replace('\n', " "))]);
}

/// Says that a reload begins, as `Type=notify-reload` wants it: with the time.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_by_a_path_and_by_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("notify");
        let name = format!("larder-{}-of-a-test", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).expect("a name");
        for (manager, whom) in [
            (UnixDatagram::bind(&path), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&by_name), format!("@{name}").into()),
        ] {
            let manager = manager.expect("bound");
            tell(&whom, "READY=1\nSTATUS=x").expect("told");
            let mut got = [0; 64];
            let len = manager.recv(&mut got).expect("received");
            assert_eq!(&got[..len], b"READY=1\nSTATUS=x");
        }
        assert!(tell(OsStr::new("/no/such/socket"), "READY=1").is_err());
    }
}
