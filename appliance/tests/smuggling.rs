//! Requests that two readers would frame differently, on every way into the program. The rule: each is refused and its
//! connection closed, and the origin sees nothing of it, or one request in larder's own spelling.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, PLAIN, Setup};
use rig::recorder::{Recorder, Seen};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// What must become of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// An error and the end of the connection; the origin sees nothing.
    Refused,
    /// An error and the end of the connection, since its body breaks: the origin sees no whole request.
    Broken,
    /// The origin sees it once, in larder's spelling.
    Passed,
}

use Fate::{Broken, Passed, Refused};

/// Method, what follows the target in the request line, fields, what stands behind the head.
type Case = (&'static str, &'static str, &'static str, &'static str, Fate);

const V1: &str = " HTTP/1.1\r\n";
/// What an attacker wants somebody to take for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: officecdn.microsoft.com\r\n\r\n";
const BODY: &str = "0\r\n\r\n";

const CASES: &[Case] = &[
    // A length and chunks.
    (
        "POST",
        V1,
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        BODY,
        Refused,
    ),
    (
        "GET",
        V1,
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Content-Length: 5\r\ntransfer-encoding: identity\r\n",
        "12345",
        Refused,
    ),
    // Lengths.
    (
        "POST",
        V1,
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "12345",
        Refused,
    ),
    (
        "POST",
        V1,
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "12345",
        Refused,
    ),
    (
        "GET",
        V1,
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "",
        Refused,
    ),
    (
        "GET",
        V1,
        "Content-Length: 0\r\ncontent-length: 50\r\n",
        "",
        Refused,
    ),
    ("POST", V1, "Content-Length: 5, 5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: 5,6\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: +5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: -5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: 0x5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: 5 \t5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: 5.0\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: \r\n", "12345", Refused),
    (
        "POST",
        V1,
        "Content-Length: 18446744073709551621\r\n",
        "12345",
        Refused,
    ),
    ("POST", V1, "Content-Length: \"5\"\r\n", "12345", Refused),
    ("POST", V1, "Content-Length: \u{b}5\r\n", "12345", Refused),
    // Field names and what stands around them.
    ("POST", V1, "Content-Length : 5\r\n", "12345", Refused),
    ("POST", V1, "Content-Length\t: 5\r\n", "12345", Refused),
    ("POST", V1, " Content-Length: 5\r\n", "12345", Refused),
    ("POST", V1, "\tContent-Length: 5\r\n", "12345", Refused),
    ("POST", V1, "Transfer-Encoding : chunked\r\n", BODY, Refused),
    (
        "POST",
        V1,
        "Transfer-Encoding\u{b}: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer\0-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "GET",
        V1,
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    ("GET", V1, "X: a\r\n\tfolded\r\n", "", Refused),
    (
        "POST",
        V1,
        "Transfer-Encoding:\r\n chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "GET",
        V1,
        "X: a\rTransfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "GET",
        V1,
        "X: a\nTransfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    ("GET", V1, "X: a\r\r\nY: b\r\n", "", Refused),
    ("GET", V1, "X: a\0b\r\n", "", Refused),
    ("GET", V1, "X: a\n\r\n", HIDDEN, Refused),
    ("GET", V1, "X: a\n\n", HIDDEN, Refused),
    ("GET", V1, "no colon\r\n", "", Refused),
    ("GET", V1, ": no name\r\n", "", Refused),
    ("GET", V1, "Host: officecdn.microsoft.com\r\n", "", Refused),
    // Transfer codings.
    ("POST", V1, "Transfer-Encoding: xchunked\r\n", BODY, Refused),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked, chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: \u{b}chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\u{c}\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: \"chunked\"\r\n",
        BODY,
        Refused,
    ),
    ("POST", V1, "Transfer-Encoding: identity\r\n", BODY, Refused),
    (
        "POST",
        V1,
        "Transfer-Encoding: gzip, chunked\r\n",
        BODY,
        Refused,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked;q=1\r\n",
        BODY,
        Refused,
    ),
    ("POST", V1, "Transfer-Encoding: ,chunked\r\n", BODY, Refused),
    ("POST", V1, "Transfer-Encoding:\r\n", BODY, Refused),
    (
        "POST",
        " HTTP/1.0\r\n",
        "Transfer-Encoding: chunked\r\n",
        BODY,
        Refused,
    ),
    // Request lines.
    ("GET", "\r\n", "", "", Refused),
    ("GET", " HTTP/0.9\r\n", "", "", Refused),
    ("GET", " HTTP/1.2\r\n", "", "", Refused),
    ("GET", " HTTP/1.1 \r\n", "", "", Refused),
    ("GET", " HTTP/1.1\n", "", "", Refused),
    ("GET", " HTTP/1.1\rX: y\r\n", "", "", Refused),
    ("GET", " x HTTP/1.1\r\n", "", "", Refused),
    ("GET", "\tHTTP/1.1\r\n", "", "", Refused),
    ("GET", "\0 HTTP/1.1\r\n", "", "", Refused),
    ("get", V1, "", "", Refused),
    ("Post", V1, "Content-Length: 5\r\n", "12345", Refused),
    ("GET ", V1, "", "", Refused),
    ("G\0T", V1, "", "", Refused),
    // Chunks. The head is in order, so that the origin may see the request begin.
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "fffffffffffffffff\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "5\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        Broken,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        Broken,
    ),
    // What is in order is spelled anew.
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\nX-Evil: 1\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        Passed,
    ),
    (
        "POST",
        V1,
        "Transfer-Encoding: chunked\r\n",
        "005\r\nhello\r\n0\r\nX-Evil: 1\r\n\r\n",
        Passed,
    ),
    (
        "POST",
        V1,
        "Content-Length: 5\r\nX-Evil: 1\r\n",
        "hello",
        Passed,
    ),
    (
        "POST",
        V1,
        "Content-Length: 5\r\nConnection: Content-Length, X-Evil\r\n",
        "hello",
        Passed,
    ),
    (
        "GET",
        V1,
        "Content-Length: 5\r\nProxy-Authorization: X-Evil\r\n",
        "hello",
        Passed,
    ),
    (
        "POST",
        " HTTP/1.0\r\n",
        "Content-Length: 5\r\nX-Evil: 1\r\n",
        "hello",
        Passed,
    ),
];

