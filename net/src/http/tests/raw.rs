//! A client that writes bytes and reads them back strictly. The rule: it takes nothing that a careful client would
//! not: names in title case, exact lengths, nothing after the body.

use super::{HOST, PATIENCE};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Received and not read yet.
    rest: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// One answer as far as it came.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) got: Got,
    /// All of it came.
    pub(crate) whole: bool,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("written");
    }

    /// Writes, and says whether the connection took it.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Asks with these further header lines (each with its line end) and reads the answer.
    pub(crate) fn get(&mut self, path: &str, more: &str) -> Got {
        self.ask("GET", path, more)
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, more: &str) -> Got {
        self.write(format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n").as_bytes());
        self.read(method == "HEAD")
    }

    pub(crate) fn read(&mut self, head_only: bool) -> Got {
        self.try_read(head_only).expect("a whole answer")
    }

    /// Reads one answer, or says how the connection ended before it was whole.
    pub(crate) fn try_read(&mut self, head_only: bool) -> io::Result<Got> {
        let came = self.outcome(head_only)?;
        if came.whole {
            Ok(came.got)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads one answer as far as it comes, by its length, its chunks, or the end of the connection where it says
    /// neither. An error: the connection ended before there was a head.
    pub(crate) fn outcome(&mut self, head_only: bool) -> io::Result<Outcome> {
        let mut got = self.try_head()?;
        let length = got.header("Content-Length").map(|length| {
            let length: usize = length.parse().expect("a length");
            length
        });
        let chunked = got.header("Transfer-Encoding").map(|coding| {
            assert_eq!(coding, "chunked");
            assert_eq!(length, None, "a length and chunks");
        });
        let whole = if head_only || matches!(got.status, 204 | 304) {
            true
        } else if chunked.is_some() {
            self.chunks(&mut got.body)
        } else {
            let wanted = length.unwrap_or(usize::MAX);
            while self.rest.len() < wanted && self.more().is_ok() {}
            let count = wanted.min(self.rest.len());
            got.body = self.rest.drain(..count).collect();
            length.map_or(got.header("Connection") == Some("close"), |n| n == count)
        };
        Ok(Outcome { got, whole })
    }

    /// Reads chunks to the last; false where the connection ends before it.
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let end = loop {
                match self.rest.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None if self.more().is_err() => return false,
                    None => {}
                }
            };
            let size: Vec<u8> = self.rest.drain(..end + 2).collect();
            let size = std::str::from_utf8(&size[..end]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).expect("a size");
            while self.rest.len() < size + 2 && self.more().is_ok() {}
            let count = size.min(self.rest.len());
            body.extend(self.rest.drain(..count));
            if count < size || self.rest.len() < 2 {
                return false;
            }
            assert_eq!(&self.rest[..2], b"\r\n", "the end of a chunk");
            self.rest.drain(..2);
            if size == 0 {
                return true;
            }
        }
    }

    /// Reads the head of an answer; those that only announce it (1xx) are passed over.
    pub(crate) fn try_head(&mut self) -> io::Result<Got> {
        loop {
            let got = self.any_head()?;
            if got.status >= 200 {
                return Ok(got);
            }
        }
    }

    /// Reads the next head, whatever it is of.
    pub(crate) fn any_head(&mut self) -> io::Result<Got> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().expect("a first line");
        assert!(first.starts_with("HTTP/1.1 "), "{first}");
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").expect("name and value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, _) in &headers {
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        }
        Ok(Got {
            status: first[9..12].parse().expect("a status"),
            headers,
            body: Vec::new(),
        })
    }

    /// Reads exactly so many bytes of a body.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            self.more().expect("more bytes");
        }
        self.rest.drain(..count).collect()
    }

    /// Reads up to so many bytes of a body, fewer where the connection ends before.
    pub(crate) fn up_to(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count && self.more().is_ok() {}
        let count = count.min(self.rest.len());
        self.rest.drain(..count).collect()
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let got = self.stream.read(&mut buffer);
        // A connection that is left in silence is as wrong as a wrong byte.
        let silent = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
        assert!(!got.as_ref().is_err_and(silent), "nothing more comes");
        let got = got?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.extend_from_slice(&buffer[..got]);
        Ok(())
    }

    /// Whether the connection was closed, with nothing left to read.
    pub(crate) fn is_over(&mut self) -> bool {
        self.rest.is_empty() && self.more().is_err()
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shut down");
    }
}
