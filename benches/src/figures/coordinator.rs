//! What a coordinator costs: announces per CPU second and bytes per peer, in memory and over a Redis Cluster. The rule:
//! every announce is a whole call over HTTP with its JSON, and only the CPU time of the server's one thread counts, with
//! that of the Redis nodes told beside it.

use crate::cpu::{Thread, resident_bytes};
use anyhow::{Context, Result, ensure};
use larder_content::ContentId;
use larder_net::clock::Clock;
use larder_net::coordinator::{
    Backend, Coordinator, Memory, Redis, RedisOptions, Server, ServerOptions, ServiceOptions,
};
use larder_proto::tracker::Guid;
use larder_proto::tracker::message::{DownloadMode, JoinRequest};
use larder_proto::tracker::state::Limits;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Callers at once.
const CALLERS: u32 = 16;

/// Peers of one content at one site.
const AT_A_SITE: u32 = 20;

/// Peers of one content.
const OF_A_CONTENT: u32 = 1000;

/// Peers that each asks for.
const WANTED: u16 = 20;

/// Announces per CPU second of a coordinator on one thread, and what a peer costs in memory.
#[derive(clap::Args, Debug)]
pub struct CoordinatorFigure {
    /// Peers, a thousand of each content, twenty of these at each site.
    #[arg(long, default_value_t = 1_000_000)]
    peers: u32,
    /// Announces that are measured, of peers that are there.
    #[arg(long, default_value_t = 200_000)]
    announces: u32,
    /// Keep it all in a Redis Cluster of three masters that is started for it, instead of in memory.
    #[arg(long)]
    redis: bool,
}

/// Three masters on loopback, until this is dropped.
struct Masters {
    nodes: Vec<SocketAddr>,
    children: Vec<Child>,
    _folder: tempfile::TempDir,
}

impl Masters {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut masters = Self {
            nodes: Vec::new(),
            children: Vec::new(),
            _folder: folder,
        };
        for port in [7100_u16, 7101, 7102] {
            let own = masters._folder.path().join(port.to_string());
            std::fs::create_dir(&own)?;
            let child = Command::new("redis-server")
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                ])
                .args(["--appendonly", "no", "--cluster-enabled", "yes", "--dir"])
                .arg(&own)
                .stdout(Stdio::null())
                .spawn()
                .context("redis-server can not be started; install it")?;
            masters.children.push(child);
            masters
                .nodes
                .push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        for node in masters.nodes.clone() {
            masters.until(|| Ok(cli(node, &["ping"])?.trim() == "PONG"))?;
        }
        let nodes: Vec<String> = masters.nodes.iter().map(ToString::to_string).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(nodes.iter().map(String::as_str));
        create.push("--cluster-yes");
        cli(masters.nodes[0], &create)?;
        for node in masters.nodes.clone() {
            masters.until(|| {
                let info = cli(node, &["cluster", "info"])?;
                Ok(info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
            })?;
        }
        Ok(masters)
    }

    fn until(&self, condition: impl Fn() -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        while !condition()? {
            ensure!(
                began.elapsed() < Duration::from_secs(60),
                "Redis does not come up"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cli(node: SocketAddr, args: &[&str]) -> Result<String> {
    let (host, port) = (node.ip().to_string(), node.port().to_string());
    let output = Command::new("redis-cli")
        .args(["-h", &host, "-p", &port])
        .args(args)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A number of what a node tells of itself.
fn told_by<T: FromStr>(node: SocketAddr, name: &str) -> Result<T> {
    let text = cli(node, &["info", "all"])?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.with_context(|| format!("redis-cli tells of no {name}"))
}

fn join(number: u32, wanted: u16) -> JoinRequest {
    let content = number / OF_A_CONTENT;
    let site = number / AT_A_SITE % 65_536;
    let mut id = [0; 32];
    id[..4].copy_from_slice(&content.to_be_bytes());
    let mut peer = [7; 16];
    peer[..4].copy_from_slice(&number.to_be_bytes());
    // As groups, since all come from loopback and are of one site.
    let mut group = [9; 16];
    group[..4].copy_from_slice(&site.to_be_bytes());
    let mut join = JoinRequest::new(ContentId(id), Guid(peer), 7680, DownloadMode::Group);
    join.group_id = Some(Guid(group));
    let [_, a, b, c] = number.to_be_bytes();
    join.reported_ip = vec![IpAddr::from([10, a, b, c])];
    join.peers_wanted = wanted;
    join
}

fn request(number: u32, wanted: u16) -> Result<Vec<u8>> {
    let body = serde_json::to_vec(&join(number, wanted))?;
    let mut request = format!(
        "POST /v1/join HTTP/1.1\r\nHost: coordinator\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    Ok(request)
}

/// One caller, which announces every `CALLERS`th of the numbers, `count` in all.
fn call(
    address: SocketAddr,
    caller: u32,
    peers: u32,
    count: u32,
    wanted: u16,
    stride: u32,
) -> Result<u64> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut told = 0;
    let mut line = String::new();
    let mut body = Vec::new();
    for step in 0..count.div_ceil(CALLERS) {
        let turn = u64::from(step * CALLERS + caller) * u64::from(stride) % u64::from(peers);
        writer.write_all(&request(u32::try_from(turn)?, wanted)?)?;
        let mut length = 0;
        line.clear();
        reader.read_line(&mut line)?;
        ensure!(line.contains(" 200 "), "the coordinator answers {line}");
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        told += u64::try_from(
            body.windows(8)
                .filter(|part| *part == b"\"PeerId\"")
                .count(),
        )?;
    }
    Ok(told)
}

fn all_call(address: SocketAddr, peers: u32, count: u32, wanted: u16, stride: u32) -> Result<u64> {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || call(address, caller, peers, count, wanted, stride)))
            .collect();
        let mut told = 0;
        for caller in callers {
            told += caller
                .join()
                .map_err(|_| anyhow::anyhow!("a caller panicked"))??;
        }
        Ok(told)
    })
}

