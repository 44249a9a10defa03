//! How this process takes part in swarms, and what it tells of itself there. The rule: it tells those addresses by which
//! others on its network reach it, as they are now.

use crate::device;
use crate::node::Node;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use larder_net::coordinator::CoordinatorClient;
use larder_net::discovery::names;
use larder_net::plane::Surroundings;
use larder_net::settings::Settings;
use larder_net::swarm::{Place, Swarm, SwarmOptions};
use larder_proto::policy::{Names, Policies, group::group, group::wanted};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often what is held is looked through for what others should know of.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often this machine is looked at: its addresses change with its network, its battery runs down, a VPN comes up.
/// After a reload it is at once.
const PLACE_EVERY: Duration = Duration::from_secs(5);
const RELOAD_SEEN_WITHIN: Duration = Duration::from_secs(1);

/// How often the network is asked what it is called, and how often where that could not be found out.
const NAMES_EVERY: Duration = Duration::from_secs(600);
const NAMES_EVERY_IN_TROUBLE: Duration = Duration::from_secs(60);

/// Joins the swarms of a node. `trusted`: what the coordinator says of contents is what it was told by those who may say
/// it, since it is this process or was reached by TLS. `listening`: where peers are served; `cache`: where the pieces lie.
pub(crate) fn join(
    node: &Node,
    coordinator: CoordinatorClient,
    trusted: bool,
    listening: &[SocketAddr],
    seeds: bool,
    cache: &Path,
) -> Swarm {
    let (listening, cache) = (listening.to_vec(), cache.to_path_buf());
    let settings = Arc::clone(&node.settings);
    let names = names_within(node, &settings.load().policies);
    let now = place(&listening, &settings.load(), &cache, &names);
    tell_group(None, &now, &settings.load().policies, &names);
    surround(&node.surroundings, &now);
    let _entered = node.runtime.enter();
    let swarm = node.download.join_swarm(SwarmOptions {
        coordinator,
        coordinator_trusted: trusted,
        me: node.peer_id,
        port: listening.first().map_or(0, SocketAddr::port),
        place: now.clone(),
        surroundings: Arc::clone(&node.surroundings),
        seeds,
        look_every: LOOK_EVERY,
    });
    let view = View {
        listening,
        cache,
        names,
        last: now,
    };
    follow(node, view, Some(swarm.clone()));
    swarm
}

/// Looks after what peers are served by, where this process takes part in no swarm.
pub(crate) fn watch(node: &Node, listening: &[SocketAddr], cache: &Path) {
    let names = Names::default();
    let now = place(listening, &node.settings.load(), cache, &names);
    surround(&node.surroundings, &now);
    let view = View {
        listening: listening.to_vec(),
        cache: cache.to_path_buf(),
        names,
        last: now,
    };
    follow(node, view, None);
}

/// What is known of this machine and its network.
struct View {
    listening: Vec<SocketAddr>,
    cache: PathBuf,
    names: Names,
    last: Place,
}

/// Looks again and again where this machine is and what it is like. Its network is asked for names for a swarm alone.
fn follow(node: &Node, mut view: View, swarm: Option<Swarm>) {
    let settings = Arc::clone(&node.settings);
    let surroundings = Arc::clone(&node.surroundings);
    node.runtime.spawn(async move {
        let (mut seen, mut placed, mut named) =
            (settings.load_full(), Instant::now(), Instant::now());
        let mut timer = tokio::time::interval(RELOAD_SEEN_WITHIN);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let current = settings.load_full();
            let is_same = Arc::ptr_eq(&seen, &current);
            if is_same && placed.elapsed() < PLACE_EVERY {
                continue;
            }
            let policies = &current.policies;
            let every = if view.names.troubles.is_empty() {
                NAMES_EVERY
            } else {
                NAMES_EVERY_IN_TROUBLE
            };
            let is_other = wanted(&seen.policies) != wanted(policies);
            if swarm.is_some() && (is_other || named.elapsed() >= every) {
                view.names = names::find(policies, Path::new("/"))
                    .await
                    .or_before(&view.names);
                named = Instant::now();
            }
            let place = place(&view.listening, &current, &view.cache, &view.names);
            if place != view.last {
                surround(&surroundings, &place);
                if let Some(swarm) = &swarm {
                    tell_group(Some(&view.last), &place, policies, &view.names);
                    swarm.moved(place.clone());
                }
                view.last = place;
            }
            (seen, placed) = (current, Instant::now());
        }
    });
}

