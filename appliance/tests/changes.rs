//! Policies that change while something is downloaded. The rule: what is under way goes on under the new ones, and the log
//! says what they were and what they are.

mod rig;

use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, eventually, have};
use std::fs;
use std::process::Command;
use std::thread;

const MIB: usize = 1 << 20;

#[test]
fn a_limit_that_ends_during_a_download_is_told_and_lets_it_go_on() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = Nginx::start();
    let mut larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        more: "[policy]\nDOMaxDownloadBandwidth = 2048\nDOMinBackgroundQoS = 64\n",
        ..Setup::default()
    });
    // At this limit it takes over half a minute.
    let wanted = rig::real_bytes(64 * MIB);
    let get = larder.get(FAMILY[0], &nginx.put_named(&wanted));
    let download = thread::spawn(move || get.run());
    let limited = "downloads are limited from now on: at most 2048 KB/s (DOMaxDownloadBandwidth)";
    eventually("the limit is told", || {
        larder.log().contains(limited).then_some(())
    });
    eventually("bytes come under it", || {
        let fetched = larder.metric("larder_origin_bytes_total", "");
        (fetched > 0.0).then_some(())
    });
    let config = fs::read_to_string(larder.config()).expect("its own");
    let changed = config
        .replace("DOMaxDownloadBandwidth = 2048\n", "")
        .replace("DOMinBackgroundQoS = 64", "DOMinBackgroundQoS = 128");
    fs::write(larder.config(), changed).expect("written");
    assert!(!download.is_finished(), "it was not limited");
    larder.process().signal("HUP");
    let answer = download.join().expect("it ran").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_same(&answer.body, &wanted, "what came under two policies");
    for told in [
        "policy.DOMaxDownloadBandwidth: 2048 -> its default",
        "policy.DOMinBackgroundQoS: 64 -> 128",
        "downloads are not limited any more",
        "changed: policy.DOMaxDownloadBandwidth, policy.DOMinBackgroundQoS",
    ] {
        eventually(told, || larder.log().contains(told).then_some(()));
    }
    let log = larder.log();
    // What did not change is not told.
    assert_eq!(log.matches(" -> ").count(), 2, "{log}");
}

#[test]
fn a_cache_whose_folder_was_moved_is_the_same_cache() {
    if !have(&["nginx", "cp"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let drive = tempfile::tempdir().expect("another drive");
    let mut larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        ..Setup::default()
    });
    let objects: Vec<_> = [3 * MIB + 1, 20_000, 70_000]
        .into_iter()
        .map(|len| {
            let bytes = rig::real_bytes(len);
            let path = nginx.put_named(&bytes);
            (bytes, path)
        })
        .collect();
    let check = |larder: &Larder, what: &str| {
        for (bytes, path) in &objects {
            let answer = larder.get(FAMILY[0], path).run().expect("an answer");
            assert_eq!(answer.status, 200, "{what}: {}", answer.head);
            assert_same(&answer.body, bytes, what);
        }
    };
    check(&larder, "before");
    let held = || larder.metric("larder_store_bytes", "");
    eventually("all is stored", || {
        (held() > (3 * MIB) as f64).then_some(())
    });
    nginx.stop();

    // A reload does not change where the cache lies, and says so.
    let (old, new) = (larder.directory().join("store"), drive.path().join("cache"));
    let config = fs::read_to_string(larder.config()).expect("its own");
    let paths = format!("[store]\npaths = [{old:?}]\n");
    assert!(config.contains(&paths), "{config}");
    let config = config.replace(&paths, "") + &format!("[policy]\nDOModifyCacheDrive = {new:?}\n");
    fs::write(larder.config(), config).expect("written");
    larder.process().signal("HUP");
    eventually("the restart is asked for", || {
        let log = larder.log();
        log.contains("only after a restart: store.paths")
            .then_some(())
    });
    check(&larder, "from the old drive");
    assert!(!new.exists(), "nothing lies there yet");

    // As the README has it: stop, copy, start.
    larder.terminate();
    let copied = Command::new("cp").arg("-a").args([&old, &new]).status();
    assert!(copied.expect("cp").success());
    fs::remove_dir_all(&old).expect("removed");
    larder.resume();
    check(&larder, "from the new drive");
    assert!(!old.exists(), "nothing lies there any more");
}
