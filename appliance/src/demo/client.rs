//! A client as Windows has it: closed, aligned ranges of 1 MiB in shuffled order on seven connections that stay open
//! (facts: clients, section 1.4). The rule: it believes nothing; every head and every byte of an answer is compared
//! with what it must be.

use super::content::{File, mix};
use super::tally::Tally;
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How often one piece is asked for before the client gives up on it.
const TRIES_MAX: u32 = 6;

/// The client's patience for a connection and for the next byte; real clients leave earlier, which is measured, but a
/// demonstration that hangs should say so rather than stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The speed of an answer is judged over windows of this length (facts: clients, section 1.6).
const WINDOW: Duration = Duration::from_secs(20);

const HEAD_BYTES_MAX: usize = 16 << 10;

/// How a client names the origin (facts: clients, sections 1.1 and 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By the parameter `cacheHostOrigin`, as cache hosts are asked.
    Parameter,
    /// By the `Host` field.
    Host,
    /// Not at all: the request goes to an origin itself, or to a cache with a default origin.
    Plain,
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whom it asks.
    pub cache: SocketAddr,
    /// How it names the origin.
    pub naming: Naming,
    /// Connections at once.
    pub connections: usize,
    /// The order of its requests, its choice among a file's hosts and its signatures follow from this.
    pub seed: u64,
}

/// Pieces that are still to be fetched of each file; shared by the connections of one client.
struct Queues {
    files: Vec<Arc<File>>,
    left: Vec<Mutex<Vec<u64>>>,
}

impl Queues {
    fn new(files: &[Arc<File>], seed: u64) -> Self {
        let left = files.iter().enumerate().map(|(n, file)| {
            let mut pieces: Vec<u64> = (0..file.pieces()).collect();
            shuffle(&mut pieces, seed ^ mix(n as u64 + 1));
            Mutex::new(pieces)
        });
        Self {
            left: left.collect(),
            files: files.to_vec(),
        }
    }

    /// The next piece for a connection that began with file `first`, which helps the others when its own is done.
    fn next(&self, first: usize) -> Option<(usize, u64)> {
        let n = self.left.len();
        (first..first + n).find_map(|at| Some((at % n, self.left[at % n].lock().pop()?)))
    }
}

impl Client {
    /// Fetches all pieces of all `files` and compares each byte. `received` grows while bytes come in.
    pub async fn fetch(&self, files: &[Arc<File>], received: &Arc<AtomicU64>) -> Tally {
        let queues = Arc::new(Queues::new(files, self.seed));
        let mut connections = JoinSet::new();
        for number in 0..self.connections {
            let connection = Connection {
                client: self.clone(),
                queues: Arc::clone(&queues),
                received: Arc::clone(received),
                tally: Tally::default(),
                stream: None,
                buffer: vec![0; 64 << 10],
            };
            connections.spawn(connection.run(number % files.len().max(1)));
        }
        let mut tally = Tally::default();
        while let Some(ended) = connections.join_next().await {
            match ended {
                Ok(of_one) => tally.add(of_one),
                Err(error) => tally
                    .faults
                    .push(format!("a connection's task ended: {error}")),
            }
        }
        tally
    }
}

