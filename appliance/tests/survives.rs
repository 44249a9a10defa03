//! What happens when the program is killed or the origin goes away. The rule: nothing wrong is ever served, and what
//! was stored for over a second is still there.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, have};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Stored content outlives a crash from this age on; half a second more for the test's own slowness.
const DURABLE: Duration = Duration::from_millis(1_500);

fn setup(nginx: &Nginx, driver: &'static str) -> Setup {
    Setup {
        origin: Some(nginx.address()),
        driver,
        ..Setup::default()
    }
}

fn piece(get: &Get, number: usize, wanted: &[u8]) -> (Get, std::ops::Range<usize>) {
    let (start, end) = (number * MIB, ((number + 1) * MIB).min(wanted.len()));
    (get.clone().range(start as u64, end as u64 - 1), start..end)
}

/// Four clients ask for pieces in a wild order, over and over, until `stop`; returns how many they got. A broken
/// connection is nothing to them; a wrong byte is.
fn load(get: &Get, wanted: &[u8], stop: &AtomicBool, while_it_runs: impl FnOnce()) -> u64 {
    let got = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..4 {
            let got = &got;
            scope.spawn(move || {
                let pieces = wanted.len().div_ceil(MIB);
                let mut stream = None;
                let mut turn = client * 7;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let (ranged, place) = piece(get, turn * 37 % pieces, wanted);
                    let Some(open) = stream.take().or_else(|| get.connect().ok()) else {
                        thread::park_timeout(Duration::from_millis(5));
                        continue;
                    };
                    let mut open = open;
                    if let Ok(answer) = ranged.run_on(&mut open) {
                        if answer.status == 206 {
                            assert_same(&answer.body, &wanted[place], "a piece under load");
                            got.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert!(answer.status >= 500, "{}", answer.head);
                        }
                        stream = Some(open);
                    }
                }
            });
        }
        while_it_runs();
        stop.store(true, Ordering::Relaxed);
    });
    got.load(Ordering::Relaxed)
}

fn killed_under_load(driver: &'static str) {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let mut larder = Larder::start(&setup(&nginx, driver));
    let wanted = rig::real_bytes(60 * MIB + 4321);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    for round in 0..5 {
        // Each round stores some pieces more for good, besides what the load happens to store.
        let sure: Vec<usize> = (round * 4..round * 4 + 4).collect();
        for number in &sure {
            let (ranged, place) = piece(&get, *number, &wanted);
            let answer = ranged.run().expect("an answer");
            assert_same(&answer.body, &wanted[place], "a piece");
        }
        let since = Instant::now();
        let stop = AtomicBool::new(false);
        let served = load(&get, &wanted, &stop, || {
            rig::eventually("the pieces are stored for over a second", || {
                (since.elapsed() > DURABLE).then_some(())
            });
            larder.kill();
        });
        assert!(served > 0, "round {round}: nothing was served");
        nginx.stop();
        larder.resume();
        for number in 0..=sure[3] {
            let (ranged, place) = piece(&get, number, &wanted);
            let answer = ranged.run().expect("an answer without an origin");
            assert_eq!(answer.status, 206, "round {round}: {}", answer.head);
            assert_eq!(
                answer.field("X-Cache-Status"),
                Some("HIT"),
                "piece {number}"
            );
            assert_same(&answer.body, &wanted[place], "a piece after the crash");
        }
        nginx.resume();
    }
    let answer = get.run().expect("the whole");
    assert_same(&answer.body, &wanted, "the whole after five crashes");
}

#[test]
fn nothing_is_lost_or_wrong_after_kill_9() {
    killed_under_load("auto");
}

#[test]
fn nothing_is_lost_or_wrong_after_kill_9_where_io_uring_is_refused() {
    killed_under_load("epoll");
}

