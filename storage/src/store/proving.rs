//! Proofs of contents and hashes of pieces, kept in the catalogue. The rule: they go with their content, and what is
//! lost of them (they are written a moment after the bytes) makes a content less trusted, never more.
//!
//! Hashes are read from the catalogue when they are needed: nothing here is for shard threads.

use super::sharing::Sharing;
use super::{Filter, Store};
use crate::proof::{Expected, Named, PieceHashes, Proof, Trust, Whole};
use crate::record::Content;
use larder_content::phf::Phf;
use larder_content::span::piece_count;
use larder_content::{ContentId, ContentNo, PieceId, UrlKey};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;

/// A piece's SHA-256.
pub type PieceHash = [u8; 32];

const HASH_BYTES: usize = 32;
/// Pieces whose hashes, as larder saw them, are in one row: 2 KiB are written anew for each piece that comes.
const SEEN_PER_ROW: u32 = 64;
/// The same for hashes that were named: written once.
const NAMED_PER_ROW: usize = 4096;
/// The first row of hashes that were named; those that larder saw come before it.
const NAMED_FROM: u32 = 1 << 31;
/// Lists of named hashes that are kept in memory, in bytes and in number.
const LISTS_BYTES_MAX: usize = 16 << 20;
const LISTS_MAX: usize = 64;
/// Files with a wrong SHA-1 that are remembered until they come again.
const SUSPECTS_MAX: usize = 4096;

/// What a version is told by: length, entity tag, date.
type Version = (u64, Option<String>, Option<String>);

/// The proofs of all contents.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    proofs: RwLock<HashMap<ContentNo, Proof>>,
    /// The latest used last.
    lists: Mutex<Vec<(ContentNo, Arc<PieceHashes>)>>,
    /// Versions of files that did not have the SHA-1 they should, and were thrown away for it.
    suspects: Mutex<HashMap<UrlKey, Version>>,
    /// Held while a row of hashes is changed.
    rows: Mutex<()>,
    /// Swarms are named by hashes that were named.
    sharing: Sharing,
}

impl Proofs {
    pub(super) fn new(proofs: impl Iterator<Item = (ContentNo, Proof)>) -> Self {
        let proofs: HashMap<_, _> = proofs.collect();
        Self {
            sharing: Sharing::new(proofs.iter()),
            proofs: RwLock::new(proofs),
            ..Self::default()
        }
    }

    pub(super) const fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    pub(super) fn forget(&self, no: ContentNo) {
        let proof = self.proofs.write().remove(&no);
        if let Some(named) = proof.and_then(|proof| proof.named) {
            self.sharing.leave(ContentId(named.hash_of_hashes), no);
        }
        self.lists.lock().retain(|(of, _)| *of != no);
    }

    fn keep_list(&self, no: ContentNo, hashes: &Arc<PieceHashes>) {
        let mut lists = self.lists.lock();
        lists.retain(|(of, _)| *of != no);
        lists.push((no, Arc::clone(hashes)));
        let bytes =
            |list: &(ContentNo, Arc<PieceHashes>)| list.1.phf.pieces() as usize * HASH_BYTES;
        let mut all: usize = lists.iter().map(bytes).sum();
        while lists.len() > 1 && (all > LISTS_BYTES_MAX || lists.len() > LISTS_MAX) {
            all -= bytes(&lists.remove(0));
        }
    }
}

/// What becomes of a file whose SHA-1 was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WholeFile {
    /// It is verified.
    Verified,
    /// It was not what its URL names. It is thrown away, and fetched again when somebody wants it.
    ThrownAway,
    /// It was not what its URL names for the second time in the same version: it stays, and is not verified.
    Kept,
}

/// How a content's stored pieces are trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trusted {
    /// As a whole: as its least trusted piece.
    pub trust: Trust,
    /// Pieces on disk that are verified.
    pub pieces_verified: u32,
}

impl Store {
    /// What proves a content.
    #[must_use]
    pub fn proof(&self, no: ContentNo) -> Proof {
        let proofs = self.inner.proofs.proofs.read();
        proofs.get(&no).cloned().unwrap_or_default()
    }

    fn set_proof(&self, content: &Content, change: impl FnOnce(&mut Proof)) {
        let inner = &self.inner;
        // While it has a name, so that no proof is put for a content that is being forgotten.
        inner.contents.while_named(content.no, |content| {
            let proof = {
                let mut proofs = inner.proofs.proofs.write();
                let proof = proofs.entry(content.no).or_default();
                change(proof);
                proof.clone()
            };
            inner.catalogue.put_proof(content.no, proof);
        });
    }

