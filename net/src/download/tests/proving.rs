//! Hashes that are named, forged, stale or refuted, and origins whose bytes are not what they name. The rule: what
//! proves itself is proved, a wrong byte never leaves where a hash is known, and a wrong hint never blocks a good object.

use super::script::{Asked, Object, Origin, Step};
use super::world::{World, eventually, watch};
use larder_content::Span;
use larder_content::hash::{FileHasher, of_piece};
use larder_content::phf::Phf;
use larder_storage::flight::FlightError;
use larder_storage::proof::{Trust, Whole};
use larder_storage::record::Content;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ETAG: &str = "ETag: \"one\"\r\nCache-Control: max-age=1000\r\n";
const MIB: usize = 1 << 20;
const HOST: &str = "au.download.windowsupdate.com";

fn phf_of(body: &[u8]) -> Phf {
    let pieces = body.chunks(MIB).map(of_piece).collect();
    Phf::new(body.len() as u64, pieces).expect("as many hashes as pieces")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha1_of(body: &[u8]) -> [u8; 20] {
    let mut hasher = FileHasher::default();
    hasher.update(body);
    hasher.finish()
}

/// The path of an update whose name says that it has this SHA-1.
fn update(sha1: &[u8; 20]) -> String {
    format!("/c/update_{}.cab", hex(sha1))
}

fn document(text: &str) -> Object {
    Object {
        body: Arc::new(text.as_bytes().to_vec()),
        headers: ETAG.to_owned(),
    }
}

/// Garbles byte `at` of a body that is answered, as a line does.
fn garbled(object: &Object, asked: &Asked, at: usize) -> Vec<u8> {
    let mut wrong = object.body.to_vec();
    wrong[at] ^= 1;
    Object {
        body: Arc::new(wrong),
        headers: object.headers.clone(),
    }
    .answer(asked)
}

/// An origin of a file and of its piece-hash file. `garble`: how often a request that brings byte `at` of the file gets
/// it wrong.
async fn origin_of(
    file: (&str, &Object),
    phf: (&str, &Object),
    at: usize,
    garble: usize,
) -> Origin {
    let (path, object) = (file.0.to_owned(), file.1.clone());
    let (phf_path, phf) = (phf.0.to_owned(), phf.1.clone());
    let left = AtomicUsize::new(garble);
    Origin::start(move |asked| {
        let target = asked.target.split('?').next().unwrap_or_default();
        let (first, last) = asked.range.unwrap_or((0, None));
        let brings = first <= at && last.is_none_or(|last| at <= last);
        vec![Step::Send(if target == phf_path {
            phf.answer(asked)
        } else if target != path {
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else if brings
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
        {
            garbled(&object, asked, at)
        } else {
            object.answer(asked)
        })]
    })
    .await
}

/// A file with its trusted piece-hash file, fetched by a client as clients do: the hashes first.
async fn with_trusted(object: &Object, garble: usize) -> (Origin, World, String) {
    let sha1 = sha1_of(&object.body);
    let phf = phf_of(&object.body);
    let phf_path = format!("/phf/dotc/{}/{}", hex(&sha1), hex(phf.hash_of_hashes()));
    let json = document(&phf.to_json());
    let path = update(&sha1);
    let origin = origin_of((&path, object), (&phf_path, &json), MIB + 77, garble).await;
    let world = World::new(&[(HOST, &origin)]);
    json.check_whole(&world.get(&format!("http://{HOST}{phf_path}")).await);
    (origin, world, format!("http://{HOST}{path}"))
}

fn trust(world: &World, content: &Content) -> Trust {
    world.store.flush();
    world.store.trust(content).trust
}

async fn content_of(world: &World, url: &str) -> Arc<Content> {
    world.content(url, Some((0, Some(1)))).await
}

#[tokio::test]
async fn a_file_with_a_trusted_piece_hash_file_is_verified_piece_by_piece() {
    let object = Object::new(3 * MIB + 5, 1, ETAG);
    let (_origin, world, url) = with_trusted(&object, 0).await;
    let content = content_of(&world, &url).await;
    object.check(&world.bytes(&content, &url, Span::new(0, 10)).await, 0..10);
    // Part of a file can not have its SHA-1: its piece is proved by itself.
    assert_eq!(trust(&world, &content), Trust::Verified);
    assert!(
        world
            .store
            .piece_hashes(&content)
            .is_some_and(|hashes| hashes.trusted)
    );
    object.check_whole(&world.get(&url).await);
    // The client has the last bytes before they are on disk.
    eventually("every piece is proved", || {
        world.store.flush();
        world.store.trust(&content).pieces_verified == 4
    })
    .await;
}

#[tokio::test]
async fn a_byte_that_was_garbled_once_never_leaves_and_is_fetched_again() {
    let object = Object::new(3 * MIB + 5, 2, ETAG);
    let (origin, world, url) = with_trusted(&object, 1).await;
    object.check_whole(&world.get(&url).await);
    let content = content_of(&world, &url).await;
    assert_eq!(trust(&world, &content), Trust::Verified);
    let asked = origin.asked();
    let of_file = asked.iter().filter(|asked| asked.target.starts_with("/c/"));
    let brings = |asked: &&Asked| {
        let (first, last) = asked.range.unwrap_or((0, None));
        first <= MIB + 77 && last.is_none_or(|last| MIB + 77 <= last)
    };
    assert_eq!(of_file.filter(brings).count(), 2);
}

/// Bytes of a file that were asked for.
fn bytes_asked(origin: &Origin, path: &str, length: usize) -> usize {
    let asked = origin.asked().into_iter();
    let of_file = asked.filter(|asked| asked.target.split('?').next() == Some(path));
    of_file
        .map(|asked| {
            let (first, last) = asked.range.unwrap_or((0, None));
            last.map_or(length, |last| (last + 1).min(length)) - first
        })
        .sum()
}

async fn present(world: &World, url: &str) -> Arc<Content> {
    let key = world.route(url).identity.key;
    world.store.content(&key).expect("it is stored")
}

#[tokio::test]
async fn bytes_that_stay_wrong_are_refused_and_not_stored_and_the_rest_is_served() {
    let object = Object::new(3 * MIB + 5, 3, ETAG);
    let (origin, world, url) = with_trusted(&object, usize::MAX).await;
    let path = update(&sha1_of(&object.body));
    let content = content_of(&world, &url).await;
    for again in [false, true] {
        let piece = Span::new(1 << 20, 2 << 20);
        assert_eq!(
            world.bytes(&content, &url, piece).await,
            Err(FlightError::Unproved)
        );
        world.store.flush();
        assert!(!world.store.pieces_of(&content).contains(&1));
        object.check(
            &world
                .bytes(&content, &url, Span::new(2 << 20, 3 << 20))
                .await,
            2 * MIB..3 * MIB,
        );
        // The file as it comes has another SHA-1, too; that is found out once.
        let all = 4 * MIB + 5 + object.body.len() + if again { 2 * MIB } else { 0 };
        eventually("the whole file was looked at", || {
            world.store.contents().len() == 2
                && bytes_asked(&origin, &path, object.body.len()) >= all - MIB - 5
        })
        .await;
    }
    assert_eq!(present(&world, &url).await.no, content.no);
    assert_eq!(trust(&world, &content), Trust::Verified);
}

#[tokio::test]
async fn a_file_whose_origin_is_well_again_is_served_with_its_hashes() {
    let object = Object::new(3 * MIB + 5, 3, ETAG);
    let (_origin, world, url) = with_trusted(&object, 2).await;
    let content = content_of(&world, &url).await;
    let piece = Span::new(1 << 20, 2 << 20);
    assert_eq!(
        world.bytes(&content, &url, piece).await,
        Err(FlightError::Unproved)
    );
    eventually("it was looked at as a whole", || {
        world.store.by_no(content.no).is_none()
    })
    .await;
    object.check_whole(&world.get(&url).await);
    let content = present(&world, &url).await;
    eventually("its hashes are attached", || {
        world
            .store
            .piece_hashes(&content)
            .is_some_and(|hashes| hashes.trusted)
    })
    .await;
    assert_eq!(trust(&world, &content), Trust::Verified);
}

#[tokio::test]
async fn a_trusted_file_of_wrong_hashes_never_blocks_a_file_with_the_sha1_of_its_url() {
    for file_first in [false, true] {
        let object = Object::new(6 * MIB + 5, 12, ETAG);
        let length = object.body.len();
        let forged = phf_of(&Object::new(length, 13, ETAG).body);
        let sha1 = sha1_of(&object.body);
        let (path, json) = (update(&sha1), document(&forged.to_json()));
        // Its URL names just these hashes.
        let phf_path = format!("/phf/dotc/{}/{}", hex(&sha1), hex(forged.hash_of_hashes()));
        let origin = origin_of((&path, &object), (&phf_path, &json), 0, 0).await;
        let world = World::new(&[(HOST, &origin)]);
        let (url, phf_url) = (
            format!("http://{HOST}{path}"),
            format!("http://{HOST}{phf_path}"),
        );
        let is_verified = |content: &Content| {
            world.store.flush();
            world.store.proof(content.no).whole == Whole::Matches
                && world.store.trust(content).pieces_verified == 7
        };
        if file_first {
            object.check_whole(&world.get(&url).await);
            let content = present(&world, &url).await;
            eventually("its SHA-1 is known", || is_verified(&content)).await;
            json.check_whole(&world.get(&phf_url).await);
        } else {
            json.check_whole(&world.get(&phf_url).await);
            let content = content_of(&world, &url).await;
            // Nobody gets a byte while two names contradict each other.
            let piece = Span::new(0, 1 << 20);
            assert_eq!(
                world.bytes(&content, &url, piece).await,
                Err(FlightError::Unproved)
            );
            eventually("its own name has judged it", || {
                world.store.by_no(content.no).is_none()
            })
            .await;
        }
        let content = present(&world, &url).await;
        eventually("the hashes are refuted", || {
            world.store.proof(content.no).refuted == Some(*forged.hash_of_hashes())
        })
        .await;
        object.check_whole(&world.get(&url).await);
        assert!(is_verified(&content));
        assert!(world.store.piece_hashes(&content).is_none());
        // Two fetches of what was refused, and one of the file.
        let most = if file_first { length } else { length + 4 * MIB };
        let asked = bytes_asked(&origin, &path, length);
        assert!(asked <= most, "{asked} of {length}");
        // Nor are they believed when they come again.
        assert!(!world.store.name_hashes(&content, &forged, true, &phf_url));
        assert_eq!(world.store.contents().len(), 2);
    }
}

#[tokio::test]
async fn hashes_that_come_after_the_file_prove_what_is_stored() {
    let object = Object::new(2 * MIB + 9, 4, ETAG);
    let phf = phf_of(&object.body);
    let sha1 = [7; 20];
    let (path, json) = (update(&sha1), document(&phf.to_json()));
    let phf_path = format!("/phf/dotc/{}/{}", hex(&sha1), hex(phf.hash_of_hashes()));
    // Its second piece was garbled on the way in, when nobody could tell.
    let origin = origin_of((&path, &object), (&phf_path, &json), MIB + 77, 1).await;
    let world = World::new(&[(HOST, &origin)]);
    let url = format!("http://{HOST}{path}");
    let content = content_of(&world, &url).await;
    let wrong = world.bytes(&content, &url, Span::new(0, 2 << 20)).await;
    assert_ne!(wrong.as_deref(), Ok(&object.body[..2 * MIB]));
    assert_eq!(trust(&world, &content), Trust::Attested);
    json.check_whole(&world.get(&format!("http://{HOST}{phf_path}")).await);
    eventually("the wrong piece is gone", || {
        !world.store.pieces_of(&content).contains(&1)
    })
    .await;
    object.check(
        &world.bytes(&content, &url, Span::new(0, 2 << 20)).await,
        0..2 * MIB,
    );
    assert_eq!(trust(&world, &content), Trust::Verified);
}

#[tokio::test]
async fn a_neighbour_is_a_hint_and_mends_what_a_line_garbles() {
    let object = Object::new(2 * MIB + 9, 5, ETAG);
    let json = document(&phf_of(&object.body).to_json());
    let origin = origin_of(("/fixed/a", &object), ("/fixed/a.phf", &json), MIB + 77, 1).await;
    let world = World::new(&[("dl.test", &origin)]);
    json.check_whole(&world.get("http://dl.test/fixed/a.phf").await);
    object.check_whole(&world.get("http://dl.test/fixed/a").await);
    let content = content_of(&world, "http://dl.test/fixed/a").await;
    assert!(
        world
            .store
            .piece_hashes(&content)
            .is_some_and(|hashes| !hashes.trusted)
    );
    assert_eq!(
        trust(&world, &content),
        Trust::Attested,
        "a hint makes nothing verified"
    );
    let length = object.body.len();
    assert_eq!(bytes_asked(&origin, "/fixed/a", length), length + MIB);
}

#[tokio::test]
async fn a_forged_neighbour_never_blocks_a_good_object() {
    for connections_max in [1, 8] {
        let object = Object::new(24 * MIB + 9, 6, ETAG);
        let forged = Object::new(24 * MIB + 9, 7, ETAG);
        let json = document(&phf_of(&forged.body).to_json());
        let origin = origin_of(("/fixed/a", &object), ("/fixed/a/pieceshash", &json), 0, 0).await;
        let world = World::with(&[("dl.test", &origin)], 64 << 20, |settings| {
            settings.origin_connections_max = connections_max;
        });
        let (url, beside) = (
            "http://dl.test/fixed/a",
            "http://dl.test/fixed/a/pieceshash",
        );
        json.check_whole(&world.get(beside).await);
        object.check_whole(&world.get(url).await);
        let content = content_of(&world, url).await;
        assert!(world.store.piece_hashes(&content).is_none());
        assert_ne!(trust(&world, &content), Trust::Verified);
        // The piece that tells was fetched twice, and nothing else was.
        let length = object.body.len();
        assert_eq!(bytes_asked(&origin, "/fixed/a", length), length + MIB);
        assert!(
            !world
                .store
                .name_hashes(&content, &phf_of(&forged.body), false, beside),
            "nor is it believed again"
        );
    }
}

#[tokio::test]
async fn hashes_of_another_version_and_hashes_that_contradict_their_name_are_passed_over() {
    let object = Object::new(2 * MIB + 9, 8, ETAG);
    let stale = phf_of(&object.body[..MIB]);
    let sha1 = sha1_of(&object.body);
    let (path, json) = (update(&sha1), document(&stale.to_json()));
    let (neighbour, lying) = (
        format!("{path}.phf"),
        format!("/phf/dotc/{}/{}", hex(&sha1), "0f".repeat(32)),
    );
    for phf_path in [&neighbour, &lying] {
        let origin = origin_of((&path, &object), (phf_path, &json), 0, 0).await;
        let world = World::new(&[(HOST, &origin)]);
        let phf = content_of(&world, &format!("http://{HOST}{phf_path}")).await;
        if *phf_path == lying {
            eventually("it is thrown away", || world.store.by_no(phf.no).is_none()).await;
        }
        let url = format!("http://{HOST}{path}");
        object.check_whole(&world.get(&url).await);
        let content = content_of(&world, &url).await;
        assert!(world.store.piece_hashes(&content).is_none());
        eventually("its SHA-1 is known", || {
            world.store.proof(content.no).whole == Whole::Matches
        })
        .await;
    }
}

#[tokio::test]
async fn a_whole_file_with_the_sha1_of_its_url_is_verified() {
    let object = Object::new(3 * MIB + 1, 9, ETAG);
    let path = update(&sha1_of(&object.body));
    let origin = origin_of((&path, &object), ("/none", &object), 0, 0).await;
    let world = World::new(&[(HOST, &origin)]);
    let url = format!("http://{HOST}{path}");
    let content = content_of(&world, &url).await;
    // Out of order, and not all of it yet.
    for (first, last) in [(2, 4), (0, 1)] {
        let span = Span::new(first << 20, (last << 20).min(content.length()));
        assert!(world.bytes(&content, &url, span).await.is_ok());
    }
    assert_eq!(trust(&world, &content), Trust::Attested);
    object.check_whole(&world.get(&url).await);
    eventually("its SHA-1 is known", || {
        trust(&world, &content) == Trust::Verified
    })
    .await;
    assert_eq!(world.store.trust(&content).pieces_verified, 4);
}

#[tokio::test]
async fn a_file_without_the_sha1_of_its_url_is_fetched_once_more() {
    for always in [false, true] {
        let object = Object::new(2 * MIB + 1, 10, ETAG);
        let path = update(&sha1_of(&object.body));
        let garble = if always { usize::MAX } else { 1 };
        let origin = origin_of((&path, &object), ("/none", &object), 5, garble).await;
        let world = World::new(&[(HOST, &origin)]);
        let url = format!("http://{HOST}{path}");
        let first = content_of(&world, &url).await;
        assert!(world.get(&url).await.is_ok());
        eventually("it is thrown away", || {
            world.store.by_no(first.no).is_none()
        })
        .await;
        assert!(world.get(&url).await.is_ok());
        let second = content_of(&world, &url).await;
        let known = || world.store.proof(second.no).whole;
        eventually("its SHA-1 is known", || known() != Whole::Unknown).await;
        if always {
            assert_eq!(known(), Whole::Differs);
            assert_eq!(trust(&world, &second), Trust::Attested, "never verified");
        } else {
            assert_eq!(trust(&world, &second), Trust::Verified);
            object.check_whole(&world.get(&url).await);
        }
        // It stays, and its origin has rest.
        let asked = origin.asked().len();
        assert!(world.get(&url).await.is_ok());
        assert_eq!(origin.asked().len(), asked);
    }
}

#[tokio::test]
async fn on_a_slow_line_bytes_flow_and_the_end_waits_for_its_proof() {
    for garble in [false, true] {
        let object = Object::new(MIB, 11, ETAG);
        let sha1 = sha1_of(&object.body);
        let phf = phf_of(&object.body);
        let phf_path = format!("/phf/dotc/{}/{}", hex(&sha1), hex(phf.hash_of_hashes()));
        let (json, served, at) = (document(&phf.to_json()), object.clone(), phf_path.clone());
        let origin = Origin::start(move |asked| {
            if asked.target == at {
                return vec![Step::Send(json.answer(asked))];
            }
            let mut answer = match garble {
                true => garbled(&served, asked, MIB - 5),
                false => served.answer(asked),
            };
            let rest = answer.split_off(100 << 10);
            let pause = Duration::from_millis(1_200);
            vec![Step::Trickle(answer, 50 << 10, pause), Step::Send(rest)]
        })
        .await;
        let world = World::with(&[(HOST, &origin)], 64 << 20, |settings| {
            settings.origin_stall_timeout_ms = 20_000;
        });
        assert!(world.get(&format!("http://{HOST}{phf_path}")).await.is_ok());
        let url = format!("http://{HOST}{}", update(&sha1));
        let content = content_of(&world, &url).await;
        let mut claimed = world.claim(&content, &url, Span::new(0, 1 << 20));
        let flight = claimed.remove(0).1.expect("it is on its way");
        let mut seen = Vec::new();
        let watched = watch(&flight, |filled| seen.push(filled)).await;
        let most = |before_the_end: &[u32]| before_the_end.iter().copied().max().unwrap_or(0);
        let held = MIB as u32 - (64 << 10);
        if garble {
            assert_eq!(watched, Err(FlightError::Unproved));
            assert!((1..=held).contains(&most(&seen)), "{seen:?}");
        } else {
            assert_eq!(watched, Ok(()));
            let whole = seen.pop();
            assert_eq!(whole, Some(MIB as u32));
            assert!((1..=held).contains(&most(&seen)), "{seen:?}");
        }
    }
}
