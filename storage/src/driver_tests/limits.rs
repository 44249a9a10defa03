//! What happens where the machine gives little: few descriptors, little memory that may be locked. The rule: the
//! limits are real ones, set for a run of this test program of its own.

use super::Rig;
use crate::arena::Arena;
use crate::driver::{DriverKind, Event};
use crate::driver_any::open_driver;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Runs tests of this program under a limit (an option of prlimit) and without the right to exceed it.
fn under(limit: &str, tests: &[&str]) {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-ipc_lock,-sys_resource", "prlimit"]);
        command
    } else {
        Command::new("prlimit")
    };
    let run = command
        .arg(limit)
        .arg(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--test-threads=1"])
        .args(tests)
        .output()
        .expect("prlimit and setpriv of util-linux are installed");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(!said.contains("running 0 tests"), "{said}");
}

#[test]
fn no_descriptors_left_stops_accepting_until_asked_again() {
    under(
        "--nofile=64",
        &["--exact", "driver_tests::limits::with_few_descriptors"],
    );
}

#[test]
#[ignore = "run by the test above, under a limit"]
fn with_few_descriptors() {
    for rig in [Rig::epoll(), Rig::ring(1024, false)].into_iter().flatten() {
        accepting_fails_and_goes_on(rig);
    }
}

fn accepting_fails_and_goes_on(mut rig: Rig) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    rig.driver.listen(4, listener.as_raw_fd());
    match rig.next() {
        Event::AcceptFailed { listener, error } => {
            assert_eq!(listener, 4);
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        other => panic!("{other:?}"),
    }
    rig.nothing_happens();
    hoard.truncate(1);
    rig.driver.listen(4, listener.as_raw_fd());
    match rig.next() {
        Event::Accepted { fd, .. } => {
            let server = TcpStream::from(fd);
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_works_without_locked_memory() {
    under(
        "--memlock=1048576",
        &["on_ring", "with_little_locked_memory"],
    );
    under("--memlock=65536", &["with_little_locked_memory"]);
}

#[test]
#[ignore = "run by the test above, under a limit"]
fn with_little_locked_memory() {
    let arena = Arena::new(4 << 20).unwrap();
    let (driver, why_not) = open_driver(None, &arena).unwrap();
    if let Some(why_not) = why_not {
        assert!(why_not.contains("larder uses epoll instead"), "{why_not}");
        return;
    }
    let advice = driver.advice().expect("4 MiB are more than the limit");
    assert!(advice.contains("LimitMEMLOCK"), "{advice}");
    assert!(driver.describe().contains(" 0 MiB of registered frames"));
}

#[test]
fn the_preferred_driver_is_opened_and_describes_itself() {
    use crate::driver::Driver;
    let arena = Arena::new(1 << 20).unwrap();
    let (epoll, why_not) = open_driver(Some(DriverKind::Epoll), &arena).unwrap();
    assert_eq!((epoll.kind(), why_not), (DriverKind::Epoll, None));
    assert!(epoll.describe().starts_with("epoll"));
    if Rig::ring(2, false).is_some() {
        let (ring, why_not) = open_driver(None, &arena).unwrap();
        assert_eq!((ring.kind(), why_not), (DriverKind::Ring, None));
        eprintln!("{}; {:?}", ring.describe(), ring.advice());
        assert!(
            crate::ring::probe()
                .unwrap()
                .to_string()
                .starts_with("io_uring")
        );
    }
}
