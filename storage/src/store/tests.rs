//! The store as the rest of larder uses it, on a real directory. The rule: bytes are a function of the piece's name,
//! so that any wrong byte shows, wherever it came from.

mod damage;
mod format;
mod limits;

use super::*;
use crate::driver::Token;
use crate::flight::{Watch, Watcher};
use crate::proof::{Proof, Whole};
use larder_content::phf::Phf;
use larder_content::{PIECE_BYTES, Span};
use std::path::Path;
use std::time::{Duration, Instant};

fn record(url: &str, length: u64) -> Record {
    Record {
        url: url.to_owned(),
        host: "h.example".to_owned(),
        length,
        etag: Some("\"1\"".to_owned()),
        date: 1,
        fresh_until: 2,
        stored_at: 1,
        immutable: true,
        ..Record::default()
    }
}

fn key(number: u8) -> UrlKey {
    UrlKey([number; 32])
}

fn url(number: u8) -> String {
    format!("http://h.example/{number}")
}

/// Bytes that differ between pieces, blocks and sectors.
fn bytes_of(content: u64, piece: u32, len: u32) -> Vec<u8> {
    let mut state = content ^ u64::from(piece).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while bytes.len() < len as usize {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

fn options(path: &Path) -> StoreOptions {
    StoreOptions {
        bytes_max: SizeLimit::bytes(64 << 20),
        memory_bytes_max: 8 << 20,
        ..StoreOptions::new(path)
    }
}

/// Fetches one piece as the download side does. The bytes depend on `seed`.
fn fetch(store: &Store, id: PieceId, len: u32, seed: u64) {
    let Claim::Owner(flight) = store.claim(id, len) else {
        panic!("{id:?} is there already");
    };
    let mut writer = None;
    wait_until(|| {
        writer = store.frame(len);
        writer.is_some()
    });
    assert!(flight.start(writer.expect("just seen")));
    let bytes = bytes_of(seed, id.piece, len);
    assert_eq!(flight.append(&bytes), bytes.len());
    assert!(flight.finish());
    store.keep(&flight);
}

/// Creates an object and fetches all of it.
fn fetch_object(store: &Store, number: u8, length: u64) -> Arc<Content> {
    let content = store.create(key(number), record(&url(number), length));
    for piece in 0..content.pieces() {
        let id = PieceId {
            content: content.no,
            piece,
        };
        fetch(store, id, content.piece_len(piece), u64::from(number));
    }
    content
}

/// How many pieces of an object are there; panics where one is wrong.
fn check_object(store: &Store, number: u8) -> u32 {
    let Some(content) = store.load(&key(number)) else {
        return 0;
    };
    let mut there = 0;
    for piece in 0..content.pieces() {
        let id = PieceId {
            content: content.no,
            piece,
        };
        let len = content.piece_len(piece);
        if let Some(found) = store.read_blocking(id, Span::whole(u64::from(len))) {
            assert!(
                found == bytes_of(u64::from(number), piece, len),
                "wrong bytes in piece {piece} of {number}"
            );
            there += 1;
        }
    }
    there
}

/// Polls a condition; the wait in between is only to leave the core to others.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = [
        1,
        100,
        4096,
        5000,
        65_535,
        65_536,
        70_000,
        3 * u64::from(PIECE_BYTES) + 17,
    ];
    let mut pieces = 0;
    {
        let store = Store::open(options(dir.path())).unwrap();
        for (number, length) in lengths.into_iter().enumerate() {
            pieces += fetch_object(&store, number as u8, length).pieces();
        }
        store.flush();
        assert_eq!(store.figures().pieces, u64::from(pieces));
        assert_eq!(store.figures().not_kept_total, 0);
        store.close();
    }
    let store = Store::open(options(dir.path())).unwrap();
    let figures = store.figures();
    assert_eq!(figures.pieces, u64::from(pieces));
    assert_eq!(figures.piece_bytes, lengths.iter().sum::<u64>());
    assert_eq!((figures.ram_pieces, figures.corrupt_total), (0, 0));
    assert!(figures.bytes <= figures.capacity_bytes);
    for (number, length) in lengths.into_iter().enumerate() {
        let listed = store.stat(&key(number as u8)).unwrap();
        assert_eq!(
            (listed.bytes_stored, listed.pieces_stored),
            (length, listed.pieces)
        );
        assert_eq!(check_object(&store, number as u8), listed.pieces);
    }
}

#[test]
fn a_kill_loses_nothing_that_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    fetch_object(&store, 1, 5 << 20);
    fetch_object(&store, 2, 9000);
    store.flush();
    fetch_object(&store, 3, 2 << 20);
    // What a killed process leaves is what is in its files at that moment.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let store = Store::open(options(copy.path())).unwrap();
    assert_eq!((check_object(&store, 1), check_object(&store, 2)), (5, 1));
    check_object(&store, 3);
    assert_eq!(store.figures().corrupt_total, 0);
}

