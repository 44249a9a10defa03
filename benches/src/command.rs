//! `larder-bench side-by-side`: what of it is asked for. The rule: what is not said is what the aims are about.

use crate::kind::Kind;
use crate::place;
use crate::side_by_side::{Comparison, aims, table};
use anyhow::Result;
use std::io::Write;

/// Warm ranges from nginx, Varnish and larder in turns: speed, latency, CPU seconds per GB.
#[derive(clap::Args, Debug)]
pub struct SideBySide {
    /// A short run with a small set: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,
    /// Only 1 MiB ranges, larder against the tuned slice cache.
    #[arg(long)]
    pieces_only: bool,
    /// Ranges that are in nobody's memory, from the disk.
    #[arg(long)]
    cold: bool,
    /// All by TLS (TLS_AES_128_GCM_SHA256), warm ranges of 64 KiB and 1 MiB.
    #[arg(long, conflicts_with_all = ["cold", "pieces_only", "pipeline"])]
    tls: bool,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Without larder: the others alone.
    #[arg(long)]
    without_larder: bool,
}

impl SideBySide {
    /// Compares, and prints table and aims. Good where all aims are reached.
    ///
    /// # Errors
    /// As [`Comparison::run`].
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let compared = self.comparison().run(directory.path())?;
        writeln!(out, "{}", table(&compared.rows))?;
        let mut good = true;
        // What comes by TLS has threads of its own.
        if let Some(on_shard) = compared.on_shard.filter(|_| !self.tls) {
            writeln!(
                out,
                "requests answered on shard threads: {:.2} %",
                on_shard * 100.0
            )?;
            good &= on_shard > 0.99;
        }
        let (lines, reached) = aims(&compared.rows);
        write!(out, "{lines}")?;
        good &= reached;
        if !place::is_inside() {
            writeln!(
                out,
                "NOT COMPARABLE: outside of a network namespace of its own"
            )?;
            good &= !self.tls;
        }
        Ok(good)
    }

    fn comparison(&self) -> Comparison {
        let mut kinds = vec![
            Kind::NginxStatic,
            Kind::NginxSliceLancache,
            Kind::NginxSliceTuned,
            Kind::Varnish,
            Kind::Larder,
            Kind::LarderEpoll,
        ];
        if self.cold {
            kinds = vec![
                Kind::NginxStatic,
                Kind::NginxAio,
                Kind::NginxDirectio,
                Kind::NginxSliceTuned,
                Kind::Larder,
            ];
        }
        if self.pieces_only {
            kinds.retain(|kind| matches!(kind, Kind::NginxSliceTuned | Kind::Larder));
        }
        if self.tls {
            kinds = vec![Kind::NginxStatic, Kind::NginxSliceTuned, Kind::Larder];
        }
        if self.without_larder {
            kinds.retain(|kind| !kind.is_larder());
        }
        let mut range_bytes = match (self.cold, self.pipeline) {
            (true, _) => vec![128 << 10, 1 << 20],
            (false, 1) => vec![4 << 10, 16 << 10, 64 << 10, 1 << 20],
            (false, _) => vec![4 << 10, 16 << 10],
        };
        if self.tls {
            range_bytes = vec![64 << 10, 1 << 20];
        }
        if self.pieces_only {
            range_bytes = vec![1 << 20];
        }
        Comparison {
            kinds,
            content_bytes: match (self.quick, self.cold) {
                (true, false) => 128 << 20,
                (false, true) => 4 << 30,
                _ => 1 << 30,
            },
            cold: self.cold,
            range_bytes,
            connections: self.connections,
            pipeline: self.pipeline,
            rounds: self.rounds.unwrap_or(if self.quick { 2 } else { 5 }),
            seconds: if self.quick { 1.0 } else { 4.0 },
            tls: self.tls,
        }
    }
}