struct Connection {
    client: Client,
    queues: Arc<Queues>,
    received: Arc<AtomicU64>,
    tally: Tally,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// Why a request has to be made again.
enum Trouble {
    /// The connection broke or was closed; what it said.
    Broken(String),
    /// 503 or another error of the 5xx class: not now.
    NotNow(u16),
    /// What no client would try again.
    Fatal(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Connection {
    async fn run(mut self, first: usize) -> Tally {
        while let Some((file, piece)) = self.queues.next(first) {
            let file = Arc::clone(&self.queues.files[file]);
            let mut tries = 0;
            loop {
                tries += 1;
                let trouble = match self.fetch(&file, piece).await {
                    Ok(()) => break,
                    Err(trouble) => trouble,
                };
                self.stream = None;
                let said = match trouble {
                    Trouble::Broken(said) => {
                        self.tally.broken += 1;
                        said
                    }
                    Trouble::NotNow(status) => {
                        self.tally.not_now += 1;
                        // As clients wait that may not fall back (facts: clients, section 1.13).
                        tokio::time::sleep(Duration::from_secs(1 << tries.min(4))).await;
                        format!("status {status}")
                    }
                    Trouble::Fatal(said) => {
                        self.tally
                            .faults
                            .push(format!("{} piece {piece}: {said}", file.title));
                        break;
                    }
                };
                if tries == TRIES_MAX {
                    self.tally.faults.push(format!(
                        "{} piece {piece}: given up after {tries} tries: {said}",
                        file.title
                    ));
                    break;
                }
            }
        }
        self.tally
    }

    async fn fetch(&mut self, file: &File, piece: u64) -> Result<(), Trouble> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => patient(TcpStream::connect(self.client.cache)).await?,
        };
        let (start, end) = file.piece(piece);
        let asked = Instant::now();
        stream
            .write_all(self.request(file, start, end).as_bytes())
            .await?;
        let (head, mut have) = self.head(&mut stream, asked).await?;
        let keep = self.judge(&head, file, start, end)?;
        let head_bytes = head.len();
        self.buffer.copy_within(head_bytes..have, 0);
        have -= head_bytes;
        let mut at = start;
        let mut window = (Instant::now(), at);
        loop {
            let fresh = &self.buffer[..have];
            if let Some(wrong) = file.first_wrong(at, fresh) {
                self.tally.wrong_bytes += 1;
                return Err(Trouble::Fatal(format!("byte {wrong} is wrong")));
            }
            at += have as u64;
            self.received.fetch_add(have as u64, Ordering::Relaxed);
            let (since, from) = window;
            if since.elapsed() >= WINDOW {
                self.tally
                    .window((at - from) as f64 / since.elapsed().as_secs_f64());
                window = (Instant::now(), at);
            }
            if at >= end {
                break;
            }
            let room = usize::try_from(end - at)
                .map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            have = patient(stream.read(&mut self.buffer[..room])).await?;
            if have == 0 {
                return Err(Trouble::Broken(format!("closed at byte {at} of {end}")));
            }
        }
        self.tally.bytes += end - start;
        if keep {
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn request(&self, file: &File, start: u64, end: u64) -> String {
        let mut target = file.path.clone();
        let seed = self.client.seed;
        if file.signed {
            // A signature that differs from client to client, as the vendor's do.
            let _ = write!(
                target,
                "?P1=1795000000&P2=404&P3=2&P4={:016x}%2f%3d",
                mix(seed)
            );
        }
        let host = &file.hosts[(seed % file.hosts.len() as u64) as usize];
        if self.client.naming == Naming::Parameter {
            let joint = if file.signed { '&' } else { '?' };
            let _ = write!(target, "{joint}cacheHostOrigin={host}");
        }
        let cache = self.client.cache.to_string();
        let host = if self.client.naming == Naming::Host {
            host
        } else {
            &cache
        };
        format!(
            "GET {target} HTTP/1.1\r\nConnection: Keep-Alive\r\nAccept: */*\r\nRange: bytes={start}-{}\r\n\
             User-Agent: Microsoft-Delivery-Optimization/10.1\r\nMS-CV: {:016x}.{start}\r\n\
             Content-Length: 0\r\nHost: {host}\r\n\r\n",
            end - 1,
            mix(seed ^ 0x43),
        )
    }

    /// Reads a head into the buffer; returns it with the count of bytes in the buffer.
    async fn head(
        &mut self,
        stream: &mut TcpStream,
        asked: Instant,
    ) -> Result<(String, usize), Trouble> {
        let mut have = 0;
        loop {
            let n = patient(stream.read(&mut self.buffer[have..])).await?;
            if n == 0 {
                return Err(Trouble::Broken("closed before an answer".to_owned()));
            }
            if have == 0 {
                self.tally.first_byte.push(asked.elapsed());
            }
            have += n;
            let end = self.buffer[..have]
                .windows(4)
                .position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.buffer[..end + 4]).into_owned();
                return Ok((head, have));
            }
            if have > HEAD_BYTES_MAX {
                return Err(Trouble::Fatal("the head never ends".to_owned()));
            }
        }
    }

