//! The certificates that clients are shown. The rule: a name that leads to this machine is as good as its address; one that
//! leads elsewhere may still be right, since a balancer can stand between, so it is told and no more.

use super::finding::{Grade, Told, fair, good, sentence};
use super::patient::Patient;
use crate::certificates::looked_at;
use crate::config::Checked;
use crate::machine::host_name;
use larder_net::clock::Clock;
use larder_net::discovery::links;
use larder_net::http::tls::Pair;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// How long looking up the names may take.
const NAMES_WITHIN: Duration = Duration::from_secs(4);
/// Names of one certificate that are looked up.
const NAMES_MAX: usize = 16;

pub(super) fn validity(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let looked = looked_at(config, Clock::start().unix()).into_iter();
    looked
        .map(|(grave, name, found)| {
            let grade = match grave {
                None => Grade::Good,
                Some(false) => Grade::Fair,
                Some(true) => Grade::Bad,
            };
            sentence(grade, &found).about(format!("certificate {name}"))
        })
        .collect()
}

pub(super) fn names(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let own = own(config);
    let each = config.tls.iter().filter_map(|files| {
        // One that can not be read is told of already.
        let pair = Pair::load(files).ok()?;
        let about = format!("names of {}", files.cert.display());
        Some(one(patient, config, &pair, &own).about(about))
    });
    each.collect()
}

/// Addresses by which clients may call this machine.
fn own(config: &Checked) -> BTreeSet<IpAddr> {
    let found = links::addresses().unwrap_or_default();
    let listening = config.https.iter().map(|address| address.ip());
    let given = listening.filter(|ip| !ip.is_unspecified());
    found.into_iter().map(|own| own.ip).chain(given).collect()
}

fn one(patient: &Patient, config: &Checked, pair: &Pair, own: &BTreeSet<IpAddr>) -> Told {
    if let Some(ip) = own.iter().find(|ip| pair.is_for_address(**ip)) {
        return good(format!("it names this machine's address {ip}"));
    }
    let names = pair.names.iter().map(|name| name.to_ascii_lowercase());
    let names: Vec<String> = names.take(NAMES_MAX).collect();
    let host = host_name();
    let ours = |name: &&String| **name == host || config.admin_names.contains(name);
    if let Some(name) = names.iter().find(ours) {
        return good(format!("it names {name}, as this machine is called"));
    }
    let leads_here =
        patient.wait(async { tokio::time::timeout(NAMES_WITHIN, leading_to(&names, own)).await });
    if let Ok(Ok(Some(name))) = leads_here {
        return good(format!("it names {name}, which leads to this machine"));
    }
    let shown = match names.as_slice() {
        [] => "no name at all".to_owned(),
        names => names.join(", "),
    };
    fair(
        format!("it names {shown}, and none of that leads to this machine"),
        "clients that call it by another name go to the WAN: give it a certificate with the name that DOCacheHost or the DHCP option has",
    )
}

/// The first of the names that leads to one of these addresses.
async fn leading_to(names: &[String], own: &BTreeSet<IpAddr>) -> Option<String> {
    for name in names {
        // Of a wildcard any name below it could be the one.
        let asked = name.strip_prefix("*.").unwrap_or(name);
        let found = tokio::net::lookup_host((asked, 443)).await;
        if found.is_ok_and(|mut found| found.any(|at| own.contains(&at.ip().to_canonical()))) {
            return Some(name.clone());
        }
    }
    None
}
