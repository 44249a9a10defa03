//! What a branch office does every day. The rule: each byte crosses the WAN once.

use super::script::{Object, Origin, Step, bare};
use super::world::World;
use crate::ask::{Answer, Ask, Reply, Resolution, ResolveAsk};
use larder_content::Span;
use larder_storage::flight::{FlightError, FlightState};
use std::sync::Arc;

const ETAG: &str = "ETag: \"one\"\r\n";
const URL: &str = "http://dl.test/fixed/object";

async fn well_behaved(object: &Object) -> Origin {
    let object = object.clone();
    Origin::start(move |asked| vec![Step::Send(object.answer(asked))]).await
}

#[tokio::test]
async fn a_cold_object_comes_whole_and_once() {
    let object = Object::new((5 << 20) + 12_345, 1, ETAG);
    let origin = well_behaved(&object).await;
    let world = World::new(&[("dl.test", &origin)]);
    object.check_whole(&world.get(URL).await);
    assert_eq!(
        origin.bytes_asked().min(object.body.len()),
        object.body.len()
    );
    let asked = origin.asked().len();
    // Warm: nothing more is asked.
    object.check_whole(&world.get(URL).await);
    assert_eq!(origin.asked().len(), asked);
}

#[tokio::test]
async fn a_closed_range_asks_for_its_pieces_only() {
    let object = Object::new(8 << 20, 2, ETAG);
    let origin = well_behaved(&object).await;
    let world = World::new(&[("dl.test", &origin)]);
    let span = Span::new((3 << 20) + 5, (3 << 20) + 10);
    let content = world.content(URL, Some((span.start, Some(span.end)))).await;
    assert_eq!(content.length(), 8 << 20);
    let bytes = world.bytes(&content, URL, span).await;
    object.check(&bytes, 3_145_733..3_145_738);
    // The question brought the piece: there was no second request.
    let ranges: Vec<_> = origin.asked().iter().map(|asked| asked.range).collect();
    assert_eq!(ranges, [Some((3 << 20, Some((4 << 20) - 1)))]);
}

#[tokio::test]
async fn fifty_who_ask_at_once_make_one_request() {
    let object = Object::new(1 << 20, 3, ETAG);
    let origin = well_behaved(&object).await;
    let world = Arc::new(World::new(&[("dl.test", &origin)]));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let world = Arc::clone(&world);
        clients.spawn(async move { world.get(URL).await });
    }
    while let Some(got) = clients.join_next().await {
        object.check_whole(&got.expect("no client panics"));
    }
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn an_empty_object_is_content_too() {
    let object = Object::new(0, 4, ETAG);
    let origin = well_behaved(&object).await;
    let world = World::new(&[("dl.test", &origin)]);
    assert_eq!(world.get(URL).await, Ok(Vec::new()));
    assert!(matches!(
        world.resolve(URL, Some((5, None))).await,
        Resolution::Content(content) if content.length() == 0
    ));
}

#[tokio::test]
async fn a_range_beyond_the_end_still_tells_the_length() {
    let object = Object::new(100, 5, ETAG);
    let origin = well_behaved(&object).await;
    let world = World::new(&[("dl.test", &origin)]);
    let content = world.content(URL, Some((5 << 20, None))).await;
    assert_eq!(content.length(), 100);
}

#[tokio::test]
async fn four_names_of_a_family_are_one_copy() {
    let object = Object::new(2 << 20, 6, ETAG);
    let origin = well_behaved(&object).await;
    let hosts = [
        "a.dl.delivery.mp.microsoft.com",
        "b.dl.delivery.mp.microsoft.com",
        "tlu.dl.delivery.mp.microsoft.com",
        "dl.delivery.mp.microsoft.com",
    ];
    let world = World::new(&hosts.map(|host| (host, &origin)));
    for (at, host) in hosts.into_iter().enumerate() {
        let url = format!(
            "http://{host}/filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e?P1={at}&P4=x"
        );
        object.check_whole(&world.get(&url).await);
    }
    assert_eq!(origin.asked().len(), 1);
}

#[tokio::test]
async fn hosts_of_a_family_that_differ_are_kept_apart() {
    let (one, two) = (
        Object::new(3 << 20, 7, ETAG),
        Object::new(3 << 20, 8, "ETag: \"two\"\r\n"),
    );
    let (origin_one, origin_two) = (well_behaved(&one).await, well_behaved(&two).await);
    let hosts = [
        "a.dl.delivery.mp.microsoft.com",
        "b.dl.delivery.mp.microsoft.com",
    ];
    let world = World::new(&[(hosts[0], &origin_one), (hosts[1], &origin_two)]);
    let path = "filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e";
    let [url_one, url_two] = hosts.map(|host| format!("http://{host}/{path}"));
    let content = world.content(&url_one, Some((0, Some(5)))).await;
    one.check(
        &world.bytes(&content, &url_one, Span::new(0, 5)).await,
        0..5,
    );
    // The other host's client is shown the family's copy, until it turns out that its host has another object.
    let content = world.content(&url_two, Some((1 << 20, None))).await;
    let mixed = world
        .bytes(&content, &url_two, Span::new(1 << 20, 2 << 20))
        .await;
    assert_eq!(mixed, Err(FlightError::Changed));
    for _ in 0..2 {
        two.check_whole(&world.get(&url_two).await);
        one.check_whole(&world.get(&url_one).await);
    }
}

