//! The sockets that the appliance listens on: made here, or inherited from systemd. The rule: where one cannot be had,
//! the error says which, for what, and what to do.

use crate::appliance::StartError;
use larder_net::sock;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`. At 4096 a whole office can arrive
/// at once, and during a restart.
const BACKLOG: i32 = 4096;

/// How long a taken port is asked for again. A process that was killed keeps its port until the kernel has taken its
/// rings down, which can be a moment after the next one starts.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What a socket is for, with its key in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Http,
    Https,
    Peer,
    Admin,
    Metrics,
    Coordinator,
}

impl Purpose {
    const fn words(self) -> &'static str {
        match self {
            Self::Http => "clients ([server] http)",
            Self::Https => "clients by https ([server] https)",
            Self::Peer => "peers ([server] peer)",
            Self::Admin => "administrators ([server] admin)",
            Self::Metrics => "Prometheus ([server] metrics)",
            Self::Coordinator => "devices that look for peers ([coordinator] http, https)",
        }
    }
}

/// Listens on each of `addresses`.
pub(crate) fn all(
    addresses: &[SocketAddr],
    purpose: Purpose,
) -> Result<Vec<TcpListener>, StartError> {
    let each = addresses
        .iter()
        .map(|address| beside(*address, addresses, purpose));
    each.collect()
}

/// Listens on an address that is free, or does without it.
pub(crate) fn at_once(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, &[])
}

/// Listens on a single address.
pub(crate) fn one(address: SocketAddr, purpose: Purpose) -> Result<TcpListener, StartError> {
    beside(address, &[], purpose)
}

fn beside(
    address: SocketAddr,
    all: &[SocketAddr],
    purpose: Purpose,
) -> Result<TcpListener, StartError> {
    let began = Instant::now();
    loop {
        match listen(address, all) {
            Ok(listener) => return Ok(listener),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            Err(source) => {
                return Err(StartError::Listen {
                    address,
                    purpose: purpose.words(),
                    advice: advice(address, &source),
                    source,
                });
            }
        }
    }
}

/// Listens on one address. `[::]` takes IPv4 along unless IPv4 has an address of its own among `all`, and is `0.0.0.0`
/// on a machine without IPv6.
fn listen(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let wildcard = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind(address, all) {
        Err(e) if wildcard && e.raw_os_error() == Some(libc::EAFNOSUPPORT) => bind(
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
            all,
        ),
        done => done,
    }
}

fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        let beside = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
        socket.set_only_v6(all.iter().any(beside))?;
    }
    // Connections of the last run that are still closing are no reason to refuse the port.
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn advice(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens there (`ss -ltnp 'sport = :{port}'` shows which); stop it, or configure another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} is below 1024; let systemd open it (larder.socket), give the program CAP_NET_BIND_SERVICE, or configure a port above 1023"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {} (`ip address` shows those it has); configure one of them, or \"[::]:{port}\" for all",
            address.ip()
        ),
        _ => "configure another address".to_owned(),
    }
}

/// The sockets that systemd opened for this process, by what they are for. A socket is for clients unless its unit
/// names it `https`, `peer`, `admin` or `metrics` (FileDescriptorName=).
pub(crate) fn inherited() -> Result<Vec<(Purpose, TcpListener)>, StartError> {
    let fail = |source| StartError::Inherit { source };
    let mut sockets = Vec::new();
    for (fd, name) in sd_notify::listen_fds_with_names().map_err(fail)? {
        let listener = TcpListener::from(sock::inherited(fd).map_err(fail)?);
        let purpose = match name.as_str() {
            "https" => Purpose::Https,
            "peer" => Purpose::Peer,
            "admin" => Purpose::Admin,
            "metrics" => Purpose::Metrics,
            _ => Purpose::Http,
        };
        sockets.push((purpose, listener));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_what_to_do() {
        let first = all(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))], Purpose::Http)
            .expect("listening")
            .remove(0);
        let address = first.local_addr().expect("its address");
        let error = all(&[address], Purpose::Admin)
            .expect_err("taken")
            .to_string();
        let port = address.port();
        assert_eq!(
            error,
            format!(
                "cannot listen on {address} for administrators ([server] admin): Address already in use (os error 98); \
                 another process listens there (`ss -ltnp 'sport = :{port}'` shows which); stop it, or configure another port"
            )
        );
    }

    #[test]
    fn a_port_that_becomes_free_is_waited_for() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let first = one(local, Purpose::Http).expect("listening");
        let address = first.local_addr().expect("its address");
        let waiting = std::thread::spawn(move || one(address, Purpose::Http));
        // Whether the other has begun to ask or not, it gets the port.
        std::thread::yield_now();
        drop(first);
        let second = waiting.join().expect("no panic").expect("the same port");
        assert_eq!(second.local_addr().expect("its address"), address);
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let error = all(&["192.0.2.1:0".parse().expect("an address")], Purpose::Http)
            .expect_err("not ours")
            .to_string();
        assert!(
            error.contains("this machine has no address 192.0.2.1"),
            "{error}"
        );
    }

    #[test]
    fn one_socket_serves_both_families_unless_each_has_its_own() {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let both = all(&[any(0)], Purpose::Http).expect("listening").remove(0);
        let port = both.local_addr().expect("its address").port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("reached by IPv4");
        drop(both);
        let each = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), any(port)];
        assert_eq!(all(&each, Purpose::Http).expect("both").len(), 2);
    }
}
