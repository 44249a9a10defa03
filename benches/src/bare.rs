//! Servers with nothing around them, as bounds for the others: no index, no log, no limits, one core. The rule: they
//! answer a range of one file and know nothing else, so what they cost is what moving the bytes costs.

use anyhow::{Context, Result};
use larder_net::sock;
use rustix::event::epoll;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Ranges up to this leave in one write with their heads.
const TOGETHER_BYTES: u64 = 16 << 10;

/// What one receive brings at most.
const RECEIVED_BYTES: usize = 16 << 10;

/// The name of the listener among epoll's events.
const LISTENER: u64 = u64::MAX;

/// Serves by sendfile, until it is killed.
///
/// # Errors
/// The file or the address is not to be had.
pub fn loopback(address: SocketAddr, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let len = file.metadata()?.len();
    let listener = TcpListener::bind(address).with_context(|| format!("cannot bind {address}"))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let add = |socket: &dyn std::os::fd::AsFd, number, flags| {
        epoll::add(
            &epoll,
            socket.as_fd(),
            epoll::EventData::new_u64(number),
            flags,
        )
    };
    add(&listener, LISTENER, epoll::EventFlags::IN)?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut room = [MaybeUninit::<epoll::Event>::uninit(); 64];
    loop {
        let (events, _) = epoll::wait(&epoll, &mut room, None)?;
        for event in events.iter() {
            let data = event.data;
            if data.u64() == LISTENER {
                let Ok((socket, _)) = listener.accept() else {
                    continue;
                };
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                add(&socket, clients.len() as u64, flags)?;
                clients.push(Some(Client::new(socket)));
                continue;
            }
            let at = usize::try_from(data.u64())?;
            let Some(client) = clients.get_mut(at).and_then(Option::as_mut) else {
                continue;
            };
            match client.go_on(&file, len) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It has left; any other end is the same to it.
                _ => clients[at] = None,
            }
        }
    }
}

struct Client {
    socket: TcpStream,
    requests: Vec<u8>,
    head: Vec<u8>,
    body: Range<u64>,
}

impl Client {
    const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            requests: Vec::new(),
            head: Vec::new(),
            body: 0..0,
        }
    }

    /// Answers until it would have to wait.
    fn go_on(&mut self, file: &File, len: u64) -> io::Result<()> {
        let to = self.socket.as_raw_fd();
        loop {
            while !self.head.is_empty() {
                let sent = sock::send(to, &self.head, true)?;
                self.head.drain(..sent);
            }
            while !self.body.is_empty() {
                let left = usize::try_from(self.body.end - self.body.start).unwrap_or(usize::MAX);
                match sock::sendfile(to, file.as_raw_fd(), self.body.start, left)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    sent => self.body.start += sent as u64,
                }
            }
            let Some(asked) = next(&mut self.requests, len)? else {
                receive(&mut self.socket, &mut self.requests)?;
                continue;
            };
            write_head(&mut self.head, &asked, len)?;
            self.body = asked;
        }
    }
}

fn receive(socket: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; RECEIVED_BYTES];
    match socket.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            into.extend_from_slice(&buffer[..n]);
            Ok(())
        }
    }
}

/// Serves by tokio-uring from memory, until it is killed.
///
/// # Errors
/// The file or the address is not to be had.
pub fn tokio_uring(address: SocketAddr, path: &Path) -> Result<()> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // For as long as the process is there: the kernel reads from it whenever it likes.
    let content: &'static [u8] = Box::leak(content.into_boxed_slice());
    tokio_uring::start(async {
        let listener = tokio_uring::net::TcpListener::bind(address)
            .with_context(|| format!("cannot bind {address}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a client leaves is the same to it.
            tokio_uring::spawn(async move { drop(answer(&stream, content).await) });
        }
    })
}

async fn answer(stream: &tokio_uring::net::TcpStream, content: &'static [u8]) -> io::Result<()> {
    let len = content.len() as u64;
    let (mut requests, mut buffer, mut head) = (Vec::new(), vec![0; RECEIVED_BYTES], Vec::new());
    loop {
        while let Some(asked) = next(&mut requests, len)? {
            head.clear();
            write_head(&mut head, &asked, len)?;
            let at = |byte| usize::try_from(byte).map_err(io::Error::other);
            let mut body = &content[at(asked.start)?..at(asked.end)?];
            if asked.end - asked.start <= TOGETHER_BYTES {
                head.extend_from_slice(std::mem::take(&mut body));
            }
            let (sent, back) = stream.write_all(head).await;
            sent?;
            head = back;
            if !body.is_empty() {
                stream.write_all(body).await.0?;
            }
        }
        let (read, back) = stream.read(buffer).await;
        buffer = back;
        match read? {
            0 => return Ok(()),
            n => requests.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Takes the first request off, if it is whole, and returns the range that it asks for.
fn next(requests: &mut Vec<u8>, len: u64) -> io::Result<Option<Range<u64>>> {
    let Some(end) = requests.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let asked = range(&requests[..end]).filter(|asked| asked.end <= len);
    requests.drain(..end + 4);
    asked
        .map(Some)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn range(head: &[u8]) -> Option<Range<u64>> {
    let head = std::str::from_utf8(head).ok()?;
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim())
    })?;
    let (start, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
    (start <= last).then_some(start..last.checked_add(1)?)
}

fn write_head(head: &mut Vec<u8>, body: &Range<u64>, len: u64) -> io::Result<()> {
    write!(
        head,
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {}-{}/{len}\r\n\r\n",
        body.end - body.start,
        body.start,
        body.end - 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_one_by_one() {
        let mut requests = b"GET / HTTP/1.1\r\nrange: bytes=4-7\r\n\r\nGET / HTTP/1.1\r\n".to_vec();
        assert_eq!(next(&mut requests, 8).expect("right"), Some(4..8));
        assert_eq!(next(&mut requests, 8).expect("not whole"), None);
        requests.extend_from_slice(b"Range: bytes=5-8\r\n\r\n");
        assert!(next(&mut requests, 8).is_err(), "beyond the end");
        let mut none = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        assert!(next(&mut none, 8).is_err(), "it knows nothing but ranges");
    }
}
