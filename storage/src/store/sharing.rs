//! What peers may be offered: contents by the name of their swarm, and which of their pieces are proved. The rule: a
//! piece is offered only while it is stored and was seen to have the hash that its swarm's piece hashes name; and what a
//! shard thread asks here never waits for a disk.

use super::{PieceHash, Store};
use crate::proof::{PieceHashes, Proof};
use crate::record::Content;
use larder_content::{ContentId, ContentNo, PieceId};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Is told of pieces that can be offered from now on. Called on the thread that brings them: it must only hand the news
/// on.
pub trait Landing: Send + Sync {
    /// A piece of a content that was offered before (see [`Store::offered`]) is stored and proved.
    fn landed(&self, id: PieceId);

    /// A piece is on its way in from its origin. Only those at the other ends of links are to hear of it.
    fn coming(&self, _id: PieceId) {}
}

/// The swarms.
#[derive(Default)]
pub(super) struct Sharing {
    /// The contents of a swarm: more than one where several URLs lead to the same bytes.
    swarms: RwLock<HashMap<ContentId, Vec<ContentNo>>>,
    /// Of contents that were asked for since the start.
    proved: RwLock<HashMap<ContentNo, Arc<Proved>>>,
    watches: RwLock<Vec<Weak<dyn Landing>>>,
    changes: AtomicU64,
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").finish_non_exhaustive()
    }
}

/// Which pieces of a content were seen to be what its piece hashes name.
struct Proved {
    hashes: Arc<PieceHashes>,
    pieces: Mutex<Vec<bool>>,
    /// What was seen before it was made is in it.
    is_filled: AtomicBool,
}

impl Proved {
    /// True where the piece is proved by this, and was not before.
    fn saw(&self, piece: u32, hash: &PieceHash) -> bool {
        let is_right = self.hashes.phf.piece_hash(piece) == Some(hash);
        let mut pieces = self.pieces.lock();
        let proved = pieces.get_mut(piece as usize).filter(|_| is_right);
        proved.is_some_and(|proved| !std::mem::replace(proved, true))
    }
}

