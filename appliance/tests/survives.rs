//! What happens when the program is stopped, the origin goes away, or a bit flips on disk. The rule: nothing wrong is ever
//! served, and what was stored is still there. Kills have a file of their own.

mod rig;

use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, have};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const MIB: usize = 1 << 20;

fn setup(nginx: &Nginx, driver: &'static str) -> Setup {
    Setup {
        origin: Some(nginx.address()),
        driver,
        ..Setup::default()
    }
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