#[test]
fn a_piece_is_served_from_memory_then_disk_then_memory_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        memory_bytes_max: 2 << 20,
        ..options(dir.path())
    })
    .unwrap();
    let content = fetch_object(&store, 1, 4 << 20);
    let id = PieceId {
        content: content.no,
        piece: 0,
    };
    store.flush();
    assert!(store.ram().used_bytes() <= 2 << 20);
    let Found::Disk(piece) = store.find(id) else {
        panic!("the memory of two pieces holds the last two");
    };
    assert!(!piece.hot);
    let Found::Disk(piece) = store.find(id) else {
        panic!("nothing has changed");
    };
    assert!(piece.hot, "the second touch");
    let bytes = bytes_of(1, 0, 1 << 20);
    let mut writer = store.admit(&piece).expect("older ones give way");
    writer.append(&bytes);
    store.admitted(&piece, writer);
    assert!(matches!(store.find(id), Found::Ram(frame) if frame.bytes() == bytes));
    assert!(store.admit(&piece).is_none(), "it is there already");
    // What is not the piece is not admitted, whatever the caller thinks of it.
    let other = PieceId { piece: 1, ..id };
    let Found::Disk(piece) = store.find(other) else {
        panic!("the second piece has left memory as well");
    };
    let mut writer = store.admit(&piece).unwrap();
    writer.append(&bytes);
    store.admitted(&piece, writer);
    assert!(matches!(store.find(other), Found::Absent));
    assert_eq!(store.figures().corrupt_total, 1);
}

#[test]
fn a_second_store_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    assert!(matches!(
        Store::open(options(dir.path())),
        Err(OpenError::InUse { .. })
    ));
    store.close();
    drop(store);
    Store::open(options(dir.path())).unwrap();
    let none = StoreOptions {
        paths: Vec::new(),
        ..options(dir.path())
    };
    assert!(matches!(Store::open(none), Err(OpenError::NoPath)));
}

#[test]
fn a_claim_has_one_owner_until_it_is_kept_or_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let content = store.create(key(1), record(&url(1), 10));
    let id = PieceId {
        content: content.no,
        piece: 0,
    };
    let Claim::Owner(first) = store.claim(id, 10) else {
        panic!("nobody has it");
    };
    assert!(matches!(store.claim(id, 10), Claim::Waiter(_)));
    assert!(matches!(store.find(id), Found::Flight(_)));
    store.abandon(&first, FlightError::Origin);
    assert_eq!(first.state(), FlightState::Failed(FlightError::Origin));
    assert!(matches!(store.find(id), Found::Absent));
    fetch(&store, id, 10, 1);
    assert!(matches!(store.claim(id, 10), Claim::Stored));
    // The one who gave up earlier does not disturb the later flight.
    store.abandon(&first, FlightError::Origin);
    store.keep(&first);
    assert!(matches!(store.find(id), Found::Ram(_)));
}

#[test]
fn closing_ends_the_flights() {
    struct Told(std::sync::mpsc::Sender<Token>);
    impl Watch for Told {
        fn progress(&self, token: Token, _: PieceId) {
            let _ = self.0.send(token);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let content = store.create(key(1), record(&url(1), 10));
    let id = PieceId {
        content: content.no,
        piece: 0,
    };
    let Claim::Owner(flight) = store.claim(id, 10) else {
        panic!("nobody has it");
    };
    let (tell, told) = std::sync::mpsc::channel();
    flight.watch(Watcher {
        wake: Arc::new(Told(tell)),
        token: Token(7),
    });
    store.close();
    assert_eq!(told.recv().unwrap(), Token(7));
    assert_eq!(flight.state(), FlightState::Failed(FlightError::Closing));
    // After the close nothing is stored, and nothing hangs.
    fetch(&store, id, 10, 1);
    store.flush();
    assert!(matches!(store.find(id), Found::Absent));
    assert_eq!(store.figures().not_kept_total, 1);
}

#[test]
fn a_purge_takes_objects_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    fetch_object(&store, 1, 3 << 20);
    fetch_object(&store, 2, 9000);
    let lying = store.create(key(3), record(&url(3), u64::MAX / 2));
    fetch(
        &store,
        PieceId {
            content: lying.no,
            piece: 5,
        },
        1 << 20,
        3,
    );
    store.flush();
    assert_eq!(store.list(&Filter::All).len(), 3);
    assert_eq!(store.stat(&key(3)).unwrap().pieces_stored, 1);
    let purged = store.purge(&Filter::Url(url(1)));
    assert_eq!((purged.objects, purged.bytes), (1, 3 << 20));
    let purged = store.purge(&Filter::Content(lying.no));
    assert_eq!((purged.objects, purged.bytes), (1, 1 << 20));
    assert!(store.content(&key(1)).is_none());
    assert_eq!(store.purge(&Filter::Url(url(1))), Purged::default());
    assert_eq!(store.figures().pieces, 1);
    store.close();
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!((check_object(&store, 1), check_object(&store, 2)), (0, 1));
    assert_eq!(store.figures().pieces, 1);
    assert_eq!(store.list(&Filter::Host("h.example".to_owned())).len(), 1);
}

#[test]
fn a_new_version_replaces_the_old_one_and_its_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let first = fetch_object(&store, 1, 2 << 20);
    store.alias(key(2), &first);
    let second = store.create(key(1), record(&url(1), 5));
    store.flush();
    assert_eq!(store.content(&key(2)).unwrap().no, first.no);
    assert_eq!(store.figures().pieces, 2, "another key names it still");
    store.alias(key(2), &second);
    store.flush();
    assert_eq!(store.figures().pieces, 0);
    // What still arrives for the version that is gone is not stored.
    let id = PieceId {
        content: first.no,
        piece: 0,
    };
    fetch(&store, id, 1 << 20, 1);
    assert!(matches!(store.find(id), Found::Absent));
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.load(&key(2)).unwrap().no, second.no);
    assert_eq!(store.load(&key(1)).unwrap().length(), 5);
    assert_eq!(store.figures().objects, 1);
}

