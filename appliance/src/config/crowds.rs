//! `[[crowds]]`: networks in which one machine is one address, and how many connections each may have. The rule: nobody is
//! counted who is not written here, since a whole site may stand behind one address.

use super::raw::{Section, Spotted};
use ipnet::IpNet;
use larder_proto::crowd::{CROWDS_MAX, CrowdRule, CrowdRules};

const NETWORKS: &str = "[\"10.0.0.0/8\", \"2001:db8::/32\"]";
const KEY: &str = "connections_of_an_address_max";

/// Reads all `[[crowds]]` of the file.
pub(super) fn read(root: &mut Section<'_>) -> CrowdRules {
    let mut rules: Vec<CrowdRule> = Vec::new();
    for (spot, mut section) in root.list_of_tables("crowds") {
        if rules.len() >= CROWDS_MAX {
            section.add(spot.problem(format!("is one too many; write at most {CROWDS_MAX}")));
        }
        let rule = crowd(&spot, &mut section);
        let problems = section.close();
        problems.into_iter().for_each(|problem| root.add(problem));
        rules.extend(rule);
    }
    CrowdRules::new(&rules)
}

fn crowd(spot: &Spotted<()>, section: &mut Section<'_>) -> Option<CrowdRule> {
    let networks = section.texts("networks", NETWORKS);
    let max = section.number(KEY, 0..=1_000_000, "connections (0: any number)");
    if networks.is_none() && section.any("networks").is_none() {
        let what = format!("does not say whom it is about; write networks = {NETWORKS}");
        section.add(spot.problem(what));
    }
    if max.is_none() && section.any(KEY).is_none() {
        section.add(spot.problem(format!("does not say how many; write {KEY} = 64")));
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
    Some(CrowdRule {
        networks: nets,
        connections_max: u32::try_from(max?.value).ok()?,
    })
}
