//! What the end-to-end tests are built from: the real program, a real origin, real clients. The rule: every process
//! ends with its test, whether that went well or not, and nothing outside of loopback is touched.
#![allow(dead_code)] // Each test file uses its part of this.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod fetch;
pub(crate) mod larder;
pub(crate) mod load;
pub(crate) mod meeting;
pub(crate) mod nginx;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod secure;
pub(crate) mod small_disk;
pub(crate) mod squid;
pub(crate) mod supervisor;

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take to come true before the test has failed: generous, since it is only ever reached
/// where something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An origin and a larder in front of it.
pub(crate) fn house() -> (nginx::Nginx, larder::Larder) {
    let nginx = nginx::Nginx::start();
    let larder = larder::Larder::start(&larder::Setup {
        origin: Some(nginx.address()),
        ..larder::Setup::default()
    });
    (nginx, larder)
}

/// An address of loopback that no other test has: services can have well-known ports on it.
pub(crate) fn address() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let process = std::process::id().to_le_bytes();
    let number = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
    // 127.0.x.x is left to whatever else runs on the machine.
    Ipv4Addr::new(127, 64 | (process[1] & 63), process[0], number)
}

/// Whether all these programs are there. Where one is missing the test says so and must end; in CI it fails.
pub(crate) fn have(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let there = |program: &str| {
        path.split(':')
            .any(|d| Path::new(d).join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|p| !there(p)).collect();
    missing.is_empty() || skip(&format!("{missing:?} not installed"))
}

/// Whether this is root, for tests that mount or shape.
pub(crate) fn root(what_for: &str) -> bool {
    let id = Command::new("id").arg("-u").output().expect("id(1) runs");
    id.stdout.trim_ascii() == b"0" || skip(&format!("not root, which is needed {what_for}"))
}

/// Says loudly that a test does not run; fails where everything has to run.
pub(crate) fn skip(why: &str) -> bool {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI=true, and {why}"
    );
    let name = thread::current().name().unwrap_or("?").to_owned();
    // Past the capture of the test harness, which hides what a passing test says.
    let _ = writeln!(std::io::stderr().lock(), "\n!! SKIPPED: {name}: {why}\n");
    false
}

/// Says a figure where it is seen, past the capture of the test harness.
pub(crate) fn tell(figure: &str) {
    let _ = writeln!(std::io::stderr().lock(), "\n== {figure}\n");
}

/// Waits until `condition` gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it never came true: {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// The largest shared library of the Rust toolchain: over 100 MB of real content that is always at hand.
pub(crate) fn real_file() -> PathBuf {
    let rustc = Command::new(std::env::var("RUSTC").unwrap_or("rustc".to_owned()))
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc runs");
    let lib = Path::new(String::from_utf8_lossy(&rustc.stdout).trim()).join("lib");
    let files = fs::read_dir(&lib).expect("the toolchain has a lib directory");
    let sized = files.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((fs::metadata(&path).ok()?.len(), path))
    });
    let (len, path) = sized.max().expect("the toolchain has libraries");
    assert!(len > 100_000_000, "{} has only {len} bytes", path.display());
    path
}

/// The first `len` bytes of the real file.
pub(crate) fn real_bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    fs::File::open(real_file())
        .and_then(|file| file.take(len as u64).read_to_end(&mut bytes))
        .expect("the real file is readable");
    assert_eq!(bytes.len(), len);
    bytes
}

/// Fails with the first place where two byte strings differ, not with megabytes of them.
pub(crate) fn assert_same(got: &[u8], wanted: &[u8], what: &str) {
    if got != wanted {
        let at = got.iter().zip(wanted).position(|(a, b)| a != b);
        panic!(
            "{what}: {} bytes instead of {}, first difference at {at:?}",
            got.len(),
            wanted.len()
        );
    }
}
