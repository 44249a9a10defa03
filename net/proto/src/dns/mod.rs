//! Questions to a name server, and its answers (RFC 1035, RFC 2782): where the servers of a service are, which the system's
//! own resolver does not tell. The rule: an answer is believed only where it repeats the question, and a name in it costs
//! no more steps than it has bytes.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name at most (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a label at most.
const LABEL_BYTES_MAX: usize = 63;
/// Bytes of an answer that we take by UDP: what passes everywhere without fragments.
pub const UDP_BYTES_MAX: u16 = 1232;
/// Records that are looked at of one answer.
const RECORDS_MAX: u32 = 256;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6.
    Aaaa,
    /// Servers of a service.
    Srv,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// A server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Those of the lowest are asked first.
    pub priority: u16,
    /// Of those alike, the ones that have more are for more.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name, without a dot at the end.
    pub name: String,
}

/// What a name server said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// There is more than fits; it is to be asked by TCP.
    pub is_cut: bool,
    /// Servers, those first that are to be asked first.
    pub servers: Vec<Server>,
    /// Addresses, each with the name that it belongs to, in lower case.
    pub addresses: Vec<(String, IpAddr)>,
}

/// Why an answer is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DnsError {
    /// A name that can not be asked for.
    #[error("it is no name of DNS")]
    Name,
    /// It is the answer to another question, or no answer at all.
    #[error("it is no answer to the question")]
    NotOurs,
    /// It ends too soon, or contradicts itself.
    #[error("it is not a message of DNS")]
    Malformed,
    /// There is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The server refuses, or is in trouble.
    #[error("the name server answers with error {0}")]
    Code(u8),
}

fn write_name(out: &mut Vec<u8>, name: &str) -> Result<(), DnsError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let began = out.len();
    for label in name.split('.') {
        let len = u8::try_from(label.len()).map_err(|_| DnsError::Name)?;
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return Err(DnsError::Name);
        }
        out.push(len);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() - began > NAME_BYTES_MAX {
        return Err(DnsError::Name);
    }
    Ok(())
}

/// The question for what a name has of this kind.
///
/// # Errors
/// It is no name.
pub fn question(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, DnsError> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    // A standard query, recursion desired; one question, one additional record.
    out.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    write_name(&mut out, name)?;
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    // OPT (RFC 6891): how much we take by UDP.
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&UDP_BYTES_MAX.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    Ok(out)
}

/// What is at some place of a message.
struct At<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> At<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DnsError> {
        let end = self.at.checked_add(len).ok_or(DnsError::Malformed)?;
        let taken = self.all.get(self.at..end).ok_or(DnsError::Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, DnsError> {
        match self.take(2)? {
            [high, low] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(DnsError::Malformed),
        }
    }

    fn name(&mut self) -> Result<String, DnsError> {
        let (name, next) = name_at(self.all, self.at).ok_or(DnsError::Malformed)?;
        self.at = next;
        Ok(name)
    }
}

/// The name at some place of a message, without a dot at its end, and where what follows it begins. A name may go on at an
/// earlier place (RFC 1035, section 4.1.4); one that leads forward, in a circle, or is too long is none.
#[must_use]
pub fn name_at(message: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut name, mut place, mut next, mut before) = (Vec::new(), at, None, at);
    loop {
        let len = *message.get(place)?;
        match len {
            0 => break,
            1..=0x3f => {
                let end = place + 1 + usize::from(len);
                let label = message.get(place + 1..end)?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(label);
                if name.len() > NAME_BYTES_MAX {
                    return None;
                }
                place = end;
            }
            0xc0..=0xff => {
                let low = *message.get(place + 1)?;
                let there = usize::from(len & 0x3f) << 8 | usize::from(low);
                // Each step leads further back, so that there are no circles.
                if there >= before {
                    return None;
                }
                next.get_or_insert(place + 2);
                (place, before) = (there, there);
            }
            _ => return None,
        }
    }
    let name = String::from_utf8(name).ok()?;
    Some((name, next.unwrap_or(place + 1)))
}

/// Reads what a name server said to a question.
///
/// # Errors
/// It is no answer to it, or there is nothing to be had.
pub fn answer(message: &[u8], id: u16, name: &str, kind: Kind) -> Result<Answer, DnsError> {
    let mut at = At {
        all: message,
        at: 0,
    };
    let (said, flags) = (at.u16()?, at.u16()?);
    let counts = [at.u16()?, at.u16()?, at.u16()?, at.u16()?];
    let is_answer = flags & 0x8000 != 0;
    if said != id || !is_answer || counts[0] != 1 {
        return Err(DnsError::NotOurs);
    }
    let asked = at.name()?;
    let wanted = name.strip_suffix('.').unwrap_or(name);
    if !asked.eq_ignore_ascii_case(wanted) || at.u16()? != kind.number() || at.u16()? != 1 {
        return Err(DnsError::NotOurs);
    }
    match u8::try_from(flags & 0xf) {
        Ok(0) => {}
        Ok(3) => return Err(DnsError::NoSuchName),
        code => return Err(DnsError::Code(code.unwrap_or(u8::MAX))),
    }
    let mut answer = Answer {
        is_cut: flags & 0x0200 != 0,
        ..Answer::default()
    };
    let records: u32 = counts.iter().skip(1).map(|count| u32::from(*count)).sum();
    for _ in 0..records.min(RECORDS_MAX) {
        match record(&mut at, &mut answer) {
            Ok(()) => {}
            // What was cut off may end anywhere.
            Err(_) if answer.is_cut => break,
            Err(error) => return Err(error),
        }
    }
    answer
        .servers
        .sort_by_key(|server| (server.priority, u16::MAX - server.weight));
    Ok(answer)
}

fn record(at: &mut At<'_>, answer: &mut Answer) -> Result<(), DnsError> {
    let owner = at.name()?;
    let (kind, class) = (at.u16()?, at.u16()?);
    at.take(4)?;
    let len = usize::from(at.u16()?);
    let began = at.at;
    let data = at.take(len)?;
    if class != 1 {
        return Ok(());
    }
    match kind {
        1 => {
            let octets: [u8; 4] = data.try_into().map_err(|_| DnsError::Malformed)?;
            let address = IpAddr::V4(Ipv4Addr::from(octets));
            answer.addresses.push((owner.to_ascii_lowercase(), address));
        }
        28 => {
            let octets: [u8; 16] = data.try_into().map_err(|_| DnsError::Malformed)?;
            let address = IpAddr::V6(Ipv6Addr::from(octets));
            answer.addresses.push((owner.to_ascii_lowercase(), address));
        }
        33 => {
            // Names are looked up in the whole message, in which they may point back.
            let mut inside = At {
                all: at.all,
                at: began,
            };
            let server = Server {
                priority: inside.u16()?,
                weight: inside.u16()?,
                port: inside.u16()?,
                name: inside.name()?,
            };
            if inside.at != at.at {
                return Err(DnsError::Malformed);
            }
            // A single dot: the service is not to be had (RFC 2782).
            if !server.name.is_empty() {
                answer.servers.push(server);
            }
        }
        _ => {}
    }
    Ok(())
}
