//! What a DHCP server tells of this network (RFC 2131, RFC 2132): options 234, the group, and 235, cache hosts. The rule:
//! nothing is asked of a server but to tell, by DHCPINFORM; addresses are others' business.

pub mod lease;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The option with the group's GUID (seed: Select the source of Group IDs).
pub const GROUP: u8 = 234;
/// The option with cache hosts (facts: clients 1.10).
pub const CACHE_HOSTS: u8 = 235;

/// The port of servers.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin, the cookie before them.
const HEAD_BYTES: usize = 236;
/// What a BOOTP message has at least (RFC 1542, section 2.1).
const MESSAGE_BYTES_MIN: usize = 300;
const PAD: u8 = 0;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const PARAMETERS: u8 = 55;
const CLIENT_ID: u8 = 61;
const END: u8 = 255;
const INFORM: u8 = 8;
const ACK: u8 = 5;

/// Options by their numbers; one that comes in parts is put together (RFC 3396).
pub type Options = BTreeMap<u8, Vec<u8>>;

/// Why a message is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DhcpError {
    /// It is none, or ends too soon.
    #[error("it is no message of DHCP")]
    Malformed,
    /// It is for somebody else.
    #[error("it is the answer to another question")]
    NotOurs,
}

/// Asks for these options, from this address of ours; `mac` is that of its interface.
#[must_use]
pub fn inform(id: u32, own: Ipv4Addr, mac: [u8; 6], wanted: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEAD_BYTES];
    // BOOTREQUEST by Ethernet.
    out[..4].copy_from_slice(&[1, 1, 6, 0]);
    out[4..8].copy_from_slice(&id.to_be_bytes());
    out[12..16].copy_from_slice(&own.octets());
    out[28..34].copy_from_slice(&mac);
    out.extend_from_slice(&COOKIE);
    out.extend_from_slice(&[MESSAGE_TYPE, 1, INFORM, CLIENT_ID, 7, 1]);
    out.extend_from_slice(&mac);
    let count = u8::try_from(wanted.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(&[PARAMETERS, count]);
    out.extend(wanted.iter().take(usize::from(count)));
    out.push(END);
    out.resize(out.len().max(MESSAGE_BYTES_MIN), PAD);
    out
}

/// What a server acknowledged with this id.
///
/// # Errors
/// It did not.
pub fn acknowledged(message: &[u8], id: u32) -> Result<Options, DhcpError> {
    let options = options(message)?;
    let is_reply = message.first() == Some(&2);
    let is_ack = options
        .get(&MESSAGE_TYPE)
        .is_some_and(|kind| kind == &[ACK]);
    if message.get(4..8) != Some(&id.to_be_bytes()[..]) || !is_reply || !is_ack {
        return Err(DhcpError::NotOurs);
    }
    Ok(options)
}

/// The options of a message, those in its fields for file and server among them (RFC 2132, section 9.3).
///
/// # Errors
/// It is no message of DHCP.
pub fn options(message: &[u8]) -> Result<Options, DhcpError> {
    let (head, rest) = message
        .split_at_checked(HEAD_BYTES)
        .ok_or(DhcpError::Malformed)?;
    let rest = rest.strip_prefix(&COOKIE).ok_or(DhcpError::Malformed)?;
    let mut options = Options::new();
    collect(rest, &mut options)?;
    let overload = options
        .get(&OVERLOAD)
        .and_then(|value| value.first().copied());
    let overload = overload.unwrap_or(0);
    if overload & 1 != 0 {
        collect(&head[108..], &mut options)?;
    }
    if overload & 2 != 0 {
        collect(&head[44..108], &mut options)?;
    }
    Ok(options)
}

fn collect(mut bytes: &[u8], into: &mut Options) -> Result<(), DhcpError> {
    loop {
        match bytes {
            // An end is not written by all.
            [] | [END, ..] => return Ok(()),
            [PAD, rest @ ..] => bytes = rest,
            [number, len, rest @ ..] => {
                let value = rest.split_at_checked(usize::from(*len));
                let (value, rest) = value.ok_or(DhcpError::Malformed)?;
                into.entry(*number).or_default().extend_from_slice(value);
                bytes = rest;
            }
            [_] => return Err(DhcpError::Malformed),
        }
    }
}

/// An option as the text that it is: without the zeros that some servers write at its end, and blanks around. None where
/// it is none, or empty.
#[must_use]
pub fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let is_plain = !text.is_empty() && !text.chars().any(char::is_control);
    is_plain.then(|| text.to_owned())
}
