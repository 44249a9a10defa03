//! What the origin sends where clients ask as Windows does: ranges in order, over a few connections each, several
//! clients at once (facts: clients, section 1.4). The rule: what it sends is at most 1.05 times the object, however
//! many ask.

use super::branch::{Branch, Way};
use super::version::Version;
use crate::download::tests::script::Step;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;

#[test]
fn the_origin_sends_each_byte_about_once() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for way in [Way::Ring, Way::Epoll, Way::Service] {
        for (kind, path) in [("immutable", "/fixed/a"), ("mutable", "/may-change/a")] {
            for range_bytes in [MIB, 10_000_000] {
                let version = Version::new(24 * MIB + 12_345, 0);
                let sent = Arc::new(AtomicU64::new(0));
                let (served, count) = (version.clone(), Arc::clone(&sent));
                let branch = runtime.block_on(Branch::with(
                    way,
                    move |asked| {
                        let answer = served.answer(asked);
                        count.fetch_add(answer.len() as u64, Ordering::SeqCst);
                        vec![Step::Send(answer)]
                    },
                    |_| {},
                    |_| {},
                ));
                std::thread::scope(|scope| {
                    for _ in 0..6 {
                        scope.spawn(|| {
                            let mut client = branch.client();
                            let mut first = 0;
                            while first < version.length {
                                let end = version.length.min(first + range_bytes);
                                let more = format!("Range: bytes={first}-{}\r\n", end - 1);
                                let got = client.get(path, &more);
                                assert_eq!(got.status, 206);
                                assert!(version.holds(first, &got.body), "wrong bytes");
                                assert_eq!(got.body.len() as u64, end - first);
                                first = end;
                            }
                        });
                    }
                });
                // Heads count as well; they are little.
                let sent = sent.load(Ordering::SeqCst);
                let ratio = sent as f64 / version.length as f64;
                eprintln!(
                    "{way:?}, {kind}, ranges of {range_bytes}: the origin sent {ratio:.4} times the object, 6 clients took it"
                );
                assert!(ratio <= 1.05, "{way:?}, {kind}: {ratio}");
            }
        }
    }
}
