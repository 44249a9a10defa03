//! The name servers of this machine, asked for what its own resolver does not tell: the servers of a service. The rule: a
//! server that is silent costs a second, and the next one is asked.

use larder_proto::dns::{self, Answer, DnsError, Kind, UDP_BYTES_MAX};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;
/// As many as the system's resolver asks (resolv.conf(5)).
const SERVERS_MAX: usize = 3;
const SERVER_WITHIN: Duration = Duration::from_millis(900);

/// What resolv.conf(5) says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// Suffixes, in order.
    pub suffixes: Vec<String>,
}

impl Resolver {
    /// Reads the file below `root`; where it can not be read, there are no servers.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join("etc/resolv.conf"));
        Self::parse(&text.unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found
                        .servers
                        .extend(address.map(|ip| SocketAddr::new(ip, PORT)));
                }
                // The last of these lines holds (resolv.conf(5)).
                Some("search" | "domain") => {
                    let name = |word: &str| word.trim_matches('.').to_ascii_lowercase();
                    found.suffixes = words.map(name).filter(|name| !name.is_empty()).collect();
                }
                _ => {}
            }
        }
        found.servers.truncate(SERVERS_MAX);
        found
    }

    /// What a name has of this kind.
    ///
    /// # Errors
    /// In words, of the last server that was asked.
    pub async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, String> {
        let mut last = "/etc/resolv.conf names no server".to_owned();
        for server in &self.servers {
            match timeout(SERVER_WITHIN, ask_one(*server, name, kind)).await {
                Ok(Ok(answer)) => return Ok(answer),
                // Another server would say the same.
                Ok(Err(Trouble::Dns(error @ (DnsError::NoSuchName | DnsError::Name)))) => {
                    return Err(format!("{name}: {error}"));
                }
                Ok(Err(Trouble::Dns(error))) => last = format!("{server}: {name}: {error}"),
                Ok(Err(Trouble::Io(error))) => last = format!("{server}: {error}"),
                Err(_) => last = format!("{server} does not answer"),
            }
        }
        Err(last)
    }
}

enum Trouble {
    Dns(DnsError),
    Io(io::Error),
}

impl From<DnsError> for Trouble {
    fn from(error: DnsError) -> Self {
        Self::Dns(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A number that nobody else can guess.
pub(super) fn random(what: &str) -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(what).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A socket for one server, which hears nobody else.
pub(super) async fn towards(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    Ok(socket)
}

async fn ask_one(server: SocketAddr, name: &str, kind: Kind) -> Result<Answer, Trouble> {
    let [low, high, ..] = random(name).to_le_bytes();
    let id = u16::from_le_bytes([low, high]);
    let question = dns::question(id, name, kind)?;
    let socket = towards(server).await?;
    socket.send(&question).await?;
    let mut datagram = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let len = socket.recv(&mut datagram).await?;
        match dns::answer(datagram.get(..len).unwrap_or_default(), id, name, kind) {
            Ok(answer) if answer.is_cut => break,
            // Somebody guesses, and may be wrong.
            Err(DnsError::NotOurs | DnsError::Malformed) => {}
            found => return Ok(found?),
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(question.len()).map_err(|_| DnsError::Name)?;
    stream.write_all(&len.to_be_bytes()).await?;
    stream.write_all(&question).await?;
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(dns::answer(&message, id, name, kind)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_it_is_written() {
        let found = Resolver::parse(
            "# a comment\ndomain old.example\nnameserver 10.7.0.1\nnameserver ::1\nnameserver x\n\
             search Corp.Example. example\noptions edns0\nnameserver 10.7.0.2\nnameserver 10.7.0.3\n",
        );
        assert_eq!(found.suffixes, ["corp.example", "example"]);
        let servers = ["10.7.0.1:53", "[::1]:53", "10.7.0.2:53"];
        let servers = servers.map(|server| server.parse().expect("an address"));
        assert_eq!(found.servers, servers);
        assert_eq!(Resolver::parse(""), Resolver::default());
    }
}
