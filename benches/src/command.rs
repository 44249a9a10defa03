//! `larder-bench side-by-side`: what of it is asked for. The rule: what is not said is what the aims are about.

use crate::aims::{MANY, Work, aims, pipelined};
use crate::kind::Kind;
use crate::place;
use crate::side_by_side::{Comparison, Part};
use crate::table::table;
use anyhow::{Result, ensure};
use std::io::Write;

/// Ranges from nginx, Varnish and larder in turns: speed, latency, CPU seconds per GB.
#[derive(clap::Args, Debug)]
pub struct SideBySide {
    /// A short run with a small set: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,
    /// Ranges that are in nobody's memory, from the disk.
    #[arg(long)]
    cold: bool,
    /// All by TLS (TLS_AES_128_GCM_SHA256), warm ranges of 64 KiB and 1 MiB.
    #[arg(long, conflicts_with = "cold")]
    tls: bool,
    /// Only ranges of so many KiB (several: with commas).
    #[arg(long, value_delimiter = ',')]
    range_kib: Vec<u64>,
    /// Only what has so many requests under way on each connection (several: with commas).
    #[arg(long, value_delimiter = ',')]
    pipeline: Vec<usize>,
    /// Only what has so many connections (several: with commas).
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// These servers (with commas) at all of it, instead of those that the aims name.
    #[arg(long, value_delimiter = ',', value_parser = Kind::by_name)]
    servers: Vec<Kind>,
    /// Rounds: 5, or 2 with --quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each is measured in each round.
    #[arg(long)]
    seconds: Option<f64>,
}

impl SideBySide {
    /// Compares, and prints table and aims. Good where all aims are reached.
    ///
    /// # Errors
    /// As [`Comparison::run`], or nothing is left to compare.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let comparison = self.comparison();
        ensure!(
            !comparison.parts.is_empty(),
            "nothing has that size, pipeline and number of connections"
        );
        writeln!(out, "{}", place::machine())?;
        writeln!(
            out,
            "{} rounds of {} s each, {} MiB\n",
            comparison.rounds,
            comparison.seconds,
            comparison.content_bytes >> 20
        )?;
        out.flush()?;
        let directory = tempfile::tempdir()?;
        let compared = comparison.run(directory.path())?;
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
        for complaint in &compared.complaints {
            writeln!(out, "{complaint}")?;
            good = false;
        }
        if !place::is_inside() {
            writeln!(
                out,
                "NOT COMPARABLE: outside of a network namespace of its own"
            )?;
            good = false;
        }
        Ok(good)
    }

    fn comparison(&self) -> Comparison {
        let chosen = |work: &Work| {
            let any = |wanted: &[usize], is: usize| wanted.is_empty() || wanted.contains(&is);
            (self.range_kib.is_empty() || self.range_kib.contains(&(work.range_bytes >> 10)))
                && any(&self.pipeline, work.pipeline)
                && any(&self.connections, work.connections)
        };
        let mut parts = self.all();
        parts.retain(|part| chosen(&part.work));
        if !self.servers.is_empty() {
            for part in &mut parts {
                part.kinds.clone_from(&self.servers);
            }
        }
        Comparison {
            parts,
            content_bytes: match (self.quick, self.cold) {
                (true, false) => 128 << 20,
                (false, true) => 4 << 30,
                _ => 1 << 30,
            },
            rounds: self.rounds.unwrap_or(if self.quick { 2 } else { 5 }),
            warm_up_seconds: if self.quick || self.cold { 0.2 } else { 0.4 },
            seconds: self.seconds.unwrap_or(match (self.quick, self.cold) {
                // So short that the ranges last, of which none is asked for twice.
                (true, true) => 0.2,
                (true, false) => 0.5,
                (false, true) => 1.3,
                (false, false) => 2.5,
            }),
        }
    }

    /// All that the aims are about, with the servers that they name.
    fn all(&self) -> Vec<Part> {
        let part = |work, kinds: &[Kind]| Part {
            work,
            kinds: kinds.to_vec(),
        };
        if self.cold {
            let small = [Kind::NginxStatic, Kind::NginxAio, Kind::Fio, Kind::Larder];
            // nginx reads a range past the page cache where it fills an output buffer, and those are of 1 MiB.
            let whole = [
                Kind::NginxStatic,
                Kind::NginxDirectio,
                Kind::NginxSliceTuned,
                Kind::Fio,
                Kind::Larder,
            ];
            let cold = |kib| Work {
                cold: true,
                ..Work::warm(kib)
            };
            return vec![part(cold(128), &small), part(cold(1024), &whole)];
        }
        if self.tls {
            let kinds = [Kind::NginxStatic, Kind::NginxSliceTuned, Kind::Larder];
            let tls = |kib| Work {
                tls: true,
                ..Work::warm(kib)
            };
            return [64, 1024].map(|kib| part(tls(kib), &kinds)).into();
        }
        let kinds = [
            Kind::NginxStatic,
            Kind::NginxSliceLancache,
            Kind::NginxSliceTuned,
            Kind::Varnish,
            Kind::Larder,
            Kind::LarderEpoll,
            Kind::Loopback,
        ];
        let two = [Kind::NginxStatic, Kind::Larder];
        let ranges = kinds.len() - 1;
        vec![
            part(Work::warm(4), &kinds[..ranges]),
            part(Work::warm(16), &kinds[..ranges]),
            part(Work::warm(64), &kinds[..ranges]),
            part(Work::warm(1024), &kinds),
            part(pipelined(4), &two),
            part(pipelined(16), &two),
            part(MANY, &two),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aims::AIMS;
    use clap::Parser;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: SideBySide,
    }

    fn comparison(line: &str) -> Comparison {
        let words = std::iter::once("it").chain(line.split_whitespace());
        Whole::try_parse_from(words)
            .expect("a command")
            .args
            .comparison()
    }

    #[test]
    fn every_aim_is_measured_by_a_command() {
        let parts: Vec<Part> = ["", "--cold", "--tls"]
            .into_iter()
            .flat_map(|line| comparison(line).parts)
            .collect();
        for aim in AIMS {
            let of = parts.iter().filter(|part| part.work == aim.work);
            let kinds: Vec<Kind> = of.flat_map(|part| part.kinds.clone()).collect();
            assert!(
                kinds.contains(&aim.of) && kinds.contains(&aim.against),
                "{aim:?}"
            );
        }
    }

    #[test]
    fn a_part_can_be_chosen() {
        let chosen = comparison("--range-kib 1024 --connections 512 --servers larder,fio");
        assert_eq!(chosen.parts.len(), 1);
        assert_eq!(chosen.parts[0].work, MANY);
        assert_eq!(chosen.parts[0].kinds, [Kind::Larder, Kind::Fio]);
        assert_eq!(comparison("--pipeline 8 --range-kib 4,16").parts.len(), 2);
        assert!(comparison("--range-kib 5").parts.is_empty());
    }
}
