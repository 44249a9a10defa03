//! Where the hosts lead that clients may fetch from. The rule: a name is looked up as the appliance would, and nothing is
//! sent to it.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use larder_proto::http::address::refused_address;
use larder_proto::http::route::OriginRules;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(4);
/// Names that are looked up; a list may be long.
const NAMES_MAX: usize = 64;
/// Names in one line.
const SHOWN_MAX: usize = 5;

/// The names that clients asked for and those that are listed one by one.
fn named(patient: &Patient) -> BTreeSet<String> {
    let Some(config) = &patient.config else {
        return BTreeSet::new();
    };
    let rules = &config.settings.rules;
    let hosts = patient.hosts().unwrap_or_default();
    let asked = hosts.get("asked").and_then(|asked| asked.as_array());
    let asked = asked
        .into_iter()
        .flatten()
        .filter_map(|met| met.get("host")?.as_str());
    // With or without scheme and port.
    let bare = |host: &str| {
        let host = host.split("://").last().unwrap_or(host);
        host.split(':').next().unwrap_or(host).to_ascii_lowercase()
    };
    // The vendor's own list has no misspelt names, and most of its hosts are of no use to most offices.
    let listed = rules
        .listed_names()
        .filter(|name| !OriginRules::vendor_allow().contains(name));
    let all = asked.map(bare).chain(listed.map(str::to_owned));
    let proxy = config.settings.proxy.as_ref();
    let is_looked_up = |name: &String| {
        let by_proxy = proxy.is_some_and(|proxy| proxy.rules.serves(name, 80));
        // What is trusted may be anywhere; what a proxy asks, it looks up.
        name.parse::<IpAddr>().is_err() && !rules.trusts(name) && !by_proxy
    };
    all.filter(is_looked_up).take(NAMES_MAX).collect()
}

async fn look_up(names: BTreeSet<String>) -> BTreeMap<String, Result<Vec<IpAddr>, String>> {
    let mut looking = JoinSet::new();
    for name in names {
        looking.spawn(async move {
            let found = match timeout(WITHIN, lookup_host((name.as_str(), 80))).await {
                Ok(Ok(found)) => Ok(found.map(|at| at.ip()).collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no name server answers".to_owned()),
            };
            (name, found)
        });
    }
    looking.join_all().await.into_iter().collect()
}

fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN_MAX);
    let list = names
        .iter()
        .take(SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match more {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

pub(super) fn names(patient: &Patient) -> Vec<Told> {
    let names = named(patient);
    if names.is_empty() {
        return Vec::new();
    }
    let found = match patient.wait(look_up(names)) {
        Ok(found) => found,
        Err(words) => {
            return vec![fair(
                words,
                "see /etc/resolv.conf and the name servers in it",
            )];
        }
    };
    judge(&found)
}

fn judge(found: &BTreeMap<String, Result<Vec<IpAddr>, String>>) -> Vec<Told> {
    let mut told = Vec::new();
    let (mut silent, mut why, mut inside) = (Vec::new(), "", Vec::new());
    for (name, found) in found {
        match found {
            Err(words) => {
                silent.push(name.clone());
                why = words;
            }
            Ok(ips) => {
                let refused = ips.iter().map(|ip| Some((ip, refused_address(*ip)?)));
                // One address that may be asked is enough.
                if let Some(Some((ip, kind))) = refused.min_by_key(Option::is_some) {
                    inside.push(format!("{name} ({ip}, {kind})"));
                }
            }
        }
    }
    if !inside.is_empty() {
        told.push(bad(
            format!("{} lead where no origin may be: clients are answered 403", shown(&inside)),
            "where that is meant, name each under [origins.connect]; where DNS leads them to larder itself, larder needs another name server",
        ));
    }
    if silent.len() == found.len() {
        told.push(fair(
            format!("none of {} hosts can be looked up: {why}", silent.len()),
            "see /etc/resolv.conf and the name servers in it",
        ));
    } else if !silent.is_empty() {
        told.push(fair(
            format!("{} can not be looked up: {why}", shown(&silent)),
            "correct or remove them in [origins] allow, or name them under [origins.connect]",
        ));
    }
    if told.is_empty() {
        told.push(good(format!("{} names lead somewhere public", found.len())));
    }
    told
}

pub(super) fn connect(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, to) in config.settings.rules.connects() {
        // Where no port is named it is that of the scheme, and http is what most speak.
        let has_port = to
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let to = if has_port {
            to.to_owned()
        } else {
            format!("{to}:80")
        };
        hosts.entry(to).or_default().push(name.to_owned());
    }
    if hosts.is_empty() {
        return Vec::new();
    }
    let tried = patient.wait(async {
        let mut trying = JoinSet::new();
        for (to, names) in hosts {
            trying.spawn(async move {
                let connected = timeout(WITHIN, TcpStream::connect(&to)).await;
                let why = match connected {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("no answer".to_owned()),
                };
                why.map(|why| format!("{to}, for {}: {why}", shown(&names)))
            });
        }
        let tried = trying.join_all().await;
        (tried.len(), tried.into_iter().flatten().collect::<Vec<_>>())
    });
    match tried {
        Ok((all, silent)) if silent.is_empty() => {
            vec![good(format!("{all} servers accept connections"))]
        }
        Ok((_, silent)) => {
            let advice = "see that it runs, and correct [origins.connect]; until then what is not stored is answered 502";
            silent.into_iter().map(|words| bad(words, advice)).collect()
        }
        Err(words) => vec![fair(
            words,
            "see the line to the servers of [origins.connect]",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn names_that_lead_inside_or_nowhere_are_told() {
        let found = |entries: &[(&str, Result<&str, &str>)]| {
            let entry = |(name, found): &(&str, Result<&str, &str>)| {
                let ips = found.map(|ips| {
                    ips.split(' ')
                        .map(|ip| ip.parse().expect("an address"))
                        .collect()
                });
                ((*name).to_owned(), ips.map_err(str::to_owned))
            };
            let told = judge(&entries.iter().map(entry).collect());
            told.into_iter()
                .map(|told| (told.grade, told.found))
                .collect::<Vec<_>>()
        };
        let good = found(&[("a", Ok("10.0.0.1 1.1.1.1")), ("b", Ok("8.8.8.8"))]);
        assert_eq!(
            good,
            [(Grade::Good, "2 names lead somewhere public".to_owned())]
        );
        let told = found(&[
            ("a", Ok("10.0.0.1")),
            ("b", Err("no such name")),
            ("c", Ok("1.1.1.1")),
        ]);
        assert_eq!(told[0].0, Grade::Bad);
        assert!(
            told[0].1.starts_with("a (10.0.0.1, private) lead"),
            "{told:?}"
        );
        assert_eq!(
            told[1],
            (
                Grade::Fair,
                "b can not be looked up: no such name".to_owned()
            )
        );
        let none = found(&[("b", Err("no such name"))]);
        assert!(none[0].1.starts_with("none of 1 hosts"), "{none:?}");
    }
}
