//! Loads on an origin that sends what it should, and on one that does not.

use super::*;
use larder::demo::content::branch_office_files;
use larder::demo::origin::Origin;

fn against_the_origin(of_server: u64, order: Order) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut file = branch_office_files().remove(1);
    file.len = 8 << 20;
    let mut served = file.clone();
    served.seed ^= of_server;
    let origin = runtime
        .block_on(Origin::start(([127, 0, 0, 1], 0).into(), vec![served]))
        .expect("an origin");
    let load = Load {
        address: origin.address(),
        host: file.hosts[0].clone(),
        file,
        range_bytes: 65_000,
        order,
        connections: 4,
        pipeline: 3,
        warm_up: Duration::from_millis(10),
        // Of those that are not asked for again there is an end.
        duration: match order {
            Order::Shuffled => Duration::from_secs(600),
            _ => Duration::from_millis(100),
        },
        compare_every: 2,
        swarm: None,
        tls: None,
        watch: None,
    };
    load.run().expect("it ran")
}

#[test]
fn what_is_right_is_counted() {
    let outcome = against_the_origin(0, Order::Random);
    assert_eq!(outcome.faults, Vec::<String>::new());
    assert!(outcome.requests >= 4 * 3, "{outcome:?}");
    // What was under way when it began and when it ended.
    let whole = outcome.requests * 65_000;
    assert!(
        outcome.bytes.abs_diff(whole) <= 4 * 3 * 65_000,
        "{outcome:?}"
    );
    assert!(outcome.compared * 2 >= outcome.requests, "{outcome:?}");
    assert!(outcome.latencies.percentile_ms(100) > 0.0, "{outcome:?}");
    assert!(outcome.seconds >= 0.1, "{outcome:?}");
}

#[test]
fn once_is_every_range_once() {
    let outcome = against_the_origin(0, Order::Once);
    assert_eq!(outcome.faults, Vec::<String>::new());
    assert_eq!(outcome.bytes, 8 << 20);
    assert_eq!(outcome.requests, (8_u64 << 20).div_ceil(65_000));
}

#[test]
fn a_shuffled_load_says_when_the_ranges_did_not_last() {
    let outcome = against_the_origin(0, Order::Shuffled);
    assert_eq!(
        outcome.faults,
        ["the ranges did not last; take a larger object"]
    );
}

#[test]
fn what_is_wrong_is_said() {
    let outcome = against_the_origin(1, Order::Random);
    assert_eq!(outcome.faults.len(), 4, "{:?}", outcome.faults);
    assert!(
        outcome.faults[0].contains("is wrong"),
        "{:?}",
        outcome.faults
    );
}

#[test]
fn fairness_is_of_shares() {
    let of = |of_each: &[u64]| Outcome {
        of_each: of_each.to_vec(),
        ..Outcome::default()
    };
    assert!((of(&[5, 5, 5]).fairness() - 1.0).abs() < 1e-9);
    assert!((of(&[9, 0, 0]).fairness() - 1.0 / 3.0).abs() < 1e-9);
    assert!(of(&[]).fairness().abs() < 1e-9);
    assert!((of(&[2, 3, 1]).slowest_share() - 0.5).abs() < 1e-9);
    assert!(of(&[9, 0]).slowest_share().abs() < 1e-9);
    assert!(of(&[]).slowest_share().abs() < 1e-9);
}