    /// Looks at a head as the strictest of the known clients do: the names that they look up by case in title case,
    /// exact values.
    fn judge(&mut self, head: &str, file: &File, start: u64, end: u64) -> Result<bool, Trouble> {
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok());
        match status {
            Some(206) => {}
            Some(status @ 500..) => return Err(Trouble::NotNow(status)),
            _ => {
                let line = head.lines().next().unwrap_or_default();
                return Err(Trouble::Fatal(format!("answered {line:?}")));
            }
        }
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let in_any_case = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            Some(fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?.1)
        };
        let range = format!("bytes {start}-{}/{}", end - 1, file.len);
        let length = (end - start).to_string();
        let etag = in_any_case("ETag");
        // What a foreign server's validator is, only that server knows; but there is one.
        let wanted_etag = match etag {
            Some(etag) if file.foreign => etag.to_owned(),
            _ => file.etag(),
        };
        for (name, got, wanted) in [
            ("Content-Length", field("Content-Length"), length),
            ("Content-Range", field("Content-Range"), range),
            ("ETag", etag, wanted_etag),
        ] {
            if got != Some(wanted.as_str()) {
                return Err(Trouble::Fatal(format!("{name} is {got:?}, not {wanted:?}")));
            }
        }
        for name in ["Content-Type", "Last-Modified"] {
            if field(name).is_none() {
                return Err(Trouble::Fatal(format!("there is no {name}")));
            }
        }
        self.tally.requests += 1;
        match field("X-Cache-Status") {
            Some("HIT") => self.tally.hits += 1,
            Some("MISS") => self.tally.misses += 1,
            Some(_) => self.tally.others += 1,
            None => {}
        }
        Ok(field("Connection") != Some("close"))
    }
}

async fn patient<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing for {} s", PATIENCE.as_secs()),
        ))
    })
}

/// Fisher and Yates, from a seed.
fn shuffle(pieces: &mut [u64], seed: u64) {
    let mut state = seed;
    for last in (1..pieces.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let other = mix(state) % (last as u64 + 1);
        pieces.swap(last, usize::try_from(other).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::branch_office_files;
    use super::super::origin::Origin;
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    }

    fn small_files() -> Vec<File> {
        let mut files = branch_office_files();
        for (file, len) in files.iter_mut().zip([5 << 20, (3 << 20) + 7, 1]) {
            file.len = len;
        }
        files
    }

    #[test]
    fn a_client_fetches_every_byte_once() {
        runtime().block_on(async {
            let files = small_files();
            let content: u64 = files.iter().map(|f| f.len).sum();
            let origin = Origin::start(([127, 0, 0, 1], 0).into(), files.clone())
                .await
                .expect("an origin");
            let files: Vec<_> = files.into_iter().map(Arc::new).collect();
            let client = Client {
                cache: origin.address(),
                naming: Naming::Parameter,
                connections: 7,
                seed: 3,
            };
            let received = Arc::default();
            let tally = client.fetch(&files, &received).await;
            assert_eq!(tally.faults, Vec::<String>::new());
            assert_eq!(tally.bytes, content);
            assert_eq!(received.load(Ordering::Relaxed), content);
            assert_eq!(origin.body_bytes(), content);
            assert_eq!(tally.requests, 5 + 4 + 1);
            assert_eq!(origin.requests(), 5 + 4 + 1);
        });
    }

    #[test]
    fn a_client_sees_wrong_bytes() {
        runtime().block_on(async {
            let files = small_files();
            let origin = Origin::start(([127, 0, 0, 1], 0).into(), files.clone())
                .await
                .expect("an origin");
            let mut other = files[0].clone();
            other.hosts.clear();
            other.hosts.push("download.windowsupdate.com".to_owned());
            // The same name, length and validator as what the origin has, but bytes of another seed.
            let client = Client {
                cache: origin.address(),
                naming: Naming::Plain,
                connections: 2,
                seed: 3,
            };
            other.seed ^= 1;
            let tally = client.fetch(&[Arc::new(other)], &Arc::default()).await;
            assert_eq!(tally.bytes, 0);
            assert_eq!(tally.faults.len(), 5, "{:?}", tally.faults);
            assert!(tally.faults[0].contains("ETag"), "{:?}", tally.faults);
        });
    }

    #[test]
    fn the_order_is_shuffled_and_complete() {
        let mut pieces: Vec<u64> = (0..100).collect();
        shuffle(&mut pieces, 1);
        let in_order = pieces.windows(2).filter(|w| w[0] + 1 == w[1]).count();
        assert!(in_order < 10, "{pieces:?}");
        pieces.sort_unstable();
        assert_eq!(pieces, (0..100).collect::<Vec<u64>>());
    }
}
