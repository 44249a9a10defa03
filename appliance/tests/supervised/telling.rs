//! What the service manager is told, and when. The rule: it hears of a thing when it is true, not when it is meant to be.

use crate::Stand;
use crate::rig::certificates::Authority;
use crate::rig::larder::{Larder, Setup};
use crate::rig::process::Process;
use crate::rig::supervisor::Supervisor;
use crate::rig::{PATIENCE, eventually, have, root};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// As short as makes sense; larder tells of itself thrice as often.
const WATCHDOG: Duration = Duration::from_secs(5);

#[test]
fn ready_is_told_once_requests_are_answered() {
    if !have(&["nginx", "mkfifo"]) {
        return;
    }
    let mut stand = Stand::new(Setup::default(), &["http", "peer", "admin"], 1 << 20);
    let supervisor = &mut stand.supervisor;
    // It can not go on before somebody writes the token.
    let token = supervisor.larder.directory().join("store/admin.token");
    let made = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&token)
        .status();
    assert!(made.expect("mkfifo runs").success());
    supervisor.start();
    // A client that comes meanwhile is not refused: it waits in the manager's socket.
    let get = supervisor
        .larder
        .get(crate::rig::larder::FAMILY[0], &stand.path);
    let mut early = get.connect().expect("connected");
    get.ask(&mut early).expect("asked");
    let mut writer = OpenOptions::new()
        .write(true)
        .open(&token)
        .expect("it reads");
    let heard = supervisor.heard();
    assert!(
        heard
            .iter()
            .any(|told| told.value("STATUS") == Some("opening the store")),
        "{heard:?}"
    );
    assert!(!heard.iter().any(|told| told.says("READY")), "{heard:?}");
    writeln!(writer, "{}", "5".repeat(64)).expect("written");
    drop(writer);
    let told = supervisor.until("it is ready", |told| told.says("READY"));
    assert_eq!(told.value("STATUS"), Some("serving"));
    assert_eq!(get.hear(&mut early).expect("an answer").body, stand.bytes);
    assert_eq!(get.run().expect("an answer").body, stand.bytes);
    // The sockets are those that were passed: nothing else could have answered there.
    let ready = crate::rig::fetch::Get::new(supervisor.larder.admin(), "/readyz").run();
    assert_eq!(ready.expect("an answer").status, 200);
}

/// A signal while the store is being opened is neither lost nor the end of a process that was about to serve.
#[test]
fn signals_wait_until_the_store_is_open() {
    if !have(&["nginx", "mkfifo"]) {
        return;
    }
    let mut stand = Stand::new(Setup::default(), &["http", "peer", "admin"], 1 << 20);
    let supervisor = &mut stand.supervisor;
    // It can not go on before somebody writes the token.
    let token = supervisor.larder.directory().join("store/admin.token");
    let made = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&token)
        .status();
    assert!(made.expect("mkfifo runs").success());
    supervisor.start();
    supervisor.until("it opens the store", |told| {
        told.value("STATUS") == Some("opening the store")
    });
    for signal in ["HUP", "TERM"] {
        supervisor.process().signal(signal);
    }
    let mut writer = OpenOptions::new()
        .write(true)
        .open(&token)
        .expect("it reads");
    writeln!(writer, "{}", "5".repeat(64)).expect("written");
    drop(writer);
    supervisor.until("it has read the configuration again", |told| {
        told.says("RELOADING")
    });
    supervisor.until("it stops", |told| told.says("STOPPING"));
    supervisor.await_end();
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let larder = Larder::set_up(&Setup::default());
    let mut supervisor = Supervisor::new(larder, &["http"]);
    supervisor.start_and_wait();
    let file = supervisor.larder.config();
    let config = fs::read_to_string(&file).expect("the configuration");
    let reload = |supervisor: &mut Supervisor, text: &str| {
        fs::write(&file, text).expect("written");
        let before = uptime_usec();
        supervisor.process().signal("HUP");
        let began = supervisor.until("a reload begins", |told| told.says("RELOADING"));
        let when: u64 = began
            .value("MONOTONIC_USEC")
            .expect("the time")
            .parse()
            .expect("a number");
        assert!(
            (before..=uptime_usec() + HUNDREDTH_USEC).contains(&when),
            "{before}, then {when}"
        );
        supervisor.until("it is over", |told| told.says("READY"));
        let mut states = supervisor.heard().iter().rev();
        let status = states.find_map(|told| told.value("STATUS"));
        status.expect("a status").to_owned()
    };
    let fine = format!("{config}\n[log]\nlevel = \"info\"\n");
    assert_eq!(reload(&mut supervisor, &fine), "serving");
    let bad = fine.replacen("[server]\n", "[server]\ncache_status = 7\n", 1);
    let status = reload(&mut supervisor, &bad);
    assert!(
        status.starts_with(
            "serving with the settings of before, since the configuration has mistakes: "
        ) && status.contains("larder.toml:2:16: server.cache_status"),
        "{status}"
    );
    let later = fine.replacen("[server]\n", "[server]\nsite = \"bonn\"\n", 1);
    assert_eq!(
        reload(&mut supervisor, &later),
        "serving; some settings wait for a restart"
    );
    supervisor.stop();
    let heard = supervisor.heard();
    let last = heard.last().expect("news");
    assert!(last.says("STOPPING"), "{heard:?}");
}

