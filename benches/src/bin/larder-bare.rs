//! `larder-bare`: a server of ranges with nothing around it, for comparisons. The rule: it runs until it is killed.
#![forbid(unsafe_code)]

use clap::Parser;
use larder_benches::bare;
use larder_benches::kind::Kind;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves ranges of one file, whatever path is asked for.
#[derive(Parser, Debug)]
struct Args {
    /// How: `loopback` or `tokio-uring`.
    #[arg(long, value_parser = Kind::by_name)]
    kind: Kind,
    /// Where it listens.
    #[arg(long)]
    address: SocketAddr,
    /// The file.
    #[arg(long)]
    file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.kind {
        Kind::Loopback => bare::loopback(args.address, &args.file),
        Kind::TokioUring => bare::tokio_uring(args.address, &args.file),
        other => anyhow::bail!("{} is a program of its own", other.name()),
    }
}
