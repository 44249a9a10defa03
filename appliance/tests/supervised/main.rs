//! larder under a service manager: sockets that are passed, what the manager is told, restarts and reloads under load.
//! The rule: the manager keeps its sockets and goes by the protocols alone, as systemd does.

mod load;
#[path = "../rig/mod.rs"]
mod rig;
mod telling;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::supervisor::Supervisor;

/// An origin with some bytes, and a larder that is not started yet, whose sockets are the manager's.
pub(crate) struct Stand {
    _nginx: Nginx,
    pub(crate) supervisor: Supervisor,
    pub(crate) bytes: Vec<u8>,
    pub(crate) path: String,
}

impl Stand {
    pub(crate) fn new(setup: Setup, sockets: &[&'static str], bytes: usize) -> Self {
        let nginx = Nginx::start();
        let larder = Larder::set_up(&Setup {
            origin: Some(nginx.address()),
            spoken: "http://",
            ..setup
        });
        let bytes = rig::real_bytes(bytes);
        let path = nginx.put_named(&bytes);
        Self {
            supervisor: Supervisor::new(larder, sockets),
            _nginx: nginx,
            bytes,
            path,
        }
    }

    pub(crate) fn get(&self) -> Get {
        self.supervisor.larder.get(FAMILY[0], &self.path)
    }
}
