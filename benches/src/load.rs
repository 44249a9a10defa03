//! Load: connections that ask for random aligned ranges as fast as they are answered. The rule: it costs as little as
//! a client can, so bodies are dropped inside the kernel; only a sample is read and compared.

use crate::latency::Latencies;
use crate::secure::Stream;
use larder::demo::content::File as MadeUp;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 8 << 10;

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The object; its bytes are known from its seed.
    pub file: MadeUp,
    /// What stands in the `Host` field.
    pub host: String,
    /// Bytes of each range; they begin at multiples of it.
    pub range_bytes: u64,
    /// Connections at once.
    pub connections: usize,
    /// Requests that each connection has under way.
    pub pipeline: usize,
    /// How long.
    pub duration: Duration,
    /// One answer in so many is read and compared; 0: none.
    pub compare_every: u64,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Body bytes received.
    pub bytes: u64,
    /// Answers received.
    pub requests: u64,
    /// Answers that were read and compared.
    pub compared: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// From each request to its answer's last byte.
    pub latencies: Latencies,
    /// Answers of each connection.
    pub of_each: Vec<u64>,
    /// What went wrong, in words.
    pub faults: Vec<String>,
}

impl Outcome {
    /// 1 where all connections got the same, near 0 where one got all (Jain, Chiu and Hawe).
    #[must_use]
    pub fn fairness(&self) -> f64 {
        let n = self.of_each.len().max(1) as f64;
        let sum: f64 = self.of_each.iter().map(|count| *count as f64).sum();
        let squares: f64 = self
            .of_each
            .iter()
            .map(|count| (*count as f64).powi(2))
            .sum();
        if squares == 0.0 {
            0.0
        } else {
            sum * sum / (n * squares)
        }
    }
}

impl Load {
    /// Runs it on this thread.
    ///
    /// # Errors
    /// There is no runtime to be had.
    pub fn run(&self) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.all())
    }

    async fn all(&self) -> io::Result<Outcome> {
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for number in 0..self.connections {
            let connection = Connection {
                load: self.clone(),
                stop: Arc::clone(&stop),
                random: number as u64 + 1,
                buffer: vec![0; HEAD_BYTES_MAX + 1],
                have: 0,
                used: 0,
                outcome: Outcome::default(),
            };
            running.spawn(connection.run());
        }
        tokio::time::sleep(self.duration).await;
        stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        while let Some(ended) = running.join_next().await {
            let one = ended.map_err(io::Error::other)?;
            all.bytes += one.bytes;
            all.requests += one.requests;
            all.compared += one.compared;
            all.of_each.push(one.requests);
            all.latencies.add(one.latencies);
            all.faults.extend(one.faults);
        }
        all.seconds = started.elapsed().as_secs_f64();
        Ok(all)
    }
}

struct Connection {
    load: Load,
    stop: Arc<AtomicBool>,
    random: u64,
    buffer: Vec<u8>,
    have: usize,
    used: usize,
    outcome: Outcome,
}

impl Connection {
    async fn run(mut self) -> Outcome {
        if let Err(error) = self.requests().await {
            self.outcome.faults.push(error.to_string());
        }
        self.outcome
    }

    async fn requests(&mut self) -> io::Result<()> {
        let socket = TcpStream::connect(self.load.address).await?;
        socket.set_nodelay(true)?;
        let mut stream = Stream::over(socket, self.load.tls.as_ref()).await?;
        let mut under_way = std::collections::VecDeque::new();
        loop {
            let mut heads = String::new();
            while under_way.len() < self.load.pipeline && !self.stop.load(Ordering::Relaxed) {
                let (start, end) = self.next_range();
                heads.push_str(&format!(
                    "GET {} HTTP/1.1\r\nHost: {}\r\nRange: bytes={start}-{}\r\n\r\n",
                    self.load.file.path,
                    self.load.host,
                    end - 1
                ));
                under_way.push_back((start, end, Instant::now()));
            }
            stream.send(heads.as_bytes()).await?;
            let Some((start, end, asked)) = under_way.pop_front() else {
                return Ok(());
            };
            self.answer(&mut stream, start, end).await?;
            self.outcome.latencies.note(asked.elapsed());
            self.outcome.requests += 1;
            self.outcome.bytes += end - start;
        }
    }

    fn next_range(&mut self) -> (u64, u64) {
        // Xorshift: the order matters to nobody, only that it jumps.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let ranges = self.load.file.len / self.load.range_bytes;
        let start = self.random % ranges * self.load.range_bytes;
        (start, start + self.load.range_bytes)
    }

    async fn answer(&mut self, stream: &mut Stream, start: u64, end: u64) -> io::Result<()> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let head_end = loop {
            let fresh = &self.buffer[self.used..self.have];
            if let Some(at) = fresh.windows(4).position(|w| w == b"\r\n\r\n") {
                break self.used + at + 4;
            }
            self.buffer.copy_within(self.used..self.have, 0);
            self.have -= self.used;
            self.used = 0;
            let n = stream
                .read(&mut self.buffer[self.have..HEAD_BYTES_MAX])
                .await?;
            if n == 0 {
                return Err(wrong("the server closed the connection".to_owned()));
            }
            self.have += n;
        };
        let head = String::from_utf8_lossy(&self.buffer[self.used..head_end]).to_ascii_lowercase();
        self.used = head_end;
        let length = format!("\r\ncontent-length: {}\r\n", end - start);
        if !head.starts_with("http/1.1 206 ") || !head.contains(&length) {
            return Err(wrong(format!("not the asked range: {head:?}")));
        }
        let every = self.load.compare_every;
        let compare = every > 0 && self.outcome.requests.is_multiple_of(every);
        let mut at = start;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            if self.used == self.have && !compare {
                let forgotten = stream.forget(left).await?;
                if forgotten == 0 {
                    return Err(wrong(format!("cut at byte {at}")));
                }
                at += forgotten as u64;
                continue;
            }
            if self.used == self.have {
                self.used = 0;
                let room = left.min(HEAD_BYTES_MAX);
                self.have = stream.read(&mut self.buffer[..room]).await?;
                if self.have == 0 {
                    return Err(wrong(format!("cut at byte {at}")));
                }
            }
            let n = left.min(self.have - self.used);
            let bytes = &self.buffer[self.used..self.used + n];
            if compare && let Some(byte) = self.load.file.first_wrong(at, bytes) {
                return Err(wrong(format!("byte {byte} is wrong")));
            }
            self.used += n;
            at += n as u64;
        }
        self.outcome.compared += u64::from(compare);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::demo::content::branch_office_files;
    use larder::demo::origin::Origin;

    fn against_the_origin(of_server: u64) -> Outcome {
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
            range_bytes: 64 << 10,
            connections: 4,
            pipeline: 3,
            duration: Duration::from_millis(100),
            compare_every: 2,
            tls: None,
        };
        load.run().expect("it ran")
    }

    #[test]
    fn what_is_right_is_counted() {
        let outcome = against_the_origin(0);
        assert_eq!(outcome.faults, Vec::<String>::new());
        assert!(outcome.requests >= 4 * 3, "{outcome:?}");
        assert_eq!(outcome.bytes, outcome.requests * (64 << 10));
        assert!(outcome.compared * 2 >= outcome.requests, "{outcome:?}");
        assert_eq!(outcome.of_each.iter().sum::<u64>(), outcome.requests);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let outcome = against_the_origin(1);
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
    }
}
