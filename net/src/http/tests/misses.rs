//! Bodies that are fetched while they are sent. The rule: each piece is fetched once, whoever waits; what can not be
//! completed is cut and never ends as if it were whole.

use super::origin::{Manner, Object, body};
use super::{Rig, on_each_driver};
use larder_storage::flight::FlightError;

on_each_driver!(
    what_is_being_written_is_a_hit,
    the_first_bytes_leave_while_the_rest_is_fetched,
    a_failure_is_tried_again_before_it_is_told,
    a_failure_that_stays_is_told_and_the_connection_goes_on,
    another_version_is_resolved_anew,
    an_answer_that_can_not_be_completed_is_cut,
    an_origin_that_is_silent_is_answered_for,
    work_ahead_is_bounded_by_what_the_client_takes,
    a_client_that_leaves_disturbs_nobody,
);

const MIB: usize = 1 << 20;

fn what_is_being_written_is_a_hit(rig: Rig) {
    rig.origin.content("/a", 1000);
    // All of it is there, and it is not stored before the end.
    rig.origin.manner(Manner::Held(1000), 0);
    let mut client = rig.client();
    for (more, cache) in [("", "MISS"), ("", "HIT"), ("Range: bytes=5-9\r\n", "HIT")] {
        let got = client.get("/a", more);
        assert_eq!(got.header("X-Cache-Status"), Some(cache));
    }
    rig.origin.release_all();
}

fn the_first_bytes_leave_while_the_rest_is_fetched(rig: Rig) {
    rig.origin.content("/a", 3 << 20);
    rig.origin.manner(Manner::Held(1000), 0);
    let mut client = rig.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    let head = client.try_head().expect("a head");
    assert_eq!(head.header("Content-Length"), Some("3145728"));
    assert!(client.bytes(1000) == body(0, 1000));
    // One who comes later begins with what is there.
    let mut second = rig.client();
    assert!(second.get("/a", "Range: bytes=10-19\r\n").body == body(10, 10));
    rig.origin.release_all();
    assert!(client.bytes(3 * MIB - 1000) == body(1000, 3 * MIB - 1000));
    assert_eq!(rig.origin.fetched(), [(0, 1), (1, 1), (2, 1)]);
}

fn a_failure_is_tried_again_before_it_is_told(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.manner(Manner::Fails(0, FlightError::Origin), 1);
    assert_eq!(rig.client().get("/a", "").body, body(0, 1000));
    assert_eq!(rig.origin.fetched(), [(0, 2)]);
    // Also in the middle of a body: what comes again is the same version.
    rig.origin.content("/b", 1000);
    rig.origin
        .manner(Manner::Fails(100, FlightError::Timeout), 1);
    assert_eq!(rig.client().get("/b", "").body, body(0, 1000));
}

fn a_failure_that_stays_is_told_and_the_connection_goes_on(rig: Rig) {
    rig.origin.content("/a", 1000);
    let mut client = rig.client();
    for (error, status) in [
        (FlightError::Origin, 502),
        (FlightError::Timeout, 504),
        (FlightError::Overloaded, 503),
        (FlightError::Changed, 502),
    ] {
        rig.origin.manner(Manner::Fails(0, error), 100);
        let got = client.get("/a", "Range: bytes=0-9\r\n");
        assert_eq!(got.status, status, "{error}");
        assert!(got.header("Retry-After").is_some(), "{error}");
    }
    rig.origin.manner(Manner::Whole, 0);
    assert_eq!(client.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
}

fn another_version_is_resolved_anew(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin.manner(Manner::Fails(0, FlightError::Changed), 1);
    let mut client = rig.client();
    assert_eq!(client.get("/a", "").body, body(0, 1000));
    assert_eq!(rig.origin.resolves(), 2);
}

fn an_answer_that_can_not_be_completed_is_cut(rig: Rig) {
    rig.origin.content("/a", 1000);
    rig.origin
        .manner(Manner::Fails(400, FlightError::Origin), 100);
    let mut client = rig.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    let head = client.try_head().expect("a head");
    assert_eq!(head.status, 200);
    assert_eq!(client.bytes(400), body(0, 400));
    assert!(client.is_over(), "39: nothing follows a cut answer");
    rig.origin.manner(Manner::Whole, 0);
    assert_eq!(
        rig.client().get("/a", "Range: bytes=400-\r\n").body,
        body(400, 600)
    );
}

fn an_origin_that_is_silent_is_answered_for(rig: Rig) {
    rig.set(|settings| settings.first_byte_timeout_ms = 300);
    rig.origin.put("/silent", Object::Silent);
    rig.origin.content("/a", 1000);
    let mut client = rig.client();
    let got = client.get("/silent", "");
    assert_eq!((got.status, got.header("Retry-After")), (503, Some("5")));
    // What comes too late is for nobody.
    rig.origin.release_all();
    assert_eq!(client.get("/a", "").body, body(0, 1000));
    rig.origin.content("/b", 1000);
    rig.origin.manner(Manner::Held(0), 0);
    assert_eq!(client.get("/b", "").status, 503);
    rig.origin.release_all();
    rig.until("the flight has landed", || {
        client.get("/b", "").status == 200
    });
}

fn work_ahead_is_bounded_by_what_the_client_takes(rig: Rig) {
    rig.set(|settings| settings.ahead_bytes_max = 4 << 20);
    rig.origin.content("/a", 40 << 20);
    let mut client = rig.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    client.try_head().expect("a head");
    // Nobody reads: what is fetched is what the sockets hold, and the window.
    let mut before = 0;
    rig.until("no more is fetched", || {
        let now = rig.origin.fetched().len();
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        std::mem::replace(&mut before, now) == now && now >= 4
    });
    assert!((4..30).contains(&before), "{before} pieces");
    let mut other = rig.client();
    assert_eq!(
        other.get("/a", "Range: bytes=0-9\r\n").body,
        body(0, 10),
        "33"
    );
    assert!(client.bytes(40 * MIB) == body(0, 40 * MIB));
}

fn a_client_that_leaves_disturbs_nobody(rig: Rig) {
    // 34
    rig.origin.content("/a", 2 << 20);
    rig.origin.manner(Manner::Held(10), 0);
    let (mut leaver, mut stayer) = (rig.client(), rig.client());
    for client in [&mut leaver, &mut stayer] {
        client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
        client.try_head().expect("a head");
    }
    drop(leaver);
    rig.origin.release_all();
    assert!(stayer.bytes(2 * MIB) == body(0, 2 * MIB));
    assert_eq!(rig.origin.fetched(), [(0, 1), (1, 1)]);
    rig.until("the leaver is gone", || rig.plane().connections() == 1);
}
