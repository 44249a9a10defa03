//! A download among peers. The rule: peers are met only where the mode and a coordinator allow it, and a port that is
//! taken, or a coordinator that is away, costs the download nothing.

use crate::config::{Checked, Coordination, PeerAddress};
use crate::node::Node;
use crate::swarm;
use larder_net::coordinator::{ClientOptions, CoordinatorClient};
use larder_net::swarm::Swarm;
use larder_proto::policy::{Coordinator, Policies, mode};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// How long leaving the swarm may take at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// With whom, and by which port.
pub(super) struct Peering {
    coordinator: CoordinatorClient,
    /// Reached by TLS, so that what it says is what it was told by those who may say it.
    trusted: bool,
    listener: Option<TcpListener>,
    seeds: bool,
}

impl Peering {
    /// None where there are to be no peers.
    pub(super) fn of(config: &Checked, policies: &Policies, seeds: bool) -> Option<Self> {
        let Coordination::Remote(options) = &config.coordination else {
            return None;
        };
        if !mode::uses_coordinator(policies.mode) {
            return None;
        }
        let trusted = options.url.starts_with("https://");
        // It was checked with the rest of the configuration.
        let coordinator = CoordinatorClient::new(ClientOptions::clone(options)).ok()?;
        let listener = if mode::peers(policies.mode) {
            listen(config.peer)
        } else {
            None
        };
        Some(Self {
            coordinator,
            trusted,
            listener,
            seeds,
        })
    }

    /// The port for peers, once more for each attempt to start.
    pub(super) fn listeners(&self) -> Vec<TcpListener> {
        let own = self.listener.iter();
        own.filter_map(|listener| listener.try_clone().ok())
            .collect()
    }

    pub(super) fn join(&self, node: &Node, cache: &Path) -> Swarm {
        let own = self.listener.iter();
        let listening: Vec<SocketAddr> = own.filter_map(|own| own.local_addr().ok()).collect();
        let coordinator = self.coordinator.clone();
        swarm::join(
            node,
            coordinator,
            self.trusted,
            &listening,
            self.seeds,
            cache,
        )
    }
}

/// The port that is configured, or any where another download of this machine has it already.
fn listen(address: PeerAddress) -> Option<TcpListener> {
    let address = match address {
        PeerAddress::At(address) | PeerAddress::IfFree(address) => address,
        PeerAddress::Nowhere => return None,
    };
    let any = SocketAddr::new(address.ip(), 0);
    let listener = TcpListener::bind(address).or_else(|error| {
        tracing::info!(%error, "{address} is not listened on; peers are told another port");
        TcpListener::bind(any)
    });
    match listener {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "no port can be listened on: peers get nothing from here");
            None
        }
    }
}

/// What is known of the coordinator.
pub(super) fn coordinator(peering: Option<&Peering>, swarm: Option<&Swarm>) -> Coordinator {
    match (peering, swarm.and_then(Swarm::coordinator_answers)) {
        (None, _) => Coordinator::Absent,
        (Some(_), None) => Coordinator::Unknown,
        (Some(_), Some(true)) => Coordinator::Reachable,
        (Some(_), Some(false)) => Coordinator::Unreachable,
    }
}

/// Leaves the swarms; others are not to look for us any longer.
pub(super) fn leave(node: &Node, swarm: &Swarm) {
    node.runtime.block_on(swarm.leave(LEAVE_WITHIN));
}
