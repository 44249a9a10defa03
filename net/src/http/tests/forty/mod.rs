//! The forty cases that a cache must get right (facts: reliability, section 2), three ways: shards with the ring
//! driver, shards with the epoll driver, and the service that connections are handed over to. Each is tried with a URL
//! that names its content and with one that does not. The rule: every answer is checked to its last byte, and after
//! each the connection must be in step.

mod conditions;
mod liars;
mod meetings;
mod ranges;
mod stored;

use super::branch::{Branch, Way};
use super::raw::{Client, Got};
use super::version::Version;
use crate::download::tests::script::{Asked, Step};
use crate::settings::Settings;
use larder_storage::store::StoreOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle};

/// A case: its number, what it is about, and how it is tried.
type Case = (u32, &'static str, fn(&Trial<'_>));

const CASES: [Case; 40] = [
    (1, "single ranges", ranges::single),
    (2, "a last byte beyond the end", ranges::clamped),
    (3, "suffixes", ranges::suffixes),
    (4, "a suffix of nothing", ranges::empty_suffix),
    (5, "a first byte beyond the end", ranges::beyond_the_end),
    (6, "sets that are malformed", ranges::malformed),
    (7, "units", ranges::units),
    (8, "numbers of any size", ranges::huge_numbers),
    (9, "two ranges", ranges::two),
    (10, "one that can be satisfied, one not", ranges::one_of_two),
    (11, "many, overlapping, descending", ranges::many),
    (12, "a range of nothing", ranges::of_an_empty_object),
    (13, "HEAD", ranges::head),
    (14, "POST and PUT", ranges::with_other_methods),
    (
        15,
        "If-Range with a strong tag",
        conditions::if_range_strong,
    ),
    (16, "If-Range with a weak tag", conditions::if_range_weak),
    (17, "If-Range with a date", conditions::if_range_date),
    (18, "preconditions in their order", conditions::in_order),
    (19, "a range of what is stored", stored::complete),
    (20, "gaps in any order", stored::gaps),
    (21, "200 to a range", liars::ignores_ranges),
    (22, "206 that lies", liars::lies),
    (23, "another version midway", liars::changes),
    (24, "a body that is cut", liars::truncates),
    (25, "a body that is too long", liars::says_too_much),
    (26, "chunks without a length", liars::knows_no_length),
    (27, "an encoding that nobody asked for", liars::encodes),
    (28, "Vary", stored::varying),
    (
        29,
        "304 to what is partly stored",
        stored::confirmed_in_part,
    ),
    (30, "slow, stalled, 5xx, reset", liars::in_trouble),
    (31, "stale and its origin is in trouble", stored::stale),
    (32, "a thousand at once", meetings::thousand),
    (33, "a slow reader", meetings::slow_reader),
    (34, "a client that leaves", meetings::leaver),
    (35, "evicted while it is sent", meetings::evicted),
    (36, "redirects and errors", liars::redirects),
    (37, "names of one object", stored::names),
    (38, "sizes and offsets", ranges::sizes),
    (39, "keep-alive after everything", meetings::keep_alive),
    (40, "one content by two URLs", stored::two_urls),
];

/// What a case works with.
struct Trial<'r> {
    way: Way,
    /// Its URLs name their content.
    fixed: bool,
    runtime: &'r Handle,
    served: &'r (AtomicU64, AtomicU64),
}

impl Trial<'_> {
    fn path(&self, name: &str) -> String {
        let folder = if self.fixed { "/fixed" } else { "/may-change" };
        format!("{folder}/{name}")
    }

    /// A branch office whose origin serves one version well, whatever it is asked for.
    fn of(&self, version: &Version) -> Office<'_> {
        let version = version.clone();
        self.with(move |asked| vec![Step::Send(version.answer(asked))])
    }

    fn with(&self, script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Office<'_> {
        self.limited(script, |_| {}, |_| {})
    }

    fn limited(
        &self,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
        limit: impl FnOnce(&mut StoreOptions),
        change: impl FnOnce(&mut Settings),
    ) -> Office<'_> {
        let branch = Branch::with(self.way, script, limit, change);
        Office {
            branch: self.runtime.block_on(branch),
            trial: self,
        }
    }
}

/// A branch office that counts who answered, when it closes.
struct Office<'t> {
    branch: Branch,
    trial: &'t Trial<'t>,
}

impl std::ops::Deref for Office<'_> {
    type Target = Branch;

    fn deref(&self) -> &Branch {
        &self.branch
    }
}

impl Drop for Office<'_> {
    fn drop(&mut self) {
        let (on_shard, handed_over) = self.branch.served();
        let (shards, service) = self.trial.served;
        shards.fetch_add(on_shard, Ordering::SeqCst);
        service.fetch_add(handed_over, Ordering::SeqCst);
    }
}

