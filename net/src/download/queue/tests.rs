//! What nobody waits for, beside what clients wait for.

use super::*;
use crate::bell::Bell;
use crate::download::abandon;
use crate::download::tests::script::{Object, Origin, Step};
use crate::download::tests::world::World;
use larder_storage::store::Claim;

const URL: &str = "http://dl.test/fixed/object";
const LIMITS: Limits = Limits {
    window_bytes_min: 0,
    window_bytes_max: 2 << 20,
    run_bytes_max: 1 << 20,
    connections_max: 1,
};

/// A queue of its own, for the pieces of one object.
struct Bench {
    world: World,
    content: Arc<Content>,
    queue: Queue,
    _origin: Origin,
}

impl Bench {
    async fn new() -> Self {
        let object = Object::new(8 << 20, 1, "ETag: \"one\"\r\n");
        let origin = Origin::start(move |asked| vec![Step::Send(object.answer(asked))]).await;
        let world = World::new(&[("dl.test", &origin)]);
        let content = world.content(URL, Some((0, Some(1 << 20)))).await;
        Self {
            world,
            content,
            queue: Queue::new(LIMITS, Clock::start()),
            _origin: origin,
        }
    }

    /// Enters a piece; with a moment, as one that no client waits for.
    fn enter(&mut self, piece: u32, deadline: Time, spare_until: Option<Time>) -> Arc<Flight> {
        let id = PieceId {
            content: self.content.no,
            piece,
        };
        let Claim::Owner(flight) = self.world.store.claim(id, self.content.piece_len(piece)) else {
            panic!("piece {piece} is nobody's yet");
        };
        let route = Arc::new(self.world.route(URL));
        let (store, content) = (&self.world.store, &self.content);
        let refused = self
            .queue
            .enter(store, content, &route, Arc::clone(&flight));
        assert!(refused.is_empty());
        self.queue.scheduler.want(Want {
            background: spare_until.is_some(),
            ..want(&flight, deadline)
        });
        if let Some(until) = spare_until {
            self.queue.rest(id, until);
        }
        flight
    }

    /// The pieces of the next request.
    fn next(&mut self, now: Time) -> Vec<u32> {
        abandon(self.queue.sort_out_overdue(now));
        let job = self.queue.next(now);
        job.map_or_else(Vec::new, |job| job.pieces().collect())
    }

    fn landed(&mut self, piece: u32) {
        let content = self.content.no;
        drop(self.queue.landed(PieceId { content, piece }));
    }
}

fn at(secs: u64) -> Time {
    Time::default() + Duration::from_secs(secs)
}

#[tokio::test]
async fn what_no_client_waits_for_comes_last_until_one_does() {
    let mut bench = Bench::new().await;
    let spare = bench.enter(2, at(1), Some(at(500)));
    bench.enter(4, at(100), None);
    assert_eq!(bench.next(at(0)), [4]);
    bench.landed(4);
    bench.enter(6, at(100), None);
    let bell = Arc::new(Bell::default());
    spare.watch(bell.watcher());
    assert_eq!(bench.next(at(1)), [2], "a client waits for it now");
    bench.landed(2);
    assert_eq!(bench.next(at(2)), [6]);
}

#[tokio::test]
async fn what_there_was_no_room_for_is_given_up_in_time() {
    let mut bench = Bench::new().await;
    bench.enter(4, at(100), None);
    let spare = bench.enter(2, at(1), Some(at(30)));
    assert_eq!(bench.next(at(0)), [4]);
    let given_up = bench.queue.sort_out_overdue(at(29));
    assert!(given_up.is_empty());
    let given_up = bench.queue.sort_out_overdue(at(30));
    assert_eq!(given_up.len(), 1);
    abandon(given_up);
    let ended = larder_storage::flight::FlightState::Failed(FlightError::Overloaded);
    assert_eq!(spare.state(), ended);
}

#[tokio::test]
async fn what_failed_rests_again() {
    let mut bench = Bench::new().await;
    let spare = bench.enter(2, at(1), Some(at(500)));
    abandon(bench.queue.sort_out_overdue(at(0)));
    let job = bench.queue.next(at(0)).expect("there is room");
    abandon(bench.queue.sort_out_overdue(at(1)));
    let kind = Failure::Broken;
    abandon(bench.queue.failed(at(1), &job, kind, FlightError::Origin));
    bench.enter(4, at(100), None);
    let bell = Arc::new(Bell::default());
    spare.watch(bell.watcher());
    assert_eq!(bench.next(at(20)), [2], "a client waits for it now");
}
