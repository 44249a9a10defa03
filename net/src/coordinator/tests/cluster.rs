//! The same over a real Redis Cluster of three masters on loopback, and what becomes of it when one is killed, when all
//! are, and when one of two coordinators is.

use super::*;
use crate::coordinator::{BackendError, Redis, RedisOptions};
use larder_proto::tracker::member::Joining;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A cluster that ends with its test. One master less does not stop the others: its slots are away, and no more.
pub(super) struct RedisCluster {
    masters: Vec<Child>,
    nodes: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

/// Whether Redis is there. Where it is not, the test says so and must end; in CI it fails.
pub(super) fn have_redis() -> bool {
    let there = ["redis-server", "redis-cli"].iter().all(|program| {
        ["/usr/bin", "/usr/local/bin"]
            .iter()
            .any(|d| Path::new(d).join(program).is_file())
    });
    if !there {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI=true, and Redis is not installed"
        );
        let _ = writeln!(
            std::io::stderr().lock(),
            "\n!! SKIPPED: redis-server is not installed\n"
        );
    }
    there
}

/// A free port whose cluster bus, 10000 above, is free too. Both lie below those that the kernel gives out.
fn port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        let process = u16::try_from(std::process::id() % 600).expect("small");
        let port = 12_000 + (process * 16 + number) % 10_000;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

fn cli(node: SocketAddr, args: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", &node.ip().to_string(), "-p", &node.port().to_string()])
        .args(args)
        .output();
    String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it never came true: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl RedisCluster {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut masters = Vec::new();
        let mut nodes = Vec::new();
        for port in [port(), port(), port()] {
            let own = folder.path().join(port.to_string());
            std::fs::create_dir(&own).expect("a folder");
            let log = File::create(own.join("log")).expect("a log");
            let master = Command::new("redis-server")
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                ])
                .args([
                    "--appendonly",
                    "no",
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "10000",
                ])
                .args(["--cluster-require-full-coverage", "no", "--dir"])
                .arg(&own)
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a log"))
                .stderr(log)
                .spawn()
                .expect("redis-server runs");
            masters.push(master);
            nodes.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        let cluster = Self {
            masters,
            nodes,
            _folder: folder,
        };
        for node in &cluster.nodes {
            eventually("a master answers", || {
                cli(*node, &["ping"]).trim() == "PONG"
            });
        }
        let nodes: Vec<String> = cluster.nodes.iter().map(ToString::to_string).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(nodes.iter().map(String::as_str));
        create.push("--cluster-yes");
        cli(cluster.nodes[0], &create);
        for node in &cluster.nodes {
            let whole = || {
                let info = cli(*node, &["cluster", "info"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains("cluster_known_nodes:3")
            };
            eventually("the cluster is whole", whole);
        }
        cluster
    }

    pub(super) fn backend(&self, options: &ServiceOptions) -> Backend {
        let redis = RedisOptions {
            nodes: self.nodes.iter().map(ToString::to_string).collect(),
            password: None,
            records_max: 100,
        };
        let near = Memory::new(options.limits, 100, 1 << 20);
        let redis = Redis::new(&redis, options.limits, near).expect("good names");
        Backend::Redis(Box::new(redis))
    }

    fn kill(&mut self, which: usize) {
        let _ = self.masters[which].kill();
        let _ = self.masters[which].wait();
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for which in 0..self.masters.len() {
            self.kill(which);
        }
    }
}

#[tokio::test]
async fn in_redis_all_of_it_holds() {
    if !have_redis() {
        return;
    }
    let cluster = RedisCluster::start();
    super::behaviour::all(async |options: &ServiceOptions| cluster.backend(options)).await;
}

/// Ten peers of one content join by turns, half of them here and half of them there; what the last is told.
async fn crowd(here: &Coordinator, there: &Coordinator, content: ContentId) -> BTreeSet<u8> {
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        for number in 1..=10 {
            let coordinator = if number % 2 == 0 { here } else { there };
            let join = join(content, number, DownloadMode::Lan);
            let answer = coordinator.join(&from(1), &join).await.expect("answered");
            told = answer.peers.iter().map(|peer| peer.peer_id.0[0]).collect();
        }
    }
    told
}