/// Tells those who serve peers.
fn surround(surroundings: &ArcSwap<Surroundings>, place: &Place) {
    let mask = place.subnet_mask.map_or(24, |mask| {
        u8::try_from(u32::from(mask).leading_ones()).unwrap_or(24)
    });
    let networks = place.addresses.iter().filter_map(|address| {
        let bits = if address.is_ipv4() { mask } else { 64 };
        IpNet::new(*address, bits).ok().map(|net| net.trunc())
    });
    let networks: Vec<IpNet> = networks.collect();
    surroundings.rcu(|old| {
        let mut new = Surroundings::clone(old);
        new.around.networks.clone_from(&networks);
        new.facts.clone_from(&place.facts);
        new
    });
}

/// What the network is called, as the policies want to know it, before anybody is told of this machine: who is told of the
/// wrong group first shares with the wrong ones. It takes no longer than [`names::WITHIN`].
fn names_within(node: &Node, policies: &Policies) -> Names {
    if wanted(policies).is_empty() {
        return Names::default();
    }
    let (tell, told) = mpsc::sync_channel(1);
    let policies = policies.clone();
    node.runtime.spawn(async move {
        // Nobody listens any more where it took too long.
        let _ = tell.send(names::find(&policies, Path::new("/")).await);
    });
    told.recv_timeout(2 * names::WITHIN).unwrap_or_default()
}

/// Says in which group this machine is now, where that has changed.
fn tell_group(before: Option<&Place>, now: &Place, policies: &Policies, names: &Names) {
    let found = group(policies, names);
    let trouble = names.trouble(&found);
    match before {
        Some(before) if before.group == now.group => {}
        Some(before) => {
            let id = |place: &Place| {
                place
                    .group
                    .map_or_else(|| "none".to_owned(), |id| id.to_string())
            };
            tracing::info!(
                "the group is another: {} -> {}: {found}{trouble}",
                id(before),
                id(now)
            );
        }
        None if trouble.is_empty() => tracing::info!("this machine shares with {found}"),
        None => tracing::warn!("this machine shares with {found}{trouble}"),
    }
}

/// Where this machine is.
fn place(listening: &[SocketAddr], settings: &Settings, cache: &Path, names: &Names) -> Place {
    let policies = &settings.policies;
    let addresses = addresses(listening);
    let first_v4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    Place {
        subnet_mask: first_v4.and_then(|address| mask_of(&routes, address)),
        addresses,
        external_port: settings.peer_external_port,
        group: group(policies, names).id(),
        facts: device::facts(cache, policies),
    }
}

/// The addresses by which peers reach a listener: its own, or those of the interfaces that lead elsewhere.
fn addresses(listening: &[SocketAddr]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for listener in listening {
        let own = listener.ip().to_canonical();
        let found = if own.is_unspecified() {
            // Documentation addresses (RFC 5737, RFC 3849): nothing is sent, the kernel only looks up the route.
            let v4 = local_towards(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
            let v6 = local_towards(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)));
            v4.into_iter().chain(v6.filter(|_| own.is_ipv6())).collect()
        } else {
            vec![own]
        };
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

/// The address of ours from which packets there would be sent.
fn local_towards(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match there {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((there, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified()).then_some(own)
}

/// The mask of the network that an address of ours lies in, by the kernel's table of routes (proc(5)).
fn mask_of(routes: &str, address: Ipv4Addr) -> Option<Ipv4Addr> {
    // Numbers are written as the machine holds them; every machine that larder runs on begins with the low byte.
    let number = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.swap_bytes());
    let masks = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let network = number(fields.nth(1)?)?;
        let gateway = number(fields.next()?)?;
        let mask = number(fields.nth(4)?)?;
        let is_ours = gateway == 0 && mask != 0 && u32::from(address) & mask == network;
        is_ours.then_some(mask)
    });
    masks.max().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_that_of_the_network_without_a_gateway() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                      eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let mask = |address: [u8; 4]| mask_of(routes, address.into());
        assert_eq!(mask([192, 168, 2, 7]), Some([255, 255, 255, 0].into()));
        assert_eq!(mask([192, 168, 3, 7]), Some([255, 255, 0, 0].into()));
        assert_eq!(mask([10, 0, 0, 1]), None);
        assert_eq!(mask_of("", [10, 0, 0, 1].into()), None);
    }

    #[test]
    fn a_listener_on_one_address_is_reached_by_it() {
        let one: SocketAddr = "127.0.0.7:7680".parse().unwrap();
        assert_eq!(addresses(&[one, one]), [one.ip()]);
    }
}
