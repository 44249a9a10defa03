//! What the network tells clients and this machine. The rule: what no setting goes by is not asked for, so that a look at an
//! appliance sends nothing to a network that nobody expects.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use crate::machine::host_name;
use larder_net::discovery::dns_sd::{Offer, find};
use larder_net::discovery::{dhcp, links, names};
use larder_proto::dhcp::CACHE_HOSTS;
use larder_proto::policy::cache_host::wants_option;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// How long an answer by mDNS may take; this machine's own comes at once.
const DNS_SD_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn dns_sd(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    if !config.dns_sd {
        return vec![good(
            "off; `[discovery] dns_sd = true` lets clients find this one without a policy",
        )];
    }
    if patient.ready().is_err() {
        return Vec::new();
    }
    let Some(offer) = Offer::of(&config.site, &host_name(), &config.http) else {
        return vec![fair(
            "on, but [server] http is on loopback alone, so nobody is told",
            "write an address by which clients reach it",
        )];
    };
    let wanted = offer.instance().to_owned();
    let found = match find(DNS_SD_WITHIN, |name| name == wanted) {
        Ok(found) => found,
        Err(words) => {
            return vec![fair(
                format!("not known: {words}"),
                "see that UDP 5353 can be had",
            )];
        }
    };
    let others = || {
        found
            .iter()
            .filter(|name| **name != wanted)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    vec![if found.contains(&wanted) {
        good(format!("{wanted:?} is found on this network"))
    } else {
        let others = match others().as_str() {
            "" => "no cache host is found".to_owned(),
            others => format!("only {others} is found"),
        };
        bad(
            format!("{others}, though this one should be, as {wanted:?}"),
            "see the log for `DNS-SD`, let UDP 5353 through the firewall of this machine, and restart larder after a change of [discovery]",
        )
    }]
}

pub(super) fn dhcp(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let policies = &config.settings.policies;
    if !wants_option(policies) {
        return Vec::new();
    }
    let asked = patient.wait(dhcp::option(Path::new("/"), CACHE_HOSTS));
    let text = match asked.and_then(|asked| asked) {
        Ok(text) => text,
        Err(words) => {
            return vec![bad(
                format!("names no cache host: {words}"),
                "set option 235 on the DHCP server (deploy/clients has it for three of them), or DOCacheHost by policy",
            )];
        }
    };
    let own = links::addresses().unwrap_or_default();
    let own: Vec<IpAddr> = own.into_iter().map(|own| own.ip).collect();
    let named: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    let host = host_name();
    let leads_here = patient.wait(async {
        for name in &named {
            let bare = name.split(':').next().unwrap_or(name);
            let found = tokio::net::lookup_host((bare, 80)).await;
            let is_own =
                found.is_ok_and(|mut found| found.any(|at| own.contains(&at.ip().to_canonical())));
            if is_own || bare.eq_ignore_ascii_case(&host) {
                return true;
            }
        }
        false
    });
    vec![match leads_here {
        Ok(true) => good(format!("option 235 names {text:?}, which is this machine")),
        _ => fair(
            format!("option 235 names {text:?}, which does not lead to this machine"),
            "nothing, where that is another cache host; else correct the option",
        ),
    }]
}

pub(super) fn group(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let policies = &config.settings.policies;
    let Some(source) = policies.group_source else {
        return Vec::new();
    };
    let found = match patient.wait(names::find(policies, Path::new("/"))) {
        Ok(found) => found,
        Err(words) => return vec![bad(format!("{source}: {words}"), "see the network")],
    };
    let told = match found.troubles.get(&source) {
        None => good(format!("{source} is known")),
        Some(why) => bad(
            format!("{source} can not be found out: {why}"),
            "until it can, those behind the same public address are the group; write DOGroupID to name it outright",
        ),
    };
    vec![told]
}
