//! An origin of one object of any size, which gives ranges and counts what it gives. The rule: a byte of the object is
//! a function of its place, so that nobody has to keep the object to know what is right.

use crate::rig::address;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What stands at a place of every object.
pub(crate) fn byte_at(at: u64) -> u8 {
    (at % 251) as u8 ^ (at >> 20) as u8
}

/// A running one; it ends with the test's process.
#[derive(Clone)]
pub(crate) struct Origin {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Origin {
    /// Every path is an object of so many bytes.
    pub(crate) fn start(length: u64) -> Self {
        let listener = TcpListener::bind((address(), 8000)).expect("a port");
        let origin = Self {
            address: listener.local_addr().expect("an address"),
            sent: Arc::default(),
            asked: Arc::default(),
        };
        let of_thread = origin.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = of_thread.clone();
                thread::spawn(move || origin.talk(stream, length));
            }
        });
        origin
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of bodies that it has given.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Requests that it has had.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn talk(&self, stream: TcpStream, length: u64) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut range = None;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(rest) = lower.strip_prefix("range: bytes=") {
                    let (first, last) = rest.trim().split_once('-')?;
                    let last = last.parse().unwrap_or(length - 1);
                    range = Some((first.parse::<u64>().ok()?, last.min(length - 1)));
                }
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            let (first, last) = range.unwrap_or((0, length - 1));
            let of = match range {
                Some(_) => {
                    format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{length}")
                }
                None => "200 OK".to_owned(),
            };
            let head = format!(
                "HTTP/1.1 {of}\r\nContent-Length: {}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\n\
                 Cache-Control: max-age=86400\r\nContent-Type: application/octet-stream\r\n\r\n",
                last - first + 1
            );
            writer.write_all(head.as_bytes()).ok()?;
            let mut at = first;
            while at <= last {
                let end = (at + (256 << 10)).min(last + 1);
                let bytes: Vec<u8> = (at..end).map(byte_at).collect();
                writer.write_all(&bytes).ok()?;
                self.sent.fetch_add(end - at, Ordering::Relaxed);
                at = end;
            }
        }
    }
}
