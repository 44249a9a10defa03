//! Trust by the program as it runs: piece-hash files, SHA-1 in names, and an origin that garbles. The rule: what the
//! program says of an object is compared with what a client gets and what the origin was asked.

mod rig;

use larder_content::hash::of_piece;
use larder_content::span::{piece_len, piece_start};
use larder_content::{ContentId, Phf};
use larder_proto::swarm::wire::{Decoder, Incoming};
use larder_proto::swarm::{Block, Handshake, Message, PeerId};
use rig::assert_same;
use rig::larder::{FAMILY, Larder, Setup, named_path};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const MIB: usize = 1 << 20;

/// What the origin has, and how often yet it garbles one byte of it.
#[derive(Clone, Default)]
struct Shelf {
    bodies: Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>,
    garbles: Arc<Mutex<Option<(String, usize, u32)>>>,
}

impl Shelf {
    fn put(&self, path: &str, body: &[u8]) {
        let mut bodies = self.bodies.lock().expect("whole");
        bodies.insert(path.to_owned(), Arc::new(body.to_vec()));
    }

    fn garble(&self, path: &str, at: usize, times: u32) {
        *self.garbles.lock().expect("whole") = Some((path.to_owned(), at, times));
    }

    /// The bytes that are sent of a file.
    fn part(&self, path: &str, first: usize, last: Option<usize>) -> Option<(Vec<u8>, usize)> {
        let body = Arc::clone(self.bodies.lock().expect("whole").get(path)?);
        let end = last.map_or(body.len(), |last| (last + 1).min(body.len()));
        let mut part = body.get(first..end)?.to_vec();
        if let Some((garbled, at, times)) = &mut *self.garbles.lock().expect("whole")
            && garbled == path
            && *times > 0
            && (first..end).contains(at)
        {
            part[*at - first] ^= 1;
            *times -= 1;
        }
        Some((part, body.len()))
    }

    fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let shelf = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shelf = shelf.clone();
                std::thread::spawn(move || shelf.talk(stream));
            }
        });
        address
    }

    fn talk(&self, mut stream: TcpStream) -> Option<()> {
        let mut requests = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if requests.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let target = head.split(' ').nth(1)?;
            let path = target.split('?').next()?;
            let range = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": bytes=")?;
                let (first, last) = value.split_once('-')?;
                let is_range = name.eq_ignore_ascii_case("range");
                is_range.then(|| Some((first.parse().ok()?, last.parse().ok())))?
            });
            let (first, last) = range.unwrap_or((0, None));
            let Some((part, length)) = self.part(path, first, last) else {
                stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    .ok()?;
                continue;
            };
            let status = match range {
                Some(_) => format!(
                    "206 Partial Content\r\nContent-Range: bytes {first}-{}/{length}",
                    first + part.len() - 1
                ),
                None => "200 OK".to_owned(),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"v1\"\r\nCache-Control: max-age=9999\r\n\r\n",
                part.len()
            );
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&part).ok()?;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// An update with the piece-hash file that its URL names; the paths of both.
fn update(shelf: &Shelf, body: &[u8]) -> (String, String) {
    let path = named_path(body);
    let digits = path.rsplit_once('_').expect("a name").1;
    let sha1 = digits.split('.').next().expect("digits");
    let hashes = body.chunks(MIB).map(of_piece).collect();
    let phf = Phf::new(body.len() as u64, hashes).expect("as many hashes as pieces");
    let phf_path = format!("/phf/dotc/{sha1}/{}", hex(phf.hash_of_hashes()));
    shelf.put(&path, body);
    shelf.put(&phf_path, phf.to_json().as_bytes());
    (path, phf_path)
}

fn start(driver: &'static str) -> (Shelf, Larder) {
    let shelf = Shelf::default();
    let larder = Larder::start(&Setup {
        origin: Some(shelf.serve()),
        driver,
        ..Setup::default()
    });
    (shelf, larder)
}

