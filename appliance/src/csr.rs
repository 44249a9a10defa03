//! Requests for certificates (PKCS #10, RFC 2986) with a key on P-256. The rule: the key is made once and never written
//! over, and a request asks for nothing but names.

use larder_content::base64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

// DER of object identifiers, tag and length among it.
const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
const EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P_256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ECDSA_WITH_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EXTENSION_REQUEST: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const SUBJECT_ALT_NAME: &[u8] = &[6, 3, 0x55, 0x1d, 17];

const INTEGER_0: &[u8] = &[2, 1, 0];
const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const UTF8_STRING: u8 = 12;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, of which more follows within.
const ATTRIBUTES: u8 = 0xa0;
/// GeneralName: `[2]` and `[7]`.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The longest common name that X.520 allows.
const COMMON_NAME_BYTES_MAX: usize = 64;

const PEM_COLUMNS: usize = 64;

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CsrError {
    #[error(
        "{0:?} is no name of a host and no address; write it as clients do, as in larder.example.org or 10.0.0.5"
    )]
    Name(String),
    #[error("cannot read or make {path}: {source}; name another file by --key")]
    Key { path: String, source: io::Error },
    #[error(
        "{0} holds no key on P-256 in PKCS #8, as this command makes them; name another file by --key, or use `openssl req`"
    )]
    OtherKey(String),
    #[error("no random numbers can be had from the system")]
    Random,
}

/// What a certificate is to be for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    Host(String),
    Address(IpAddr),
}

impl Name {
    pub(crate) fn parse(text: &str) -> Result<Self, CsrError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let labels = text.strip_prefix("*.").unwrap_or(text);
        let plain = |label: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty()
                && label.len() < 64
                && label.bytes().all(allowed)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.len() < 254 && labels.split('.').all(plain) {
            true => Ok(Self::Host(text.to_ascii_lowercase())),
            false => Err(CsrError::Name(text.to_owned())),
        }
    }

    fn der(&self) -> Vec<u8> {
        match self {
            Self::Host(host) => der(DNS_NAME, &[host.as_bytes()]),
            Self::Address(IpAddr::V4(address)) => der(IP_ADDRESS, &[&address.octets()]),
            Self::Address(IpAddr::V6(address)) => der(IP_ADDRESS, &[&address.octets()]),
        }
    }
}

/// The key in `path`; made, and for nobody but its owner to read, where there is none. Says whether it was made.
pub(crate) fn key(path: &Path) -> Result<(EcdsaKeyPair, bool), CsrError> {
    let failed = |source| CsrError::Key {
        path: path.display().to_string(),
        source,
    };
    let random = SystemRandom::new();
    let of = |pkcs8: &[u8]| {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random)
            .map_err(|_| CsrError::OtherKey(path.display().to_string()))
    };
    match fs::read(path) {
        Ok(pem) => {
            let read = PrivatePkcs8KeyDer::from_pem_slice(&pem)
                .map_err(|_| CsrError::OtherKey(path.display().to_string()))?;
            Ok((of(read.secret_pkcs8_der())?, false))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
                .map_err(|_| CsrError::Random)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            file.write_all(pem("PRIVATE KEY", made.as_ref()).as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
            Ok((of(made.as_ref())?, true))
        }
        Err(error) => Err(failed(error)),
    }
}

/// The request, as PEM.
pub(crate) fn request(key: &EcdsaKeyPair, names: &[Name]) -> Result<String, CsrError> {
    let subject = match names.first() {
        Some(Name::Host(host)) if host.len() <= COMMON_NAME_BYTES_MAX => {
            let value = der(UTF8_STRING, &[host.as_bytes()]);
            der(SET, &[&der(SEQUENCE, &[COMMON_NAME, &value])])
        }
        // Clients look at the names below alone.
        _ => Vec::new(),
    };
    let algorithm = der(SEQUENCE, &[EC_PUBLIC_KEY, P_256]);
    let point = bits(key.public_key().as_ref());
    let all: Vec<u8> = names.iter().flat_map(Name::der).collect();
    let value = der(OCTET_STRING, &[&der(SEQUENCE, &[&all])]);
    let extension = der(SEQUENCE, &[SUBJECT_ALT_NAME, &value]);
    let extensions = der(SET, &[&der(SEQUENCE, &[&extension])]);
    let wanted = der(SEQUENCE, &[EXTENSION_REQUEST, &extensions]);
    let info = der(
        SEQUENCE,
        &[
            INTEGER_0,
            &der(SEQUENCE, &[&subject]),
            &der(SEQUENCE, &[&algorithm, &point]),
            &der(ATTRIBUTES, &[&wanted]),
        ],
    );
    let signature = key
        .sign(&SystemRandom::new(), &info)
        .map_err(|_| CsrError::Random)?;
    let signed_by = der(SEQUENCE, &[ECDSA_WITH_SHA256]);
    let whole = der(SEQUENCE, &[&info, &signed_by, &bits(signature.as_ref())]);
    Ok(pem("CERTIFICATE REQUEST", &whole))
}

/// A value with its tag and length.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = len.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let digits = &bytes[zeros..];
            // At most eight.
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
    out.extend(parts.iter().copied().flatten());
    out
}

/// A bit string of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    der(BIT_STRING, &[&[0], bytes])
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let digits = base64::encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(PEM_COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_or_addresses() {
        let host = |name: &str| Name::Host(name.to_owned());
        assert_eq!(
            Name::parse("Larder.example.org").expect("a host"),
            host("larder.example.org")
        );
        assert_eq!(
            Name::parse("*.example.org").expect("a host"),
            host("*.example.org")
        );
        assert_eq!(
            Name::parse("fd00::1").expect("an address"),
            Name::Address("fd00::1".parse().expect("one"))
        );
        for wrong in [
            "",
            "a b",
            "ä.example",
            "http://larder",
            "a..b",
            "-a",
            "a_b",
            "*.",
            "*.*.a",
            &"a".repeat(64),
        ] {
            assert!(Name::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        assert_eq!(der(4, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(der(4, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[&[7; 300]])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn a_key_is_made_once_and_another_kind_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("key.pem");
        let (first, made) = key(&path).expect("made");
        assert!(made);
        let (again, made) = key(&path).expect("read");
        assert!(!made);
        assert_eq!(first.public_key().as_ref(), again.public_key().as_ref());
        fs::write(
            &path,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        )
        .expect("written");
        assert!(matches!(key(&path), Err(CsrError::OtherKey(_))));
        let nowhere = folder.path().join("no/key.pem");
        assert!(matches!(key(&nowhere), Err(CsrError::Key { .. })));
    }
}