#[test]
fn a_stop_finishes_what_is_under_way_and_keeps_everything() {
    if !have(&["nginx"]) {
        return;
    }
    // Slow enough that the stop comes in the middle of the answer.
    let mut nginx = Nginx::with_locations("location /c/ { limit_rate 4m; }");
    let mut larder = Larder::start(&setup(&nginx, ""));
    let wanted = rig::real_bytes(8 * MIB);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    let begun = AtomicBool::new(false);
    thread::scope(|scope| {
        let (get, begun) = (&get, &begun);
        let client = scope.spawn(move || {
            let mut stream = get.connect().expect("connected");
            let early = get.clone().range(0, 99).run_on(&mut stream);
            assert_eq!(early.expect("an answer").status, 206);
            begun.store(true, Ordering::Release);
            get.run_on(&mut stream)
        });
        rig::eventually("the client has begun", || {
            begun.load(Ordering::Acquire).then_some(())
        });
        rig::eventually("the whole file is under way", || {
            (larder.metric("larder_origin_bytes_total", "") > (2 * MIB) as f64).then_some(())
        });
        larder.terminate();
        let answer = client.join().expect("the client ran").expect("an answer");
        assert_same(&answer.body, &wanted, "the answer that was under way");
    });
    nginx.stop();
    larder.resume();
    let answer = get.run().expect("an answer without an origin");
    assert_same(&answer.body, &wanted, "the stored file");
    assert_eq!(
        answer.field("X-Cache-Status"),
        Some("HIT"),
        "{}",
        answer.head
    );
}

#[test]
fn stored_content_is_served_while_its_origin_is_down() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let larder = Larder::start(&setup(&nginx, ""));
    let wanted = rig::real_bytes(10 * MIB + 1);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    // The first half only.
    let half = get.clone().range(0, 5 * MIB as u64 - 1);
    assert_eq!(half.run().expect("an answer").status, 206);
    nginx.stop();
    let stored = half.run().expect("an answer without an origin");
    assert_same(&stored.body, &wanted[..5 * MIB], "the stored half");
    let absent = get
        .clone()
        .range(6 * MIB as u64, 7 * MIB as u64 - 1)
        .run()
        .expect("an answer");
    // Trouble with an origin is 502 to 504: anything of the 4xx class would ban this cache (facts: clients, 1.6).
    assert!((502..=504).contains(&absent.status), "{}", absent.head);
    nginx.resume();
    let answer = get.run().expect("an answer");
    assert_same(&answer.body, &wanted, "the whole with the origin back");
}

#[test]
fn a_damaged_block_on_disk_is_fetched_again() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = Nginx::start();
    let mut larder = Larder::start(&setup(&nginx, ""));
    let wanted = rig::real_bytes(8 * MIB);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    assert_same(&get.run().expect("an answer").body, &wanted, "cold");
    larder.terminate();
    let damaged = damage(&larder.directory().join("store"), &wanted);
    assert!(damaged > 0, "no stored piece was found on disk");
    larder.resume();
    assert_same(&get.run().expect("an answer").body, &wanted, "damaged");
    assert_same(&get.run().expect("an answer").body, &wanted, "mended");
}

/// Flips a bit in the middle of every stored piece that is found in the files below `store`.
fn damage(store: &std::path::Path, wanted: &[u8]) -> u32 {
    use std::os::unix::fs::FileExt;
    let mut folders = vec![store.to_path_buf()];
    let mut damaged = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the store") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .open(&path)
                .expect("a file of the store");
            let len = file.metadata().expect("its length").len().min(64 << 20);
            let mut bytes = vec![0; usize::try_from(len).expect("small")];
            file.read_exact_at(&mut bytes, 0).expect("its bytes");
            for at in (0..bytes.len().saturating_sub(4096)).step_by(512) {
                let pieces = wanted.chunks(MIB);
                if pieces
                    .into_iter()
                    .any(|piece| bytes[at..at + 4096] == piece[..4096])
                {
                    let place = at + MIB / 2;
                    let byte = bytes.get(place).copied().unwrap_or(0) ^ 1;
                    file.write_all_at(&[byte], place as u64).expect("damaged");
                    damaged += 1;
                }
            }
        }
    }
    damaged
}
