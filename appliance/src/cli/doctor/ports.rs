//! Ports of the running appliance. The rule: what a connection from this machine proves is said with it, since it goes past
//! the firewalls that others have to pass.

use super::super::client::reachable;
use super::finding::{Told, bad, fair, good};
use super::outside::proved;
use super::patient::Patient;
use crate::config::PeerAddress;
use larder_net::discovery::links;
use larder_proto::policy::DownloadMode;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Addresses of this machine that are tried.
const ADDRESSES_MAX: usize = 8;

pub(super) fn http(patient: &Patient) -> Vec<Told> {
    let config = patient.config.as_ref();
    all(patient, config.map_or(&[], |config| &config.http))
}

pub(super) fn https(patient: &Patient) -> Vec<Told> {
    let config = patient.config.as_ref();
    all(patient, config.map_or(&[], |config| &config.https))
}

fn all(patient: &Patient, addresses: &[SocketAddr]) -> Vec<Told> {
    // One that does not run is told of as such.
    if patient.ready().is_err() || patient.is_coordinator_alone() {
        return Vec::new();
    }
    let each = addresses.iter().filter(|address| address.port() != 0);
    each.map(|address| {
        let about = format!("port {}", address.port());
        match connect(*address) {
            Ok(asked) => good(format!("{asked} accepts connections")),
            Err(words) => bad(
                words,
                "see `ss -ltnp` and the log for who has it; a change of this key takes a restart",
            ),
        }
        .about(about)
    })
    .collect()
}

fn connect(address: SocketAddr) -> Result<SocketAddr, String> {
    let asked = reachable(address);
    match TcpStream::connect_timeout(&asked, CONNECT_WITHIN) {
        Ok(_) => Ok(asked),
        Err(error) => Err(format!("{asked} does not accept connections ({error})")),
    }
}

/// The addresses of this machine by which others could reach what listens there.
fn own(listening: IpAddr) -> Vec<IpAddr> {
    if !listening.is_unspecified() {
        return vec![listening];
    }
    let found = links::addresses().unwrap_or_default();
    let ips = found.into_iter().map(|address| address.ip);
    let others = ips.filter(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // What is of one link needs the link's name, too.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && listening.is_ipv6(),
    });
    others.take(ADDRESSES_MAX).collect()
}

pub(super) fn peer(patient: &Patient) -> Vec<Told> {
    let serves = patient.ready().is_ok() && !patient.is_coordinator_alone();
    let Some(config) = patient.config.as_ref().filter(|_| serves) else {
        return Vec::new();
    };
    let peering = !matches!(
        config.settings.policies.mode,
        DownloadMode::HttpOnly | DownloadMode::Simple | DownloadMode::Bypass
    );
    let at = match config.peer {
        PeerAddress::At(at) | PeerAddress::IfFree(at) if at.port() != 0 => at,
        PeerAddress::Nowhere if peering => {
            return vec![fair(
                "peers are served nowhere, since [server] peer is empty, though DODownloadMode asks for peers",
                "write [server] peer = \"[::]:7680\", or DODownloadMode = 99",
            )];
        }
        _ => return Vec::new(),
    };
    let about = format!("port {} for peers", at.port());
    let listens = "see `ss -ltnp` for who has it, and restart larder once it is free; other machines find no pieces here";
    if let Err(words) = connect(at) {
        return vec![bad(words, listens).about(about)];
    }
    let outside: Vec<SocketAddr> = own(at.ip())
        .into_iter()
        .filter(|ip| !ip.is_loopback())
        .map(|ip| SocketAddr::new(ip, at.port()))
        .collect();
    if outside.is_empty() {
        let found = format!(
            "{} accepts connections of this machine, and of no other",
            reachable(at)
        );
        return vec![fair(found, "write [server] peer = \"[::]:7680\" for all").about(about)];
    }
    let refused: Vec<String> = outside.iter().filter_map(|at| connect(*at).err()).collect();
    if !refused.is_empty() {
        return vec![
            bad(
                refused.join(", "),
                "let TCP of this port in (firewall of this machine)",
            )
            .about(about),
        ];
    }
    vec![proved(patient, config, &outside).about(about)]
}
