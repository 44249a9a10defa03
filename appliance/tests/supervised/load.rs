//! Restarts and reloads while clients ask. The rule: no request fails.

use crate::Stand;
use crate::rig::certificates::Authority;
use crate::rig::fetch::{Answer, Get};
use crate::rig::larder::{FAMILY, Setup};
use crate::rig::load::{Outcome, Rate, load};
use crate::rig::secure;
use crate::rig::supervisor::Supervisor;
use crate::rig::{eventually, have};
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::time::{Duration, Instant};

const RESTARTS: u32 = 3;
const RELOADS: u32 = 20;

/// Between two of them clients are served for a while.
const BETWEEN_RESTARTS: Duration = Duration::from_millis(500);
const BETWEEN_RELOADS: Duration = Duration::from_millis(50);

/// 500 requests a second.
const RATE: Rate = Rate {
    keeping: 20,
    fresh: 5,
    per_second: 20,
};

/// What is asked for.
const FIRST: u64 = 1 << 20;
const LAST: u64 = (1 << 20) + (64 << 10) - 1;

/// Lets clients ask while `meanwhile` runs with the supervisor; none may fail.
fn none_fails<S: Read + Write>(
    what: &str,
    stand: &mut Stand,
    connect: impl Fn(&Get) -> io::Result<BufReader<S>> + Sync,
    meanwhile: impl FnOnce(&mut Supervisor),
) -> Outcome {
    stand.supervisor.start_and_wait();
    let get = stand.get();
    assert_eq!(get.run().expect("the whole").body, stand.bytes);
    let get = get.range(FIRST, LAST);
    let wanted = &stand.bytes[FIRST as usize..=LAST as usize];
    let wrong = |answer: &Answer| {
        let right = answer.status == 206 && answer.body == wanted;
        (!right).then(|| answer.head.clone())
    };
    let began = Instant::now();
    let supervisor = &mut stand.supervisor;
    let outcome = load(
        &get,
        RATE,
        || connect(&get),
        wrong,
        || meanwhile(supervisor),
    );
    outcome.tell(what, began.elapsed());
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.answered > 200, "{outcome:?}");
    outcome
}

fn restart(supervisor: &mut Supervisor) {
    for _ in 0..RESTARTS {
        serve_for(BETWEEN_RESTARTS);
        supervisor.restart();
    }
}

fn serve_for(time: Duration) {
    let since = Instant::now();
    eventually("that time is over", || {
        (since.elapsed() > time).then_some(())
    });
}

fn restarted_under_load(driver: &'static str) {
    if !have(&["nginx"]) {
        return;
    }
    let setup = Setup {
        driver,
        ..Setup::default()
    };
    let mut stand = Stand::new(setup, &["http", "peer", "admin"], 3 << 20);
    let what = format!("{RESTARTS} restarts under load, driver {driver}");
    let outcome = none_fails(&what, &mut stand, Get::connect, restart);
    // Whoever keeps connections was told to come by new ones; nearly all, where the machine is not too slow.
    assert!(
        outcome.last_ones >= u64::from(RESTARTS * RATE.keeping) / 2,
        "{outcome:?}"
    );
}

#[test]
fn no_request_fails_when_it_is_restarted() {
    restarted_under_load("io_uring");
}

#[test]
fn no_request_fails_when_it_is_restarted_without_io_uring() {
    restarted_under_load("epoll");
}

#[test]
fn no_request_by_https_fails_when_it_is_restarted() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let authority = Authority::new();
    authority.issue_good("larder", &["larder.example"]);
    let setup = Setup {
        tls: authority.table(&["larder"]),
        ..Setup::default()
    };
    let mut stand = Stand::new(setup, &["http", "https", "peer"], 3 << 20);
    let client = secure::Client::new(&authority);
    let address = stand.supervisor.larder.https();
    let connect = |_: &Get| client.connect(address, "larder.example");
    let what = format!("{RESTARTS} restarts under load by https");
    let outcome = none_fails(&what, &mut stand, connect, restart);
    assert!(outcome.last_ones > 0, "{outcome:?}");
}

#[test]
fn no_request_fails_when_it_is_reloaded() {
    if !have(&["nginx"]) {
        return;
    }
    let mut stand = Stand::new(Setup::default(), &["http", "peer", "admin"], 3 << 20);
    let what = format!("{RELOADS} reloads under load");
    let outcome = none_fails(&what, &mut stand, Get::connect, |supervisor| {
        let file = supervisor.larder.config();
        let config = fs::read_to_string(&file).expect("the configuration");
        for turn in 0..RELOADS {
            serve_for(BETWEEN_RELOADS);
            let says = format!("[server]\ncache_status = {}\n", turn % 2 == 1);
            fs::write(&file, config.replacen("[server]\n", &says, 1)).expect("written");
            supervisor.process().signal("HUP");
            supervisor.until("a reload begins", |told| told.says("RELOADING"));
            supervisor.until("it is over", |told| told.says("READY"));
            // What came in force is seen by clients: the last answer of each turn is of it.
            let get = supervisor.larder.get(FAMILY[0], "/none");
            let answer = get.head_only().run().expect("an answer");
            assert_eq!(answer.field("X-Cache-Status").is_some(), turn % 2 == 1);
        }
    });
    assert_eq!(
        (outcome.sent_again, outcome.last_ones),
        (0, 0),
        "no connection ended for it"
    );
}