    /// Attaches a piece-hash file to the content that it describes. A hint never takes the place of one that is
    /// trusted, nor of itself. False where it is not of that length, is there already or was refuted, a better one is
    /// there, or the content is a file with the SHA-1 that its URL names and this says that it is another.
    pub fn name_hashes(&self, content: &Content, phf: &Phf, trusted: bool, url: &str) -> bool {
        if phf.length() != content.length() {
            return false;
        }
        let present = self.proof(content.no);
        let is_refuted = present.refuted.as_ref() == Some(phf.hash_of_hashes());
        let is_worse = present.named.as_ref().is_some_and(|named| {
            named.trusted || (!trusted && named.hash_of_hashes == *phf.hash_of_hashes())
        });
        if is_worse || (is_refuted && !trusted) {
            return false;
        }
        if present.whole == Whole::Matches && self.is_contradicted(content, phf) {
            self.set_proof(content, |proof| {
                proof.refuted = Some(*phf.hash_of_hashes());
            });
            return false;
        }
        let all: Vec<u8> = (0..phf.pieces())
            .filter_map(|piece| phf.piece_hash(piece))
            .flatten()
            .copied()
            .collect();
        for (row, part) in (NAMED_FROM..).zip(all.chunks(NAMED_PER_ROW * HASH_BYTES)) {
            let catalogue = &self.inner.catalogue;
            catalogue.put_hashes(content.no, row, Some(part.to_vec()));
        }
        if let Some(before) = present.named {
            let sharing = &self.inner.proofs.sharing;
            sharing.leave(ContentId(before.hash_of_hashes), content.no);
        }
        self.set_proof(content, |proof| {
            proof.named = Some(Named {
                hash_of_hashes: *phf.hash_of_hashes(),
                trusted,
                url: url.to_owned(),
            });
        });
        let hashes = PieceHashes {
            phf: phf.clone(),
            trusted,
        };
        self.inner.proofs.keep_list(content.no, &Arc::new(hashes));
        self.inner.proofs.sharing.join(phf.content_id(), content.no);
        true
    }

    /// Whether a piece that larder has seen of a content has another hash.
    fn is_contradicted(&self, content: &Content, phf: &Phf) -> bool {
        let seen = self.seen(content.no, content.pieces());
        seen.iter()
            .any(|(piece, hash)| phf.piece_hash(*piece) != Some(hash))
    }

    /// A hint has turned out to be wrong.
    pub fn drop_hashes(&self, content: &Content) {
        let mut left = None;
        self.set_proof(content, |proof| {
            proof.refuted = proof.named.take().map(|named| named.hash_of_hashes);
            left = proof.refuted;
        });
        if let Some(swarm) = left {
            self.inner
                .proofs
                .sharing
                .leave(ContentId(swarm), content.no);
        }
        self.inner
            .proofs
            .lists
            .lock()
            .retain(|(of, _)| *of != content.no);
        let rows = (content.pieces() as usize).div_ceil(NAMED_PER_ROW);
        for row in (NAMED_FROM..).take(rows) {
            self.inner.catalogue.put_hashes(content.no, row, None);
        }
    }

    /// The hashes that a content's pieces must have, where a piece-hash file is known. May read the catalogue.
    #[must_use]
    pub fn piece_hashes(&self, content: &Content) -> Option<Arc<PieceHashes>> {
        let named = self.proof(content.no).named?;
        {
            let lists = self.inner.proofs.lists.lock();
            if let Some((_, hashes)) = lists.iter().find(|(no, _)| *no == content.no) {
                return Some(Arc::clone(hashes));
            }
        }
        let mut all = Vec::with_capacity(content.pieces() as usize);
        let rows = (content.pieces() as usize).div_ceil(NAMED_PER_ROW);
        for row in (NAMED_FROM..).take(rows) {
            let part = self.inner.catalogue.hashes(content.no, row)?;
            all.extend_from_slice(part.as_chunks::<HASH_BYTES>().0);
        }
        let phf = Phf::new(content.length(), all).ok()?;
        // What was read is what was written.
        let hashes = phf
            .is_proved_by(&named.hash_of_hashes, content.length())
            .then_some(PieceHashes {
                phf,
                trusted: named.trusted,
            })?;
        let hashes = Arc::new(hashes);
        self.inner.proofs.keep_list(content.no, &hashes);
        Some(hashes)
    }

    /// What a piece must hash to, by a piece-hash file, or as a part of a whole file that was verified. May read the
    /// catalogue.
    #[must_use]
    pub fn expected(&self, content: &Content, piece: u32) -> Option<Expected> {
        let proof = {
            let proofs = self.inner.proofs.proofs.read();
            let proof = proofs.get(&content.no)?;
            (proof.whole, proof.named.is_some())
        };
        let (whole, is_named) = proof;
        let named = if is_named {
            self.piece_hashes(content)
        } else {
            None
        };
        let by_name = named.and_then(|named| {
            Some(Expected {
                hash: *named.phf.piece_hash(piece)?,
                trusted: named.trusted,
            })
        });
        if whole != Whole::Matches || by_name.is_some_and(|named| named.trusted) {
            return by_name;
        }
        let row = self
            .inner
            .catalogue
            .hashes(content.no, piece / SEEN_PER_ROW);
        let seen = row
            .and_then(|row| hash_at(&row, piece))
            .map(|hash| Expected {
                hash,
                trusted: true,
            });
        seen.or(by_name)
    }

