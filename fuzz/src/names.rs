//! What servers and the kernel say of networks and names. The rule: none of them is trusted to speak well.

use crate::input::{Input, text};
use larder_proto::ber::{self, Reader};
use larder_proto::dhcp::{acknowledged, lease, options, text as plain};
use larder_proto::dns::{Kind, answer, name_at, question};
use larder_proto::netlink::Dump;
use larder_proto::netlogon::{pong, root};
use larder_proto::tls::first::spoken;
use larder_proto::tls::validity::Validity;

/// Messages and files of leases. Options are parts of what was there.
pub(crate) fn dhcp(data: &[u8]) {
    if let Ok(all) = options(data) {
        let bytes: usize = all.values().map(Vec::len).sum();
        assert!(bytes <= data.len());
        all.values().for_each(|value| drop(plain(value)));
    }
    if let Some(id) = data.get(4..8).and_then(|id| id.try_into().ok()) {
        let said = acknowledged(data, u32::from_be_bytes(id));
        assert!(said.is_err() || options(data) == said);
    }
    let _ = lease::dhcpcd(data);
    if let Some(text) = text(data) {
        let _ = (lease::networkd(text), lease::dhclient(text));
    }
}

const NAME: &str = "_ldap._tcp.dc._msdcs.corp.example";

/// Answers to a question, and names at every place. A name that can be asked for is read as it was written.
pub(crate) fn dns(data: &[u8]) {
    let mut input = Input(data);
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(input.byte() % 3)];
    if let Ok(answer) = answer(input.0, 7, NAME, kind) {
        let found = answer.servers.len() + answer.addresses.len();
        // A record has eleven bytes at least.
        assert!(found * 11 <= input.0.len());
    }
    for at in 0..input.0.len().min(64) {
        if let Some((name, next)) = name_at(input.0, at) {
            assert!(next <= input.0.len() && name.len() <= 255);
        }
    }
    if let Some(name) = text(input.0)
        && let Ok(asked) = question(7, name, kind)
    {
        let read = name_at(&asked, 12).map(|(name, _)| name);
        assert_eq!(
            read.as_deref(),
            Some(name.strip_suffix('.').unwrap_or(name))
        );
    }
}

/// Answers of domain controllers, and the encoding that they are in.
pub(crate) fn netlogon(data: &[u8]) {
    let _ = pong(data, 1, "corp.example");
    let sid = root::sid(data, 2);
    assert!(sid.is_err() || sid.is_ok_and(|sid| sid.starts_with("S-")));
    if let Ok(Some(len)) = root::whole(data) {
        assert!(len <= data.len());
        assert_eq!(root::whole(&data[..len]), Ok(Some(len)));
        assert_eq!(root::whole(&data[..len - 1]), Ok(None));
    }
    let mut reader = Reader::new(data);
    while let Ok((tag, contents)) = reader.any() {
        let written = ber::element(tag, &[contents]);
        assert_eq!(Reader::new(&written).any(), Ok((tag, contents)));
        if let Ok(number) = Reader::new(&written).number(tag) {
            let again = ber::number(tag, number);
            assert_eq!(Reader::new(&again).number(tag), Ok(number));
        }
    }
}

/// A dump of the kernel's, as one datagram and as two.
pub(crate) fn netlink(data: &[u8]) {
    let mut input = Input(data);
    let at = usize::from(input.byte()).min(input.0.len());
    let (first, second) = input.0.split_at(at);
    let mut dump = Dump::default();
    let _ = dump.take(first).and_then(|()| dump.take(second));
    for link in &dump.links {
        let _ = (link.tunnel(), link.mac());
    }
    assert!((dump.links.len() + dump.addresses.len()) * 16 <= data.len());
}

/// The dates of a certificate.
pub(crate) fn certificate(data: &[u8]) {
    if let Some(validity) = Validity::of(data) {
        assert!(validity.left_s(validity.not_after) == Some(0));
    }
    let _ = data.first().map(|byte| spoken(*byte));
}
