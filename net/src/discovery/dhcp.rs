//! What the DHCP server of this network told, or tells when it is asked: options 234 and 235. The rule: leases of this
//! machine's own DHCP client come first, and the server is asked only for what none of them has.

use super::links;
use super::resolver::random;
use larder_proto::dhcp::lease::{self, Lease};
use larder_proto::dhcp::{
    self, CACHE_HOSTS, CLIENT_PORT, GROUP, SERVER_PORT, acknowledged, inform,
};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a server may take.
const WITHIN: Duration = Duration::from_millis(1500);
/// A lease is a few hundred bytes; dhclient appends to its file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Interfaces whose servers are asked at most.
const INTERFACES_MAX: usize = 4;

/// Where the DHCP clients of Linux keep their leases, and how they write them.
const PLACES: [(&str, Form); 6] = [
    ("run/systemd/netif/leases", Form::Networkd),
    ("var/lib/NetworkManager", Form::Any),
    ("var/lib/dhcp", Form::Dhclient),
    ("var/lib/dhclient", Form::Dhclient),
    ("run/dhclient", Form::Dhclient),
    ("var/lib/dhcpcd", Form::Dhcpcd),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Networkd,
    Dhclient,
    Dhcpcd,
    /// NetworkManager's: by either of two clients.
    Any,
}

/// The text of an option: of the newest lease whose address is this machine's and which has it, else as the server says.
///
/// # Errors
/// In words.
pub async fn option(root: &Path, number: u8) -> Result<String, String> {
    let own = links::addresses().map_err(|error| format!("this machine's addresses: {error}"))?;
    let is_own = |lease: &Lease| {
        let address = lease.address.map(IpAddr::V4);
        own.iter().any(|own| Some(own.ip) == address)
    };
    let of_lease = leases(root)
        .into_iter()
        .filter(is_own)
        .find_map(|lease| dhcp::text(lease.options.get(&number)?));
    if let Some(text) = of_lease {
        return Ok(text);
    }
    let all = links::links().map_err(|error| format!("this machine's interfaces: {error}"))?;
    let mut last = "no interface has an address of IPv4 by Ethernet".to_owned();
    let places = own.iter().filter_map(|own| {
        let IpAddr::V4(ip) = own.ip else { return None };
        let link = all.iter().find(|link| link.index == own.index)?;
        let is_one = link.is_up && !ip.is_link_local();
        Some((ip, link.name.clone(), link.mac().filter(|_| is_one)?))
    });
    // All at once: a machine has bridges and tunnels, too, on which nobody ever answers.
    let mut asked = JoinSet::new();
    for (ip, name, mac) in places.take(INTERFACES_MAX) {
        asked.spawn(async move {
            let answer = timeout(WITHIN, ask(ip, &name, mac, number)).await;
            let answer = answer.unwrap_or_else(|_| Err("no DHCP server answers".to_owned()));
            answer.map_err(|why| format!("{name}: {why}"))
        });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(why)) => last = why,
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("no lease has option {number}, and {last}"))
}

/// What leases there are, the newest first.
fn leases(root: &Path) -> Vec<Lease> {
    let mut found: Vec<(SystemTime, Lease)> = Vec::new();
    for (folder, form) in PLACES {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            let looked = fs::metadata(&path);
            let Some(meta) = looked
                .ok()
                .filter(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX)
            else {
                continue;
            };
            let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.extend(read(&path, form).map(|lease| (changed, lease)));
        }
    }
    found.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
    found.into_iter().map(|(_, lease)| lease).collect()
}

fn read(path: &PathBuf, form: Form) -> Option<Lease> {
    let bytes = fs::read(path).ok()?;
    if form == Form::Dhcpcd {
        return lease::dhcpcd(&bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let is_dhclients = text.contains("lease {");
    Some(match form {
        Form::Dhclient => lease::dhclient(&text),
        Form::Any if is_dhclients => lease::dhclient(&text),
        _ => lease::networkd(&text),
    })
}

/// Asks the servers of an interface's network.
async fn ask(own: Ipv4Addr, interface: &str, mac: [u8; 6], number: u8) -> Result<String, String> {
    let of_io = |error: io::Error| error.to_string();
    // Servers answer to port 68 whoever asks from where, or to where the question came from. Without the right to that
    // port, or where the machine's DHCP client has it, there is still the second kind.
    let port = UdpSocket::bind(SocketAddrV4::new(own, CLIENT_PORT)).await;
    let at_68 = port.as_ref().err().map(|error| error.kind());
    let socket = match port {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind(SocketAddrV4::new(own, 0))
            .await
            .map_err(of_io)?,
    };
    socket.set_broadcast(true).map_err(of_io)?;
    // So that the question goes out there and nowhere else; where that is not allowed, the address decides.
    let _ = socket.bind_device(Some(interface.as_bytes()));
    let id = random(interface);
    let question = inform(id, own, mac, &[GROUP, CACHE_HOSTS]);
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
    socket.send_to(&question, everybody).await.map_err(of_io)?;
    let mut datagram = vec![0; 2048];
    loop {
        let heard = timeout(WITHIN * 2 / 3, socket.recv(&mut datagram)).await;
        let len = match (heard, at_68) {
            (Ok(len), _) => len.map_err(of_io)?,
            (Err(_), None) => return Err("no DHCP server answers".to_owned()),
            (Err(_), Some(why)) => {
                return Err(format!(
                    "no DHCP server answers to another port than 68, which can not be had ({why})"
                ));
            }
        };
        if let Ok(options) = acknowledged(datagram.get(..len).unwrap_or_default(), id) {
            let text = options.get(&number).and_then(|value| dhcp::text(value));
            return text.ok_or_else(|| format!("the DHCP server has no text as option {number}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_found_where_each_client_keeps_them() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, text).expect("written");
        };
        put(
            "run/systemd/netif/leases/2",
            "ADDRESS=10.7.0.1\nOPTION_234=61\n",
        );
        let dhclient = "lease {\n fixed-address 10.7.0.2;\n option unknown-234 \"b\";\n}\n";
        put("var/lib/dhcp/dhclient.eth0.leases", dhclient);
        put(
            "var/lib/NetworkManager/dhclient-1-eth1.lease",
            &dhclient.replace("\"b\"", "\"c\""),
        );
        put(
            "var/lib/NetworkManager/internal-2-eth2.lease",
            "ADDRESS=10.7.0.3\nOPTION_234=64\n",
        );
        put("var/lib/dhcpcd/eth3.lease", "no message at all");
        let found = leases(root.path());
        let mut texts: Vec<_> = found
            .iter()
            .filter_map(|lease| dhcp::text(lease.options.get(&GROUP)?))
            .collect();
        texts.sort_unstable();
        assert_eq!(texts, ["a", "b", "c", "d"]);
    }
}
