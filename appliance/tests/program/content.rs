//! The main job by the built program: what a client fetched once is there again, also after a restart, and stopping
//! in the middle of an answer keeps the order.

use crate::running::{Home, PATIENCE};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// More than a socket's buffers take, so that a client that does not read holds an answer up.
const LENGTH: usize = (24 << 20) + 4321;

/// Bytes of which each shows where it belongs.
fn body() -> Vec<u8> {
    (0..LENGTH as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// An origin with one object, which answers ranges.
struct Origin {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let bytes = Arc::new(AtomicU64::new(0));
        let closed = Arc::new(AtomicBool::new(false));
        let (counted, until, content) = (Arc::clone(&bytes), Arc::clone(&closed), Arc::new(body()));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let (counted, content) = (Arc::clone(&counted), Arc::clone(&content));
                std::thread::spawn(move || answer(stream, &content, &counted));
            }
        });
        Self {
            address,
            bytes,
            closed,
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes it, so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers request after request until the other side closes.
fn answer(stream: TcpStream, content: &[u8], counted: &AtomicU64) -> Option<()> {
    let mut requests = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut range = None;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let lower = line.trim().to_ascii_lowercase();
            if let Some(asked) = lower.strip_prefix("range: bytes=") {
                let (first, last) = asked.split_once('-')?;
                let first: usize = first.parse().ok()?;
                let last = last.parse().unwrap_or(LENGTH - 1).min(LENGTH - 1);
                range = Some((first, last));
            }
        }
        let (first, last) = range.unwrap_or((0, LENGTH - 1));
        let part = content.get(first..=last)?;
        let status = match range {
            Some(_) => {
                format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{LENGTH}")
            }
            None => "200 OK".to_owned(),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"v1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
             Cache-Control: max-age=86400\r\nContent-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n\r\n",
            part.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(part).ok()?;
        counted.fetch_add(part.len() as u64, Ordering::Relaxed);
    }
}

fn home_for(origin: &Origin) -> Home {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).expect("read");
    let rules = format!(
        "{text}[origins]\nallow = [\"files.example\"]\n[origins.connect]\n\"files.example\" = \"{}\"\n",
        origin.address
    );
    std::fs::write(home.config(), rules).expect("written");
    home
}

/// Asks for the object; the connection after its answer's head, and the head.
fn asked(http: SocketAddr) -> (BufReader<TcpStream>, String) {
    let mut stream = TcpStream::connect(http).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = "GET /a HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("asked");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            reader.read_line(&mut head).expect("a head"),
            0,
            "no head: {head}"
        );
    }
    (reader, head)
}

/// Fetches the object whole and compares it.
fn fetch(http: SocketAddr) -> String {
    let (mut reader, head) = asked(http);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("a body");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        got == body(),
        "{} bytes of {LENGTH}, not all of them right; {head}",
        got.len()
    );
    head
}

#[test]
fn what_was_fetched_once_is_there_after_a_restart() {
    let origin = Origin::start();
    let home = home_for(&origin);
    let mut serving = home.serve();
    fetch(serving.http);
    let once = origin.bytes();
    assert_eq!(once, LENGTH as u64, "each byte crossed the line once");
    let head = fetch(serving.http);
    assert!(head.contains("X-Cache-Status: HIT"), "{head}");
    serving.signal("TERM");
    assert_eq!(serving.ended(), Some(0));

    let serving = home.serve();
    let head = fetch(serving.http);
    assert!(head.contains("X-Cache-Status: HIT"), "{head}");
    assert_eq!(
        origin.bytes(),
        once,
        "nothing was asked of the origin again"
    );

    // And the commands see it, verify it, and forget it.
    let (url, token) = (serving.admin_url(), home.token_file());
    let token = token.to_string_lossy();
    let with = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--admin", &url, "--token-file", &token]);
        home.run(&all)
    };
    let name = "http://files.example/a";
    let (code, out, err) = with(&["ls", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let listed: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed["objects"][0]["url"], name, "{out}");
    assert_eq!(listed["objects"][0]["bytes_stored"], LENGTH, "{out}");
    let (code, out, _) = with(&["verify", name]);
    assert!(
        code == Some(0) && out.contains("1 objects, nothing damaged"),
        "{out}"
    );
    assert_eq!(with(&["pin", name]).1, "pinned 1 objects\n");
    assert!(with(&["stat", name]).1.contains("Pinned         yes"));
    assert!(with(&["purge", name]).1.starts_with("purged 1 objects, "));
    assert_eq!(with(&["stat", name]).0, Some(1));
    fetch(serving.http);
    assert_eq!(origin.bytes(), 2 * once, "what was purged is fetched again");
}

