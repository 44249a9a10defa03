//! How connections go on and end: pipelining, handing over, timeouts, draining, stopping. The rule: nobody is left
//! without an answer that was due, and no connection outlives its time.

use super::origin::{Manner, Object, body};
use super::{PATIENCE, Rig, on_each_driver};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

on_each_driver!(
    pipelined_requests_are_answered_in_order,
    what_follows_a_last_request_is_not_heard,
    what_is_not_for_here_is_handed_over_with_every_byte,
    a_client_that_says_no_more_gets_its_answers,
    idle_and_slow_clients_are_closed_on,
    a_reader_that_stops_is_cut_off_and_others_go_on,
    draining_ends_connections_and_stops_accepting,
    a_last_answer_is_told_to_be_one,
    stopping_cuts_what_is_left,
    turns_go_on_while_nothing_happens,
);

fn pipelined_requests_are_answered_in_order(rig: Rig) {
    rig.origin.content("/a", 3 << 20);
    let mut client = rig.client();
    let mut all = String::new();
    for number in 0..8 {
        let start = number * 300_000;
        all += &format!(
            "GET /a HTTP/1.1\r\nHost: files.example\r\nRange: bytes={start}-{}\r\n\r\n",
            start + 9
        );
    }
    client.write(all.as_bytes());
    for number in 0..8 {
        assert_eq!(
            client.read(false).body,
            body(number * 300_000, 10),
            "{number}"
        );
    }
    // Mixed with what has no body, and what is refused.
    client.write(b"HEAD /a HTTP/1.1\r\nHost: files.example\r\n\r\nGET /no HTTP/1.1\r\nHost: files.example\r\n\r\nGET /a HTTP/1.1\r\nHost: files.example\r\nRange: bytes=0-0\r\n\r\n");
    assert_eq!(client.read(true).status, 200);
    assert_eq!(client.read(false).status, 502);
    assert_eq!(client.read(false).body, body(0, 1));
}

fn what_follows_a_last_request_is_not_heard(rig: Rig) {
    // RFC 9112, section 9.6
    rig.origin.content("/a", 1000);
    rig.origin.content("/b", 1000);
    let get = |path: &str, minor: u8, fields: &str| {
        format!("GET {path} HTTP/1.{minor}\r\nHost: files.example\r\n{fields}\r\n")
    };
    for first in [
        get("/a", 1, "Connection: close\r\n"),
        get("/a", 0, ""),
        // Section 9.3: through a proxy, what an old client says of its connection may be another's word.
        get("http://files.example/a", 0, "Connection: keep-alive\r\n"),
    ] {
        let mut client = rig.client();
        client.write([first.as_str(), &get("/b", 1, "")].concat().as_bytes());
        let got = client.read(false);
        assert_eq!((got.status, got.header("Connection")), (200, Some("close")));
        assert!(client.is_over(), "{first}");
    }
    assert_eq!(rig.origin.resolves(), 1, "only the first was asked for");
}

fn what_is_not_for_here_is_handed_over_with_every_byte(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.put("/through", Object::Through);
    for head in [
        "POST /a HTTP/1.1\r\nHost: files.example\r\nContent-Length: 3\r\n\r\nabc",
        "GET /a HTTP/1.1\r\nHost: files.example\r\nIf-Match: *\r\nIf-Match: *\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: files.example\r\nAuthorization: x\r\n\r\n",
        "GET /through HTTP/1.1\r\nHost: files.example\r\n\r\nGET /n",
    ] {
        let mut client = rig.client();
        assert_eq!(client.get("/a", "").status, 200);
        client.write(head.as_bytes());
        let given = rig.given.recv_timeout(PATIENCE).expect("handed over");
        // Bytes that came after it was cancelled are in the socket.
        let mut socket = TcpStream::from(given.socket);
        socket.set_nonblocking(false).expect("blocking");
        let mut received = given.received;
        while received.len() < head.len() {
            let mut more = [0; 64];
            let count = socket.read(&mut more).expect("the rest");
            received.extend_from_slice(&more[..count]);
        }
        assert_eq!(received, head.as_bytes());
        client.write(b"more");
        let mut late = [0; 4];
        socket.read_exact(&mut late).expect("nobody else reads it");
        assert_eq!(&late, b"more");
        socket
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .expect("written");
        assert_eq!(client.read(false).status, 204);
    }
    rig.until("none is left here", || rig.plane().connections() == 0);
}

