//! Links to appliances of other sites. The rule: one answer at the other end is enough, since any of its appliances may
//! give what it has.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use larder_proto::links::Link;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn ends(patient: &Patient) -> Vec<Told> {
    let Some(config) = &patient.config else {
        return Vec::new();
    };
    let each = config.settings.links.all().map(|line| {
        let link = line.link();
        let tried = patient.wait(reach(link));
        judge(link, tried.unwrap_or_else(|words| vec![Err(words)]))
            .about(format!("link {}", link.name))
    });
    each.collect()
}

async fn reach(link: &Link) -> Vec<Result<(), String>> {
    let mut tried = Vec::new();
    for end in &link.ends {
        let connect = TcpStream::connect((end.host.as_str(), end.port));
        let why = match timeout(CONNECT_WITHIN, connect).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        tried.push(why.map_err(|why| format!("{}:{}: {why}", end.host, end.port)));
    }
    tried
}

fn judge(link: &Link, tried: Vec<Result<(), String>>) -> Told {
    let advice = "see that larder runs there, and that its port lets this machine in; until then what it has comes from the origin";
    let all = tried.len();
    let silent: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
    match silent.len() {
        0 => good(format!("all {all} appliances of it accept connections")),
        some if some < all => fair(silent.join(", "), advice),
        _ => bad(
            format!(
                "no appliance of {} answers: {}",
                link.name,
                silent.join(", ")
            ),
            advice,
        ),
    }
}