/// Bytes that all nodes use.
fn used(nodes: &[SocketAddr]) -> Result<u64> {
    nodes
        .iter()
        .map(|node| told_by::<u64>(*node, "used_memory:"))
        .sum()
}

/// CPU seconds that all nodes have used.
fn cpu_of(nodes: &[SocketAddr]) -> Result<f64> {
    let mut seconds = 0.0;
    for node in nodes {
        seconds +=
            told_by::<f64>(*node, "used_cpu_sys:")? + told_by::<f64>(*node, "used_cpu_user:")?;
    }
    Ok(seconds)
}

impl CoordinatorFigure {
    /// Fills a coordinator with peers and measures their announces.
    ///
    /// # Errors
    /// A thread, a port or Redis can not be had.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let options = ServiceOptions {
            limits: Limits {
                peer_ttl: Duration::from_secs(3600),
                peers_max: usize::try_from(self.peers)? + 1,
                ..Limits::default()
            },
            calls_per_minute: 1_000_000_000,
            ..ServiceOptions::default()
        };
        let masters = if self.redis {
            Some(Masters::start()?)
        } else {
            None
        };
        let nodes: &[SocketAddr] = masters.as_ref().map_or(&[], |masters| &masters.nodes);
        let memory = Memory::new(options.limits, 100, 1 << 20);
        let backend = if nodes.is_empty() {
            Backend::Memory(Box::new(memory))
        } else {
            let redis = RedisOptions {
                nodes: nodes.iter().map(ToString::to_string).collect(),
                password: None,
                records_max: 100,
            };
            let redis = Redis::new(&redis, options.limits, memory);
            Backend::Redis(Box::new(redis.map_err(anyhow::Error::msg)?))
        };
        let coordinator = Coordinator::new(options, backend, Clock::start());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (told_thread, thread) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let of_server = coordinator.clone();
        let server = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::start(
                    of_server,
                    vec![listener],
                    Vec::new(),
                    None,
                    ServerOptions::default(),
                )?;
                told_thread.send(Thread::current()?)?;
                let _ = stopped.await;
                server.stop(Duration::from_secs(1)).await;
                Ok(())
            })
        });
        let thread = thread.recv()?;
        // What a first connection and the client of Redis take is not the peers'.
        all_call(address, 1, CALLERS, 0, 1)?;
        let resident = resident_bytes(std::process::id());
        let in_redis = used(nodes)?;
        all_call(address, self.peers, self.peers, 0, 1)?;
        let more = resident_bytes(std::process::id()).saturating_sub(resident);
        let more_in_redis = used(nodes)?.saturating_sub(in_redis);
        let peers = f64::from(self.peers);
        let (cpu, redis_cpu) = (thread.seconds()?, cpu_of(nodes)?);
        // A stride that shares no factor with the number of peers visits all of them in no order.
        let told = all_call(address, self.peers, self.announces, WANTED, 7_368_787)?;
        let seconds = thread.seconds()? - cpu;
        let announces = f64::from(self.announces.div_ceil(CALLERS) * CALLERS);
        if nodes.is_empty() {
            ensure!(
                coordinator.counts().0 >= usize::try_from(self.peers)?,
                "peers were lost"
            );
            writeln!(
                out,
                "in memory, {} peers: {:.0} bytes a peer",
                self.peers,
                more as f64 / peers
            )?;
        } else {
            writeln!(
                out,
                "over Redis, {} peers: {:.0} bytes a peer in Redis, {:.0} in the coordinator; {:.2} CPU seconds of Redis \
                 nodes per 100,000 announces",
                self.peers,
                more_in_redis as f64 / peers,
                more as f64 / peers,
                (cpu_of(nodes)? - redis_cpu) / announces * 1e5,
            )?;
        }
        writeln!(
            out,
            "{:.0} announces per CPU second of the coordinator's thread, {:.1} peers told to each",
            announces / seconds,
            told as f64 / announces
        )?;
        let _ = stop.send(());
        server
            .join()
            .map_err(|_| anyhow::anyhow!("the server panicked"))??;
        Ok(true)
    }
}