/// Turns a bit over in the slab file that holds the object's piece from `at` on; returns where in which file.
fn damage(store: &std::path::Path, at: usize) -> (String, u64) {
    let needle = &body()[at..at + (1 << 20)];
    for entry in std::fs::read_dir(store).expect("a store") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("slab-") {
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("readable");
        let mut sectors = (0..bytes.len()).step_by(4096);
        if let Some(found) = sectors.find(|from| bytes[*from..].starts_with(needle)) {
            bytes[found + 7] ^= 0x10;
            std::fs::write(&path, bytes).expect("writable");
            return (name, found as u64);
        }
    }
    panic!("byte {at} of the object is in no slab");
}

#[test]
fn damage_on_a_disk_is_found_told_and_mended() {
    let origin = Origin::start();
    let home = home_for(&origin);
    let mut serving = home.serve();
    fetch(serving.http);
    serving.signal("TERM");
    assert_eq!(serving.ended(), Some(0));
    let places = [3 << 20, 20 << 20].map(|at| damage(&home.store(), at));

    let serving = home.serve();
    let (url, token) = (serving.admin_url(), home.token_file());
    let token = token.to_string_lossy();
    let verify = |what: &[&str]| {
        let mut all = vec!["verify"];
        all.extend(what);
        all.extend(["--admin", &url, "--token-file", &token]);
        home.run(&all)
    };
    let (code, out, err) = verify(&["http://files.example/a", "--json"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let object = &told["objects"][0];
    assert_eq!(
        (&object["pieces_bad"], &object["pieces_good"]),
        (&2.into(), &23.into()),
        "{out}"
    );
    for (bad, (piece, (slab, offset))) in [3, 20].iter().zip(places).enumerate() {
        let told = &object["bad"][bad];
        assert_eq!(told["piece"], *piece, "{out}");
        assert_eq!(
            (&told["slab"], &told["offset"]),
            (&slab.into(), &offset.into()),
            "{out}"
        );
        assert_eq!(
            told["disk"],
            home.store().to_string_lossy().as_ref(),
            "{out}"
        );
    }
    // They are gone, and only they come again.
    let (code, out, _) = verify(&["files.example"]);
    assert!(code == Some(0) && out.contains("nothing damaged"), "{out}");
    let before = origin.bytes();
    fetch(serving.http);
    assert_eq!(origin.bytes() - before, 2 << 20);
    let (code, out, _) = verify(&["http://files.example/*"]);
    assert!(code == Some(0) && out.contains(" 25 "), "{out}");
}

#[test]
fn an_answer_under_way_is_finished_before_it_stops() {
    let origin = Origin::start();
    let home = home_for(&origin);
    let mut serving = home.serve();
    fetch(serving.http);
    // A client that has its head and reads no body yet.
    let (mut reader, head) = asked(serving.http);
    serving.signal("TERM");
    serving.line_with("stopping");
    // Stopping is seen, while the answer is still to come.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let (status, answer) = serving.ask("GET /readyz");
        if status == 503 {
            assert!(answer.contains("larder is stopping"), "{answer}");
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "still ready: {answer}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("a body");
    assert!(got == body(), "{} bytes of {LENGTH}; {head}", got.len());
    assert_eq!(serving.ended(), Some(0));
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_it_from_stopping() {
    let origin = Origin::start();
    let home = home_for(&origin);
    let mut serving = home.serve();
    fetch(serving.http);
    let (reader, _) = asked(serving.http);
    serving.signal("TERM");
    serving.line_with("stopping");
    assert_eq!(serving.ended(), Some(0), "cut after 10 s");
    drop(reader);

    // The second signal does not wait.
    let mut serving = home.serve();
    let (reader, _) = asked(serving.http);
    serving.signal("TERM");
    serving.line_with("stopping");
    serving.signal("TERM");
    serving.line_with("at once");
    assert_eq!(serving.ended(), Some(1));
    drop(reader);
}
