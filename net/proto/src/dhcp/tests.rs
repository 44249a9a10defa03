//! Messages and leases as servers and clients write them, and as nobody should.

use super::*;
use proptest::prelude::*;

const GUID: &[u8] = b"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";

/// An acknowledgement with these options.
fn ack(id: u32, options: &[u8]) -> Vec<u8> {
    let mut out = inform(id, Ipv4Addr::new(10, 7, 0, 2), [2; 6], &[]);
    out[0] = 2;
    out.truncate(HEAD_BYTES + COOKIE.len());
    out.extend_from_slice(&[MESSAGE_TYPE, 1, ACK]);
    out.extend_from_slice(options);
    out
}

fn option(number: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).expect("short");
    [&[number, len][..], value].concat()
}

#[test]
fn an_inform_asks_and_takes_no_address() {
    let message = inform(
        9,
        Ipv4Addr::new(10, 7, 0, 2),
        [1, 2, 3, 4, 5, 6],
        &[GROUP, CACHE_HOSTS],
    );
    assert!(message.len() >= MESSAGE_BYTES_MIN);
    assert_eq!(message[12..16], [10, 7, 0, 2]);
    assert_eq!(message[16..20], [0; 4], "none is asked for");
    let options = options(&message).expect("a message");
    assert_eq!(options.get(&MESSAGE_TYPE), Some(&vec![INFORM]));
    assert_eq!(options.get(&PARAMETERS), Some(&vec![234, 235]));
    assert_eq!(
        acknowledged(&message, 9),
        Err(DhcpError::NotOurs),
        "a question"
    );
}

#[test]
fn options_are_found_wherever_they_are_written() {
    let of = |message: &[u8]| acknowledged(message, 9).map(|o| o.get(&GROUP).cloned());
    let group = Ok(Some(GUID.to_vec()));
    assert_eq!(of(&ack(9, &option(GROUP, GUID))), group, "without an end");
    assert_eq!(
        of(&ack(
            9,
            &[&option(GROUP, GUID)[..], &[END, 234, 9]].concat()
        )),
        group
    );
    let parts = [
        &[PAD][..],
        &option(GROUP, &GUID[..20]),
        &option(GROUP, &GUID[20..]),
    ]
    .concat();
    assert_eq!(of(&ack(9, &parts)), group, "in two parts");
    let mut overloaded = ack(9, &option(OVERLOAD, &[3]));
    overloaded[108..108 + 22].copy_from_slice(&option(GROUP, &GUID[..20]));
    overloaded[44..44 + 18].copy_from_slice(&option(GROUP, &GUID[20..]));
    assert_eq!(of(&overloaded), group, "in the fields for file and server");
    assert_eq!(of(&ack(9, &[])), Ok(None));
    assert_eq!(of(&ack(8, &option(GROUP, GUID))), Err(DhcpError::NotOurs));
    assert_eq!(of(&ack(9, &[234, 36, 1])), Err(DhcpError::Malformed), "cut");
    assert_eq!(of(&ack(9, &[234])), Err(DhcpError::Malformed));
    let mut no_cookie = ack(9, &[]);
    no_cookie[HEAD_BYTES] = 0;
    assert_eq!(of(&no_cookie), Err(DhcpError::Malformed));
}

#[test]
fn an_option_is_a_text_without_what_servers_put_around_it() {
    let rows: [(&[u8], Option<&str>); 7] = [
        (b"larder.example", Some("larder.example")),
        (b"larder.example\0", Some("larder.example")),
        (b" a, b \n", Some("a, b")),
        (b"", None),
        (b"\0\0", None),
        (b"a\x1b[2Jb", None),
        (b"\xff\xfe", None),
    ];
    for (value, said) in rows {
        assert_eq!(text(value).as_deref(), said, "{value:?}");
    }
}

#[test]
fn leases_of_the_usual_clients_are_read() {
    let hex: String = GUID.iter().map(|byte| format!("{byte:02x}")).collect();
    let colons = GUID
        .iter()
        .map(|byte| format!("{byte:x}"))
        .collect::<Vec<_>>()
        .join(":");
    let guid = std::str::from_utf8(GUID).expect("a text");
    let of_networkd = lease::networkd(&format!(
        "# This is private data. Do not parse.\nADDRESS=10.7.0.9\nOPTION_234={hex}\nOPTION_235=abc\nOPTION_x=00\n"
    ));
    let ours = Some(Ipv4Addr::new(10, 7, 0, 9));
    assert_eq!(of_networkd.address, ours);
    let of_networkd = of_networkd.options;
    assert_eq!(of_networkd.get(&GROUP).map(Vec::as_slice), Some(GUID));
    assert_eq!(of_networkd.len(), 1, "half a byte is none");
    let lease = |name: &str, value: &str| {
        format!(
            "lease {{\n  interface \"eth0\";\n  fixed-address 10.7.0.9;\n  option {name} {value};\n  expire 4 2026/11/26 10:00:00;\n}}\n"
        )
    };
    let quoted = lease::dhclient(&lease("unknown-234", &format!("\"{guid}\"")));
    assert_eq!(quoted.address, ours);
    let quoted = quoted.options;
    assert_eq!(quoted.get(&GROUP).map(Vec::as_slice), Some(GUID));
    let bytes = lease::dhclient(&lease("unknown-234", &colons)).options;
    assert_eq!(bytes.get(&GROUP).map(Vec::as_slice), Some(GUID));
    let mut kept = ack(9, &option(GROUP, GUID));
    kept[16..20].copy_from_slice(&[10, 7, 0, 9]);
    let kept = lease::dhcpcd(&kept).expect("a lease");
    assert_eq!(
        (kept.address, kept.options.get(&GROUP).map(Vec::as_slice)),
        (ours, Some(GUID))
    );
    let two = lease("unknown-235", "\"old\"") + &lease("unknown-234", "\"new\"");
    let two = lease::dhclient(&two).options;
    assert_eq!(
        (two.len(), two.get(&GROUP).map(Vec::as_slice)),
        (1, Some(&b"new"[..]))
    );
    for bad in [
        "option unknown-234 \"",
        "option unknown-999 1:2;",
        "option unknown-234 1:zz;",
        "option unknown-234",
    ] {
        assert!(lease::dhclient(bad).options.is_empty(), "{bad}");
    }
}

proptest! {
    #[test]
    fn garbage_does_no_harm(
        garbage in prop::collection::vec(any::<u8>(), 0..600),
        text_of in ".{0,200}",
        overload in any::<u8>(),
    ) {
        let _ = options(&garbage);
        let _ = acknowledged(&ack(9, &garbage), 9);
        let mut overloaded = ack(9, &option(OVERLOAD, &[overload]));
        let len = garbage.len().min(190);
        overloaded[44..44 + len].copy_from_slice(&garbage[..len]);
        let _ = acknowledged(&overloaded, 9);
        let _ = text(&garbage);
        let _ = lease::dhclient(&text_of);
        let _ = lease::networkd(&text_of);
    }

    #[test]
    fn what_is_written_is_read(value in prop::collection::vec(any::<u8>(), 0..255), number in 1..=254_u8) {
        prop_assume!(number != MESSAGE_TYPE && number != OVERLOAD);
        let message = ack(9, &option(number, &value));
        let options = acknowledged(&message, 9).expect("an answer");
        prop_assert_eq!(options.get(&number), Some(&value));
    }
}
