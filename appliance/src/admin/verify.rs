//! `larder verify`: all that is known of an object's bytes is compared with what is on the disks. The rule: what is
//! found wrong is dropped at once, and told with its place.

use super::objects::Looked;
use larder_content::PieceId;
use larder_content::hash::{FileHasher, of_piece};
use larder_content::neighbour::sha1_of;
use larder_content::span::piece_len;
use larder_storage::proof::Whole;
use larder_storage::store::{self, Listed, LookBuf, Store, WholeFile};

/// Damaged pieces of one object that are told apart; of a disk that is gone, all are.
const BAD_SHOWN_MAX: usize = 1000;

/// Reads every stored piece of an object.
pub(super) fn look(store: &Store, listed: Listed, buf: &mut LookBuf) -> Looked {
    let content = store.by_no(listed.no);
    let named = content
        .as_ref()
        .and_then(|content| store.piece_hashes(content));
    let seen = store.seen(listed.no, listed.pieces);
    let sha1 = sha1_of(&listed.record.url);
    let mut file = FileHasher::default();
    let mut looked = Looked {
        content: listed.no.to_string(),
        url: listed.record.url,
        pieces_good: 0,
        pieces_absent: 0,
        pieces_bad: 0,
        pieces_hashed: 0,
        sha1_matches: None,
        bad: Vec::new(),
    };
    for piece in 0..listed.pieces {
        let id = PieceId {
            content: listed.no,
            piece,
        };
        // A hint proves nothing; whether it is right is found out when the piece comes from its origin.
        let trusted = named.as_ref().filter(|named| named.trusted);
        let named = trusted.and_then(|named| named.phf.piece_hash(piece));
        let seen = seen.get(&piece);
        let is_known = named.is_some() || seen.is_some();
        let found = store.look(id, buf, |bytes| {
            if sha1.is_some() {
                file.update(bytes);
            }
            if !is_known {
                return Ok(());
            }
            let hash = of_piece(bytes);
            if named.is_some_and(|named| *named != hash) {
                return Err("its SHA-256 is not the one that its piece-hash file names".to_owned());
            }
            if seen.is_some_and(|seen| *seen != hash) {
                return Err("its SHA-256 is not the one that it had when it came".to_owned());
            }
            Ok(())
        });
        match found {
            store::Looked::Good => {
                looked.pieces_good += 1;
                looked.pieces_hashed += u32::from(is_known);
            }
            store::Looked::Absent => looked.pieces_absent += 1,
            store::Looked::Bad(bad) => {
                looked.pieces_bad += 1;
                if looked.bad.len() < BAD_SHOWN_MAX {
                    looked.bad.push(bad.into());
                }
            }
        }
    }
    let is_whole = looked.pieces_good == listed.pieces && piece_len(listed.record.length, 0) > 0;
    if let (Some(sha1), Some(content), true) = (sha1, content, is_whole) {
        let matches = file.finish() == sha1;
        looked.sha1_matches = Some(matches);
        // One that never had it is known for that.
        if (matches || store.proof(content.no).whole != Whole::Differs)
            && store.compared(&content, matches) == WholeFile::ThrownAway
        {
            looked.pieces_bad = listed.pieces;
            looked.pieces_good = 0;
        }
    }
    looked
}
