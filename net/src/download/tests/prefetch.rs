//! Objects of which clients ask for a part. The rule: where that is enough all of it comes in, each byte once; where it is
//! not, nothing but what was asked for does.

use super::script::{Object, Origin, Step};
use super::world::{World, eventually};
use larder_content::{PieceId, Span};
use larder_proto::prefetch::Prefetch;
use larder_storage::limits::SizeLimit;
use larder_storage::store::{Found, StoreOptions};

const MIB: usize = 1 << 20;
const URL: &str = "http://dl.test/fixed/object";
const ETAG: &str = "ETag: \"one\"\r\n";
const RULE: Prefetch = Prefetch {
    pieces: 3,
    clients: 0,
};

/// Asks for the first bytes of these pieces, as clients do.
async fn ask(world: &World, pieces: &[u64]) {
    for piece in pieces {
        let start = piece * MIB as u64;
        let content = world.content(URL, Some((start, Some(start + 1)))).await;
        let part = Span::new(start, start + 1);
        let bytes = world.bytes(&content, URL, part).await;
        assert_eq!(bytes.expect("it is there to be had").len(), 1);
    }
}

async fn ended(world: &World) {
    eventually("prefetching ends", || world.download.prefetching() == 0).await;
}

async fn stored(world: &World) -> Vec<u32> {
    let content = world.content(URL, None).await;
    let is_there = |piece: &u32| {
        let id = PieceId {
            content: content.no,
            piece: *piece,
        };
        matches!(world.store.find(id), Found::Ram(_) | Found::Disk(_))
    };
    (0..content.pieces()).filter(is_there).collect()
}

#[tokio::test]
async fn three_pieces_of_twelve_bring_the_rest_once() {
    let object = Object::new(12 * MIB - 7, 1, ETAG);
    let served = object.clone();
    let origin = Origin::start(move |asked| vec![Step::Send(served.answer(asked))]).await;
    let world = World::with(&[("dl.test", &origin)], 64 << 20, |settings| {
        settings.prefetch = RULE;
    });
    ask(&world, &[5, 5, 2]).await;
    assert_eq!(stored(&world).await, [2, 5]);
    assert_eq!(origin.bytes_asked(), 2 * MIB);
    // The first of them may come with the question what the object is, which is none for a piece.
    ask(&world, &[9, 0]).await;
    ended(&world).await;
    assert_eq!(stored(&world).await.len(), 12);
    assert_eq!(origin.bytes_asked(), 12 * MIB - 7);
    object.check_whole(&world.get(URL).await);
}

#[tokio::test]
async fn what_takes_too_much_of_the_store_is_left() {
    let object = Object::new(12 * MIB, 2, ETAG);
    let origin = Origin::start(move |asked| vec![Step::Send(object.answer(asked))]).await;
    let limit = |options: &mut StoreOptions| {
        options.bytes_max = SizeLimit::bytes(40 << 20);
        options.slab_bytes = 8 << 20;
    };
    let world = World::of(&[("dl.test", &origin)], limit, |settings| {
        settings.prefetch = RULE;
    });
    ask(&world, &[5, 2, 9, 0, 7]).await;
    ended(&world).await;
    assert_eq!(stored(&world).await, [0, 2, 5, 7, 9]);
}

#[tokio::test]
async fn another_version_is_not_pursued() {
    let (old, new) = (
        Object::new(12 * MIB, 4, ETAG),
        Object::new(12 * MIB, 5, "ETag: \"two\"\r\n"),
    );
    let origin = Origin::start(move |asked| {
        let object = if asked.number < 4 { &old } else { &new };
        vec![Step::Send(object.answer(asked))]
    })
    .await;
    let world = World::with(&[("dl.test", &origin)], 64 << 20, |settings| {
        settings.prefetch = RULE;
    });
    ask(&world, &[5, 2, 9, 0]).await;
    ended(&world).await;
    // One step was under way, and none of the new version is fetched for nobody.
    let requests = origin.asked().len();
    assert!(requests <= 4 + 8, "{:?}", origin.asked());
    // Of it there is what answered the questions, which a busy machine breaks off late, and never all.
    let stored = stored(&world).await;
    assert!(stored.len() < 12, "{stored:?} by {:?}", origin.asked());
}
