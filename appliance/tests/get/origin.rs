//! An origin that can be told how to behave, and counts what it sends. The rule: unless it is told otherwise it is a
//! good one: ranges, a strong entity tag, exact lengths.

use super::rig::address;
use larder_content::hash::of_piece;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Clone, Default)]
pub(crate) struct Manner {
    /// It knows no ranges.
    pub(crate) no_ranges: bool,
    /// It tells nothing by which versions could be told apart.
    pub(crate) no_validator: bool,
    /// It answers with this status and nothing else.
    pub(crate) status: Option<u16>,
    /// It breaks each answer off after so many bytes.
    pub(crate) cut_after: Option<u64>,
    /// More fields.
    pub(crate) fields: &'static str,
}

/// One running on a thread of this process.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    bytes: Mutex<Arc<Vec<u8>>>,
    manner: Mutex<Manner>,
    /// Bytes of bodies.
    sent: AtomicU64,
    /// From so many bytes on it waits.
    holds_at: Mutex<u64>,
    released: Condvar,
    held: AtomicBool,
    /// Request lines.
    seen: Mutex<Vec<String>>,
}

impl Origin {
    pub(crate) fn start(bytes: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind((address(), 8000)).expect("a port");
        let origin = Self(Arc::new(Inner {
            address: listener.local_addr().expect("an address"),
            bytes: Mutex::new(Arc::new(bytes)),
            manner: Mutex::new(manner),
            sent: AtomicU64::new(0),
            holds_at: Mutex::new(u64::MAX),
            released: Condvar::new(),
            held: AtomicBool::new(false),
            seen: Mutex::default(),
        }));
        let inner = Arc::clone(&origin.0);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&inner);
                // Whoever goes away in the middle ends the conversation.
                thread::spawn(move || inner.talk(stream));
            }
        });
        origin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub(crate) fn sent(&self) -> u64 {
        self.0.sent.load(SeqCst)
    }

    /// Bytes sent since the last look.
    pub(crate) fn take_sent(&self) -> u64 {
        self.0.sent.swap(0, SeqCst)
    }

    /// Request lines since the last look.
    pub(crate) fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.seen.lock().expect("unbroken"))
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.0.manner.lock().expect("unbroken") = manner;
    }

    /// From now on it has these bytes.
    pub(crate) fn change(&self, bytes: Vec<u8>) {
        *self.0.bytes.lock().expect("unbroken") = Arc::new(bytes);
    }

    /// It waits when it has sent so many bytes.
    pub(crate) fn hold_at(&self, bytes: u64) {
        *self.0.holds_at.lock().expect("unbroken") = bytes;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.held.load(SeqCst)
    }

    pub(crate) fn release(&self) {
        *self.0.holds_at.lock().expect("unbroken") = u64::MAX;
        self.0.held.store(false, SeqCst);
        self.0.released.notify_all();
    }
}

impl Inner {
    fn talk(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let line = head.lines().next()?.to_owned();
            self.seen.lock().expect("unbroken").push(line);
            self.answer(&head, &mut writer)?;
        }
    }

    /// None ends the connection.
    fn answer(&self, head: &str, writer: &mut TcpStream) -> Option<()> {
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            Some(fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?.1)
        };
        let manner = self.manner.lock().expect("unbroken").clone();
        if let Some(status) = manner.status {
            let text = format!(
                "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n{}\r\n",
                manner.fields
            );
            return writer.write_all(text.as_bytes()).ok();
        }
        let bytes = Arc::clone(&self.bytes.lock().expect("unbroken"));
        let tag = etag(&bytes);
        if field("if-none-match") == Some(&tag) && !manner.no_validator {
            let text = format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n");
            return writer.write_all(text.as_bytes()).ok();
        }
        let same = field("if-range").is_none_or(|known| known == tag);
        let range = field("range").filter(|_| !manner.no_ranges && same);
        let range = range.and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            let first: usize = first.parse().ok()?;
            let last = last.parse().unwrap_or(usize::MAX).min(bytes.len() - 1);
            Some((first, last + 1))
        });
        let validator = if manner.no_validator {
            String::new()
        } else {
            format!("ETag: {tag}\r\n")
        };
        let (start, end) = range.unwrap_or((0, bytes.len()));
        if start >= end && !bytes.is_empty() {
            let text = format!(
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                bytes.len()
            );
            return writer.write_all(text.as_bytes()).ok();
        }
        let status = match range {
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                end - 1,
                bytes.len()
            ),
            None => "200 OK".to_owned(),
        };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{validator}{}\r\n",
            end - start,
            manner.fields
        );
        writer.write_all(text.as_bytes()).ok()?;
        let mut left = manner.cut_after.unwrap_or(u64::MAX);
        for chunk in bytes[start..end].chunks(64 << 10) {
            self.wait();
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            // Counted first: what is on the way when somebody looks was sent.
            self.sent.fetch_add(count as u64, SeqCst);
            writer.write_all(&chunk[..count]).ok()?;
            left -= count as u64;
            if left == 0 {
                return None;
            }
        }
        Some(())
    }

    fn wait(&self) {
        let mut holds_at = self.holds_at.lock().expect("unbroken");
        while self.sent.load(SeqCst) >= *holds_at {
            self.held.store(true, SeqCst);
            holds_at = self.released.wait(holds_at).expect("unbroken");
        }
    }
}

/// The tag that these bytes are given with.
pub(crate) fn etag(bytes: &[u8]) -> String {
    let hash = of_piece(bytes);
    let tag: String = hash[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("\"{tag}\"")
}
