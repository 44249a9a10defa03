//! What the kernel says of this machine's network interfaces and their addresses (rtnetlink(7)). The rule: it is asked in its
//! own words and not by `/sys`, which may show another network namespace than the one that this process is in.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST and NLM_F_DUMP.
const FLAGS: u16 = 0x301;
const HEAD_BYTES: usize = 16;

/// IFF_UP.
const UP: u32 = 1;
/// IFF_LOOPBACK.
const LOOPBACK: u32 = 8;
/// ARPHRD_ETHER and ARPHRD_PPP of `<linux/if_arp.h>`.
const ETHER: u16 = 1;
const PPP: u16 = 512;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind, as the kernel names it: `tun`, `wireguard`, `bridge`; None for hardware.
    pub kind: Option<String>,
    /// What it is to ARP.
    pub hardware: u16,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it leads to this machine itself.
    pub is_loopback: bool,
    /// Its link address; empty where it has none.
    pub address: Vec<u8>,
}

impl Link {
    /// Its kind as far as it says whether this is a tunnel to somewhere else. A tap, which has link addresses, belongs to a
    /// virtual machine as often as to a VPN, and is none.
    #[must_use]
    pub fn tunnel(&self) -> Option<&str> {
        match (self.hardware, self.kind.as_deref()) {
            (PPP, _) => Some("ppp"),
            (ETHER, Some("tun")) => None,
            (_, kind) => kind,
        }
    }

    /// The Ethernet address, where it is of Ethernet.
    #[must_use]
    pub fn mac(&self) -> Option<[u8; 6]> {
        let is_ethernet = self.hardware == ETHER;
        self.address[..].try_into().ok().filter(|_| is_ethernet)
    }
}

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
}

/// The kernel's answer is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetlinkError {
    /// It ends in the middle.
    #[error("what the kernel says of its interfaces is cut off")]
    Malformed,
    /// It refuses.
    #[error("the kernel tells nothing of its interfaces (error {0})")]
    Refused(i32),
}

fn dump(kind: u16) -> Vec<u8> {
    // The rest of the request is a family, any, and zeros.
    let mut out = Vec::with_capacity(HEAD_BYTES + 16);
    out.extend_from_slice(&32_u32.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&FLAGS.to_le_bytes());
    out.resize(HEAD_BYTES + 16, 0);
    out
}

/// Asks for all interfaces.
#[must_use]
pub fn ask_links() -> Vec<u8> {
    dump(GET_LINK)
}

/// Asks for all addresses.
#[must_use]
pub fn ask_addresses() -> Vec<u8> {
    dump(GET_ADDRESS)
}

/// What was read of an answer so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dump {
    /// Interfaces.
    pub links: Vec<Link>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// It has come to its end.
    pub is_done: bool,
}

impl Dump {
    /// Takes in the next datagram of an answer.
    ///
    /// # Errors
    /// It is refused, or broken.
    pub fn take(&mut self, mut datagram: &[u8]) -> Result<(), NetlinkError> {
        let malformed = NetlinkError::Malformed;
        while !datagram.is_empty() && !self.is_done {
            // Every machine that larder runs on begins numbers with the low byte.
            let len = u32_at(datagram, 0).ok_or(malformed)?;
            let kind = u16_at(datagram, 4).ok_or(malformed)?;
            let len = usize::try_from(len).map_err(|_| malformed)?;
            let message = datagram.get(HEAD_BYTES..len).ok_or(malformed)?;
            match kind {
                NEW_LINK => self.links.push(link(message).ok_or(malformed)?),
                NEW_ADDRESS => self.addresses.extend(address(message).ok_or(malformed)?),
                ERROR => {
                    let code = message.first_chunk().copied().ok_or(malformed)?;
                    return Err(NetlinkError::Refused(i32::from_le_bytes(code)));
                }
                DONE => self.is_done = true,
                _ => {}
            }
            datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*four))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*two))
}

/// Attributes, each with its number.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let number = u16_at(bytes, 2)?;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits say how it is to be read.
        Some((number & 0x3fff, value))
    })
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

fn link(message: &[u8]) -> Option<Link> {
    let flags = u32_at(message, 8)?;
    let mut link = Link {
        index: u32_at(message, 4)?,
        hardware: u16_at(message, 2)?,
        is_up: flags & UP != 0,
        is_loopback: flags & LOOPBACK != 0,
        ..Link::default()
    };
    for (number, value) in attributes(message.get(16..)?) {
        match number {
            1 => link.address = value.to_vec(),
            3 => link.name = text(value),
            18 => {
                let kind = attributes(value).find(|(number, _)| *number == 1);
                link.kind = kind.map(|(_, kind)| text(kind));
            }
            _ => {}
        }
    }
    Some(link)
}

/// None where the message is broken; an address of another kind is passed over.
fn address(message: &[u8]) -> Option<Option<Address>> {
    let index = u32_at(message, 4)?;
    let (mut local, mut any) = (None, None);
    for (number, value) in attributes(message.get(8..)?) {
        let ip = match (message.first()?, value.len()) {
            (2, 4) => <[u8; 4]>::try_from(value).map(|ip| IpAddr::V4(Ipv4Addr::from(ip))),
            (10, 16) => <[u8; 16]>::try_from(value).map(|ip| IpAddr::V6(Ipv6Addr::from(ip))),
            _ => continue,
        };
        match number {
            // Of a line between two points, 1 is the other end.
            1 => any = ip.ok(),
            2 => local = ip.ok(),
            _ => {}
        }
    }
    Some(local.or(any).map(|ip| Address { index, ip }))
}
