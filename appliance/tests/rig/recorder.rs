//! An origin that answers everything and keeps what it was sent, byte for byte. The rule: it reads requests as the
//! strictest origin would; what is no request to it is kept as it came.

use super::address;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request, or what came instead.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) head: String,
    /// As it was on the wire, chunks and all.
    pub(crate) body: Vec<u8>,
    /// It came to its end.
    pub(crate) whole: bool,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        Some(fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?.1)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let lines = self.head.trim_end().lines().skip(1);
        let names = lines.map(|line| line.split(':').next().unwrap_or(line));
        names.map(str::to_ascii_lowercase).collect()
    }
}

/// What makes an answer: head and body.
type Answer = dyn Fn(&Seen) -> String + Send + Sync;

/// A running one; it ends with the test's process.
#[derive(Clone)]
pub(crate) struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(crate) fn start(answer: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address(), 8000)).expect("a port");
        let recorder = Self {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
        };
        let (of_thread, answer) = (recorder.clone(), Arc::new(answer) as Arc<Answer>);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (recorder, answer) = (of_thread.clone(), Arc::clone(&answer));
                thread::spawn(move || recorder.talk(stream, &*answer));
            }
        });
        recorder
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what was seen since the last look.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("no thread panics with it"))
    }

    fn talk(&self, stream: TcpStream, answer: &Answer) {
        let Ok(mut writer) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(stream);
        loop {
            let mut seen = Seen::default();
            seen.whole = read(&mut reader, &mut seen).is_some();
            if seen == Seen::default() {
                return;
            }
            let (whole, answer) = (seen.whole, answer(&seen));
            self.seen
                .lock()
                .expect("no thread panics with it")
                .push(seen);
            if !whole || writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Reads one request; None where it is none, or not whole.
fn read(reader: &mut BufReader<TcpStream>, seen: &mut Seen) -> Option<()> {
    while !seen.head.ends_with("\r\n\r\n") {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        seen.head.push_str(&String::from_utf8_lossy(&line));
        if !line.ends_with(b"\r\n") {
            return None;
        }
    }
    if seen.field("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).ok()?;
            seen.body.extend_from_slice(&line);
            let size = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            seen.body.extend_from_slice(&chunk);
            if size == 0 {
                return chunk.ends_with(b"\r\n").then_some(());
            }
        }
    }
    if let Some(length) = seen.field("content-length") {
        seen.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut seen.body).ok()?;
    }
    Some(())
}
