//! Many Windows clients that drop what they get. The rule: they ask as the demonstration's client does (facts: clients,
//! section 1.4), believe no head, and leave the bytes to those few beside them that compare all of it, so that two
//! hundred of them cost less than the server.

use crate::office::CONNECTIONS;
use larder::demo::content::File;
use larder_net::sock::discard;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const HEAD_BYTES_MAX: usize = 8 << 10;

/// How often one piece is asked for before the client gives up on it.
const TRIES_MAX: u32 = 6;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a crowd saw.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the first request to the last byte of each client.
    pub seconds: Vec<f64>,
    /// Body bytes of answers that came whole.
    pub bytes: u64,
    /// Answers of the 5xx class and connections that broke; each was asked again.
    pub again: u64,
    /// What no client would ask again, in words.
    pub faults: Vec<String>,
}

/// `clients` clients fetch all of `files` at once, each with seven connections and in an order of its own.
pub async fn fetch(server: SocketAddr, clients: u64, files: &[Arc<File>]) -> Outcome {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for seed in 0..clients {
        running.spawn(client(server, seed, files.to_vec(), began));
    }
    let mut all = Outcome::default();
    while let Some(ended) = running.join_next().await {
        let one = ended.unwrap_or_else(|error| Outcome {
            faults: vec![format!("a client's task ended: {error}")],
            ..Outcome::default()
        });
        all.add(one);
    }
    all
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.seconds.extend(other.seconds);
        self.bytes += other.bytes;
        self.again += other.again;
        self.faults.extend(other.faults);
    }
}

type Wanted = (Arc<File>, u64);

async fn client(server: SocketAddr, seed: u64, files: Vec<Arc<File>>, began: Instant) -> Outcome {
    // One list for each file; a connection begins with one of them, and goes on with the others when it is done.
    let lists = files.iter().enumerate().map(|(n, file)| {
        let mut pieces: Vec<Wanted> = (0..file.pieces()).map(|p| (Arc::clone(file), p)).collect();
        shuffle(&mut pieces, seed << 8 | n as u64);
        Mutex::new(pieces)
    });
    let lists: Arc<[Mutex<Vec<Wanted>>]> = lists.collect();
    let mut running = JoinSet::new();
    for number in 0..CONNECTIONS {
        running.spawn(connection(server, number, Arc::clone(&lists)));
    }
    let mut all = Outcome::default();
    while let Some(ended) = running.join_next().await {
        all.add(ended.unwrap_or_default());
    }
    all.seconds.push(began.elapsed().as_secs_f64());
    all
}

async fn connection(server: SocketAddr, first: usize, lists: Arc<[Mutex<Vec<Wanted>>]>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut socket = None;
    let next = || (first..first + lists.len()).find_map(|at| lists[at % lists.len()].lock().pop());
    while let Some((file, piece)) = next() {
        for tries in 1.. {
            let asked = timeout(PATIENCE, ask(server, &mut socket, &file, file.piece(piece))).await;
            let error = match asked {
                Ok(Ok(bytes)) => {
                    outcome.bytes += bytes;
                    break;
                }
                Ok(Err(error)) => error,
                Err(late) => late.into(),
            };
            socket = None;
            outcome.again += 1;
            if tries == TRIES_MAX || error.kind() == io::ErrorKind::InvalidData {
                outcome
                    .faults
                    .push(format!("{} piece {piece}: {error}", file.path));
                break;
            }
            // As clients wait that may not fall back (facts: clients, section 1.13).
            sleep(Duration::from_secs(1 << tries.min(4))).await;
        }
    }
    outcome
}

/// Asks for bytes `start` to `end` as a Windows client does, and drops them; says how many came.
pub(crate) async fn ask(
    server: SocketAddr,
    socket: &mut Option<TcpStream>,
    file: &File,
    (start, end): (u64, u64),
) -> io::Result<u64> {
    if socket.is_none() {
        *socket = Some(TcpStream::connect(server).await?);
    }
    let Some(stream) = socket else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nConnection: Keep-Alive\r\nAccept: */*\r\nRange: bytes={start}-{}\r\n\
         User-Agent: Microsoft-Delivery-Optimization/10.1\r\nContent-Length: 0\r\nHost: {}\r\n\r\n",
        file.path,
        end - 1,
        file.hosts[0]
    );
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = [0; HEAD_BYTES_MAX];
    let mut have = 0;
    let head_end = loop {
        let n = stream.read(&mut buffer[have..]).await?;
        have += n;
        if let Some(at) = buffer[..have].windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if n == 0 || have == buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]);
    let range = format!(
        "\r\nContent-Range: bytes {start}-{}/{}\r\n",
        end - 1,
        file.len
    );
    let length = format!("\r\nContent-Length: {}\r\n", end - start);
    if head.starts_with("HTTP/1.1 5") {
        return Err(io::Error::other("not now"));
    }
    if !head.starts_with("HTTP/1.1 206 ") || !head.contains(&range) || !head.contains(&length) {
        let what = format!("not the asked range: {head:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut at = start + (have - head_end) as u64;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let drop_some = || discard(stream.as_raw_fd(), left);
        match stream.async_io(Interest::READABLE, drop_some).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n as u64,
        }
    }
    Ok(end - start)
}

/// Fisher and Yates, from a seed.
fn shuffle<T>(list: &mut [T], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..list.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        list.swap(
            last,
            usize::try_from((state >> 11) % (last as u64 + 1)).unwrap_or(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::file;
    use larder::demo::origin::Origin;

    #[test]
    fn every_client_gets_every_byte() {
        let runtime = crate::office::runtime().expect("a runtime");
        runtime.block_on(async {
            let files = [file(1, (5 << 20) + 7, 1), file(2, 3, 1)];
            let origin = Origin::start(([127, 0, 0, 1], 0).into(), files.to_vec())
                .await
                .expect("an origin");
            let files = files.map(Arc::new);
            let outcome = fetch(origin.address(), 3, &files).await;
            assert_eq!(outcome.faults, Vec::<String>::new());
            assert_eq!((outcome.bytes, outcome.again), (3 * ((5 << 20) + 10), 0));
            assert_eq!(origin.body_bytes(), outcome.bytes);
            assert_eq!(outcome.seconds.len(), 3);
            let missing = [Arc::new(File {
                path: "/none".to_owned(),
                ..File::clone(&files[1])
            })];
            let outcome = fetch(origin.address(), 1, &missing).await;
            assert_eq!((outcome.faults.len(), outcome.bytes), (1, 0));
        });
    }

    #[test]
    fn orders_differ_and_lose_nothing() {
        let mut orders: Vec<Vec<u64>> = vec![(0..50).collect(); 3];
        for (seed, order) in orders.iter_mut().enumerate() {
            shuffle(order, seed as u64);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        for mut order in orders {
            order.sort_unstable();
            assert_eq!(order, (0..50).collect::<Vec<u64>>());
        }
    }
}
