//! How connections begin. The rule: what can not be understood is told in the words of whoever speaks.

use crate::rig::secure::Client;
use crate::rig::{eventually, have};
use crate::{NAME, get, s_client, secure_house};
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn versions_protocols_and_tickets_are_as_clients_expect() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, _nginx, larder) = secure_house("auto");
    let said = s_client(&larder, &authority, "-tls1_2");
    assert!(said.contains("Protocol  : TLSv1.2"), "{said}");
    assert!(
        said.contains("Cipher    : ECDHE-ECDSA-AES128-GCM-SHA256"),
        "{said}"
    );
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    let said = s_client(&larder, &authority, "-tls1_3");
    assert!(
        said.contains("TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"),
        "{said}"
    );
    let said = s_client(&larder, &authority, "-tls1_1 -cipher DEFAULT:@SECLEVEL=0");
    assert!(
        said.contains("SSL alert") && said.contains("Cipher    : 0000"),
        "{said}"
    );
    let said = s_client(&larder, &authority, "-alpn h2,http/1.1");
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    // RFC 7301, section 3.2: who speaks nothing that we do is told so.
    let said = s_client(&larder, &authority, "-alpn h2");
    assert!(said.contains("alert no application protocol"), "{said}");

    let said = s_client(&larder, &authority, "-tls1_2 -reconnect");
    assert!(said.matches("Reused, TLSv1.2").count() >= 3, "{said}");
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let client = Client::of(&authority, versions, &["h2", "http/1.1"]);
        for wanted in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
            // The ticket comes with the first answer or before.
            let answer = get(&larder, "/")
                .host("x")
                .run_on(&mut stream)
                .expect("an answer");
            assert_eq!(answer.status, 403, "nginx shows no directories");
            assert_eq!(
                stream.get_ref().conn.handshake_kind(),
                Some(wanted),
                "{versions:?}"
            );
            assert_eq!(
                stream.get_ref().conn.alpn_protocol(),
                Some(&b"http/1.1"[..])
            );
        }
    }
    assert!(larder.metric("larder_tls_handshakes_total", "resumed") >= 5.0);
    assert!(larder.metric("larder_tls_handshakes_total", "failed") >= 2.0);
}

#[test]
fn plain_http_on_the_port_for_https_is_told_so() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (_authority, _nginx, larder) = secure_house("auto");
    let answer = get(&larder, "/x").run().expect("an answer in plain text");
    assert_eq!(answer.status, 400);
    let said = String::from_utf8_lossy(&answer.body);
    assert!(said.contains("this port speaks https"), "{said}");
    let mut noise = TcpStream::connect(larder.https()).expect("connected");
    noise.write_all(&[0x80, 0x2e, 1, 0, 2]).expect("sent");
    let mut rest = Vec::new();
    // Closed, by a reset or not, without a word.
    let _ = noise.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(
        larder.metric("larder_tls_handshakes_total", "plain_http"),
        1.0
    );
    assert_eq!(larder.metric("larder_tls_handshakes_total", "failed"), 1.0);
}

#[test]
fn half_a_handshake_holds_up_nobody() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let (authority, nginx, larder) = secure_house("auto");
    nginx.put("/x", b"bytes");
    let half_open: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut socket = TcpStream::connect(larder.https()).expect("connected");
            // Some say nothing, some begin a record.
            if number % 2 == 0 {
                socket.write_all(&[0x16, 3, 1, 2]).expect("sent");
            }
            socket
        })
        .collect();
    let client = Client::new(&authority);
    let mut stream = client.connect(larder.https(), NAME).expect("a handshake");
    let answer = get(&larder, "/x")
        .host("x")
        .run_on(&mut stream)
        .expect("an answer");
    assert_eq!(answer.body, b"bytes");
    assert_eq!(larder.metric("larder_tls_connections", ""), 301.0);
    // Nobody keeps them for longer than a handshake may take.
    eventually("they are cut", || {
        (larder.metric("larder_tls_handshakes_total", "late") == 300.0).then_some(())
    });
    drop(half_open);
}
