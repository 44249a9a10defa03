//! What is not immutable follows its origin (RFC 9111). The rule: the origin is asked when what is stored is stale, and
//! what it confirms is not fetched again.

use super::script::{Object, Origin, Step, bare};
use super::world::World;
use crate::ask::Resolution;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const URL: &str = "http://dl.test/mutable";

/// What the origin does at present; the numbers are told in each test.
struct Mood(AtomicUsize);

impl Mood {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    fn set(&self, mood: usize) {
        self.0.store(mood, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn object(seed: u64, cache_control: &str) -> Object {
    let headers = format!("ETag: \"v{seed}\"\r\nCache-Control: {cache_control}\r\n");
    Object::new((1 << 20) + 77, seed, &headers)
}

#[tokio::test]
async fn a_fresh_object_is_not_asked_for_again() {
    let object = object(1, "max-age=600");
    let served = object.clone();
    let origin = Origin::start(move |asked| vec![Step::Send(served.answer(asked))]).await;
    let world = World::new(&[("dl.test", &origin)]);
    object.check_whole(&world.get(URL).await);
    let asked = origin.asked().len();
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), asked);
}

#[tokio::test]
async fn a_stale_object_is_confirmed_and_a_changed_one_fetched() {
    let (one, two) = (object(2, "no-cache"), object(3, "no-cache"));
    let (first, second) = (one.clone(), two.clone());
    let mood = Mood::new();
    let now = Arc::clone(&mood);
    let origin = Origin::start(move |asked| {
        let object = if now.get() == 0 { &first } else { &second };
        let tag = asked.header("if-none-match");
        vec![match tag {
            Some(tag) if object.headers.contains(tag) => bare("304 Not Modified", &object.headers),
            _ => Step::Send(object.answer(asked)),
        }]
    })
    .await;
    let world = World::new(&[("dl.test", &origin)]);
    one.check_whole(&world.get(URL).await);
    let before = origin.asked().len();
    one.check_whole(&world.get(URL).await);
    let asked = origin.asked();
    assert_eq!(asked.len(), before + 1, "one question, no body");
    assert_eq!(asked[before].header("if-none-match"), Some("\"v2\""));
    mood.set(1);
    two.check_whole(&world.get(URL).await);
}

#[tokio::test]
async fn an_origin_without_conditions_does_not_cost_the_stored_pieces() {
    let object = object(4, "no-cache");
    let served = object.clone();
    let origin = Origin::start(move |asked| vec![Step::Send(served.answer(asked))]).await;
    let world = World::new(&[("dl.test", &origin)]);
    let one = world.content(URL, None).await;
    let two = world.content(URL, None).await;
    assert_eq!(one.no, two.no);
}

#[tokio::test]
async fn trouble_is_bridged_by_a_stale_object_where_that_is_allowed() {
    for (cache_control, stale_status) in [
        ("max-age=0", None),
        ("max-age=0, must-revalidate", Some(502)),
    ] {
        let object = object(5, cache_control);
        let mood = Mood::new();
        let (served, now) = (object.clone(), Arc::clone(&mood));
        let origin = Origin::start(move |asked| match now.get() {
            0 => vec![Step::Send(served.answer(asked))],
            1 => vec![bare("502 Bad Gateway", "")],
            _ => vec![Step::Reset],
        })
        .await;
        let world = World::new(&[("dl.test", &origin)]);
        let content = world.content(URL, None).await;
        for trouble in [1, 2] {
            mood.set(trouble);
            match (world.resolve(URL, None).await, stale_status) {
                (Resolution::Stale(stale), None) => assert_eq!(stale.no, content.no),
                // Its own words, or 504 where it said nothing (RFC 9111, section 5.2.2.2).
                (Resolution::Answer(answer), Some(status)) => assert_eq!(answer.status, status),
                (Resolution::Refused { status: 504, .. }, Some(_)) => assert_eq!(trouble, 2),
                (other, _) => panic!("{cache_control}, trouble {trouble}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_has_been_stale_for_too_long_bridges_nothing() {
    // RFC 5861, section 4: 90 seconds stale when it came.
    for (allowed_s, bridges) in [(30, false), (600, true)] {
        let control = format!("max-age=10, stale-if-error={allowed_s}\r\nAge: 100");
        let object = object(7, &control);
        let mood = Mood::new();
        let (served, now) = (object.clone(), Arc::clone(&mood));
        let origin = Origin::start(move |asked| match now.get() {
            0 => vec![Step::Send(served.answer(asked))],
            1 => vec![bare("502 Bad Gateway", "")],
            _ => vec![Step::Reset],
        })
        .await;
        let world = World::new(&[("dl.test", &origin)]);
        world.content(URL, None).await;
        for trouble in [1, 2] {
            mood.set(trouble);
            match world.resolve(URL, None).await {
                Resolution::Stale(_) => assert!(bridges, "trouble {trouble}"),
                Resolution::Answer(answer) => assert_eq!((answer.status, bridges), (502, false)),
                Resolution::Refused { status, .. } => assert_eq!((status, bridges), (502, false)),
                other => panic!("{allowed_s}, trouble {trouble}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_must_not_be_stored_is_handed_over() {
    for line in [
        "Cache-Control: no-store",
        "Vary: *",
        "Vary: Origin",
        "Set-Cookie: a=b",
    ] {
        let object = Object::new(100, 6, &format!("ETag: \"x\"\r\n{line}\r\n"));
        let served = object.clone();
        let origin = Origin::start(move |asked| vec![Step::Send(served.answer(asked))]).await;
        let world = World::new(&[("dl.test", &origin)]);
        let handed = world.resolve(URL, None).await;
        assert!(matches!(handed, Resolution::HandOver), "{line}: {handed:?}");
        // The same is stored where the URL names the content (facts: clients 1.12).
        object.check_whole(&world.get("http://dl.test/fixed/object").await);
    }
}