#[tokio::test]
async fn two_coordinators_are_one_and_a_lost_master_stops_nobody() {
    if !have_redis() {
        return;
    }
    let mut cluster = RedisCluster::start();
    let with = |cluster: &RedisCluster| {
        let options = ServiceOptions::default();
        let backend = cluster.backend(&options);
        Coordinator::new(options, backend, Clock::start())
    };
    let (here, there) = (with(&cluster), with(&cluster));
    // The same in every run: names drawn by chance may all be those of the masters that stay.
    let contents: Vec<ContentId> = (0..12).map(|number| ContentId([number; 32])).collect();
    for content in &contents {
        assert_eq!(crowd(&here, &there, *content).await, (1..=9).collect());
    }
    assert_eq!(here.counts().0, 0, "nothing had to be kept here");
    // One of them is killed: those who were told by it ask the other, and are told the same.
    drop(there);
    for content in &contents {
        let asker = join(*content, 1, DownloadMode::Lan);
        let answer = here.join(&from(1), &asker).await.expect("answered");
        assert_eq!(answer.peers.len(), 9);
    }
    let there = with(&cluster);
    cluster.kill(1);
    // Two thirds of the contents are where they were; of the others each coordinator knows those who call it.
    let (mut whole, mut halves) = (0, 0);
    for content in &contents {
        let told = crowd(&here, &there, *content).await;
        if told == (1..=9).collect() {
            whole += 1;
        } else {
            assert_eq!(told, [2, 4, 6, 8].into());
            halves += 1;
        }
    }
    assert!(
        whole >= 3 && halves >= 3,
        "{whole} whole, {halves} in halves"
    );
    for which in [0, 2] {
        cluster.kill(which);
    }
    for content in &contents {
        assert_eq!(crowd(&here, &there, *content).await, [2, 4, 6, 8].into());
    }
}

/// Redis comes back, empty: from the next heartbeats on all is as before.
#[tokio::test]
async fn what_redis_lost_comes_back_with_the_heartbeats() {
    if !have_redis() {
        return;
    }
    let cluster = RedisCluster::start();
    let options = ServiceOptions::default();
    let here = Coordinator::new(options.clone(), cluster.backend(&options), Clock::start());
    let there = Coordinator::new(options.clone(), cluster.backend(&options), Clock::start());
    let id = content();
    assert_eq!(crowd(&here, &there, id).await, (1..=9).collect());
    for node in &cluster.nodes {
        cli(*node, &["flushall"]);
        cli(*node, &["script", "flush"]);
    }
    assert_eq!(crowd(&here, &there, id).await, (1..=9).collect());
}

/// Where nothing listens, a call is answered all the same, and soon.
#[tokio::test]
async fn without_any_redis_peers_meet_in_memory() {
    let options = ServiceOptions::default();
    let redis = RedisOptions {
        nodes: vec![format!("127.0.0.1:{}", port())],
        password: None,
        records_max: 100,
    };
    let near = Memory::new(options.limits, 100, 1 << 20);
    let redis = Redis::new(&redis, options.limits, near).expect("good names");
    let joining = Joining::of(
        &join(content(), 1, DownloadMode::Lan),
        from(1).seen,
        &options.sites,
    );
    let now = larder_proto::Time::default();
    assert_eq!(redis.join(&joining, now).await.expect("answered"), []);
    let mut record = larder_proto::tracker::message::PublishRequest::new(
        larder_content::Phf::new(1, vec![[1; 32]]).expect("one piece"),
        larder_proto::tracker::message::Trust::Verified,
    );
    record.expire_at = None;
    let record = larder_proto::tracker::records::Record::of(
        record,
        "vendor",
        larder_proto::tracker::records::Audience::All,
        Vec::new(),
        0,
        100,
    );
    let refused = redis.publish(record, 0, now).await;
    assert!(matches!(refused, Err(BackendError::Away(_))), "{refused:?}");
}
