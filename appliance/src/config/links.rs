//! `[[links]]`: lines to appliances elsewhere, with what they cost. The rule: a link names who is at its other end; what
//! is not named is no link, and an address is at the end of one link alone.

use super::raw::{Section, Spotted};
use ipnet::IpNet;
use larder_net::links::Links;
use larder_proto::links::{ENDS_MAX, End, LINK_COST, LINKS_MAX, Link, ORIGIN_COST};

const PEERS: &str = "[\"larder.hamburg.example:7680\"]";
const NETWORKS: &str = "[\"10.2.0.0/16\"]";
const COST_MAX: u64 = 1_000_000;

/// What the origin costs, which stands in `[origins]`.
pub(super) fn origin_cost(section: &mut Section<'_>) -> u32 {
    cost(section, ORIGIN_COST)
}

fn cost(section: &mut Section<'_>, standard: u32) -> u32 {
    let unit = "what a byte costs there beside others";
    let cost = section.number("cost", 0..=COST_MAX, unit);
    cost.and_then(|cost| u32::try_from(cost.value).ok())
        .unwrap_or(standard)
}

/// Reads all `[[links]]` of the file.
pub(super) fn read(root: &mut Section<'_>, origin_cost: u32, warnings: &mut Vec<String>) -> Links {
    let mut links: Vec<Link> = Vec::new();
    for (spot, mut section) in root.list_of_tables("links") {
        if links.len() >= LINKS_MAX {
            section.add(spot.problem(format!("is one too many; write at most {LINKS_MAX}")));
        }
        let link = link(&spot, &mut section, &links);
        section
            .close()
            .into_iter()
            .for_each(|problem| root.add(problem));
        let Some(link) = link else {
            continue;
        };
        if !link.is_cheaper_than(origin_cost) {
            warnings.push(format!(
                "links: {:?} costs {}, and the origin {origin_cost}: nothing is fetched over it; write a lower cost, or a higher one as [origins] cost",
                link.name, link.cost
            ));
        }
        links.push(link);
    }
    Links::new(origin_cost, links)
}

fn link(spot: &Spotted<()>, section: &mut Section<'_>, others: &[Link]) -> Option<Link> {
    let peers = section.texts("peers", PEERS);
    let networks = section.texts("networks", NETWORKS);
    let name = section.text("name", "a short name, as in \"hamburg\"");
    let cost = cost(section, LINK_COST);
    let rate = section.size("rate_bytes_per_second_max");
    let mut ends: Vec<End> = Vec::new();
    match &peers {
        Some(list) if list.value.len() > ENDS_MAX => {
            let what = format!(
                "names {} appliances; write at most {ENDS_MAX}",
                list.value.len()
            );
            section.add(list.problem(what));
        }
        Some(list) if section.is_empty_list("peers") => {
            section.add(list.problem(format!("names nobody; write as in {PEERS}")));
        }
        None if section.any("peers").is_none() => section.add(spot.problem(format!(
            "does not say who is at its other end; write peers = {PEERS}"
        ))),
        _ => {}
    }
    for peer in peers.map(|list| list.value).unwrap_or_default() {
        let Some(end) = End::read(peer.value) else {
            let what = format!(
                "{:?} is no appliance; write its name or address, and its port where that is not 7680, as in {PEERS}",
                peer.value
            );
            section.add(peer.problem(what));
            continue;
        };
        let known = others.iter().find(|link| link.ends.contains(&end));
        if let Some(link) = known {
            let what = format!("{:?} is at the end of {:?} already", peer.value, link.name);
            section.add(peer.problem(format!("{what}; name it once")));
        }
        ends.push(end);
    }
    let mut nets: Vec<IpNet> = Vec::new();
    for network in networks.map(|list| list.value).unwrap_or_default() {
        match network.value.parse::<IpNet>() {
            Ok(net) => nets.push(net.trunc()),
            Err(_) => {
                let what = format!("{:?} is no network; write as in {NETWORKS}", network.value);
                section.add(network.problem(what));
            }
        }
    }
    let first = ends.first()?;
    let name = match name {
        Some(name) => {
            let is_known = others.iter().any(|link| link.name == name.value);
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(plain) {
                let what = "is no short name; write at most 64 letters, digits, - and .";
                section.add(name.problem(what));
            } else if is_known {
                section.add(name.problem("is the name of another link; write another name"));
            }
            name.value.to_owned()
        }
        None => first.host.clone(),
    };
    if let Some(rate) = rate.as_ref().filter(|rate| rate.value == 0) {
        section.add(rate.problem("lets nothing through; write bytes a second, as in \"5MB\""));
    }
    Some(Link {
        name,
        ends,
        networks: nets,
        cost,
        bytes_per_second_max: rate.map_or(0, |rate| rate.value),
    })
}
