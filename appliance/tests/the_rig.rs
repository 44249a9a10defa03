//! The measuring tools of the other tests, measured. The rule: what a test relies on to fail has been seen to do so.

mod rig;

use rig::fetch::{Get, download};
use rig::nginx::{Nginx, body_bytes};
use rig::process::Process;
use rig::{assert_same, have};
use std::fs;
use std::process::Command;

#[test]
fn the_origin_counts_what_it_sends() {
    if !have(&["nginx", "curl", "wget", "aria2c"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let wanted = rig::real_bytes(3_000_000);
    nginx.put("/a/b.cab", &wanted);
    let whole = Get::new(nginx.address(), "/a/b.cab")
        .run()
        .expect("an answer");
    assert_same(&whole.body, &wanted, "the whole");
    let part = Get::new(nginx.address(), "/a/b.cab").range(5, 9).run();
    assert_eq!(part.expect("an answer").body, wanted[5..10]);
    let missing = Get::new(nginx.address(), "/a/c.cab")
        .run()
        .expect("an answer");
    assert_eq!(missing.status, 404);
    assert_eq!(nginx.body_bytes(), wanted.len() as u64 + 5);
    let directory = tempfile::tempdir().expect("a directory");
    for (program, arguments) in [
        ("curl", &[][..]),
        ("wget", &[]),
        ("aria2c", &["-x16", "-k1M"]),
    ] {
        let into = directory.path().join(program);
        download(
            program,
            arguments,
            &format!("http://{}/a/b.cab", nginx.address()),
            &into,
        );
        assert_same(&fs::read(&into).expect("downloaded"), &wanted, program);
        assert!(nginx.body_bytes() >= wanted.len() as u64, "{program}");
    }
    assert_eq!(body_bytes(&nginx.stop()), 0);
}

#[test]
#[should_panic(expected = "first difference at Some(2)")]
fn different_bytes_are_told_apart() {
    assert_same(b"abcd", b"abxd", "four bytes");
}

#[test]
fn a_process_and_its_children_end_with_the_guard() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "cat /dev/zero >/dev/null & echo $!; wait"]);
    let process = Process::start(&mut command, &directory.path().join("log"));
    let child = rig::eventually("the child is there", || {
        let said = process.said();
        said.ends_with('\n').then(|| said.trim().to_owned())
    });
    let status = format!("/proc/{child}/status");
    assert!(fs::exists(&status).expect("proc is readable"));
    drop(process);
    rig::eventually("the child is gone", || {
        let state = fs::read_to_string(&status).unwrap_or_default();
        (state.is_empty() || state.contains("Z (zombie)")).then_some(())
    });
}
