//! What a domain controller tells to anybody who asks: by the netlogon ping of connectionless LDAP ([MS-ADTS] 6.3.3) in
//! which site the asker is, and by a look at its root entry what the domain's SID is. The rule: an answer is believed
//! only for the domain that was asked for, and whatever is in it is bounded by the message that brought it.

pub mod root;
#[cfg(test)]
mod tests;

use crate::ber::{self, NotBer, Reader};
use crate::dns::name_at;

/// NETLOGON_NT_VERSION_5 and 5EX ([MS-ADTS] 6.3.1.1): an answer with the names of sites.
const VERSION: [u8; 4] = [0x06, 0, 0, 0];
/// LOGON_SAM_LOGON_RESPONSE_EX ([MS-ADTS] 6.3.1.3).
const RESPONSE_EX: u16 = 23;
/// LOGON_SAM_USER_UNKNOWN_EX: the same, where the user that is asked for is not known; we ask for none.
const USER_UNKNOWN_EX: u16 = 25;

/// Operations of LDAP (RFC 4511, section 4.2).
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const AND: u8 = 0xa0;
const EQUAL: u8 = 0xa3;

/// What a domain controller says of the asker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pong {
    /// The domain.
    pub domain: String,
    /// The controller's own name.
    pub controller: String,
    /// The site of the controller.
    pub controller_site: String,
    /// The site of whoever asked, by the address that he asked from; None where no subnet of the directory holds it.
    pub site: Option<String>,
}

/// Why an answer is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetlogonError {
    /// It is not what LDAP looks like.
    #[error("it is no answer of LDAP")]
    Malformed,
    /// It belongs to another question.
    #[error("it is the answer to another question")]
    NotOurs,
    /// The server answers with an error of LDAP.
    #[error("it answers with error {0} of LDAP")]
    Code(u32),
    /// It has no such attribute: it is no domain controller, or not of this domain.
    #[error("it is no domain controller of this domain")]
    Nothing,
    /// It speaks for another domain.
    #[error("it is a controller of another domain")]
    OtherDomain,
}

impl From<NotBer> for NetlogonError {
    fn from(_: NotBer) -> Self {
        Self::Malformed
    }
}

/// A search of the root entry for one attribute.
fn search(id: u32, filter: &[u8], attribute: &[u8], controls: &[u8]) -> Vec<u8> {
    let attributes = ber::element(ber::SEQUENCE, &[&ber::element(ber::OCTETS, &[attribute])]);
    let search = ber::element(
        SEARCH,
        &[
            &ber::element(ber::OCTETS, &[]),
            &ber::number(ber::ENUMERATED, 0),
            &ber::number(ber::ENUMERATED, 0),
            &ber::number(ber::INTEGER, 0),
            &ber::number(ber::INTEGER, 0),
            &ber::element(ber::BOOLEAN, &[&[0]]),
            filter,
            &attributes,
        ],
    );
    let id = ber::number(ber::INTEGER, id);
    ber::element(ber::SEQUENCE, &[&id, &search, controls])
}

/// The ping for a domain.
#[must_use]
pub fn ping(id: u32, domain: &str) -> Vec<u8> {
    let equal = |name: &[u8], value: &[u8]| {
        let (name, value) = (
            ber::element(ber::OCTETS, &[name]),
            ber::element(ber::OCTETS, &[value]),
        );
        ber::element(EQUAL, &[&name, &value])
    };
    let filter = ber::element(
        AND,
        &[
            &equal(b"DnsDomain", domain.as_bytes()),
            &equal(b"NtVer", &VERSION),
        ],
    );
    search(id, &filter, b"Netlogon", &[])
}

/// The first value of an attribute that a search for the root entry brought; what follows the entry is left alone.
fn value<'a>(message: &'a [u8], id: u32, attribute: &str) -> Result<&'a [u8], NetlogonError> {
    let mut message = Reader::new(message).inside(ber::SEQUENCE)?;
    if message.number(ber::INTEGER)? != id {
        return Err(NetlogonError::NotOurs);
    }
    let (operation, contents) = message.any()?;
    let mut contents = Reader::new(contents);
    match operation {
        ENTRY => {}
        DONE => {
            return Err(match contents.number(ber::ENUMERATED)? {
                0 => NetlogonError::Nothing,
                code => NetlogonError::Code(code),
            });
        }
        _ => return Err(NetlogonError::Malformed),
    }
    contents.of(ber::OCTETS)?;
    let mut attributes = contents.inside(ber::SEQUENCE)?;
    while !attributes.is_empty() {
        let mut one = attributes.inside(ber::SEQUENCE)?;
        if one
            .of(ber::OCTETS)?
            .eq_ignore_ascii_case(attribute.as_bytes())
        {
            return Ok(one.inside(ber::SET)?.of(ber::OCTETS)?);
        }
    }
    Err(NetlogonError::Nothing)
}

/// Reads the answer to a ping.
///
/// # Errors
/// It is none, or not for this domain.
pub fn pong(message: &[u8], id: u32, domain: &str) -> Result<Pong, NetlogonError> {
    let blob = value(message, id, "Netlogon")?;
    let malformed = NetlogonError::Malformed;
    let [low, high, ..] = *blob else {
        return Err(malformed);
    };
    if !matches!(
        u16::from_le_bytes([low, high]),
        RESPONSE_EX | USER_UNKNOWN_EX
    ) {
        return Err(malformed);
    }
    // Opcode, two bytes of nothing, flags, the domain's GUID ([MS-ADTS] 6.3.1.9), then names.
    let mut at = 24;
    let mut name = || -> Result<String, NetlogonError> {
        let (name, next) = name_at(blob, at).ok_or(malformed)?;
        at = next;
        Ok(name)
    };
    let (_forest, found, controller) = (name()?, name()?, name()?);
    let (_short, _short_controller, _user) = (name()?, name()?, name()?);
    let (controller_site, site) = (name()?, name()?);
    if !found.eq_ignore_ascii_case(domain.trim_end_matches('.')) {
        return Err(NetlogonError::OtherDomain);
    }
    Ok(Pong {
        domain: found,
        controller,
        controller_site,
        site: Some(site).filter(|site| !site.is_empty()),
    })
}
