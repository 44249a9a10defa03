//! Scripts for a connection: what happens, and what it wants done. The rule: no socket and no clock, so that each
//! order of events can be written down.

use super::*;

const T: Timeouts = Timeouts {
    idle: Duration::from_secs(75),
    head: Duration::from_secs(10),
    stall: Duration::from_secs(60),
    first_byte: Duration::from_secs(14),
};
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const LAST: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const BUSY: Failure = Failure {
    status: 502,
    reason: "broke off",
    remedy: Remedy::Again,
};
const CHANGED: Failure = Failure {
    status: 502,
    reason: "another version",
    remedy: Remedy::Anew,
};

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

/// A connection with its inbox, on a clock that the script sets.
struct Script {
    conn: Conn,
    inbox: Vec<u8>,
    now: Time,
}

impl Script {
    fn new() -> Self {
        Self {
            conn: Conn::new(at(0), false),
            inbox: Vec::new(),
            now: at(0),
        }
    }

    /// The next action in a word. What an action does to the inbox is done.
    fn next(&mut self) -> String {
        let action = self.conn.next(&self.inbox, self.now);
        match action {
            Action::Decide { head, cause } => format!("decide {} {cause:?}", head.target),
            Action::Refuse(refuse) => format!("refuse {}", refuse.status),
            Action::Close { cut } => format!("close cut={cut}"),
            Action::Forget(count) => {
                self.inbox.drain(..count);
                self.next()
            }
            Action::Discard => {
                self.inbox.clear();
                self.next()
            }
            other => format!("{other:?}"),
        }
    }

    fn wants(&mut self, said: &[&str]) -> &mut Self {
        for wanted in said {
            assert_eq!(self.next(), *wanted);
        }
        self
    }

    fn event(&mut self, event: Event) -> &mut Self {
        self.conn.apply(event, &T, self.now);
        self
    }

    fn receives(&mut self, bytes: &[u8]) -> &mut Self {
        self.inbox.extend_from_slice(bytes);
        self.event(Event::Received)
    }

    fn answers(&mut self, keep_alive: bool) -> &mut Self {
        self.event(Event::Answering { keep_alive }).wants(&["Send"])
    }

    fn sends_all(&mut self) -> &mut Self {
        self.event(Event::Sent).event(Event::Done)
    }

    fn time(&mut self, seconds: u64) -> &mut Self {
        self.now = at(seconds);
        self.event(Event::Tick)
    }
}

#[test]
fn a_request_is_answered_and_the_connection_goes_on() {
    let mut s = Script::new();
    s.wants(&["Receive", "Rest"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).sends_all();
    s.wants(&["Receive", "Rest"]);
    assert!(s.inbox.is_empty());
    assert_eq!(s.conn.deadline(&T), Some(at(75)));
}

#[test]
fn pipelined_requests_are_answered_in_order_without_receiving_between() {
    let mut s = Script::new();
    let two = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HT";
    s.wants(&["Receive"]).receives(two);
    s.wants(&["decide /1 New"]).answers(true).sends_all();
    s.wants(&["decide /2 New"]).answers(true).sends_all();
    s.wants(&["Receive", "Rest"]);
    assert_eq!(s.inbox, b"GET /3 HT");
    s.receives(b"TP/1.1\r\nHost: h\r\n\r\n")
        .wants(&["decide /3 New"]);
}

#[test]
fn a_head_may_come_byte_by_byte_but_not_for_ever() {
    let mut s = Script::new();
    s.wants(&["Receive"]);
    for byte in &GET[..GET.len() - 1] {
        s.receives(&[*byte]).wants(&["Receive", "Rest"]);
    }
    s.receives(b"\n").wants(&["decide /a New"]);

    let mut slow = Script::new();
    slow.wants(&["Receive"]).time(5).receives(b"G");
    slow.wants(&["Receive"]);
    slow.time(14).receives(b"E").wants(&["Receive", "Rest"]);
    slow.time(15).wants(&["Cancel", "Rest"]);
    slow.event(Event::Cancelled).wants(&["close cut=false"]);
}

#[test]
fn an_idle_connection_lives_its_time() {
    let mut s = Script::new();
    s.wants(&["Receive"]).time(74).wants(&["Rest"]);
    s.time(75).wants(&["Cancel"]);
}

#[test]
fn a_bad_head_is_refused_and_the_rest_of_the_input_dropped() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(b"nonsense\r\n\r\nGET /");
    s.wants(&["refuse 400"]).answers(false).sends_all();
    s.wants(&["FinishSending", "Receive", "Rest"]);
    s.receives(b"more").wants(&["Receive", "Rest"]);
    s.event(Event::Ended).wants(&["close cut=false", "Rest"]);
}

#[test]
fn a_client_that_does_not_close_is_closed_on() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(LAST);
    s.wants(&["decide /a New"]).answers(false).sends_all();
    s.wants(&["FinishSending", "Receive", "Rest"]);
    s.time(2).wants(&["Cancel"]);
    s.event(Event::Cancelled).wants(&["close cut=false"]);
}

#[test]
fn what_is_received_ahead_is_bounded() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).event(Event::Resolving);
    s.wants(&["Receive", "Rest"])
        .receives(&vec![b'x'; INBOX_BYTES_MAX]);
    s.wants(&["Rest"]);
}

