//! Origins that lie, break off, fall silent or change their minds. The rule: each fault is tried alone here, and what
//! comes of it is said exactly.

use super::script::{Asked, Object, Origin, Step, bare};
use super::world::World;
use crate::ask::Resolution;
use larder_content::Span;
use larder_storage::flight::FlightError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ETAG: &str = "ETag: \"one\"\r\n";
const URL: &str = "http://dl.test/fixed/object";
const MIB: usize = 1 << 20;

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> (Origin, World) {
    let origin = Origin::start(script).await;
    let world = World::new(&[("dl.test", &origin)]);
    (origin, world)
}

/// An answer that is cut after `count` bytes in all, head included.
fn cut(mut answer: Vec<u8>, count: usize, then: Step) -> Vec<Step> {
    answer.truncate(count);
    vec![Step::Send(answer), then]
}

#[tokio::test]
async fn a_200_to_a_range_is_used_from_its_start() {
    let object = Object::new(5 * MIB + 7, 1, ETAG);
    let served = object.clone();
    let (origin, world) = start(move |_| vec![Step::Send(served.full())]).await;
    let span = Span::new(3 << 20, 4 << 20);
    let content = world.content(URL, Some((span.start, Some(span.end)))).await;
    let bytes = world.bytes(&content, URL, span).await;
    object.check(&bytes, 3 * MIB..4 * MIB);
    object.check_whole(&world.get(URL).await);
    assert_eq!(
        origin.asked().len(),
        1,
        "all of it came with the first answer"
    );
}

#[tokio::test]
async fn a_200_to_a_later_range_brings_the_rest_as_well() {
    let object = Object::new(5 * MIB + 7, 2, ETAG);
    let served = object.clone();
    let (origin, world) = start(move |asked| match asked.number {
        0 => vec![Step::Send(served.answer(asked))],
        _ => vec![Step::Send(served.full())],
    })
    .await;
    let content = world.content(URL, Some((0, Some(5)))).await;
    let span = Span::new(3 << 20, 4 << 20);
    object.check(&world.bytes(&content, URL, span).await, 3 * MIB..4 * MIB);
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), 2);
}

#[tokio::test]
async fn a_range_that_lies_is_asked_for_without_one() {
    let object = Object::new(2 * MIB, 3, ETAG);
    let served = object.clone();
    let (origin, world) = start(move |asked| match asked.range {
        // Says that it is what was asked for, and is not.
        Some((first, _)) => {
            let mut lie = served.part(0, MIB);
            let text = String::from_utf8_lossy(&lie[..200]).into_owned();
            let told = text.replace("bytes 0-", &format!("bytes {}-", first + 1));
            lie.splice(..200, told.into_bytes());
            vec![Step::Send(lie)]
        }
        None => vec![Step::Send(served.full())],
    })
    .await;
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), 2);
}

#[tokio::test]
async fn another_version_is_never_joined_to_the_first() {
    let (one, two) = (
        Object::new(3 * MIB, 4, ETAG),
        Object::new(3 * MIB, 5, "ETag: \"two\"\r\n"),
    );
    let (first, second) = (one.clone(), two.clone());
    let (_origin, world) = start(move |asked| {
        let object = if asked.number == 0 { &first } else { &second };
        let is_current = asked
            .header("if-range")
            .is_none_or(|tag| object.headers.contains(tag));
        vec![Step::Send(if is_current {
            object.answer(asked)
        } else {
            object.full()
        })]
    })
    .await;
    let content = world.content(URL, Some((0, Some(5)))).await;
    one.check(&world.bytes(&content, URL, Span::new(0, 5)).await, 0..5);
    let rest = world
        .bytes(&content, URL, Span::new(1 << 20, 3 << 20))
        .await;
    assert_eq!(rest, Err(FlightError::Changed));
    two.check_whole(&world.get(URL).await);
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_broke() {
    for (seed, then) in [(6, Step::Close), (7, Step::Reset), (8, Step::Hang)] {
        let object = Object::new(3 * MIB, seed, ETAG);
        let (served, after) = (object.clone(), then.clone());
        let (origin, world) = start(move |asked| {
            let answer = served.answer(asked);
            match asked.number {
                0 => cut(answer, MIB + MIB / 2, then.clone()),
                _ => vec![Step::Send(answer)],
            }
        })
        .await;
        object.check_whole(&world.get(URL).await);
        if matches!(after, Step::Reset) {
            // What a reset leaves of the bytes before it is the kernel's choice.
            continue;
        }
        // Under a strong validator only what is missing is asked for again.
        let resumed = origin.asked().into_iter().find(|asked| {
            let from = asked.range.map_or(0, |(from, _)| from);
            from > MIB && from < 2 * MIB
        });
        let resumed = resumed.expect("the fetch was resumed in the middle of a piece");
        assert_eq!(resumed.header("if-range"), Some("\"one\""));
    }
}

#[tokio::test]
async fn without_a_strong_validator_a_piece_comes_again_and_is_compared() {
    let object = Object::new(2 * MIB, 9, "");
    let served = object.clone();
    let (origin, world) = start(move |asked| {
        let answer = served.answer(asked);
        match asked.number {
            0 => cut(answer, MIB + MIB / 2, Step::Close),
            _ => vec![Step::Send(answer)],
        }
    })
    .await;
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked()[1].range, Some((MIB, Some(2 * MIB - 1))));

    // The same, but the second answer is of other bytes: what was visible is not written over.
    let (one, two) = (Object::new(2 * MIB, 10, ""), Object::new(2 * MIB, 11, ""));
    let second = two.clone();
    let (_origin, world) = start(move |asked| match asked.number {
        0 => cut(one.answer(asked), MIB + MIB / 2, Step::Close),
        _ => vec![Step::Send(second.answer(asked))],
    })
    .await;
    assert_eq!(world.get(URL).await, Err(FlightError::Changed.to_string()));
    two.check_whole(&world.get(URL).await);
}

