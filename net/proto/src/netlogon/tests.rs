//! Answers as domain controllers give them, built from their parts, and answers of others who want to be believed.

use super::*;
use proptest::prelude::*;

/// An answer of LDAP with one attribute.
fn entry(id: u32, attribute: &[u8], value: &[u8]) -> Vec<u8> {
    let values = ber::element(ber::SET, &[&ber::element(ber::OCTETS, &[value])]);
    let name = ber::element(ber::OCTETS, &[attribute]);
    let one = ber::element(ber::SEQUENCE, &[&name, &values]);
    let attributes = ber::element(ber::SEQUENCE, &[&one]);
    let entry = ber::element(ENTRY, &[&ber::element(ber::OCTETS, &[]), &attributes]);
    ber::element(ber::SEQUENCE, &[&ber::number(ber::INTEGER, id), &entry])
}

fn done(id: u32, code: u32) -> Vec<u8> {
    let nothing = ber::element(ber::OCTETS, &[]);
    let code = ber::number(ber::ENUMERATED, code);
    let done = ber::element(DONE, &[&code, &nothing, &nothing]);
    ber::element(ber::SEQUENCE, &[&ber::number(ber::INTEGER, id), &done])
}

fn label(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("short"));
    out.extend_from_slice(text.as_bytes());
}

/// The body of a pong, with names that point at earlier ones as controllers write them.
fn blob(opcode: u8, site: &str) -> Vec<u8> {
    let mut out = vec![opcode, 0, 0, 0, 0xfd, 0x31, 0, 0];
    out.extend_from_slice(&[0xab; 16]);
    label(&mut out, "corp");
    label(&mut out, "example");
    out.push(0);
    out.extend_from_slice(&[0xc0, 24]);
    label(&mut out, "dc1");
    out.extend_from_slice(&[0xc0, 24]);
    label(&mut out, "CORP");
    out.push(0);
    label(&mut out, "DC1");
    out.push(0);
    // No user.
    out.push(0);
    label(&mut out, "Default-First-Site-Name");
    out.push(0);
    if !site.is_empty() {
        label(&mut out, site);
    }
    out.push(0);
    out.extend_from_slice(&[5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    out
}

#[test]
fn a_ping_asks_for_one_domain() {
    let ping = ping(0x1234, "corp.example");
    let mut message = Reader::new(&ping).inside(ber::SEQUENCE).expect("a message");
    assert_eq!(message.number(ber::INTEGER), Ok(0x1234));
    let mut search = message.inside(SEARCH).expect("a search");
    assert_eq!(search.of(ber::OCTETS), Ok(&b""[..]), "of the root entry");
    assert!(message.is_empty());
    let shown = String::from_utf8_lossy(&ping).into_owned();
    for part in ["DnsDomain", "corp.example", "NtVer", "Netlogon"] {
        assert!(shown.contains(part), "{part}");
    }
}

#[test]
fn the_site_is_the_askers_own() {
    let of = |blob: &[u8]| pong(&entry(7, b"netlogon", blob), 7, "Corp.Example.");
    let found = of(&blob(23, "Berlin")).expect("a pong");
    assert_eq!(found.site.as_deref(), Some("Berlin"));
    assert_eq!(found.controller_site, "Default-First-Site-Name");
    assert_eq!(
        (found.domain.as_str(), found.controller.as_str()),
        ("corp.example", "dc1.corp.example")
    );
    assert_eq!(
        of(&blob(25, "München")).expect("a pong").site.as_deref(),
        Some("München")
    );
    assert_eq!(
        of(&blob(23, "")).expect("a pong").site,
        None,
        "no subnet holds it"
    );
    assert_eq!(
        of(&blob(19, "Berlin")),
        Err(NetlogonError::Malformed),
        "an older form"
    );
    for cut in 0..blob(23, "Berlin").len() - 8 {
        assert_eq!(
            of(&blob(23, "Berlin")[..cut]),
            Err(NetlogonError::Malformed),
            "{cut}"
        );
    }
}

#[test]
fn who_answers_something_else_is_not_believed() {
    let whole = entry(7, b"Netlogon", &blob(23, "Berlin"));
    assert_eq!(pong(&whole, 8, "corp.example"), Err(NetlogonError::NotOurs));
    assert_eq!(
        pong(&whole, 7, "other.example"),
        Err(NetlogonError::OtherDomain)
    );
    assert_eq!(
        pong(&done(7, 0), 7, "corp.example"),
        Err(NetlogonError::Nothing)
    );
    assert_eq!(
        pong(&done(7, 53), 7, "corp.example"),
        Err(NetlogonError::Code(53))
    );
    let other = entry(7, b"Other", &blob(23, "Berlin"));
    assert_eq!(pong(&other, 7, "corp.example"), Err(NetlogonError::Nothing));
    let mut with_more = whole.clone();
    with_more.extend(done(7, 0));
    assert!(
        pong(&with_more, 7, "corp.example").is_ok(),
        "the end comes in the same packet"
    );
    for cut in 0..whole.len() {
        assert!(pong(&whole[..cut], 7, "corp.example").is_err(), "{cut}");
    }
}

#[test]
fn a_sid_is_read_in_both_its_forms() {
    let of = |value: &str| root::sid(&entry(2, b"defaultNamingContext", value.as_bytes()), 2);
    let sid = "S-1-5-21-1234567890-12345-4294967295";
    let text =
        format!("<GUID=6f0b8ab0-0000-0000-0000-000000000001>;<SID={sid}>;DC=corp,DC=example");
    assert_eq!(of(&text).as_deref(), Ok(sid));
    let hex = "<GUID=b08a0b6f>;<SID=010400000000000515000000D202964939300000FFFFFFFF>;DC=corp";
    assert_eq!(of(hex).as_deref(), Ok(sid));
    assert_eq!(of("DC=corp,DC=example"), Err(NetlogonError::Nothing));
    for bad in [
        "S-1",
        "S-1-5-x",
        "",
        "01",
        "0104",
        "010400000000000515000000",
        "é",
        "S-1-5--7",
    ] {
        let value = format!("<SID={bad}>;DC=corp");
        assert_eq!(of(&value), Err(NetlogonError::Malformed), "{bad}");
    }
    assert_eq!(root::sid(&done(2, 1), 2), Err(NetlogonError::Code(1)));
    let question = root::question(2);
    assert_eq!(root::whole(&question), Ok(Some(question.len())));
    for cut in 0..question.len() {
        assert_eq!(root::whole(&question[..cut]), Ok(None), "{cut}");
    }
    assert_eq!(root::whole(b"HTTP/1.1 400"), Err(NetlogonError::Malformed));
    let endless = [
        &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff][..],
        &[0; root::ANSWER_BYTES_MAX],
    ]
    .concat();
    assert_eq!(root::whole(&endless), Err(NetlogonError::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_at_all_do_harm(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut whole = entry(7, b"Netlogon", &blob(23, "Berlin"));
        let _ = pong(&garbage, 7, "corp.example");
        let _ = pong(&entry(7, b"Netlogon", &garbage), 7, "corp.example");
        let _ = root::sid(&garbage, 7);
        let _ = root::sid(&entry(7, b"defaultNamingContext", &garbage), 7);
        let _ = root::whole(&garbage);
        let at = at.index(whole.len());
        whole[at] = byte;
        if let Ok(pong) = pong(&whole, 7, "corp.example") {
            prop_assert!(pong.domain.eq_ignore_ascii_case("corp.example"));
        }
    }
}
