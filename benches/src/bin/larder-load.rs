//! `larder-load`: puts load on a web server that has a made-up object, and says how it did. The rule: one JSON object
//! on standard output, whatever else happens on standard error.
#![forbid(unsafe_code)]

use clap::Parser;
use larder::demo::content::File;
use larder_benches::load::{Load, Order, Watch};
use larder_benches::secure;
use larder_content::ContentId;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Puts load on a web server: random aligned ranges of one made-up object over keep-alive connections.
#[derive(Parser, Debug)]
struct Args {
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// The path of the object.
    #[arg(long)]
    path: String,
    /// What stands in the Host field.
    #[arg(long)]
    host: String,
    /// The object's length.
    #[arg(long)]
    size: u64,
    /// What the object's bytes follow from.
    #[arg(long)]
    seed: u64,
    /// Bytes of each range.
    #[arg(long, default_value_t = 1 << 20)]
    range_bytes: u64,
    /// Ask for every range once, in order, and end then.
    #[arg(long)]
    once: bool,
    /// Ask for no range twice.
    #[arg(long, conflicts_with = "once")]
    no_repeats: bool,
    /// Connections at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests that each connection has under way.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Seconds that it runs before it is measured.
    #[arg(long, default_value_t = 0.5)]
    warm_up_seconds: f64,
    /// Seconds that it is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// One answer in so many of a connection is read and compared; 0: none.
    #[arg(long, default_value_t = 256)]
    compare_every: u64,
    /// Ask as a peer of this swarm (`DO-..`), by blocks instead of ranges.
    #[arg(long, conflicts_with = "tls")]
    swarm: Option<ContentId>,
    /// Speak TLS, and trust this certificate (PEM).
    #[arg(long)]
    tls: Option<std::path::PathBuf>,
    /// Measure the work of this core meanwhile.
    #[arg(long, requires = "watch_group")]
    watch_core: Option<usize>,
    /// Measure the work of this process group meanwhile.
    #[arg(long, requires = "watch_core")]
    watch_group: Option<u32>,
    /// The core that this program runs on, to see who else does.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    anyhow::ensure!(
        args.range_bytes > 0 && args.range_bytes <= args.size && args.pipeline > 0,
        "a range has at least one byte and at most the object's, and at least one request is under way"
    );
    let load = Load {
        address: args.address,
        file: File {
            title: "the object",
            hosts: vec![args.host.clone()],
            path: args.path,
            signed: false,
            len: args.size,
            seed: args.seed,
            foreign: true,
        },
        host: args.host,
        range_bytes: args.range_bytes,
        order: match (args.once, args.no_repeats) {
            (true, _) => Order::Once,
            (_, true) => Order::Shuffled,
            _ => Order::Random,
        },
        connections: args.connections,
        pipeline: args.pipeline,
        warm_up: Duration::from_secs_f64(args.warm_up_seconds),
        duration: Duration::from_secs_f64(args.seconds),
        compare_every: args.compare_every,
        swarm: args.swarm,
        tls: args.tls.as_deref().map(secure::client).transpose()?,
        watch: args
            .watch_core
            .zip(args.watch_group)
            .map(|(core, group)| Watch {
                core,
                group,
                client_core: args.client_core,
            }),
    };
    let outcome = load.run()?;
    let report = serde_json::json!({
        "bytes": outcome.bytes,
        "requests": outcome.requests,
        "compared": outcome.compared,
        "seconds": outcome.seconds,
        "p50_ms": outcome.latencies.percentile_ms(50),
        "p99_ms": outcome.latencies.percentile_ms(99),
        "max_ms": outcome.latencies.percentile_ms(100),
        "fairness": outcome.fairness(),
        "slowest_share": outcome.slowest_share(),
        "core_seconds": outcome.core_seconds,
        "process_seconds": outcome.process_seconds,
        "disk_bytes": outcome.disk_bytes,
        "others_seconds": outcome.others_seconds,
        "client_seconds": outcome.client_seconds,
        "faults": outcome.faults.len(),
    });
    writeln!(std::io::stdout(), "{report}")?;
    for fault in outcome.faults.iter().take(5) {
        eprintln!("larder-load: {fault}");
    }
    Ok(if outcome.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