#[test]
fn dates_and_pins_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let content = fetch_object(&store, 1, 100);
    let renewed = store.renew(
        &content,
        Record {
            fresh_until: 77,
            date: 66,
            extra: vec![("X-New".to_owned(), "1".to_owned())],
            ..content.snapshot()
        },
    );
    assert_eq!((renewed.no, renewed.fresh_until()), (content.no, 77));
    // Its pieces are still its own.
    let id = PieceId {
        content: renewed.no,
        piece: 0,
    };
    assert!(!matches!(store.find(id), Found::Absent));
    assert_eq!(store.pin(&Filter::Prefix(url(1)), true), 1);
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    let content = store.load(&key(1)).unwrap();
    assert_eq!((content.fresh_until(), content.date()), (77, 66));
    assert_eq!(content.record().extra.len(), 1);
    assert!(content.is_pinned());
}

#[test]
fn the_cap_holds_and_pinned_objects_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        bytes_max: SizeLimit::bytes(40 << 20),
        ..options(dir.path())
    })
    .unwrap();
    fetch_object(&store, 0, 3 << 20);
    store.pin(&Filter::Url(url(0)), true);
    for number in 1..40 {
        fetch_object(&store, number, 3 << 20);
        assert!(store.figures().bytes <= 40 << 20);
        assert!(store.ram().used_bytes() <= 8 << 20);
    }
    store.flush();
    let figures = store.figures();
    assert_eq!(figures.not_kept_total, 0);
    assert!(figures.evictions_total > 0);
    assert!(figures.piece_bytes > 24 << 20, "{figures:?}");
    assert_eq!(check_object(&store, 0), 3);
    let there: u32 = (1..40).map(|number| check_object(&store, number)).sum();
    assert!(there > 20);
    let on_disk: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= 40 << 20);
}

#[test]
fn a_catalogue_that_rots_while_it_is_open_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    for number in 0..40 {
        fetch_object(&store, number, 9000);
    }
    store.alias(key(90), &store.load(&key(0)).unwrap());
    store.flush();
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    let file = dir.path().join("catalogue.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
    store.purge(&Filter::Url(url(7)));
    fetch_object(&store, 50, 9000);
    store.flush();
    store.flush();
    assert_eq!(store.figures().corrupt_total, 1);
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(store.figures().corrupt_total, 0);
    for number in (0..40).chain([50]) {
        let there = u32::from(number != 7);
        assert_eq!(check_object(&store, number), there, "{number}");
    }
    assert_eq!(store.figures().objects, 40);
    let other = store.load(&key(90)).unwrap();
    assert_eq!(other.no, store.load(&key(0)).unwrap().no);
}

