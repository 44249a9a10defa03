//! Any faults in any order. The rule: a flight that is whole equals the slice of the true body, whatever happened; and
//! when the origin is well again, so is the object.

use super::script::{Asked, Object, Origin, Step, bare};
use super::world::World;
use crate::ask::Resolution;
use larder_content::Span;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

const URL: &str = "http://dl.test/fixed/object";
const SEEDS: u64 = 300;

/// The numbers of a seed (Vigna's splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }
}

struct Fate {
    chance: Chance,
    /// How many more requests may go wrong.
    faults: u32,
    versions: Vec<Object>,
    version: usize,
}

impl Fate {
    fn answer(&mut self, asked: &Asked) -> Vec<Step> {
        let wrong = self.faults > 0 && self.chance.below(3) > 0;
        if !wrong {
            return vec![Step::Send(self.honest(asked))];
        }
        self.faults -= 1;
        let object = self.versions[self.version].clone();
        match self.chance.below(12) {
            0 => vec![bare("500 Oops", "")],
            1 => vec![bare("503 Busy", "Retry-After: 1\r\n")],
            2 => vec![Step::Close],
            3 => vec![Step::Reset],
            4 | 5 => {
                let mut answer = self.honest(asked);
                let count = self.chance.index(answer.len());
                answer.truncate(count);
                vec![
                    Step::Send(answer),
                    if count.is_multiple_of(2) {
                        Step::Close
                    } else {
                        Step::Reset
                    },
                ]
            }
            6 => vec![Step::Send(object.full())],
            7 => {
                // Another stretch than the one that was asked for.
                let end = object.body.len();
                let first = self.chance.index(end);
                vec![Step::Send(object.part(first, end))]
            }
            8 => {
                self.version = self.chance.index(self.versions.len());
                vec![Step::Send(self.honest(asked))]
            }
            9 => vec![Step::Send(
                b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nwrong".to_vec(),
            )],
            10 => vec![Step::Send(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nwrong"
                    .to_vec(),
            )],
            _ => vec![Step::Send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n"
                    .to_vec(),
            )],
        }
    }

    fn honest(&self, asked: &Asked) -> Vec<u8> {
        let object = &self.versions[self.version];
        let is_current = asked
            .header("if-range")
            .is_none_or(|tag| object.headers.contains(tag));
        if is_current {
            object.answer(asked)
        } else {
            object.full()
        }
    }
}

async fn one(seed: u64) -> (usize, usize) {
    let mut chance = Chance(seed);
    let length = 1 + chance.index(4 << 20);
    let versions: Vec<Object> = (0..2)
        .map(|n| {
            // The second may be of another length.
            let length = if chance.below(2) == 0 {
                length
            } else {
                1 + chance.index(4 << 20)
            };
            Object::new(length, seed * 2 + n, &format!("ETag: \"v{n}\"\r\n"))
        })
        .collect();
    let fate = Arc::new(Mutex::new(Fate {
        chance: Chance(seed ^ 0xfa7e),
        faults: 1 + u32::try_from(chance.below(6)).expect("small"),
        versions: versions.clone(),
        version: 0,
    }));
    let now = Arc::clone(&fate);
    let origin = Origin::start(move |asked| now.lock().answer(asked)).await;
    let world = World::new(&[("dl.test", &origin)]);
    let (mut right, mut failed) = (0, 0);
    for _ in 0..6 {
        let start = chance.below(length as u64);
        let len = 1 + chance.below(2 << 20);
        let wanted = (chance.below(3) > 0).then_some((start, Some(start + len)));
        let Resolution::Content(content) = world.resolve(URL, wanted).await else {
            failed += 1;
            continue;
        };
        let (start, end) = wanted.map_or((0, u64::MAX), |(start, end)| (start, end.unwrap_or(0)));
        let span = Span::new(start.min(content.length()), end.min(content.length()));
        match world.bytes(&content, URL, span).await {
            Err(_) => failed += 1,
            Ok(bytes) => {
                // The version that the content says it is of, and no byte of another.
                let tag = content
                    .record()
                    .etag
                    .clone()
                    .expect("both versions have one");
                let version = versions
                    .iter()
                    .find(|version| version.headers.contains(&tag))
                    .expect("a tag of one of them");
                assert_eq!(content.length(), version.body.len() as u64, "seed {seed}");
                let at = |offset: u64| usize::try_from(offset).expect("small");
                let truth = &version.body[at(span.start)..at(span.end)];
                assert!(bytes == truth, "seed {seed}: wrong bytes in {span:?}");
                right += 1;
            }
        }
    }
    // Well again.
    let version = {
        let mut fate = fate.lock();
        fate.faults = 0;
        fate.version
    };
    let mut last = Err("nothing was asked".to_owned());
    for _ in 0..30 {
        last = world.get(URL).await;
        if last.is_ok() {
            break;
        }
        // That something can not be stored is remembered for some seconds.
        let pause = Duration::from_millis(300);
        let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
    }
    let bytes = last.unwrap_or_else(|error| panic!("seed {seed}: not well again: {error}"));
    // What is immutable may have been stored of either version, but of one only.
    assert!(
        versions.iter().any(|version| *version.body == bytes),
        "seed {seed}: a mixture; the last version was {version}"
    );
    (right, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_no_wrong_byte_is_whole() {
    let seeds: Vec<u64> = match std::env::var("LARDER_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => vec![seed],
        _ => (1..=SEEDS).collect(),
    };
    let (mut right, mut failed) = (0, 0);
    // Pauses between attempts are most of the time, so that many run side by side.
    for some in seeds.chunks(100) {
        let mut running = tokio::task::JoinSet::new();
        for seed in some.iter().copied() {
            running.spawn(one(seed));
        }
        while let Some(done) = running.join_next().await {
            let (r, f) = done.expect("see the panic above, which names its seed");
            right += r;
            failed += f;
        }
    }
    assert!(right > failed, "{right} right, {failed} failed");
}