fn a_client_that_says_no_more_gets_its_answers(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.manner(Manner::Held(10), 0);
    let mut client = rig.client();
    let get = "GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n";
    client.write([get, get].concat().as_bytes());
    client.half_close();
    rig.origin.release_all();
    assert_eq!(client.read(false).body, body(0, 1000));
    assert_eq!(client.read(false).body, body(0, 1000));
    assert!(client.is_over());
}

fn idle_and_slow_clients_are_closed_on(rig: Rig) {
    rig.set(|settings| {
        settings.idle_timeout_ms = 150;
        settings.head_timeout_ms = 200;
    });
    rig.origin.content("/a", 1000);
    let (mut idle, mut slow) = (rig.client(), rig.client());
    slow.write(b"GET /a HT");
    assert!(idle.is_over() && slow.is_over());
    rig.until("they are gone", || rig.plane().connections() == 0);
}

fn a_reader_that_stops_is_cut_off_and_others_go_on(rig: Rig) {
    rig.set(|settings| settings.send_stall_timeout_ms = 300);
    rig.origin.content("/a", 30 << 20);
    let mut stalled = rig.client();
    stalled.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    stalled.try_head().expect("a head");
    let mut other = rig.client();
    assert_eq!(other.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
    rig.until("the stalled one is gone", || rig.plane().connections() == 1);
    assert_eq!(other.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
}

fn draining_ends_connections_and_stops_accepting(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.manner(Manner::Held(10), 0);
    // One on each shard, so that both are known to have heard of the drain.
    let mut idle = [rig.client(), rig.client()];
    for client in &mut idle {
        assert_eq!(client.get("/none", "").status, 502);
    }
    let mut busy = rig.client();
    busy.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\nGET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    busy.try_head().expect("a head");
    rig.plane().drain();
    assert!(idle.iter_mut().all(super::raw::Client::is_over));
    rig.origin.release_all();
    assert_eq!(busy.bytes(1000), body(0, 1000));
    // The head at hand had been written before the drain; the next says that it is the last.
    assert_eq!(busy.read(false).header("Connection"), Some("close"));
    assert!(busy.is_over());
    rig.until("none is left", || rig.plane().connections() == 0);
    // New ones wait in the listening socket and are not refused.
    let mut waiting = rig.client();
    waiting.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    waiting
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a timeout");
    assert!(
        waiting
            .stream
            .read(&mut [0; 1])
            .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    );
}

fn a_last_answer_is_told_to_be_one(rig: Rig) {
    rig.origin.content("/a", 1000);
    let mut idle = [rig.client(), rig.client()];
    for client in &mut idle {
        assert_eq!(client.get("/a", "").header("Connection"), None);
    }
    rig.plane().last_answers();
    // Nobody is closed on: each has one more answer, which says that it is the last.
    for client in &mut idle {
        let answer = client.get("/a", "");
        assert_eq!(answer.body, body(0, 1000));
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(client.is_over());
    }
    // Whoever comes now is served as well.
    let mut new = rig.client();
    assert_eq!(new.get("/a", "").header("Connection"), Some("close"));
    assert!(new.is_over());
}

fn stopping_cuts_what_is_left(mut rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.manner(Manner::Held(10), 0);
    let mut client = rig.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    client.try_head().expect("a head");
    rig.plane
        .take()
        .expect("it runs")
        .stop(Duration::from_millis(50));
    assert_eq!(client.bytes(10), body(0, 10));
    assert!(client.is_over());
}

fn turns_go_on_while_nothing_happens(rig: Rig) {
    let before = rig.plane().turns();
    assert_eq!(before.len(), 2);
    rig.until("every shard turns", || {
        let now = rig.plane().turns();
        now.iter().zip(&before).all(|(now, before)| now > before)
    });
}