impl Sharing {
    pub(super) fn new<'p>(proofs: impl Iterator<Item = (&'p ContentNo, &'p Proof)>) -> Self {
        let sharing = Self::default();
        for (no, proof) in proofs {
            if let Some(named) = &proof.named {
                sharing.join(ContentId(named.hash_of_hashes), *no);
            }
        }
        sharing
    }

    /// A content is of this swarm.
    pub(super) fn join(&self, swarm: ContentId, no: ContentNo) {
        let mut swarms = self.swarms.write();
        let contents = swarms.entry(swarm).or_default();
        if !contents.contains(&no) {
            contents.push(no);
        }
        drop(swarms);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// A content is not, or no more, what this swarm shares.
    pub(super) fn leave(&self, swarm: ContentId, no: ContentNo) {
        let mut swarms = self.swarms.write();
        if let Some(contents) = swarms.get_mut(&swarm) {
            contents.retain(|content| *content != no);
            if contents.is_empty() {
                swarms.remove(&swarm);
            }
        }
        drop(swarms);
        self.proved.write().remove(&no);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn proved(&self, no: ContentNo) -> Option<Arc<Proved>> {
        self.proved.read().get(&no).cloned()
    }

    fn watches(&self) -> Vec<Arc<dyn Landing>> {
        let watches = self.watches.read();
        watches.iter().filter_map(Weak::upgrade).collect()
    }

    fn tell(&self, id: PieceId) {
        for watch in self.watches() {
            watch.landed(id);
        }
    }
}

impl Store {
    /// The content of a swarm, if there is one. For any thread.
    #[must_use]
    pub fn by_swarm(&self, swarm: &ContentId) -> Option<Arc<Content>> {
        let numbers = self.sharing().swarms.read().get(swarm).cloned()?;
        numbers.into_iter().find_map(|no| self.by_no(no))
    }

    /// While this number stays, [`Store::by_swarm`] gives what it gave. For any thread.
    #[must_use]
    pub fn swarm_changes(&self) -> u64 {
        self.sharing().changes.load(Ordering::Acquire)
    }

    /// Whether a piece is stored, on disk or in memory. No touch. For any thread.
    #[must_use]
    pub fn holds(&self, id: PieceId) -> bool {
        let shard = self.inner.common.index.shard(id);
        shard.hot.contains_key(&id) || shard.location(id).is_some()
    }

    /// The pieces of a content that a peer of this swarm may be offered now; from now on [`Landing`] tells of more. None
    /// where it is not the content of that swarm. May read the catalogue: not for shard threads.
    #[must_use]
    pub fn offered(&self, content: &Content, swarm: &ContentId) -> Option<Vec<u32>> {
        let named = self.proof(content.no).named;
        named.filter(|named| named.hash_of_hashes == swarm.0)?;
        let proved = self.proved_of(content)?;
        let mut offered = Vec::new();
        let pieces = proved.pieces.lock().clone();
        for (piece, _) in (0..).zip(pieces).filter(|(_, proved)| *proved) {
            let id = PieceId {
                content: content.no,
                piece,
            };
            if self.holds(id) {
                offered.push(piece);
            }
        }
        Some(offered)
    }

    fn proved_of(&self, content: &Content) -> Option<Arc<Proved>> {
        let known = self.sharing().proved(content.no);
        // Whoever made it may not have come to what was seen before yet, and would be the only one to offer it.
        if let Some(proved) = known.filter(|proved| proved.is_filled.load(Ordering::Acquire)) {
            return Some(proved);
        }
        let hashes = self.piece_hashes(content)?;
        let proved = {
            let mut all = self.sharing().proved.write();
            // It is there before the catalogue is read, so that nothing that is seen meanwhile is missed.
            let proved = all.entry(content.no).or_insert_with(|| {
                let pieces = Mutex::new(vec![false; content.pieces() as usize]);
                let is_filled = AtomicBool::new(false);
                Arc::new(Proved {
                    hashes,
                    pieces,
                    is_filled,
                })
            });
            Arc::clone(proved)
        };
        for (piece, hash) in self.seen(content.no, content.pieces()) {
            proved.saw(piece, &hash);
        }
        proved.is_filled.store(true, Ordering::Release);
        Some(proved)
    }

    /// From now on `watch` is told of pieces that can be offered, as long as it lives.
    pub fn watch_landings(&self, watch: Weak<dyn Landing>) {
        let mut watches = self.sharing().watches.write();
        watches.retain(|held| held.strong_count() > 0);
        watches.push(watch);
    }

    /// A piece is on its way in from its origin: whoever watches landings is told.
    pub fn tell_coming(&self, id: PieceId) {
        for watch in self.sharing().watches() {
            watch.coming(id);
        }
    }

    /// A piece was seen to hash to this.
    pub(super) fn proved_if_right(&self, id: PieceId, hash: &PieceHash) {
        let proved = self.sharing().proved(id.content);
        if proved.is_some_and(|proved| proved.saw(id.piece, hash)) && self.holds(id) {
            self.sharing().tell(id);
        }
    }

    /// A piece is stored.
    pub(super) fn stored(&self, id: PieceId) {
        let Some(proved) = self.sharing().proved(id.content) else {
            return;
        };
        let is_proved = proved.pieces.lock().get(id.piece as usize).copied();
        if is_proved == Some(true) {
            self.sharing().tell(id);
        }
    }

    fn sharing(&self) -> &Sharing {
        self.inner.proofs.sharing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::store::{Claim, Filter, StoreOptions};
    use larder_content::hash::of_piece;
    use larder_content::phf::Phf;
    use larder_content::{PIECE_BYTES, UrlKey};

    const LENGTH: u64 = 2 * PIECE_BYTES as u64 + 5;

    fn bytes_of(piece: u32) -> Vec<u8> {
        let len = larder_content::span::piece_len(LENGTH, piece);
        vec![piece as u8 + 1; len as usize]
    }

    fn phf() -> Phf {
        let hashes = (0..3).map(|piece| of_piece(&bytes_of(piece))).collect();
        Phf::new(LENGTH, hashes).unwrap()
    }

    fn create(store: &Store, number: u8) -> Arc<Content> {
        let record = Record {
            url: format!("http://h.example/{number}"),
            length: LENGTH,
            immutable: true,
            ..Record::default()
        };
        store.create(UrlKey([number; 32]), record)
    }

    fn keep(store: &Store, content: &Content, piece: u32) {
        let id = id(content, piece);
        let bytes = bytes_of(piece);
        let Claim::Owner(flight) = store.claim(id, bytes.len() as u32) else {
            panic!("it is there already");
        };
        assert!(flight.start(store.frame(bytes.len() as u32).expect("memory")));
        flight.append(&bytes);
        assert!(flight.finish());
        store.keep(&flight);
    }

    fn id(content: &Content, piece: u32) -> PieceId {
        PieceId {
            content: content.no,
            piece,
        }
    }

    fn saw(store: &Store, content: &Content, piece: u32) {
        store.saw(id(content, piece), &of_piece(&bytes_of(piece)));
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<u32>>);

    impl Landing for Heard {
        fn landed(&self, id: PieceId) {
            self.0.lock().push(id.piece);
        }
    }

    #[test]
    fn pieces_are_offered_when_they_are_stored_and_proved_in_whichever_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(dir.path())).unwrap();
        let heard = Arc::new(Heard::default());
        let watch: Weak<Heard> = Arc::downgrade(&heard);
        store.watch_landings(watch);
        let (phf, content) = (phf(), create(&store, 1));
        let swarm = phf.content_id();
        keep(&store, &content, 0);
        assert!(store.by_swarm(&swarm).is_none());
        assert!(store.name_hashes(&content, &phf, true, "http://h/phf"));
        assert_eq!(store.by_swarm(&swarm).unwrap().no, content.no);
        assert_eq!(
            store.offered(&content, &swarm),
            Some(vec![]),
            "it is not proved"
        );
        saw(&store, &content, 0);
        assert_eq!(store.offered(&content, &swarm), Some(vec![0]));
        saw(&store, &content, 2);
        assert_eq!(
            store.offered(&content, &swarm),
            Some(vec![0]),
            "it is not stored"
        );
        keep(&store, &content, 2);
        store.saw(id(&content, 1), &[7; 32]);
        keep(&store, &content, 1);
        assert_eq!(store.offered(&content, &swarm), Some(vec![0, 2]));
        assert_eq!(*heard.0.lock(), [0, 2]);
        assert_eq!(store.offered(&content, &ContentId([9; 32])), None);
        drop(store);

        let store = Store::open(StoreOptions::new(dir.path())).unwrap();
        let content = store.by_swarm(&swarm).expect("it is known after a restart");
        assert_eq!(store.offered(&content, &swarm), Some(vec![0, 2]));
        let before = store.swarm_changes();
        store.purge(&Filter::Content(content.no));
        assert_ne!(store.swarm_changes(), before);
        assert!(store.by_swarm(&swarm).is_none());
        assert_eq!(store.offered(&content, &swarm), None);
    }

    #[test]
    fn a_content_leaves_the_swarm_of_a_hint_that_is_dropped_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(dir.path())).unwrap();
        let (right, one, other) = (phf(), create(&store, 1), create(&store, 2));
        let wrong = Phf::new(LENGTH, vec![[1; 32]; 3]).unwrap();
        assert!(store.name_hashes(&one, &wrong, false, "http://h/1.phf"));
        assert!(store.name_hashes(&one, &right, true, "http://h/phf"));
        assert!(store.by_swarm(&wrong.content_id()).is_none());
        assert!(store.name_hashes(&other, &right, false, "http://h/2.phf"));
        assert_eq!(store.by_swarm(&right.content_id()).unwrap().no, one.no);
        store.purge(&Filter::Content(one.no));
        let swarm = right.content_id();
        assert_eq!(store.by_swarm(&swarm).unwrap().no, other.no);
        store.drop_hashes(&other);
        assert!(store.by_swarm(&swarm).is_none());
    }
}