/// CLOCK_MONOTONIC, to the hundredth of a second that the kernel shows; it is CLOCK_BOOTTIME on a machine that never slept.
fn uptime_usec() -> u64 {
    let text = fs::read_to_string("/proc/uptime").expect("readable");
    let seconds: f64 = text
        .split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    u64::try_from(Duration::from_secs_f64(seconds).as_micros()).expect("not that old")
}

/// The kernel cuts off what is below.
const HUNDREDTH_USEC: u64 = 10_000;

#[test]
fn the_watchdog_is_fed_while_every_thread_turns() {
    if !have(&["openssl", "strace"]) || !root("to hold up a thread of another process") {
        return;
    }
    let authority = Authority::new();
    authority.issue_good("larder", &["larder.example"]);
    let larder = Larder::set_up(&Setup {
        tls: authority.table(&["larder"]),
        ..Setup::default()
    });
    let mut supervisor = Supervisor::new(larder, &["http", "https"]).watched(WATCHDOG);
    supervisor.start_and_wait();
    for name in ["larder-shard-0", "tls-0"] {
        supervisor.until("it is well", |told| told.says("WATCHDOG"));
        let thread = supervisor.thread(name);
        // Whatever the thread asks of the kernel next, it waits for it.
        let mut strace = Command::new("strace");
        strace.args(["-q", "-o", "/dev/null", "-e", "trace=all"]);
        strace.args([
            "-e",
            "inject=all:delay_enter=600s",
            "-p",
            &thread.to_string(),
        ]);
        let log = supervisor.larder.directory().join("strace.log");
        let held = Process::start(&mut strace, &log);
        supervisor.until("the thread hangs", |told| {
            told.value("STATUS") == Some("1 serving threads hang")
        });
        let heard = supervisor.heard().len();
        let hangs = || {
            supervisor
                .larder
                .log()
                .matches("1 serving threads hang")
                .count()
        };
        let (seen, wanted) = (hangs(), hangs() + 2);
        eventually("it was looked at twice more", || {
            (hangs() >= wanted).then_some(seen)
        });
        assert!(
            !supervisor.heard()[heard..]
                .iter()
                .any(|told| told.says("WATCHDOG")),
            "{name} hangs, and yet: {:?}",
            supervisor.heard()
        );
        held.signal("KILL");
        supervisor.until("it turns again", |told| told.says("WATCHDOG"));
    }
}

#[test]
fn the_journal_gets_entries_with_fields_and_standard_error_lines_with_priorities() {
    if !have(&["unshare", "mount"]) || !root("to have a /run of its own") {
        return;
    }
    let larder = Larder::set_up(&Setup {
        server: "cache_status = true",
        ..Setup::default()
    });
    let mut supervisor = Supervisor::new(larder, &["http"]);
    let log = supervisor.log();
    File::create(&log).expect("made");
    let is = fs::metadata(&log).expect("there");
    let stream = format!("{}:{}", is.dev(), is.ino());
    let path = supervisor.larder.directory().join("journal");
    let journal = UnixDatagram::bind(&path).expect("bound");
    journal.set_read_timeout(Some(PATIENCE)).expect("set");
    supervisor.start_with_journal(&[("JOURNAL_STREAM", &stream)], &path);
    supervisor.until("it is ready", |told| told.says("READY"));
    let mut entry = [0; 4096];
    loop {
        let len = journal.recv(&mut entry).expect("an entry");
        let text = String::from_utf8_lossy(&entry[..len]);
        if text.starts_with("MESSAGE=larder ") && text.contains(" serves on ") {
            assert!(
                text.contains("\nPRIORITY=6\nSYSLOG_IDENTIFIER=larder\n"),
                "{text}"
            );
            break;
        }
    }
    assert_eq!(supervisor.larder.log(), "", "nothing is said twice");
    supervisor.stop();

    // Where the journal is not to be reached, it reads standard error.
    drop(journal);
    fs::remove_file(&path).expect("removed");
    supervisor.start_with_journal(&[("JOURNAL_STREAM", &stream)], &path);
    supervisor.until("it is ready", |told| told.says("READY"));
    supervisor.stop();
    let lines = supervisor.larder.log();
    assert!(lines.lines().all(|line| line.starts_with('<')), "{lines}");
    assert!(
        lines
            .lines()
            .any(|line| line.starts_with("<6>larder ") && line.contains(" serves on ")),
        "{lines}"
    );

    // And where standard error leads elsewhere, the variable is somebody else's.
    supervisor.start_with(&[("JOURNAL_STREAM", "1:2")]);
    supervisor.until("it is ready", |told| told.says("READY"));
    supervisor.stop();
    let more = supervisor.larder.log();
    let more = &more[lines.len()..];
    assert!(
        !more.is_empty() && more.lines().all(|line| !line.starts_with('<')),
        "{more}"
    );
}