#[test]
fn a_look_reads_the_disk_though_the_piece_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let content = fetch_object(&store, 1, (2 << 20) + 9000);
    store.flush();
    let id = |piece| PieceId {
        content: content.no,
        piece,
    };
    let mut buf = LookBuf::default();
    let mut look =
        |piece, check: &dyn Fn(&[u8]) -> Result<(), String>| store.look(id(piece), &mut buf, check);
    for piece in 0..3 {
        let len = content.piece_len(piece);
        let same = |bytes: &[u8]| match bytes == bytes_of(1, piece, len) {
            true => Ok(()),
            false => Err("other bytes".to_owned()),
        };
        assert_eq!(look(piece, &same), Looked::Good);
    }
    assert!(
        matches!(store.find(id(0)), Found::Ram(_)),
        "it is in memory"
    );
    // A byte of the last piece, which shares its sectors with others, and one of the first.
    let slab = dir.path().join("slab-00000000");
    let mut bytes = std::fs::read(&slab).unwrap();
    for piece in [0, 2] {
        let needle = &bytes_of(1, piece, content.piece_len(piece))[..32];
        let at = bytes.windows(32).position(|some| some == needle).unwrap();
        bytes[at + 5] ^= 1;
    }
    std::fs::write(&slab, bytes).unwrap();
    for piece in [0, 2] {
        let Looked::Bad(bad) = look(piece, &|_| Ok(())) else {
            panic!("piece {piece} is damaged");
        };
        assert_eq!((bad.id, bad.slab.as_str()), (id(piece), "slab-00000000"));
        assert_eq!(look(piece, &|_| Ok(())), Looked::Absent);
        assert!(
            matches!(store.find(id(piece)), Found::Absent),
            "not from memory either"
        );
    }
    assert_eq!(store.figures().corrupt_total, 2);
    // What is as it was stored may still not be what it should be.
    assert!(
        matches!(look(1, &|_| Err("another hash".to_owned())), Looked::Bad(bad) if bad.why == "another hash")
    );
    assert_eq!(look(1, &|_| Ok(())), Looked::Absent);
    assert_eq!(store.figures().corrupt_total, 3);
}

#[test]
fn proofs_survive_a_restart_and_go_with_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    // More pieces than hashes in a row.
    let length = (70 << 20) + 5;
    let content = store.create(key(1), record(&url(1), length));
    let other = store.create(key(2), record(&url(2), length));
    let hash_of = |piece: u32| [piece as u8 + 1; 32];
    let hashes = (0..content.pieces()).map(hash_of).collect();
    let phf = Phf::new(length, hashes).unwrap();
    let id = |piece| PieceId {
        content: content.no,
        piece,
    };
    for piece in [0, 63, 64, 70] {
        store.saw(id(piece), &hash_of(piece));
    }
    assert!(store.name_hashes(&content, &phf, false, "http://h/1.phf"));
    assert!(!store.name_hashes(&content, &phf, false, "http://h/1.phf"));
    assert!(store.name_hashes(&content, &phf, true, "http://h/phf"));
    assert!(!store.name_hashes(&content, &phf, false, "http://h/1.phf"));
    let short = Phf::new(5, vec![[1; 32]]).unwrap();
    assert!(!store.name_hashes(&content, &short, true, "http://h/phf"));
    assert_eq!(store.compared(&content, true), WholeFile::Verified);
    assert!(store.name_hashes(&other, &phf, false, "http://h/2.phf"));
    store.drop_hashes(&other);
    assert!(store.piece_hashes(&other).is_none());
    drop(store);

    let store = Store::open(options(dir.path())).unwrap();
    let content = store.load(&key(1)).unwrap();
    let hashes = store.piece_hashes(&content).unwrap();
    assert!(hashes.trusted && hashes.phf == phf);
    assert_eq!(store.proof(content.no).whole, Whole::Matches);
    let seen = store.seen(content.no, content.pieces());
    assert_eq!(seen.len(), 4);
    assert!(
        [0, 63, 64, 70]
            .iter()
            .all(|piece| seen[piece] == hash_of(*piece))
    );
    let other = store.load(&key(2)).unwrap();
    assert!(store.piece_hashes(&other).is_none());
    assert!(
        !store.name_hashes(&other, &phf, false, "http://h/2.phf"),
        "refuted"
    );
    let expected = store.expected(&content, 70).unwrap();
    assert!(expected.trusted && expected.hash == hash_of(70));
    store.purge(&Filter::Content(content.no));
    assert!(store.seen(content.no, 71).is_empty() && store.piece_hashes(&content).is_none());
    drop(store);
    let store = Store::open(options(dir.path())).unwrap();
    assert!(store.seen(content.no, 71).is_empty());
    assert_eq!(store.proof(content.no), Proof::default());
}

#[test]
fn a_file_that_was_verified_as_a_whole_proves_its_pieces_when_they_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    let content = store.create(key(1), record(&url(1), 2 << 20));
    let id = PieceId {
        content: content.no,
        piece: 1,
    };
    store.saw(id, &[7; 32]);
    assert_eq!(store.expected(&content, 1), None);
    store.compared(&content, true);
    let expected = store.expected(&content, 1);
    assert!(expected.is_some_and(|expected| expected.trusted && expected.hash == [7; 32]));
    // Of a piece that larder has not seen nothing is known; if it comes, the whole is verified no more.
    assert_eq!(store.expected(&content, 0), None);
    store.unproved(&content);
    assert_eq!(store.proof(content.no).whole, Whole::Unknown);
}