    /// A piece came that nothing proves: a file that was verified as a whole is so no more.
    pub fn unproved(&self, content: &Content) {
        if self.proof(content.no).whole == Whole::Matches {
            self.set_proof(content, |proof| proof.whole = Whole::Unknown);
        }
    }

    /// Notes the SHA-256 of a piece as it came in.
    pub fn saw(&self, id: PieceId, hash: &PieceHash) {
        let _one_at_a_time = self.inner.proofs.rows.lock();
        let (row, at) = (id.piece / SEEN_PER_ROW, (id.piece % SEEN_PER_ROW) as usize);
        let catalogue = &self.inner.catalogue;
        let mut hashes = catalogue.hashes(id.content, row).unwrap_or_default();
        let from = at * HASH_BYTES;
        if hashes.len() < from + HASH_BYTES {
            hashes.resize(from + HASH_BYTES, 0);
        }
        hashes[from..from + HASH_BYTES].copy_from_slice(hash);
        self.inner.contents.while_named(id.content, |content| {
            catalogue.put_hashes(content.no, row, Some(hashes));
        });
        self.proved_if_right(id, hash);
    }

    /// The SHA-256 of the first `pieces` pieces of a content, of those that larder knows. May read the catalogue.
    #[must_use]
    pub fn seen(&self, no: ContentNo, pieces: u32) -> HashMap<u32, PieceHash> {
        let mut seen = HashMap::new();
        for row in 0..pieces.div_ceil(SEEN_PER_ROW) {
            let Some(hashes) = self.inner.catalogue.hashes(no, row) else {
                continue;
            };
            let first = row * SEEN_PER_ROW;
            let known = (first..first + SEEN_PER_ROW)
                .filter_map(|piece| Some((piece, hash_at(&hashes, piece)?)));
            seen.extend(known);
        }
        seen
    }

    /// The SHA-1 of a whole file was compared with the one its URL names.
    pub fn compared(&self, content: &Arc<Content>, matches: bool) -> WholeFile {
        if matches {
            self.inner.proofs.suspects.lock().remove(&content.key);
            self.set_proof(content, |proof| proof.whole = Whole::Matches);
            return WholeFile::Verified;
        }
        let record = content.record();
        let version = (
            record.length,
            record.etag.clone(),
            record.last_modified.clone(),
        );
        // Once is an accident on the way. Twice the same is what the origin has, and it is the name that is no hash.
        let again = {
            let mut suspects = self.inner.proofs.suspects.lock();
            let again = suspects.get(&content.key) == Some(&version);
            if !again && suspects.len() >= SUSPECTS_MAX {
                suspects.clear();
            }
            suspects.insert(content.key, version);
            again
        };
        if again {
            self.set_proof(content, |proof| proof.whole = Whole::Differs);
            return WholeFile::Kept;
        }
        self.purge(&Filter::Content(content.no));
        WholeFile::ThrownAway
    }

    /// How the pieces of a content that are on disk are trusted. May read the catalogue.
    #[must_use]
    pub fn trust(&self, content: &Content) -> Trusted {
        let stored = self.stored_pieces(content);
        let count = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        if self.proof(content.no).whole == Whole::Matches {
            return Trusted {
                trust: Trust::Verified,
                pieces_verified: count,
            };
        }
        let seen = self.seen(content.no, piece_count(content.length()));
        let named = self.piece_hashes(content).filter(|hashes| hashes.trusted);
        let is_verified = |piece: &u32| {
            let named = named
                .as_ref()
                .and_then(|named| named.phf.piece_hash(*piece));
            named.is_some() && named == seen.get(piece)
        };
        let verified = stored.iter().filter(|piece| is_verified(piece)).count();
        let trust = if stored.is_empty() {
            Trust::Checked
        } else if verified == stored.len() {
            Trust::Verified
        } else if stored.iter().all(|piece| seen.contains_key(piece)) {
            Trust::Attested
        } else {
            Trust::Checked
        };
        Trusted {
            trust,
            pieces_verified: u32::try_from(verified).unwrap_or(u32::MAX),
        }
    }
}

/// The hash of a piece in its row; none where larder has not seen it.
fn hash_at(row: &[u8], piece: u32) -> Option<PieceHash> {
    let hashes = row.as_chunks::<HASH_BYTES>().0;
    let hash = hashes.get((piece % SEEN_PER_ROW) as usize)?;
    (*hash != [0; HASH_BYTES]).then_some(*hash)
}