#[test]
fn a_resolution_leads_to_a_decision_or_comes_too_late() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).event(Event::Resolving);
    s.wants(&["Receive", "Rest"]).event(Event::Arrived);
    s.wants(&["decide /a Resolved"]).event(Event::Resolving);
    s.time(13).wants(&["Rest"]).time(14);
    s.wants(&["refuse 503"]).event(Event::Arrived);
    s.wants(&["refuse 503"]).answers(true).sends_all();
    s.wants(&["Rest"]);
}

#[test]
fn a_full_socket_is_waited_for_and_then_given_up() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true);
    s.event(Event::Sent).event(Event::Full);
    s.wants(&["AwaitRoom", "Receive", "Rest"]);
    s.event(Event::Arrived).wants(&["Rest"]);
    s.event(Event::Room).wants(&["Send"]).time(30);
    s.event(Event::Sent)
        .event(Event::Full)
        .wants(&["AwaitRoom", "Rest"]);
    s.time(89).wants(&["Rest"]).time(90).wants(&["Cancel"]);
    s.event(Event::Cancelled).wants(&["close cut=false"]);
}

#[test]
fn a_failure_before_the_first_byte_is_tried_again_once_and_then_told() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true);
    s.event(Event::Failed(BUSY)).wants(&["Send"]);
    s.event(Event::Failed(BUSY)).wants(&["refuse 502"]);
    s.answers(true).sends_all().wants(&["Receive", "Rest"]);
}

#[test]
fn a_failure_in_the_middle_of_a_body_cuts() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).event(Event::Sent);
    s.event(Event::Failed(BUSY)).wants(&["Send"]);
    s.event(Event::Failed(BUSY)).wants(&["close cut=true"]);
}

#[test]
fn another_version_is_resolved_anew_but_never_in_the_middle() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"])
        .answers(true)
        .event(Event::Failed(CHANGED));
    s.wants(&["decide /a Changed"])
        .answers(true)
        .event(Event::Failed(CHANGED));
    s.wants(&["refuse 502"]);

    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).event(Event::Sent);
    s.event(Event::Failed(CHANGED)).wants(&["close cut=true"]);
}

#[test]
fn handing_over_waits_until_nothing_is_under_way_and_keeps_late_bytes() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).event(Event::Resolving);
    s.wants(&["Receive"]).event(Event::Arrived);
    s.wants(&["decide /a Resolved"]).event(Event::HandOver);
    s.wants(&["Cancel", "Rest"]);
    s.receives(b"late").wants(&["Rest"]);
    s.event(Event::Cancelled).wants(&["TakeOver", "Rest"]);
    assert!(s.inbox.ends_with(b"late"));

    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"])
        .event(Event::HandOver)
        .wants(&["Cancel", "Rest"])
        .event(Event::Cancelled)
        .wants(&["TakeOver"]);
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answers() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(&[GET, GET].concat());
    s.wants(&["decide /a New"]).event(Event::Resolving);
    s.wants(&["Receive"])
        .event(Event::Ended)
        .event(Event::Arrived);
    s.wants(&["decide /a Resolved"]).answers(true).sends_all();
    s.wants(&["decide /a New"]).answers(true).sends_all();
    s.wants(&["close cut=false"]);
}

#[test]
fn draining_closes_what_is_idle_and_ends_what_is_not() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).sends_all();
    s.wants(&["Receive"])
        .event(Event::Drain)
        .wants(&["Cancel", "Rest"]);
    s.event(Event::Cancelled).wants(&["close cut=false"]);

    // One that has just come may have its request on the way.
    let mut s = Script::new();
    s.wants(&["Receive"]).event(Event::Drain).wants(&["Rest"]);
    s.time(1).wants(&["Rest"]).time(2).wants(&["Cancel"]);

    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).event(Event::Drain);
    assert!(!s.conn.may_keep(true));
    s.answers(true).sends_all().wants(&["FinishSending"]);

    // Half a head: its request is still answered.
    let mut s = Script::new();
    s.wants(&["Receive"])
        .receives(&GET[..9])
        .event(Event::Drain);
    s.wants(&["Receive", "Rest"])
        .receives(&GET[9..])
        .wants(&["decide /a New"]);
}

#[test]
fn the_last_answer_says_so_and_what_is_idle_stays_for_it() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).sends_all();
    s.wants(&["Receive"]).event(Event::Last).wants(&["Rest"]);
    s.receives(GET).wants(&["decide /a New"]);
    assert!(!s.conn.may_keep(true));
    s.answers(true).sends_all().wants(&["FinishSending"]);

    // Where nothing is asked any more, it ends as soon as it has to.
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true).sends_all();
    s.wants(&["Receive"]).event(Event::Last).wants(&["Rest"]);
    s.event(Event::Drain).wants(&["Cancel", "Rest"]);
    s.event(Event::Cancelled).wants(&["close cut=false"]);
}

#[test]
fn stopping_cuts_an_answer_that_has_begun() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).answers(true);
    s.event(Event::Sent).event(Event::Starved);
    s.wants(&["Receive", "Rest"])
        .event(Event::Stop)
        .wants(&["Cancel"]);
    s.event(Event::Cancelled).wants(&["close cut=true", "Rest"]);
}

#[test]
fn a_broken_connection_is_closed_whatever_it_was_doing() {
    let mut s = Script::new();
    s.wants(&["Receive"]).receives(GET);
    s.wants(&["decide /a New"]).event(Event::Resolving);
    s.wants(&["Receive"])
        .event(Event::Broken)
        .wants(&["close cut=false", "Rest"]);
}
