//! The domain's SID, as its controller writes it into the name of its own domain. The rule: it is read without a user, since
//! the root entry is for everybody ([MS-ADTS] 3.1.1.3.2), with names in their extended form (3.1.1.3.4.1.5).

use super::{NetlogonError, search, value};
use crate::ber::{self, Reader};

/// LDAP_SERVER_EXTENDED_DN_OID.
const EXTENDED_NAMES: &[u8] = b"1.2.840.113556.1.4.529";
const PRESENT: u8 = 0x87;
const CONTROLS: u8 = 0xa0;
const ATTRIBUTE: &str = "defaultNamingContext";

/// Bytes of an answer at most: the root entry's one attribute is far less.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The question for the SID; by TCP, where it needs no sign-on.
#[must_use]
pub fn question(id: u32) -> Vec<u8> {
    // Flag 1: SIDs and GUIDs as text.
    let flag = ber::element(ber::SEQUENCE, &[&ber::number(ber::INTEGER, 1)]);
    let control = ber::element(
        ber::SEQUENCE,
        &[
            &ber::element(ber::OCTETS, &[EXTENDED_NAMES]),
            &ber::element(ber::BOOLEAN, &[&[0xff]]),
            &ber::element(ber::OCTETS, &[&flag]),
        ],
    );
    let filter = ber::element(PRESENT, &[b"objectClass"]);
    let controls = ber::element(CONTROLS, &[&control]);
    search(id, &filter, ATTRIBUTE.as_bytes(), &controls)
}

/// Whether a message has come whole by now; its length, where it has.
///
/// # Errors
/// What came is the beginning of no message, or of one that is too long.
pub fn whole(bytes: &[u8]) -> Result<Option<usize>, NetlogonError> {
    let mut reader = Reader::new(bytes);
    if reader.of(ber::SEQUENCE).is_ok() {
        return Ok(Some(bytes.len() - reader.left()));
    }
    let may_begin_one = bytes.first().is_none_or(|tag| *tag == ber::SEQUENCE);
    if may_begin_one && bytes.len() < ANSWER_BYTES_MAX {
        return Ok(None);
    }
    Err(NetlogonError::Malformed)
}

/// The SID in the answer, as in `S-1-5-21-1-2-3`.
///
/// # Errors
/// It is no answer to the question, or tells none.
pub fn sid(message: &[u8], id: u32) -> Result<String, NetlogonError> {
    let name = std::str::from_utf8(value(message, id, ATTRIBUTE)?);
    let name = name.map_err(|_| NetlogonError::Malformed)?;
    let parts = name.split(';');
    let mut of_sid = parts.filter_map(|part| part.strip_prefix("<SID=")?.strip_suffix('>'));
    let sid = of_sid.next().ok_or(NetlogonError::Nothing)?;
    if is_sid(sid) {
        return Ok(sid.to_ascii_uppercase());
    }
    of_hex(sid).ok_or(NetlogonError::Malformed)
}

/// Whether a text has the form of a SID ([MS-DTYP] 2.4.2.1).
fn is_sid(text: &str) -> bool {
    let mut parts = text.split('-');
    let begins = parts.next().is_some_and(|s| s.eq_ignore_ascii_case("S"));
    let numbers: Vec<_> = parts.collect();
    let is_number = |part: &&str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        !part.is_empty() && digits && part.len() <= 15
    };
    begins && (3..=17).contains(&numbers.len()) && numbers.iter().all(is_number)
}

/// A SID from its bytes in hexadecimal ([MS-DTYP] 2.4.2.2), as controllers write it that do not know the flag.
fn of_hex(text: &str) -> Option<String> {
    let digits = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let bytes = bytes?;
    let (head, parts) = bytes.split_first_chunk::<8>()?;
    let [1, count, authority @ ..] = *head else {
        return None;
    };
    let (parts, rest) = parts.as_chunks::<4>();
    if !rest.is_empty() || parts.len() != usize::from(count) || parts.is_empty() || count > 15 {
        return None;
    }
    let authority = authority
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let parts = parts
        .iter()
        .map(|part| format!("-{}", u32::from_le_bytes(*part)));
    Some(format!("S-1-{authority}{}", parts.collect::<String>()))
}
