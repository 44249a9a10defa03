//! The domain controllers of Active Directory, asked for the site of this machine and the SID of its domain, without a user
//! and without libraries of others. The rule: it ends in bounded time, and whatever goes wrong is said in words.

use super::resolver::{Resolver, random, towards};
use larder_proto::dns::Kind;
use larder_proto::netlogon::{self, NetlogonError, Pong, root};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Controllers that are asked at most.
const CONTROLLERS_MAX: usize = 8;
/// The next one is asked as well when one has said nothing for so long.
const STAGGER: Duration = Duration::from_millis(150);
/// Packets get lost: it is asked once more after so long.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const PONG_WITHIN: Duration = Duration::from_millis(1500);
const SID_WITHIN: Duration = Duration::from_millis(1500);
/// Domains that are tried where none is known for sure.
const DOMAINS_MAX: usize = 3;

/// Domains that this machine belongs to, by the files of those programs that join machines to domains, below `root`.
#[must_use]
pub fn joined(root: &Path) -> Vec<String> {
    let value_of = |file: &str, keys: &[&str]| {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            let is_it = keys
                .iter()
                .any(|wanted| key.trim().eq_ignore_ascii_case(wanted));
            let value = value.trim().trim_matches('.').to_ascii_lowercase();
            (is_it && value.contains('.')).then_some(value)
        })
    };
    let found = [
        value_of("etc/sssd/sssd.conf", &["ad_domain", "krb5_realm"]),
        value_of("etc/samba/smb.conf", &["realm"]),
        value_of("etc/krb5.conf", &["default_realm"]),
    ];
    let mut domains: Vec<String> = found.into_iter().flatten().collect();
    domains.dedup();
    domains
}

/// Where to look for the domain where an administrator says that there is one: those that the machine belongs to, else
/// those of its own name and of its resolver.
#[must_use]
pub fn likely(root: &Path, resolver: &Resolver) -> Vec<String> {
    let mut domains = joined(root);
    if domains.is_empty() {
        let name = fs::read_to_string(root.join("etc/hostname")).unwrap_or_default();
        let own = name
            .trim()
            .split_once('.')
            .map(|(_, domain)| domain.to_ascii_lowercase());
        domains.extend(own);
        domains.extend(resolver.suffixes.iter().cloned());
        domains.dedup();
    }
    domains.truncate(DOMAINS_MAX);
    domains
}

/// A controller that answered, and what it said.
pub(super) struct Found {
    pub(super) pong: Pong,
    pub(super) at: SocketAddr,
}

/// The first controller that answers, of the first of these domains that has one.
///
/// # Errors
/// In words.
pub(super) async fn find(resolver: &Resolver, domains: &[String]) -> Result<Found, String> {
    let mut last = "no domain is known: none is named by sssd.conf, smb.conf, krb5.conf, the \
                    machine's own name or resolv.conf"
        .to_owned();
    for domain in domains {
        match find_in(resolver, domain).await {
            Ok(found) => return Ok(found),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn find_in(resolver: &Resolver, domain: &str) -> Result<Found, String> {
    let name = format!("_ldap._tcp.dc._msdcs.{domain}");
    let answer = resolver.ask(&name, Kind::Srv).await;
    let answer = answer.map_err(|why| format!("no controller of {domain} is known: {why}"))?;
    let mut places: Vec<SocketAddr> = Vec::new();
    for server in answer.servers.iter().take(CONTROLLERS_MAX) {
        let told = answer.addresses.iter();
        let mut at: Vec<IpAddr> = told
            .filter(|(name, _)| name.eq_ignore_ascii_case(&server.name))
            .map(|(_, address)| *address)
            .collect();
        for kind in [Kind::A, Kind::Aaaa] {
            if at.is_empty()
                && let Ok(more) = resolver.ask(&server.name, kind).await
            {
                at.extend(more.addresses.iter().map(|(_, address)| *address));
            }
        }
        places.extend(at.into_iter().map(|ip| SocketAddr::new(ip, server.port)));
    }
    places.truncate(CONTROLLERS_MAX);
    let mut asked = JoinSet::new();
    for (nth, place) in (0..).zip(&places) {
        let (place, domain) = (*place, domain.to_owned());
        asked.spawn(async move {
            sleep(STAGGER * nth).await;
            let pong = timeout(PONG_WITHIN, ping(place, &domain)).await;
            let pong = pong.map_err(|_| format!("{place} does not answer"))??;
            Ok::<_, String>(Found { pong, at: place })
        });
    }
    let mut last = format!("{name} has no servers with an address");
    while let Some(done) = asked.join_next().await {
        match done {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => last = why,
            Err(_) => {}
        }
    }
    Err(format!("no controller of {domain} answers: {last}"))
}

async fn ping(place: SocketAddr, domain: &str) -> Result<Pong, String> {
    let id = random(domain) & 0x7fff_ffff;
    let ping = netlogon::ping(id, domain);
    let of_io = |error: std::io::Error| format!("{place}: {error}");
    let socket = towards(place).await.map_err(of_io)?;
    socket.send(&ping).await.map_err(of_io)?;
    let mut datagram = vec![0; 4096];
    loop {
        let heard = match timeout(AGAIN_AFTER, socket.recv(&mut datagram)).await {
            Ok(heard) => heard.map_err(of_io)?,
            Err(_) => {
                socket.send(&ping).await.map_err(of_io)?;
                continue;
            }
        };
        match netlogon::pong(datagram.get(..heard).unwrap_or_default(), id, domain) {
            Err(NetlogonError::NotOurs) => {}
            pong => return pong.map_err(|error| format!("{place}: {error}")),
        }
    }
}

/// The SID of a controller's domain.
///
/// # Errors
/// In words.
pub(super) async fn sid(controller: SocketAddr) -> Result<String, String> {
    let asked = timeout(SID_WITHIN, ask_sid(controller)).await;
    asked.map_err(|_| format!("{controller} does not tell the domain's SID in time"))?
}

async fn ask_sid(controller: SocketAddr) -> Result<String, String> {
    let of_io = |error: std::io::Error| format!("{controller}: {error}");
    let id = 1;
    let mut stream = TcpStream::connect(controller).await.map_err(of_io)?;
    stream.write_all(&root::question(id)).await.map_err(of_io)?;
    let mut message = Vec::new();
    loop {
        let whole = root::whole(&message).map_err(|error| format!("{controller}: {error}"))?;
        if whole.is_some() {
            let sid = root::sid(&message, id);
            return sid
                .map_err(|error| format!("{controller} does not tell the domain's SID: {error}"));
        }
        if stream.read_buf(&mut message).await.map_err(of_io)? == 0 {
            return Err(format!("{controller} ends the connection"));
        }
    }
}
