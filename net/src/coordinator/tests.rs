//! A coordinator as its callers see it: what it does over each place where it can keep things, and how it bears callers
//! that are rude.

mod behaviour;
mod cluster;
mod keys;
mod rude;

use super::{Backend, Caller, Coordinator, Memory, Proven, Server, ServerOptions, ServiceOptions};
use crate::clock::Clock;
use larder_content::ContentId;
use larder_proto::tracker::Guid;
use larder_proto::tracker::message::{DownloadMode, JoinRequest};
use larder_proto::tracker::state::Limits;
use ring::rand::{SecureRandom, SystemRandom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// A content, group or peer that nobody else has.
fn any<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    bytes
}

fn content() -> ContentId {
    ContentId(any())
}

fn group() -> Guid {
    Guid(any())
}

fn peer(number: u8) -> Guid {
    Guid([number; 16])
}

/// A caller that is seen at 203.0.113.`site`.
fn from(site: u8) -> Caller {
    Caller {
        seen: IpAddr::from([203, 0, 113, site]),
        proven: Proven::Nothing,
    }
}

/// A join of a peer with the private address 10.0.0.`number`.
fn join(content: ContentId, number: u8, mode: DownloadMode) -> JoinRequest {
    let mut join = JoinRequest::new(content, peer(number), 7680, mode);
    join.reported_ip = vec![IpAddr::from([10, 0, 0, number])];
    join.peers_wanted = 50;
    join
}

fn in_memory(options: &ServiceOptions) -> Backend {
    Backend::Memory(Box::new(Memory::new(options.limits, 100, 1 << 20)))
}

fn coordinator(options: ServiceOptions) -> Coordinator {
    let backend = in_memory(&options);
    Coordinator::new(options, backend, Clock::start())
}

/// Serves it on loopback.
fn serve(coordinator: &Coordinator, options: ServerOptions) -> (Server, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let server = Server::start(
        coordinator.clone(),
        vec![listener],
        Vec::new(),
        None,
        options,
    );
    let server = server.expect("it serves");
    let address = server.addresses()[0];
    (server, address)
}

/// Options under which a peer that says nothing is gone soon.
fn hasty() -> ServiceOptions {
    ServiceOptions {
        limits: Limits {
            peer_ttl: std::time::Duration::from_secs(1),
            contents_per_peer_max: 8,
            ..Limits::default()
        },
        ..ServiceOptions::default()
    }
}
