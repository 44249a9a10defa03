//! Filling the store a step at a time. The rule: each byte crosses the line once, whatever the origin makes of ranges.

use super::script::{Asked, Object, Origin, Step};
use super::world::World;
use crate::download::{Bring, Brought, NotBrought};
use larder_storage::flight::FlightError;
use std::sync::Arc;
use std::time::Duration;

const MIB: usize = 1 << 20;
const URL: &str = "http://dl.test/fixed/object";
const ETAG: &str = "ETag: \"one\"\r\n";

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> (Origin, World) {
    let origin = Origin::start(script).await;
    let world = World::new(&[("dl.test", &origin)]);
    (origin, world)
}

fn step(world: &World, last: Option<&Brought>, beside_bytes: u64) -> Bring {
    Bring {
        route: Arc::new(world.route(URL)),
        version: last.map(|last| last.version),
        from: last.map_or(0, |last| last.next),
        bytes_max: 2 << 20,
        beside_bytes,
        within: Duration::from_secs(30),
    }
}

/// One step after the other; how many there were, and what they fetched.
async fn all(world: &World) -> (usize, u64) {
    let (mut last, mut steps, mut fetched_bytes) = (None, 0, 0);
    loop {
        let brought = world.download.bring(step(world, last.as_ref(), 0)).await;
        let brought = brought.expect("it is there to be had");
        assert_eq!(brought.unfinished, None);
        steps += 1;
        fetched_bytes += brought.fetched_bytes;
        if brought.next == brought.pieces {
            return (steps, fetched_bytes);
        }
        last = Some(brought);
    }
}

#[tokio::test]
async fn steps_bring_all_of_it_once() {
    let object = Object::new(7 * MIB + 7, 1, ETAG);
    let served = object.clone();
    let (origin, world) = start(move |asked| vec![Step::Send(served.answer(asked))]).await;
    assert_eq!(all(&world).await, (4, 7 * MIB as u64 + 7));
    assert_eq!(origin.bytes_asked(), 7 * MIB + 7);
    let requests = origin.asked().len();
    assert_eq!(all(&world).await, (1, 0), "it is there");
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), requests);
}

#[tokio::test]
async fn an_origin_without_ranges_is_asked_once() {
    let object = Object::new(7 * MIB + 7, 2, ETAG);
    let served = object.clone();
    let (origin, world) = start(move |_| vec![Step::Send(served.full())]).await;
    all(&world).await;
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn what_does_not_fit_is_not_fetched() {
    let object = Object::new(7 * MIB + 7, 3, ETAG);
    let (origin, world) = start(move |asked| vec![Step::Send(object.answer(asked))]).await;
    let all_but_this = u64::MAX;
    let refused = world.download.bring(step(&world, None, all_but_this)).await;
    let refused = refused.expect_err("nothing fits beside so much");
    assert!(
        matches!(refused, NotBrought::TooLarge { length_bytes, .. } if length_bytes == 7 * MIB as u64 + 7),
        "{refused:?}"
    );
    assert!(!refused.may_pass());
    assert!(origin.bytes_asked() <= MIB, "one piece, to know its length");
    all(&world).await;
    let there = world.download.bring(step(&world, None, all_but_this)).await;
    assert_eq!(there.expect("it needs no more room").fetched_bytes, 0);
}

#[tokio::test]
async fn another_version_ends_a_step_and_comes_with_the_next_ones() {
    let (old, new) = (
        Object::new(7 * MIB, 4, ETAG),
        Object::new(5 * MIB, 5, "ETag: \"two\"\r\n"),
    );
    let (was, is) = (old.clone(), new.clone());
    let (_origin, world) = start(move |asked| {
        let object = if asked.number == 0 { &was } else { &is };
        vec![Step::Send(object.answer(asked))]
    })
    .await;
    let brought = world.download.bring(step(&world, None, 0)).await;
    let brought = brought.expect("its first piece");
    assert_eq!(brought.unfinished, Some(FlightError::Changed));
    all(&world).await;
    new.check_whole(&world.get(URL).await);
}
