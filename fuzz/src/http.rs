//! Requests, answers and what their fields say. The rule: how bytes are cut changes nothing, and what is read is never
//! more than was there.

use crate::input::{Input, field, lines, text};
use larder_content::Span;
use larder_proto::Time;
use larder_proto::date::{http_date, parse_http_date};
use larder_proto::directives::Directives;
use larder_proto::freshness::{Exchange, judge};
use larder_proto::http::conn::{Action, Conn, Event, Timeouts};
use larder_proto::http::fields::speaks_for_another;
use larder_proto::http::head::{Head, Parsed, parse_head};
use larder_proto::http::proxy::{ProxyRules, read_connect};
use larder_proto::http::reference::follow;
use larder_proto::http::route::{Authority, OriginRules, direct, route as find};
use larder_proto::range::{RANGES_MAX, Ranges, first_wanted, parse_range};
use larder_proto::upstream::{
    Meaning, OriginHead, Validator, contradiction, read_origin, retry_after,
};
use std::sync::OnceLock;
use std::time::Duration;

/// A head is read from all its bytes and from no fewer.
pub(crate) fn head(data: &[u8]) {
    match parse_head(data) {
        Parsed::Head(head) => {
            assert!(head.consumed <= data.len());
            let again = parse_head(&data[..head.consumed]);
            assert!(matches!(again, Parsed::Head(again) if again == head));
            for len in 0..head.consumed {
                let part = parse_head(&data[..len]);
                assert!(
                    matches!(part, Parsed::Incomplete),
                    "{len} bytes are {part:?}"
                );
            }
        }
        Parsed::Bad { status, .. } => assert!(matches!(status, 400 | 417 | 431 | 501 | 505)),
        Parsed::Incomplete => {}
    }
    let _ = read_connect(data);
}

const TIMEOUTS: Timeouts = Timeouts {
    idle: Duration::from_secs(60),
    head: Duration::from_secs(10),
    stall: Duration::from_secs(60),
    first_byte: Duration::from_secs(14),
};

/// The same requests, whether they come at once or cut in two. The last line is ended: only then is it looked at.
pub(crate) fn conn(data: &[u8]) {
    let mut input = Input(data);
    let at = usize::from(u16::from_le_bytes(input.bytes()));
    let whole = [input.0, b"\n"].concat();
    let (first, second) = whole.split_at(at.min(whole.len()));
    assert_eq!(heard(&[&whole]), heard(&[first, second]));
}

/// What a connection makes of what is received: what it decides on and refuses, and what is left over.
fn heard(parts: &[&[u8]]) -> Vec<String> {
    let now = Time::default();
    let (mut conn, mut inbox, mut told) = (Conn::new(now, false), Vec::new(), Vec::new());
    let mut parts = parts.iter();
    loop {
        match conn.next(&inbox, now) {
            Action::Receive => match parts.next() {
                Some(part) => {
                    inbox.extend_from_slice(part);
                    conn.apply(Event::Received, &TIMEOUTS, now);
                }
                None => conn.apply(Event::Ended, &TIMEOUTS, now),
            },
            Action::Decide { head, .. } => {
                // That it is like the one before is a matter of speed.
                let plain = Head {
                    alike: false,
                    ..head
                };
                told.push(format!("{plain:?}"));
                let keep_alive = conn.may_keep(head.keep_alive);
                let event = match head.special {
                    true => Event::HandOver,
                    false => Event::Answering { keep_alive },
                };
                conn.apply(event, &TIMEOUTS, now);
            }
            Action::Refuse(refuse) => {
                told.push(format!("{refuse:?}"));
                let keep_alive = refuse.keep_alive;
                conn.apply(Event::Answering { keep_alive }, &TIMEOUTS, now);
            }
            Action::Send => {
                conn.apply(Event::Sent, &TIMEOUTS, now);
                conn.apply(Event::Done, &TIMEOUTS, now);
            }
            Action::Forget(count) => drop(inbox.drain(..count)),
            Action::Discard => inbox.clear(),
            Action::Cancel => conn.apply(Event::Cancelled, &TIMEOUTS, now),
            Action::FinishSending => told.push("finish".to_owned()),
            Action::AwaitRoom => conn.apply(Event::Room, &TIMEOUTS, now),
            Action::TakeOver => {
                parts.for_each(|part| inbox.extend_from_slice(part));
                told.push(format!("take over {inbox:?}"));
                return told;
            }
            Action::Close { cut } => {
                told.push(format!("close, cut: {cut}"));
                return told;
            }
            Action::Rest => return told,
        }
    }
}

