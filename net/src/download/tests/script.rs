//! An origin that speaks bytes exactly as told. The rule: it knows nothing of HTTP but where a request's head ends, so
//! that it can lie in every way.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Counts all requests, from 0.
    pub(crate) number: usize,
    /// Counts the connections, from 0.
    pub(crate) connection: usize,
    pub(crate) target: String,
    /// The head as it came, in lower case.
    pub(crate) head: String,
    /// First byte, and last where there is one.
    pub(crate) range: Option<(usize, Option<usize>)>,
}

impl Asked {
    fn read(number: usize, connection: usize, head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head).into_owned();
        let target = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let head = text.to_lowercase();
        let mut asked = Self {
            number,
            connection,
            target,
            range: None,
            head,
        };
        asked.range = asked.header("range").and_then(|value| {
            let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()))
        });
        asked
    }

    /// A header's value, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        })
    }
}

/// What the origin does next on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Sends so many bytes at a time, with a pause after each.
    Trickle(Vec<u8>, usize, Duration),
    /// Waits until the test says so; what was sent before has left by then.
    Until(watch::Receiver<bool>),
    /// Says nothing more, and leaves the connection open.
    Hang,
    /// Closes properly.
    Close,
    /// Breaks the connection with a reset.
    Reset,
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

/// A running origin; it ends with its owner.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: tokio::task::AbortHandle,
}

impl Origin {
    pub(crate) async fn start(
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        let accepting = tokio::spawn(async move {
            let mut talks = tokio::task::JoinSet::new();
            let mut connections = 0..;
            while let (Ok((socket, _)), Some(number)) =
                (listener.accept().await, connections.next())
            {
                talks.spawn(talk(socket, number, Arc::clone(&script), Arc::clone(&seen)));
                while talks.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            asked,
            accepting: accepting.abort_handle(),
        }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Bytes of body that were asked for by closed ranges so far.
    pub(crate) fn bytes_asked(&self) -> usize {
        let ranges = self.asked().into_iter().filter_map(|asked| asked.range);
        ranges
            .filter_map(|(first, last)| Some(last? + 1 - first))
            .sum()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn talk(
    mut socket: TcpStream,
    connection: usize,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Asked>>>,
) {
    let _ = socket.set_nodelay(true);
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut some = [0; 4096];
            match socket.read(&mut some).await {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&some[..count]),
            }
        };
        let head: Vec<u8> = received.drain(..end).collect();
        let asked = {
            let mut seen = seen.lock();
            let asked = Asked::read(seen.len(), connection, &head);
            seen.push(asked.clone());
            asked
        };
        for step in script(&asked) {
            match step {
                Step::Send(bytes) => {
                    if socket.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Trickle(bytes, count, pause) => {
                    for some in bytes.chunks(count) {
                        if socket.write_all(some).await.is_err() {
                            return;
                        }
                        tokio::time::interval_at(tokio::time::Instant::now() + pause, pause)
                            .tick()
                            .await;
                    }
                }
                Step::Until(mut told) => {
                    // A test that is over lets go as well.
                    let _ = told.wait_for(|told| *told).await;
                }
                Step::Hang => std::future::pending().await,
                Step::Close => return,
                Step::Reset => {
                    // Closed with a linger of zero, a socket resets its connection.
                    let _ = socket.set_zero_linger();
                    return;
                }
            }
        }
    }
}

/// One object as a well-behaved origin has it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) body: Arc<Vec<u8>>,
    /// Header lines of every answer about it, each with its line end.
    pub(crate) headers: String,
}

impl Object {
    /// Random-looking bytes that differ from place to place and from seed to seed.
    pub(crate) fn new(length: usize, seed: u64, headers: &str) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut body = Vec::with_capacity(length + 8);
        while body.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            body.extend_from_slice(&state.to_le_bytes());
        }
        body.truncate(length);
        Self {
            body: Arc::new(body),
            headers: headers.to_owned(),
        }
    }

    /// Fails where these are not the bytes of `span`, without printing them.
    pub(crate) fn check<E: std::fmt::Debug>(&self, got: &Result<Vec<u8>, E>, span: Range<usize>) {
        match got {
            Err(error) => panic!("bytes {span:?} did not come: {error:?}"),
            Ok(bytes) => {
                assert_eq!(bytes.len(), span.len(), "bytes {span:?}");
                let wrong = (0..span.len()).find(|at| bytes[*at] != self.body[span.start + at]);
                assert_eq!(wrong, None, "the first wrong byte of {span:?}");
            }
        }
    }

    /// As [`Object::check`], for all of it.
    pub(crate) fn check_whole<E: std::fmt::Debug>(&self, got: &Result<Vec<u8>, E>) {
        self.check(got, 0..self.body.len());
    }

    /// The range that is asked for, as 206, or everything as 200.
    pub(crate) fn answer(&self, asked: &Asked) -> Vec<u8> {
        match asked.range {
            Some((first, last)) if first < self.body.len() => {
                let end = last.map_or(self.body.len(), |last| (last + 1).min(self.body.len()));
                self.part(first, end)
            }
            Some(_) => format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                self.body.len()
            )
            .into_bytes(),
            None => self.full(),
        }
    }

    pub(crate) fn part(&self, first: usize, end: usize) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{}\r\nContent-Length: {}\r\n{}\r\n",
            end - 1,
            self.body.len(),
            end - first,
            self.headers
        )
        .into_bytes();
        bytes.extend_from_slice(&self.body[first..end]);
        bytes
    }

    pub(crate) fn full(&self) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{}\r\n",
            self.body.len(),
            self.headers
        )
        .into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An answer without a body.
pub(crate) fn bare(status: &str, headers: &str) -> Step {
    Step::Send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n").into_bytes())
}