/// What an origin may see, in small letters.
const LISTED: &[&str] = &[
    "host",
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "cookie",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    "transfer-encoding",
    "user-agent",
    "via",
];

/// Before the request under test, on the same connection.
const WAYS: [(&str, &str, usize); 4] = [
    ("as the first, on a shard", "", 0),
    (
        "behind one that was handed over",
        "GET /before HTTP/1.1\r\nHost: officecdn.microsoft.com\r\nAuthorization: Basic eA==\r\n\r\n",
        1,
    ),
    (
        "behind one that a shard answers",
        "GET /before HTTP/1.1\r\nHost: officecdn.microsoft.com\r\n\r\n",
        1,
    ),
    (
        "behind one of another method",
        "OPTIONS /before HTTP/1.1\r\nHost: officecdn.microsoft.com\r\n\r\n",
        1,
    ),
];

fn plain_origin() -> Recorder {
    Recorder::start(|_| {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"x\"\r\nCache-Control: max-age=600\r\n\r\nok".to_owned()
    })
}

fn larder_before(recorder: &Recorder, driver: &'static str) -> Larder {
    Larder::start(&Setup {
        origin: Some(recorder.address()),
        driver,
        ..Setup::default()
    })
}

/// Sends all and reads to the end of the connection.
fn exchange(larder: &Larder, bytes: &[u8], all_said: bool) -> String {
    let mut stream = TcpStream::connect(larder.http()).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream.write_all(bytes).expect("sent");
    if all_said {
        stream.shutdown(Shutdown::Write).expect("shut");
    }
    let mut said = Vec::new();
    // A connection that was closed on unread bytes ends with a reset.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// Where each answer begins, and its status.
fn answers(said: &str) -> Vec<(usize, u16)> {
    let heads = said.match_indices("HTTP/1.");
    heads
        .filter_map(|(at, _)| Some((at, said.get(at + 9..at + 12)?.parse().ok()?)))
        .collect()
}

fn in_own_spelling(seen: &Seen) -> Result<(), String> {
    let names = seen.names();
    if let Some(odd) = names.iter().find(|name| !LISTED.contains(&name.as_str())) {
        return Err(format!("the origin sees {odd:?}"));
    }
    let first = seen.head.lines().next().unwrap_or("");
    let words = first.split(' ').collect::<Vec<_>>();
    if words.len() != 3 || words[2] != "HTTP/1.1" {
        return Err(format!("the origin sees {first:?}"));
    }
    let framings = ["content-length", "transfer-encoding"];
    let framed = names
        .iter()
        .filter(|name| framings.contains(&name.as_str()));
    if framed.count() > 1 || String::from_utf8_lossy(&seen.body).contains("Evil") {
        return Err("its framing is not larder's".to_owned());
    }
    Ok(())
}

fn judge(
    case: &Case,
    number: usize,
    said: &str,
    before: usize,
    seen: &[Seen],
) -> Result<(), String> {
    let fate = case.4;
    // By its number: what an earlier case left unfinished may come to its end only now.
    let mark = format!("/case{number} ");
    let answers = answers(said);
    if answers.len() != before + 1 {
        return Err(format!("{answers:?} are not {} answers", before + 1));
    }
    let (at, last) = answers[before];
    let answered = match fate {
        Refused => matches!(last, 400 | 501 | 505),
        Broken => matches!(last, 400 | 502),
        Passed => last == 200,
    };
    if !answered {
        return Err(format!("it is answered {last}"));
    }
    let last = said[at..].to_ascii_lowercase();
    // One of HTTP/1.0 ends its connection without a word.
    if !last.contains("\r\nconnection: close\r\n") && !last.starts_with("http/1.0") {
        return Err(format!("the connection is kept: {said}"));
    }
    if seen.iter().any(|seen| seen.head.contains("hidden")) {
        return Err("the origin sees what was hidden".to_owned());
    }
    let late =
        |seen: &&Seen| seen.whole && seen.head.contains("/case") && !seen.head.contains(&mark);
    if let Some(late) = seen.iter().find(late) {
        return Err(format!(
            "an earlier case reaches the origin whole: {late:?}"
        ));
    }
    let mine: Vec<_> = seen
        .iter()
        .filter(|seen| seen.head.contains(&mark))
        .collect();
    match (fate, mine.len()) {
        (Refused, 0) | (Broken, 0) => {}
        (Broken, 1) if !mine[0].whole => {}
        (Passed, 1) if mine[0].whole => {}
        (_, count) => return Err(format!("the origin sees it {count} times: {mine:?}")),
    }
    mine.iter().try_for_each(|seen| in_own_spelling(seen))
}

fn every_case(driver: &'static str) {
    let recorder = plain_origin();
    let larder = larder_before(&recorder, driver);
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (way, first, before) in WAYS {
        for case in CASES {
            let (method, line, fields, behind, _) = case;
            let host = format!("Host: {PLAIN}\r\n");
            let raw =
                format!("{first}{method} /case{tried}{line}{host}{fields}\r\n{behind}{HIDDEN}");
            let said = exchange(&larder, raw.as_bytes(), false);
            if let Err(why) = judge(case, tried, &said, before, &recorder.take()) {
                wrong.push(format!(
                    "{way}: {method}{line:?} {fields:?} {behind:?}: {why}"
                ));
            }
            tried += 1;
        }
    }
    rig::tell(&format!(
        "{driver}: {tried} requests tried, {} mismatches",
        wrong.len()
    ));
    assert!(
        wrong.is_empty(),
        "{} of {tried}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn nothing_is_smuggled() {
    every_case("auto");
}

#[test]
fn nothing_is_smuggled_where_io_uring_is_refused() {
    every_case("epoll");
}

#[test]
fn an_answer_to_somebody_with_a_name_is_for_nobody_else() {
    let recorder = Recorder::start(|seen| {
        let body = seen.field("authorization").unwrap_or("nobody");
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"{body}\"\r\nCache-Control: max-age=600\r\n\r\n{body}",
            body.len()
        )
    });
    let larder = larder_before(&recorder, "auto");
    let ask = |host: &str, path: &str, login: Option<&str>| {
        let mut get = Get::new(larder.http(), path).host(host);
        if let Some(login) = login {
            get = get.with(&format!("Authorization: {login}"));
        }
        let answer = get.run().expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.head);
        String::from_utf8(answer.body).expect("text")
    };
    let named = "/c/x_0123456789abcdef0123456789abcdef01234567.cab";
    for (host, path) in [(PLAIN, "/a"), (FAMILY[0], named)] {
        assert_eq!(ask(host, path, Some("Basic one")), "Basic one");
        assert_eq!(ask(host, path, Some("Basic two")), "Basic two");
        assert_eq!(ask(host, path, None), "nobody");
        assert_eq!(ask(host, path, Some("Basic one")), "Basic one");
        assert_eq!(ask(host, path, None), "nobody");
    }
    // Whatever was kept for those without a name is what they get, and the others always asked the origin.
    let logins = recorder.take();
    let named = logins
        .iter()
        .filter(|seen| seen.field("authorization").is_some());
    assert_eq!(named.count(), 6);
}