/// What an answer must be.
#[derive(Clone, Copy, Debug)]
enum Want<'w> {
    /// 200 and all of it.
    Whole,
    /// 206 with the bytes from the first to the last.
    Part(u64, u64),
    /// 206 with these parts.
    Parts(&'w [(u64, u64)]),
    /// 416, and how long it is.
    Beyond,
    /// Just this status.
    Status(u16),
}

/// Asks and checks the answer, then whether the connection is in step.
fn check(client: &mut Client, path: &str, more: &str, version: &Version, want: Want<'_>) -> Got {
    let got = client.get(path, more);
    check_got(&got, version, want, &format!("{path} {more:?}"));
    in_step(client);
    got
}

/// Case 39: what follows on the connection is an answer.
fn in_step(client: &mut Client) {
    assert_eq!(client.elsewhere("").status, 403, "39: the next answer");
}

fn check_got(got: &Got, version: &Version, want: Want<'_>, what: &str) {
    let n = version.length;
    let (status, range, body) = match want {
        Want::Whole => (200, None, Some(version.whole())),
        Want::Part(first, last) => (
            206,
            Some(format!("bytes {first}-{last}/{n}")),
            Some(version.bytes(first..last + 1)),
        ),
        Want::Parts(parts) => (206, None, Some(multipart(got, version, parts))),
        Want::Beyond => (416, Some(format!("bytes */{n}")), None),
        Want::Status(status) => (status, None, None),
    };
    assert_eq!(got.status, status, "{what}");
    let said = got.header("Content-Range");
    if !matches!(want, Want::Status(_)) {
        assert_eq!(said, range.as_deref(), "{what}");
    }
    if let Some(body) = body {
        let length = body.len().to_string();
        let said = got.header("Content-Length");
        assert_eq!(said, Some(length.as_str()), "{what}: its length");
        assert!(got.body == body, "{what}: wrong bytes");
        assert_eq!(got.header("Accept-Ranges"), Some("bytes"), "{what}");
        assert_eq!(got.header("ETag"), version.header("etag"), "{what}");
    } else {
        assert!(got.body.len() < 300, "{what}: a body");
    }
}

/// The body that a 206 with these parts has.
fn multipart(got: &Got, version: &Version, parts: &[(u64, u64)]) -> Vec<u8> {
    let kind = got.header("Content-Type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("the type of parts");
    let mut body = Vec::new();
    for (first, last) in parts {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/x-cab\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            version.length
        );
        let bytes = version.bytes(*first..last + 1);
        let mut lines = bytes.windows(boundary.len());
        assert!(
            !lines.any(|some| some == boundary.as_bytes()),
            "in the data"
        );
        body.extend(head.into_bytes());
        body.extend(bytes);
    }
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    body
}

fn range(set: &str) -> String {
    format!("Range: bytes={set}\r\n")
}

/// Tries all cases one way, some at a time, and says how many there were.
fn try_all(way: Way) {
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let only: Option<u32> = std::env::var("LARDER_CASE")
        .ok()
        .and_then(|n| n.parse().ok());
    let trials: Vec<_> = CASES
        .iter()
        .flat_map(|case| [(case, true), (case, false)])
        .filter(|((number, ..), _)| only.is_none_or(|only| only == *number))
        .collect();
    let next = AtomicUsize::new(0);
    let served = Default::default();
    let mismatches = AtomicUsize::new(0);
    let work = || {
        while let Some(((number, what, run), fixed)) =
            trials.get(next.fetch_add(1, Ordering::SeqCst))
        {
            let trial = Trial {
                way,
                fixed: *fixed,
                runtime: runtime.handle(),
                served: &served,
            };
            if catch_unwind(AssertUnwindSafe(|| run(&trial))).is_err() {
                let kind = if *fixed { "immutable" } else { "mutable" };
                eprintln!("{way:?}: case {number} is wrong: {what}, {kind}");
                mismatches.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let wrong = mismatches.into_inner();
    let (shards, service) = served;
    let (shards, service) = (shards.into_inner(), service.into_inner());
    eprintln!(
        "{way:?}: cases tried {}, mismatches {wrong} (answers by shards {shards}, by the service {service})",
        trials.len()
    );
    assert_eq!(wrong, 0, "see above");
    match way {
        Way::Service => assert_eq!(shards, 0, "everything is handed over"),
        _ => assert!(only.is_some() || shards > service, "shards serve"),
    }
}

#[test]
fn by_shards_with_the_ring_driver() {
    try_all(Way::Ring);
}

#[test]
fn by_shards_with_the_epoll_driver() {
    try_all(Way::Epoll);
}

#[test]
fn by_the_service() {
    try_all(Way::Service);
}