/// No more than the object, nothing twice, and what is written as it was understood is understood so again.
pub(crate) fn range(data: &[u8]) {
    let mut input = Input(data);
    let length = u64::from_le_bytes(input.bytes());
    let _ = first_wanted(Some(input.0));
    let spans = match parse_range(Some(input.0), length) {
        Ranges::None | Ranges::Unsatisfiable => return,
        Ranges::One(span) => vec![span],
        Ranges::Many(spans) => spans,
    };
    assert!((1..=RANGES_MAX).contains(&spans.len()));
    let sum: u128 = spans.iter().map(|span| u128::from(span.len())).sum();
    assert!(sum <= u128::from(length), "{spans:?} of {length}");
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| span.start);
    assert!(
        sorted
            .iter()
            .all(|span| !span.is_empty() && span.end <= length)
    );
    assert!(sorted.windows(2).all(|pair| pair[0].end < pair[1].start));
    let texts = spans
        .iter()
        .map(|span| format!("{}-{}", span.start, span.end - 1));
    let written = format!("bytes={}", texts.collect::<Vec<_>>().join(","));
    match parse_range(Some(written.as_bytes()), length) {
        Ranges::One(span) => assert_eq!(spans, [span]),
        Ranges::Many(again) => assert_eq!(spans, again),
        other => panic!("{written} is {other:?}"),
    }
}

/// Where a request leads: the same again when it is written in full; and references, proxies and their exceptions.
pub(crate) fn route(data: &[u8]) {
    static RULES: OnceLock<OriginRules> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let allow = OriginRules::vendor_allow()
            .iter()
            .map(|text| (*text).to_owned());
        let immutable = ["wsus.corp/content/*".to_owned()];
        let connect = [("wsus.corp".to_owned(), "127.0.0.1:8530".to_owned())];
        OriginRules::new(&allow.collect::<Vec<_>>(), None, connect, &immutable).expect("rules")
    });
    let Some(mut parts) = text(data).map(|text| text.split('\n')) else {
        return;
    };
    let (target, host) = (parts.next().unwrap_or_default(), parts.next());
    for https in [false, true] {
        if let Ok(route) = find(target, host, https, rules) {
            let owned = route.to_owned();
            let _ = (route.identity(rules), owned.beside("/x/y.phf", rules));
        }
    }
    let _ = direct(target, rules).map(|route| route.beside("../pieceshash", rules));
    let from = Authority {
        https: false,
        host: "download.windowsupdate.com".to_owned(),
        port: 80,
    };
    if let Some(Ok((_, to))) = host.map(|location| follow(&from, target, location)) {
        assert!(to.starts_with('/') || !target.starts_with('/'), "{to}");
    }
    if let Ok(mut rules) = ProxyRules::of_url(target) {
        for text in parts {
            let _ = rules.except(text);
        }
        assert_eq!(
            ProxyRules::of_url(&format!("http://{}", rules.authority())).map(|r| r.authority()),
            Ok(rules.authority())
        );
        let _ = rules.serves(host.unwrap_or_default(), 80);
    }
}

/// What an origin's answer says of its bytes: within the object, and a part of it where it is one.
pub(crate) fn answer(data: &[u8]) {
    let mut input = Input(data);
    let status = u16::from_le_bytes(input.bytes());
    let asked = Span::new(input.u32().into(), input.u32().into());
    let mut head = OriginHead {
        status: if status < 8 {
            [200, 206, 304, 416, 200, 206, 206, 404][usize::from(status)]
        } else {
            status
        },
        ..OriginHead::default()
    };
    let mut range = None;
    for (name, value) in lines(input.0).filter_map(field) {
        let text = text(value);
        match name {
            "Content-Length" => head.content_length = text.and_then(|text| text.parse().ok()),
            "Content-Range" => head.content_range = Some(value),
            "ETag" => head.etag = text,
            "Last-Modified" => head.last_modified = text,
            "Content-Encoding" => head.content_encoding = text,
            "Transfer-Encoding" => head.chunked = true,
            "Range" => range = Some(value),
            "Retry-After" => drop(retry_after(Some(value), 1_000_000_000)),
            _ => {}
        }
    }
    let _ = contradiction(&head, range, range.is_none());
    for asked in [None, Some(asked)] {
        let Meaning::Pieces { body, length } = read_origin(&head, asked, None) else {
            continue;
        };
        assert!(!body.is_empty() || length == 0, "{body:?} of {length}");
        assert!(body.end <= length);
        let of = Validator::of(&head).expect("its length is known");
        assert_eq!(of.length, length);
        assert!(of.agrees(&of));
        let _ = of.if_range(1_000_000_000);
        assert_eq!(
            read_origin(&head, asked, Some(&of)),
            Meaning::Pieces { body, length }
        );
    }
}

/// How long an answer is fresh, what a request says of that, and dates.
pub(crate) fn fresh(data: &[u8]) {
    let mut input = Input(data);
    let (flags, status) = (input.byte(), u16::from_le_bytes(input.bytes()));
    let exchange = Exchange {
        immutable: flags & 1 != 0,
        authorized: flags & 2 != 0,
        asked_at: 1_000_000_000 - u64::from(flags),
        now: 1_000_000_000,
    };
    let verdict = judge(
        status % 600,
        &mut lines(input.0).filter_map(field),
        exchange,
    );
    assert_eq!(verdict.storable, verdict.why_not.is_none());
    assert!(verdict.vary.is_sorted());
    for (name, value) in lines(input.0).filter_map(field) {
        let _ = speaks_for_another(name);
        let wishes = Directives::read([value], []);
        assert_eq!(
            wishes,
            Directives::read([value, b""], [b"no-cache".as_slice()])
        );
        if let Some(unix) = parse_http_date(value) {
            let written = http_date(unix);
            assert_eq!(parse_http_date(&written), Some(unix), "{value:?}");
        }
    }
}