#[tokio::test]
async fn an_object_without_validator_comes_from_one_answer_or_not_at_all() {
    let object = Object::new(3 * MIB, 12, "Cache-Control: max-age=60\r\n");
    let served = object.clone();
    let (origin, world) = start(move |asked| vec![Step::Send(served.answer(asked))]).await;
    object.check_whole(&world.get("http://dl.test/mutable").await);
    let asked = origin.asked();
    assert_eq!(asked.last().expect("it was asked").range, None);
}

#[tokio::test]
async fn trouble_that_passes_is_not_seen_by_clients() {
    for status in ["500 Oops", "502 Bad Gateway", "503 Busy", "429 Slow Down"] {
        let object = Object::new(2 * MIB, 13, ETAG);
        let served = object.clone();
        let (_origin, world) = start(move |asked| match asked.number {
            0 => vec![bare(status, "")],
            1 => vec![Step::Send(served.part(0, MIB))],
            2 => vec![bare(status, "")],
            _ => vec![Step::Send(served.answer(asked))],
        })
        .await;
        let content = world.content(URL, Some((0, Some(5)))).await;
        let all = world
            .bytes(&content, URL, Span::whole(content.length()))
            .await;
        object.check_whole(&all);
    }
}

#[tokio::test]
async fn an_origin_that_asks_for_more_patience_than_there_is_is_not_asked_again() {
    for (asks, requests) in [("Retry-After: 600\r\n", 1), ("", 2)] {
        let (origin, mut world) = start(move |_| vec![bare("503 Busy", asks)]).await;
        // Enough for a pause of a second, and not for one of three.
        world.patience = Duration::from_secs(5);
        match world.resolve(URL, None).await {
            Resolution::Answer(answer) => {
                assert_eq!(answer.status, 503);
                let told = answer.headers.iter().any(|(name, _)| name == "Retry-After");
                assert_eq!(told, !asks.is_empty(), "{:?}", answer.headers);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(origin.asked().len(), requests);
    }
}

#[tokio::test]
async fn trouble_that_lasts_is_told_and_then_forgotten() {
    let well = Arc::new(AtomicBool::new(false));
    let object = Object::new(2 * MIB, 14, ETAG);
    let (served, is_well) = (object.clone(), Arc::clone(&well));
    let (_origin, world) = start(move |asked| {
        if is_well.load(Ordering::SeqCst) {
            vec![Step::Send(served.answer(asked))]
        } else {
            vec![bare("500 Oops", "")]
        }
    })
    .await;
    match world.resolve(URL, None).await {
        Resolution::Answer(answer) => assert_eq!(answer.status, 500),
        other => panic!("{other:?}"),
    }
    well.store(true, Ordering::SeqCst);
    object.check_whole(&world.get(URL).await);
}

#[tokio::test]
async fn an_origin_that_can_not_be_reached_is_a_502() {
    let (origin, world) = start(|_| vec![Step::Close]).await;
    drop(origin);
    let refused = world.resolve(URL, None).await;
    assert!(
        matches!(refused, Resolution::Refused { status: 502, .. }),
        "{refused:?}"
    );
    let forbidden = world.route("http://dl.test/x");
    assert_eq!(forbidden.origin.host, "dl.test");
}

#[tokio::test]
async fn heads_that_nobody_can_use_are_trouble() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let pad = "a".repeat(70_000);
    let long = format!("HTTP/1.1 200 OK\r\nX-Pad: {pad}\r\nContent-Length: 0\r\n\r\n");
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n";
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for text in [switch, &long, twice, both].map(str::to_owned) {
        let (_origin, world) = start(move |_| vec![Step::Send(text.clone().into_bytes())]).await;
        let refused = world.resolve(URL, None).await;
        assert!(
            matches!(refused, Resolution::Refused { status: 502, .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_can_not_be_stored_is_handed_over() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc";
    for text in [chunked, gzip] {
        let (origin, world) = start(move |_| vec![Step::Send(text.as_bytes().to_vec())]).await;
        for _ in 0..3 {
            let handed = world.resolve(URL, None).await;
            assert!(matches!(handed, Resolution::HandOver), "{handed:?}");
        }
        assert_eq!(origin.asked().len(), 1, "that is remembered for a while");
    }
}

#[tokio::test]
async fn an_error_is_shared_by_all_who_ask_for_a_few_seconds() {
    let (origin, world) = start(|_| {
        let text =
            "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nContent-Length: 4\r\n\r\ngone";
        vec![Step::Send(text.as_bytes().to_vec())]
    })
    .await;
    for _ in 0..3 {
        let Resolution::Answer(answer) = world.resolve(URL, Some((5, None))).await else {
            panic!("a small answer is an answer");
        };
        assert_eq!((answer.status, &answer.body[..]), (404, &b"gone"[..]));
        let kind = ("Content-Type".to_owned(), "text/plain".to_owned());
        assert_eq!(answer.headers, [kind]);
    }
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn a_slow_origin_is_slow_and_nothing_worse() {
    let object = Object::new(400, 15, ETAG);
    let served = object.clone();
    let (_origin, world) = start(move |asked| {
        let pause = Duration::from_millis(2);
        vec![Step::Trickle(served.answer(asked), 1, pause)]
    })
    .await;
    object.check_whole(&world.get(URL).await);
}