/// Waits until `larder stat` says this of an object.
fn eventually_says(larder: &Larder, url: &str, words: &str) -> String {
    rig::eventually(words, || {
        let output = larder.command(&["stat", url]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.contains(words).then_some(said)
    })
}

fn hashes_prove(driver: &'static str) {
    let (shelf, mut larder) = start(driver);
    let body = rig::real_bytes(4 * MIB + 9);
    let (path, phf) = update(&shelf, &body);
    let url = format!("http://{}{path}", FAMILY[0]);
    let get = |larder: &Larder| larder.get(FAMILY[0], &path);
    assert_eq!(
        larder.get(FAMILY[0], &phf).run().expect("an answer").status,
        200
    );

    // Garbled once, nobody notices.
    let first = |piece: usize| (piece * MIB) as u64;
    shelf.garble(&path, 2 * MIB + 5, 1);
    for piece in [2, 3] {
        let part = get(&larder).range(first(piece), first(piece + 1) - 1);
        let part = part.run().expect("an answer");
        assert_same(&part.body, &body[piece * MIB..][..MIB], "a piece");
    }
    // Garbled twice, a piece is refused, until the SHA-1 of the whole file tells who is wrong.
    shelf.garble(&path, MIB + 5, 2);
    let refused = get(&larder)
        .range(first(1), first(2) - 1)
        .run()
        .expect("an answer");
    assert_eq!(refused.status, 502, "{}", refused.head);
    assert!(String::from_utf8_lossy(&refused.body).contains("hash"));
    eventually_says(&larder, &url, "SHA-1          as the URL names it");
    eventually_says(&larder, &url, "(trusted, from http");
    let whole = get(&larder).run().expect("an answer");
    assert_eq!(whole.status, 200);
    assert_same(&whole.body, &body, "the whole");
    assert_eq!(
        larder.metric("larder_pieces_rejected_total", "reason=\"phf\""),
        3.0
    );
    // Those that were there before, and of the others those that are on disk when the hashes are attached.
    let verified = larder.metric("larder_pieces_verified_total", "by=\"phf\"");
    assert!((2.0..=7.0).contains(&verified), "{verified}");
    let said = eventually_says(&larder, &url, "SHA-1          as the URL names it");
    assert!(said.contains("Trust          verified\n"), "{said}");
    assert!(said.contains("(trusted, from http"), "{said}");
    assert!(larder.told(&["ls"]).contains("verified"));

    // It is so after a restart, and the disk is compared with it.
    larder.terminate();
    larder.resume();
    let said = eventually_says(&larder, &url, "SHA-1          as the URL names it");
    assert!(
        said.contains("Trust          verified\n") && said.contains("(trusted"),
        "{said}"
    );
    let said = larder.told(&["verify", &url, "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let object = &said["objects"][0];
    assert_eq!(object["pieces_hashed"], 5, "{said}");
    assert_eq!(object["sha1_matches"], true, "{said}");
    // The same file by another path is not stored again, nor its bytes fetched.
    let twin = path.replace("/c/", "/d/");
    shelf.put(&twin, &body);
    let before = larder.metric("larder_store_pieces", "");
    let ranged = larder.get(FAMILY[1], &twin).range(first(1), first(2) - 1);
    let answer = ranged.run().expect("an answer");
    assert_eq!(answer.status, 206, "{}", answer.head);
    assert_same(&answer.body, &body[MIB..2 * MIB], "by another path");
    shelf.put(&twin, b"");
    let whole = larder.get(FAMILY[0], &twin).run().expect("an answer");
    assert_same(&whole.body, &body, "the whole by another path");
    assert_eq!(larder.metric("larder_store_pieces", ""), before);
    let warm = get(&larder).run().expect("an answer");
    assert_eq!(warm.field("X-Cache-Status"), Some("HIT"), "{}", warm.head);
    assert_same(&warm.body, &body, "after the restart");
}

#[test]
fn hashes_prove_with_io_uring() {
    hashes_prove("auto");
}

#[test]
fn hashes_prove_with_epoll() {
    hashes_prove("epoll");
}

#[test]
fn a_file_without_its_sha1_is_fetched_again_once_and_never_called_verified() {
    let (shelf, larder) = start("auto");
    let body = rig::real_bytes(2 * MIB + 1);
    let path = named_path(&body);
    shelf.put(&path, &body);
    let url = format!("http://{}{path}", FAMILY[0]);
    let get = || larder.get(FAMILY[0], &path).run().expect("an answer");
    // A line that garbles once: the file is thrown away, and the next fetch is right.
    shelf.garble(&path, 7, 1);
    assert!(get().body != body);
    rig::eventually("it is thrown away", || {
        (!larder.command(&["stat", &url]).status.success()).then_some(())
    });
    assert_same(&get().body, &body, "the second fetch");
    eventually_says(&larder, &url, "Trust          verified");
    assert_eq!(
        larder.metric("larder_pieces_rejected_total", "reason=\"sha1\""),
        3.0
    );
    assert_eq!(
        larder.metric("larder_pieces_verified_total", "by=\"sha1\""),
        3.0
    );

    // An origin that has another file under that name.
    let other = path.replace("/2026/", "/2027/");
    shelf.put(&other, &body[1..]);
    let get = || larder.get(FAMILY[0], &other).run().expect("an answer");
    let url = format!("http://{}{other}", FAMILY[0]);
    assert_same(&get().body, &body[1..], "what it has");
    rig::eventually("it is thrown away", || {
        (!larder.command(&["stat", &url]).status.success()).then_some(())
    });
    assert_same(&get().body, &body[1..], "what it has");
    let said = eventually_says(&larder, &url, "another than the URL names, twice");
    assert!(said.contains("Trust          attested\n"), "{said}");
    assert_eq!(get().field("X-Cache-Status"), Some("HIT"));
}

/// Fetches all of a content by blocks of 64 KiB, as a peer does; None where the connection ends before.
fn by_peer(address: SocketAddr, swarm: ContentId, length: usize) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).expect("connected");
    let timeout = Some(std::time::Duration::from_secs(60));
    stream.set_read_timeout(timeout).expect("a timeout");
    let handshake = Handshake {
        swarm,
        peer: PeerId([0xab; 16]),
        suffix: [0; 4],
    };
    let mut hello = handshake.to_bytes().to_vec();
    Message::Interested.write(&mut hello);
    stream.write_all(&hello).expect("written");
    let (mut decoder, mut body, mut came) = (Decoder::new(), vec![0; length], 0);
    let mut buffer = vec![0; 256 << 10];
    while came < length {
        let count = stream.read(&mut buffer).expect("it goes on");
        let mut input = buffer.get(..count).filter(|input| !input.is_empty())?;
        while let Some(incoming) = decoder.next(&mut input).expect("it keeps the rules") {
            match incoming {
                Incoming::Message(Message::Unchoke) => {
                    stream.write_all(&asks(length as u64)).expect("written");
                }
                Incoming::Piece { block, at, bytes } => {
                    let from = piece_start(block.piece) as usize + (block.offset + at) as usize;
                    body[from..from + bytes.len()].copy_from_slice(bytes);
                    came += bytes.len();
                }
                _ => {}
            }
        }
    }
    Some(body)
}

/// Requests for all blocks.
fn asks(length: u64) -> Vec<u8> {
    let mut asks = Vec::new();
    for piece in 0..larder_content::span::piece_count(length) {
        let end = piece_len(length, piece);
        for offset in (0..end).step_by(64 << 10) {
            let len = (64 << 10).min(end - offset);
            Message::Request(Block { piece, offset, len }).write(&mut asks);
        }
    }
    asks
}

fn peers_get_what_is_proved(driver: &'static str) {
    let (shelf, mut larder) = start(driver);
    let body = rig::real_bytes(4 * MIB + 9);
    let hashes = body.chunks(MIB).map(of_piece).collect();
    let swarm = Phf::new(body.len() as u64, hashes).expect("a file of hashes");
    let swarm = swarm.content_id();
    assert_eq!(
        by_peer(larder.peer(), swarm, body.len()),
        None,
        "not stored"
    );
    let (path, phf) = update(&shelf, &body);
    let url = format!("http://{}{path}", FAMILY[0]);
    for path in [&phf, &path] {
        let answer = larder.get(FAMILY[0], path).run().expect("an answer");
        assert_eq!(answer.status, 200);
    }
    eventually_says(&larder, &url, "(trusted, from http");
    // Its pieces are compared one by one.
    let got = rig::eventually("all is offered", || {
        by_peer(larder.peer(), swarm, body.len())
    });
    assert!(got == body);
    let sent = larder.metric("larder_peer_sent_bytes_total", "");
    assert!(sent >= body.len() as f64, "{sent}");
    assert!(larder.metric("larder_peer_requests_total", "") >= 65.0);
    assert_eq!(larder.metric("larder_peer_refused_total", "unknown"), 1.0);
    // What was proved before a restart is offered after it.
    larder.terminate();
    larder.resume();
    let got = by_peer(larder.peer(), swarm, body.len()).expect("all of it");
    assert!(got == body);
    larder.told(&["purge", &url]);
    assert_eq!(by_peer(larder.peer(), swarm, body.len()), None);
}

#[test]
fn peers_get_what_is_proved_ring() {
    peers_get_what_is_proved("auto");
}

#[test]
fn peers_get_what_is_proved_epoll() {
    peers_get_what_is_proved("epoll");
}
