//! kill -9 under load, over and over. The rule: no byte is ever wrong, and what was durable, or was found after a kill, is
//! there after every other one.
//!
//! `LARDER_KILLS` sets how often with each driver.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, have, tell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MIB: usize = 1 << 20;
/// The last piece is a short one.
const OBJECT_BYTES: usize = 5 * MIB + 4321;
const PIECES: usize = 6;
/// Kills with each driver, where nobody says otherwise.
const KILLS: u64 = 50;
/// A kill in so many comes just after it is known what is durable.
const KNOWN_EACH: u64 = 4;

type Piece = (usize, usize);

struct Object {
    get: Get,
    wanted: Vec<u8>,
}

impl Object {
    fn piece(&self, number: usize) -> (Get, &[u8]) {
        let (start, end) = (number * MIB, ((number + 1) * MIB).min(self.wanted.len()));
        let get = self.get.clone().range(start as u64, end as u64 - 1);
        (get, &self.wanted[start..end])
    }
}

/// Clients ask for pieces of these objects until `stop`. A broken connection is nothing to them; a wrong byte is.
fn load(
    objects: &[(usize, &Object)],
    served: &AtomicU64,
    stop: &AtomicBool,
    while_it_runs: impl FnOnce(),
) {
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                let mut stream = None;
                let mut turn = client * 7;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let (_, object) = &objects[turn % objects.len()];
                    let piece = turn * 5 % PIECES;
                    let (ask, wanted) = object.piece(piece);
                    let Some(mut open) = stream.take().or_else(|| ask.connect().ok()) else {
                        thread::park_timeout(Duration::from_millis(5));
                        continue;
                    };
                    if let Ok(answer) = ask.run_on(&mut open) {
                        assert_eq!(answer.status, 206, "{}", answer.head);
                        assert_same(&answer.body, wanted, "a piece under load");
                        served.fetch_add(1, Ordering::Relaxed);
                        stream = Some(open);
                    }
                }
            });
        }
        while_it_runs();
        stop.store(true, Ordering::Relaxed);
    });
}

/// Whether a piece is stored. Panics where it is wrong. Of an object that is not known nothing is fetched: what came in
/// with the first question for it would pass for stored.
fn is_stored(object: &Object, piece: usize) -> bool {
    let (ask, wanted) = object.piece(piece);
    let answer = ask.with("Cache-Control: only-if-cached").run();
    let answer = answer.expect("an answer");
    if answer.status != 206 {
        assert!((502..=504).contains(&answer.status), "{}", answer.head);
        return false;
    }
    assert_same(&answer.body, wanted, "a piece");
    answer.field("X-Cache-Status") == Some("HIT")
}

/// What is stored of these objects, and durable by now: a purge returns when it is, and what came before it is, too.
fn durable(larder: &Larder, nginx: &Nginx, objects: &[(usize, &Object)]) -> Vec<Piece> {
    let mut stored = Vec::new();
    for (number, object) in objects {
        let found = (0..PIECES).filter(|piece| is_stored(object, *piece));
        stored.extend(found.map(|piece| (*number, piece)));
    }
    let path = nginx.put_named(b"to be purged");
    assert_eq!(
        larder
            .get(FAMILY[0], &path)
            .run()
            .expect("an answer")
            .status,
        200
    );
    larder.told(&["purge", &format!("http://{}{path}", FAMILY[0])]);
    stored
}

/// The same numbers in every run.
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn killed_over_and_over(driver: &'static str) {
    if !have(&["nginx"]) {
        return;
    }
    let kills = std::env::var("LARDER_KILLS").map_or(KILLS, |text| {
        text.parse().expect("LARDER_KILLS is a number")
    });
    let mut nginx = Nginx::start();
    let mut larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        driver,
        ..Setup::default()
    });
    let bytes = rig::real_bytes(OBJECT_BYTES + usize::try_from(kills).expect("few") * 4099);
    let mut objects: Vec<Object> = Vec::new();
    let mut promised: BTreeSet<Piece> = BTreeSet::new();
    let served = AtomicU64::new(0);
    let mut looked = 0;
    for kill in 0..kills {
        let number = objects.len();
        let wanted = bytes[number * 4099..][..OBJECT_BYTES].to_vec();
        let path = nginx.put_named(&wanted);
        let get = larder.get(FAMILY[0], &path);
        objects.push(Object { get, wanted });
        // A new object, so that there is always something to be stored, and those before it.
        let from = number.saturating_sub(2);
        let asked: Vec<_> = (from..=number).map(|at| (at, &objects[at])).collect();
        let before = served.load(Ordering::Relaxed);
        let answers = 1 + mixed(kill) % 40;
        load(&asked, &served, &AtomicBool::new(false), || {
            rig::eventually("it is time for the next kill", || {
                (served.load(Ordering::Relaxed) >= before + answers).then_some(())
            });
            if kill % KNOWN_EACH == KNOWN_EACH - 1 {
                promised.extend(durable(&larder, &nginx, &asked));
            }
            larder.kill();
        });
        larder.resume();
        // All that was asked for lately, and some of what was promised long ago.
        let mut look: BTreeSet<Piece> = (from..=number)
            .flat_map(|object| (0..PIECES).map(move |piece| (object, piece)))
            .collect();
        let skip = mixed(kill + kills) as usize % promised.len().max(1);
        look.extend(promised.iter().skip(skip).take(6));
        for (object, piece) in look {
            if is_stored(&objects[object], piece) {
                promised.insert((object, piece));
            } else {
                let lost = promised.contains(&(object, piece));
                assert!(
                    !lost,
                    "kill {kill}: piece {piece} of object {object} is lost; {}",
                    larder.log()
                );
            }
            looked += 1;
        }
    }
    nginx.stop();
    for (object, piece) in &promised {
        assert!(is_stored(&objects[*object], *piece), "without an origin");
    }
    assert!(kills < KNOWN_EACH || !promised.is_empty());
    tell(&format!(
        "{kills} kills under load ({driver}): {} answers and {looked} looks, no wrong byte; {} promised pieces, none lost",
        served.load(Ordering::Relaxed),
        promised.len()
    ));
}

#[test]
fn no_kill_of_many_makes_a_wrong_byte_or_loses_what_was_stored() {
    killed_over_and_over("auto");
}

#[test]
fn nor_does_one_where_io_uring_is_refused() {
    killed_over_and_over("epoll");
}
