//! A disk that turns read-only, and one that goes away, while clients are served. The rule: as long as the origin is up no
//! client sees an error, and who looks after the machine is told of what can be told at once.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::small_disk::SmallDisk;
use rig::{assert_same, eventually, have, tell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const MIB: usize = 1 << 20;
/// Clients at once.
const CLIENTS: usize = 4;
/// Answers that each moment of a test waits for.
const ANSWERS: u64 = 120;
/// So few that most of what is stored was not asked for yet.
const FEW: u64 = 8;

struct Stand {
    disk: SmallDisk,
    nginx: Nginx,
    larder: Larder,
}

fn stand(driver: &'static str) -> Option<Stand> {
    if !rig::root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount", "perl"])
    {
        return None;
    }
    let disk = SmallDisk::of(400 << 20);
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        store: Some(disk.mount().join("store")),
        driver,
        more: "[policy]\nDOMaxCacheSize = 100\n",
        ..Setup::default()
    });
    Some(Stand {
        disk,
        nginx,
        larder,
    })
}

/// Clients that ask for pieces and for whole objects, over and over. Each answer must be a good one.
fn under_load(objects: &[(Get, Vec<u8>)], while_it_runs: impl FnOnce(&dyn Fn(u64))) -> u64 {
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    // However it goes, the clients end.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (stop, answers) = (&stop, &answers);
                scope.spawn(move || {
                    let mut turn = client * 11;
                    while !stop.load(Ordering::Relaxed) {
                        turn += 1;
                        let (get, wanted) = &objects[turn % objects.len()];
                        if turn % 8 == 0 {
                            let answer = get.run().expect("an answer");
                            assert_eq!(answer.status, 200, "{}", answer.head);
                            assert_same(&answer.body, wanted, "a whole object");
                        } else {
                            let piece = turn * 37 % wanted.len().div_ceil(MIB);
                            let (start, end) = (piece * MIB, ((piece + 1) * MIB).min(wanted.len()));
                            let part = get.clone().range(start as u64, end as u64 - 1);
                            let answer = part.run().expect("an answer");
                            assert_eq!(answer.status, 206, "{}", answer.head);
                            assert_same(&answer.body, &wanted[start..end], "a piece");
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let more = |wanted: u64| {
            let before = answers.load(Ordering::Relaxed);
            eventually("clients are answered", || {
                let failed = clients.iter().any(|client| client.is_finished());
                assert!(!failed, "a client has seen an error");
                (answers.load(Ordering::Relaxed) >= before + wanted).then_some(())
            });
        };
        while_it_runs(&more);
    });
    answers.load(Ordering::Relaxed)
}

/// Some that are stored whole, and some that clients are only about to fetch.
fn objects(stand: &Stand, bytes: &[u8], numbers: std::ops::Range<usize>) -> Vec<(Get, Vec<u8>)> {
    numbers
        .map(|number| {
            let wanted = bytes[number * 1000..][..12 * MIB + 77].to_vec();
            let path = stand.nginx.put_named(&wanted);
            (stand.larder.get(FAMILY[0], &path), wanted)
        })
        .collect()
}

fn ready(larder: &Larder) -> String {
    let answer = Get::new(larder.admin(), "/readyz")
        .run()
        .expect("an answer");
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// `said`: what `/readyz` has in it from then on, where the first failure says enough. A disk that fails otherwise is given
/// up after several failures, and how many there are is a matter of what is written.
fn fails_under_load(
    driver: &'static str,
    what: &str,
    fail: impl Fn(&SmallDisk),
    said: Option<&str>,
) {
    let Some(mut stand) = stand(driver) else {
        return;
    };
    let bytes = rig::real_bytes(13 * MIB);
    let mut all = objects(&stand, &bytes, 0..4);
    for (get, wanted) in &all {
        assert_same(&get.run().expect("an answer").body, wanted, "cold");
    }
    eventually("what came is stored", || {
        (stand.larder.metric("larder_store_pieces", "") >= 52.0).then_some(())
    });
    // With nothing in memory, so that the disk is asked.
    stand.larder.terminate();
    stand.larder.resume();
    // New ones are being fetched while it happens, and others come after it.
    all.extend(objects(&stand, &bytes, 4..8));
    let mut answers = under_load(&all, |more| {
        more(FEW);
        fail(&stand.disk);
        more(ANSWERS);
    });
    let later = objects(&stand, &bytes, 8..11);
    answers += under_load(&later, |more| more(ANSWERS));
    if let Some(said) = said {
        eventually("it says what is amiss", || {
            ready(&stand.larder).contains(said).then_some(())
        });
        assert!(stand.larder.metric("larder_store_degraded", "") > 0.0);
    }
    let errors = stand.larder.metric("larder_store_io_errors_total", "");
    assert!(errors > 0.0, "the disk was not asked");
    assert!(errors < 1000.0, "{errors}: it is tried over and over");
    tell(&format!(
        "a disk that {what} under load ({driver}): {answers} answers, none an error, though {errors} operations of the disk failed"
    ));
}

#[test]
fn clients_do_not_notice_a_disk_that_turns_read_only() {
    fails_under_load(
        "auto",
        "turns read-only",
        SmallDisk::fails_into_read_only,
        Some("read-only"),
    );
}

#[test]
fn clients_do_not_notice_a_disk_that_goes_away() {
    fails_under_load("auto", "goes away", SmallDisk::goes_away, None);
}

#[test]
fn clients_do_not_notice_a_disk_that_goes_away_where_io_uring_is_refused() {
    fails_under_load("epoll", "goes away", SmallDisk::goes_away, None);
}
