//! How many sockets a test may have. The rule: a test that has to do with fewer than it wants says so loudly, and one crowd
//! is there at a time, since all tests of this program share its limit.

use crate::rig::tell;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_CROWD: Mutex<()> = Mutex::new(());

/// The leave to have a crowd, until it is dropped.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    // Another test that has failed has let go of its sockets all the same.
    ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many of `wanted` sockets as this process may have, beside a few files of its own.
pub(crate) fn sockets(wanted: usize) -> usize {
    let may = larder_net::sock::raise_open_files().expect("a limit on open files");
    let may = usize::try_from(may)
        .unwrap_or(usize::MAX)
        .saturating_sub(500);
    if may < wanted {
        tell(&format!(
            "!! ONLY {may} CONNECTIONS INSTEAD OF {wanted}: the limit on open files is too low; raise it (ulimit -Hn)"
        ));
    }
    wanted.min(may)
}
