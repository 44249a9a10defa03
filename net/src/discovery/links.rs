//! This machine's network interfaces and their addresses, from the kernel. The rule: each look is one question and one
//! answer, and ends in bounded time.

use larder_proto::netlink::{Dump, ask_addresses, ask_links};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::time::Duration;

/// How long the kernel may take, which answers at once.
const WITHIN: Duration = Duration::from_secs(1);
/// What the kernel puts into one datagram at most.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

fn dump(question: &[u8]) -> io::Result<Dump> {
    // NETLINK_ROUTE is 0.
    let kind = Type::RAW.cloexec();
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        kind,
        Some(Protocol::from(0)),
    )?;
    socket.set_read_timeout(Some(WITHIN))?;
    socket.send(question)?;
    let mut dump = Dump::default();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while !dump.is_done {
        let len = socket.read(&mut datagram)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let datagram = datagram.get(..len).unwrap_or_default();
        dump.take(datagram).map_err(io::Error::other)?;
    }
    Ok(dump)
}

/// The interfaces as they are now.
///
/// # Errors
/// The kernel does not tell, as in a sandbox without AF_NETLINK.
pub fn links() -> io::Result<Vec<larder_proto::netlink::Link>> {
    Ok(dump(&ask_links())?.links)
}

/// Their addresses.
///
/// # Errors
/// As [`links`].
pub fn addresses() -> io::Result<Vec<larder_proto::netlink::Address>> {
    Ok(dump(&ask_addresses())?.addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_leads_to_itself() {
        let links = links().expect("links");
        let lo = links.iter().find(|link| link.is_loopback).expect("lo");
        assert_eq!((lo.name.as_str(), lo.tunnel()), ("lo", None));
        let ours = addresses().expect("addresses");
        let at = ours.iter().filter(|address| address.ip.is_loopback());
        assert!(at.clone().all(|address| address.index == lo.index));
    }
}