#[tokio::test]
async fn the_freshest_signature_is_used() {
    let object = Object::new(3 << 20, 9, ETAG);
    let served = object.clone();
    let origin = Origin::start(move |asked| {
        let is_good = asked.target.ends_with("P1=2") || asked.number == 0;
        vec![if is_good {
            Step::Send(served.answer(asked))
        } else {
            bare("403 Forbidden", "")
        }]
    })
    .await;
    let world = World::new(&[("dl.delivery.mp.microsoft.com", &origin)]);
    let base = "http://dl.delivery.mp.microsoft.com/filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e";
    let (old, new) = (format!("{base}?P1=1"), format!("{base}?P1=2"));
    let content = world.content(&old, Some((0, Some(1)))).await;
    let span = Span::new(1 << 20, 2 << 20);
    assert_eq!(
        world.bytes(&content, &old, span).await,
        Err(FlightError::Origin)
    );
    object.check(&world.bytes(&content, &new, span).await, 1 << 20..2 << 20);
    // From now on a gap can be had by whoever asks, for the one that holds is known.
    let span = Span::new(2 << 20, 3 << 20);
    object.check(&world.bytes(&content, &old, span).await, 2 << 20..3 << 20);
}

#[tokio::test]
async fn a_signature_that_holds_is_known_after_a_restart() {
    let object = Object::new(3 << 20, 11, ETAG);
    let served = object.clone();
    let origin = Origin::start(move |asked| {
        vec![if asked.target.ends_with("P1=2") {
            Step::Send(served.answer(asked))
        } else {
            bare("403 Forbidden", "")
        }]
    })
    .await;
    let mut world = World::new(&[("dl.delivery.mp.microsoft.com", &origin)]);
    let base = "http://dl.delivery.mp.microsoft.com/filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e";
    let (old, new) = (format!("{base}?P1=1"), format!("{base}?P1=2"));
    let content = world.content(&new, Some((0, Some(1)))).await;
    assert_eq!(content.record().url, base, "it is no part of the name");
    // A download side that remembers nothing but what is stored.
    world.forget_all_but_the_store();
    let content = world.content(&old, Some((1 << 20, Some(2 << 20)))).await;
    let span = Span::new(1 << 20, 3 << 20);
    object.check(&world.bytes(&content, &old, span).await, 1 << 20..3 << 20);
}

#[test]
fn every_flight_ends_with_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (world, flights) = runtime.block_on(async {
        let object = Object::new(3 << 20, 10, ETAG);
        let origin = Origin::start(move |asked| match asked.number {
            0 => vec![Step::Send(object.part(0, 1 << 20))],
            _ => vec![Step::Hang],
        })
        .await;
        let world = World::new(&[("dl.test", &origin)]);
        let content = world.content(URL, Some((0, Some(1)))).await;
        let flights = world.claim(&content, URL, Span::new(1 << 20, 3 << 20));
        (world, flights)
    });
    drop(runtime);
    for (_, flight) in flights {
        let flight = flight.expect("it was on its way");
        assert!(matches!(flight.state(), FlightState::Failed(_)));
    }
    // What is asked now is answered as well.
    let (tell, told) = std::sync::mpsc::channel();
    let ask = ResolveAsk {
        route: world.route(URL),
        wanted: Some((2 << 20, None)),
        deadline: world.clock.now(),
        revalidate: false,
        reply: Reply::new(move |resolution| tell.send(resolution).expect("somebody listens")),
    };
    world.download.ask(Ask::Resolve(ask));
    assert!(matches!(
        told.recv(),
        Ok(Resolution::Refused { status: 503, .. })
    ));
}

#[tokio::test]
async fn a_long_answer_is_still_fed_when_its_first_deadline_is_long_past() {
    let object = Object::new(4 << 20, 11, ETAG);
    let origin = well_behaved(&object).await;
    // One connection, so that most of it waits, and nobody watches it from the beginning.
    let mut world = World::with(&[("dl.test", &origin)], 64 << 20, |settings| {
        settings.origin_connections_max = 1;
    });
    let content = world.content(URL, Some((0, Some(5)))).await;
    world.patience = std::time::Duration::ZERO;
    let bytes = world
        .bytes(&content, URL, Span::whole(content.length()))
        .await;
    object.check_whole(&bytes);
}
