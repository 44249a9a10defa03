//! Connections that read one stretch after the other until their time is over. The rule: bodies are dropped inside the
//! kernel, every request's time is kept, and which stretches are read follows from a seed.

use crate::crowd::ask;
use crate::latency::Latencies;
use larder::demo::content::File;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Which pieces are wanted how often.
#[derive(Clone, Debug)]
pub enum Taste {
    /// All alike.
    Even,
    /// The nth in some order as often as 1 / n to this power; see [`zipf`].
    Zipf(Arc<[f64]>),
}

/// Connections that read one file.
#[derive(Clone, Debug)]
pub struct Readers {
    /// What is read.
    pub file: Arc<File>,
    /// Which pieces of it.
    pub taste: Taste,
    /// Bytes of each request, at most a piece; it begins with its piece.
    pub bytes: u64,
    /// How many there are.
    pub connections: u64,
}

/// What they saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From each request to its answer's last byte.
    pub latencies: Latencies,
    /// Body bytes.
    pub bytes: u64,
    /// What went wrong, in words.
    pub faults: Vec<String>,
}

/// For [`Taste::Zipf`]: how many of all requests are for one of the first so many of `pieces`.
#[must_use]
pub fn zipf(pieces: u64, power: f64) -> Arc<[f64]> {
    let weights = (1..=pieces).map(|n| (n as f64).powf(-power));
    let mut sum = 0.0;
    let sums: Vec<f64> = weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    sums.iter().map(|up_to| up_to / sum).collect()
}

impl Readers {
    /// Reads for so long; a request that is under way then is finished.
    pub async fn read(&self, server: SocketAddr, duration: Duration) -> Seen {
        let until = Instant::now() + duration;
        let mut running = JoinSet::new();
        for number in 0..self.connections {
            let readers = self.clone();
            running.spawn(async move { readers.connection(server, number, until).await });
        }
        let mut all = Seen::default();
        while let Some(ended) = running.join_next().await {
            let one = ended.unwrap_or_else(|error| Seen {
                faults: vec![format!("a reader's task ended: {error}")],
                ..Seen::default()
            });
            all.latencies.add(&one.latencies);
            all.bytes += one.bytes;
            all.faults.extend(one.faults);
        }
        all
    }

    async fn connection(&self, server: SocketAddr, number: u64, until: Instant) -> Seen {
        let random = Random::new(number);
        let mut seen = Seen::default();
        let mut socket = None;
        while Instant::now() < until {
            let (start, end) = self.file.piece(self.piece(&random));
            let asked = Instant::now();
            match ask(
                server,
                &mut socket,
                &self.file,
                (start, end.min(start + self.bytes)),
            )
            .await
            {
                Ok(bytes) => seen.bytes += bytes,
                Err(error) => {
                    seen.faults.push(error.to_string());
                    return seen;
                }
            }
            seen.latencies.note(asked.elapsed());
        }
        seen
    }

    fn piece(&self, random: &Random) -> u64 {
        let pieces = self.file.pieces();
        match &self.taste {
            Taste::Even => random.next() % pieces,
            Taste::Zipf(up_to) => {
                let at = random.next() as f64 / u64::MAX as f64;
                let rank = up_to.partition_point(|up_to| *up_to < at) as u64;
                // What is wanted most does not lie together: multiplied by a prime that is no factor of the count.
                rank * 1_000_003 % pieces
            }
        }
    }
}

/// All of `files`, piece by piece in order by seven connections, dropped; for so long, where that is said.
///
/// # Errors
/// The server answers anything but what was asked.
pub async fn read_through(
    server: SocketAddr,
    files: &[Arc<File>],
    duration: Option<Duration>,
) -> anyhow::Result<u64> {
    let until = duration.map(|duration| Instant::now() + duration);
    let pieces: Vec<_> = files
        .iter()
        .flat_map(|file| (0..file.pieces()).map(|piece| (Arc::clone(file), piece)))
        .collect();
    let (pieces, next) = (
        Arc::new(pieces),
        Arc::new(std::sync::atomic::AtomicUsize::new(0)),
    );
    let mut running = JoinSet::new();
    for _ in 0..crate::office::CONNECTIONS {
        let (pieces, next) = (Arc::clone(&pieces), Arc::clone(&next));
        running.spawn(async move {
            let (mut socket, mut bytes) = (None, 0);
            while until.is_none_or(|until| Instant::now() < until) {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some((file, piece)) = pieces.get(at) else {
                    break;
                };
                bytes += ask(server, &mut socket, file, file.piece(*piece)).await?;
            }
            Ok::<_, std::io::Error>(bytes)
        });
    }
    let mut bytes = 0;
    while let Some(ended) = running.join_next().await {
        bytes += ended??;
    }
    Ok(bytes)
}

/// SplitMix64.
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0xd6e8_feb8_6659_fd93)))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let a = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::guid_file;

    fn readers(taste: Taste) -> Readers {
        Readers {
            file: Arc::new(guid_file(1, 1000 << 20, 0)),
            taste,
            bytes: 1 << 20,
            connections: 1,
        }
    }

    #[test]
    fn a_few_pieces_are_wanted_most() {
        let random = Random::new(7);
        let counts = |readers: &Readers| {
            let mut counts = vec![0_u32; 1000];
            for _ in 0..100_000 {
                counts[usize::try_from(readers.piece(&random)).expect("a piece")] += 1;
            }
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts
        };
        let even = counts(&readers(Taste::Even));
        assert!(even[0] < 160 && even[999] > 50, "{} {}", even[0], even[999]);
        let zipf = counts(&readers(Taste::Zipf(zipf(1000, 0.9))));
        // By the sum over 1000 of 1 / n^0.9 the first one has 9.6 of 100.
        assert!((9_000..10_300).contains(&zipf[0]), "{}", zipf[0]);
        // And the 501st 36 of 100,000.
        assert!((20..60).contains(&zipf[500]), "{}", zipf[500]);
    }
}
