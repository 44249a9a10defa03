//! Downloads under limits, off real sockets. The rule: nothing is said of how long something took, only that no more came
//! than the time that passed allows.

use super::script::{Object, Origin, Step};
use super::world::World;
use larder_content::Span;
use larder_proto::policy::settings::{KB, Policies};
use larder_proto::policy::{Dialect, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};

const URL: &str = "http://dl.test/fixed/object";
const LIMIT: u64 = 40 * KB;

async fn origin_of(object: &Object) -> Origin {
    let object = object.clone();
    Origin::start(move |asked| vec![Step::Send(object.answer(asked))]).await
}

fn set(world: &World, change: impl FnOnce(&mut Policies)) {
    let mut settings = (*world.settings.load_full()).clone();
    settings.policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
    change(&mut settings.policies);
    world.settings.store(Arc::new(settings));
}

/// Bytes that have come of all flights.
fn came(flights: &[Arc<larder_storage::flight::Flight>]) -> u64 {
    flights
        .iter()
        .map(|flight| u64::from(flight.filled()))
        .sum()
}

#[tokio::test]
async fn a_limit_holds_on_all_connections_and_ends_while_they_are_open() {
    let object = Object::new(4 << 20, 21, "ETag: \"one\"\r\n");
    let origin = origin_of(&object).await;
    let world = World::new(&[("dl.test", &origin)]);
    let content = world.content(URL, Some((0, Some(1)))).await;
    // All bytes of the first piece may have come before.
    let first = Span::new(0, 1 << 20);
    object.check(&world.bytes(&content, URL, first).await, 0..1 << 20);
    set(&world, |p| p.download_bytes_s_max = LIMIT);
    let began = Instant::now();
    let rest = Span::new(1 << 20, 4 << 20);
    let flights: Vec<_> = world
        .claim(&content, URL, rest)
        .into_iter()
        .map(|(_, flight)| flight.expect("nobody has it yet"))
        .collect();
    assert_eq!(flights.len(), 3);
    let seconds = || began.elapsed().as_secs_f64();
    let mut seen = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while seen < 2 * LIMIT {
        looks.tick().await;
        seen = came(&flights);
        // Asked after the bytes were counted, so that what came meanwhile is allowed.
        let most = (seconds() + 0.3) * LIMIT as f64;
        assert!((seen as f64) < most, "{seen} bytes, and {most} are allowed");
        assert!(seconds() < 60.0, "{seen} bytes, and nothing more comes");
    }
    // The same connections, without a limit.
    let asked = origin.asked().len();
    set(&world, |_| {});
    object.check(&world.bytes(&content, URL, rest).await, 1 << 20..4 << 20);
    assert_eq!(origin.asked().len(), asked, "no connection was lost");
    // Stored by now: no limit is for that.
    set(&world, |p| p.download_bytes_s_max = 1);
    let all = Span::whole(content.length());
    object.check(&world.bytes(&content, URL, all).await, 0..4 << 20);
}
