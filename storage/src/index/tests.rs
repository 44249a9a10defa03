//! Tests of the index. The rule: a disk that knows its headers by heart stands for one.

use super::*;
use larder_content::ContentNo;

/// The header of every cell of slab 0 is that of the piece of its number.
#[derive(Debug)]
struct ByHeart(ContentNo);

impl Headers for ByHeart {
    fn header(&self, location: Location) -> Option<SlotHeader> {
        Some(SlotHeader {
            id: PieceId {
                content: self.0,
                piece: location.cell,
            },
            generation: 1,
            place: 0,
            sector: 0,
            skip: 0,
            len: 1,
        })
    }
}

#[test]
fn pieces_spread_over_the_shards_and_are_found_until_they_go() {
    const PIECES: u32 = 1024 * 100;
    let content = ContentNo::new(0x1234_5678_9abc_def0);
    let index = Index::new();
    index.attach(5, Arc::new(ByHeart(content)));
    let id = |piece| PieceId { content, piece };
    for piece in 0..PIECES {
        let location = Location::new(5, 0, piece, piece);
        assert_eq!(index.shard(id(piece)).insert(id(piece), location), None);
    }
    let mut all = 0;
    for shard in index.shards() {
        assert!((40..200).contains(&shard.count_on_disk()));
        all += shard.on_disk().count();
    }
    assert_eq!(all, PIECES as usize);
    for piece in 0..PIECES {
        let mut shard = index.shard(id(piece));
        let location = Location::new(5, 0, piece, piece);
        assert_eq!(shard.location(id(piece)), Some(location));
        assert_eq!(shard.location(id(PIECES + piece)), None);
        let elsewhere = Location::new(4, 0, piece, piece);
        assert!(!shard.remove_if(id(piece), elsewhere));
        // Stored once more, at the place of another number.
        let moved = Location::new(5, 0, piece, PIECES + piece);
        assert_eq!(shard.insert(id(piece), moved), Some(location));
        assert!(shard.remove_if(id(piece), moved));
        assert_eq!(shard.location(id(piece)), None);
    }
    let tables: usize = index.shards().map(|shard| shard.disk.bytes()).sum();
    assert!(tables <= SHARDS * 8 * 12, "what is forgotten takes no room");
}
