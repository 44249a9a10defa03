//! Whether peers elsewhere reach this one. The rule: only what was done from another machine proves it: a connection that
//! came, or one that the coordinator tried when it was asked to.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use crate::config::{Checked, Coordination};
use larder_net::coordinator::CoordinatorClient;
use larder_net::discovery::links;
use larder_proto::tracker::reach::ReachAnswer;
use std::net::{IpAddr, SocketAddr};

/// Addresses of this machine.
fn own() -> Vec<IpAddr> {
    let found = links::addresses().unwrap_or_default();
    found.into_iter().map(|address| address.ip).collect()
}

/// Addresses of clients that connected as peers from other machines.
pub(super) fn came(patient: &Patient) -> Vec<String> {
    let own: Vec<String> = own().iter().map(ToString::to_string).collect();
    let clients = patient.clients().unwrap_or_default();
    let rows = clients.get("clients").and_then(|rows| rows.as_array());
    let came = rows.into_iter().flatten().filter_map(|row| {
        let client = row.get("client")?.as_str()?;
        let came = row.get("peer_connections")?.as_u64()? > 0;
        // Where they are not shown as addresses, one of this machine itself can not be told from others.
        let is_other = client.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback());
        (came && is_other && !own.iter().any(|ip| ip == client)).then(|| client.to_owned())
    });
    came.collect()
}

/// What the coordinator says that tried this port. None where there is none elsewhere, or it knows no such call.
fn tried(patient: &Patient, config: &Checked, port: u16) -> Option<ReachAnswer> {
    let Coordination::Remote(options) = &config.coordination else {
        return None;
    };
    let client = CoordinatorClient::new((**options).clone()).ok()?;
    let host = options.url.split("://").nth(1)?.trim_end_matches('/');
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let asked = patient.wait(async {
        let here = own();
        let mut at = tokio::net::lookup_host(host).await.ok()?;
        // One on this very machine proves nothing: what it tries goes past the firewall.
        if at.any(|at| at.ip().is_loopback() || here.contains(&at.ip().to_canonical())) {
            return None;
        }
        client.reach(port).await.ok()
    });
    asked.ok().flatten()
}

/// What is proved of a port that accepts connections of this machine at these addresses, of which there is one.
pub(super) fn proved(patient: &Patient, config: &Checked, at: &[SocketAddr]) -> Told {
    let port = at.first().map_or(0, SocketAddr::port);
    let external = config.settings.peer_external_port;
    let answer = tried(patient, config, external.unwrap_or(port));
    let came = came(patient);
    match (answer, came.first()) {
        (Some(answer), _) => judge(&answer, own().contains(&answer.address), external.is_some()),
        (None, Some(client)) => good(format!(
            "open from outside: {client} has connected ({} machines in all)",
            came.len()
        )),
        (None, None) => {
            let names: Vec<String> = at.iter().map(ToString::to_string).collect();
            let ip = at
                .first()
                .map_or_else(String::new, |at| at.ip().to_string());
            good(format!(
                "{} accept connections of this machine; whether a firewall lets others in, `telnet {ip} {port}` on another device proves",
                names.join(", ")
            ))
        }
    }
}

fn judge(answer: &ReachAnswer, is_own: bool, forwarded: bool) -> Told {
    let at = SocketAddr::new(answer.address, answer.port);
    let cause = answer.cause.as_deref().unwrap_or("no reason is told");
    if answer.reached {
        return good(format!(
            "open from outside: the coordinator has connected to {at}"
        ));
    }
    let found = format!("the coordinator can not connect to {at} ({cause})");
    if is_own {
        let advice = "let TCP of this port in: the firewall of this machine (`nft list ruleset`, `ufw status`), and those between it and its peers";
        return bad(found, advice);
    }
    if forwarded {
        return bad(
            found,
            "see what the router forwards, and [server] peer_external_port",
        );
    }
    fair(
        format!(
            "{found}: this network is behind a NAT, so peers elsewhere find no pieces here; those of this network do"
        ),
        "forward a port on the router, and name it by [server] peer_external_port",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn who_is_not_reached_behind_a_nat_is_so_for_others_elsewhere_alone() {
        let answer = |reached, cause: Option<&str>| ReachAnswer {
            address: IpAddr::from([203, 0, 113, 7]),
            port: 7680,
            reached,
            cause: cause.map(str::to_owned),
        };
        let grade = |answer: &ReachAnswer, own, forwarded| judge(answer, own, forwarded).grade;
        let reached = answer(true, None);
        assert_eq!(grade(&reached, false, false), Grade::Good);
        let refused = answer(false, Some("refused"));
        assert_eq!(grade(&refused, true, false), Grade::Bad);
        assert_eq!(grade(&refused, false, true), Grade::Bad);
        assert_eq!(grade(&refused, false, false), Grade::Fair);
    }
}
