//! One content as the catalogue keeps it: `xxh3 of the rest (8) | number of keys (4) | keys (32 each) | record (JSON)`,
//! numbers little-endian. The rule: what does not prove itself by its checksum, or lacks a field, is no row; a field
//! that this version does not know is passed over, so that a newer version's rows can be read.
//!
//! JSON for the record, because a row is written once per object and never read on the way of a hit: fields can come
//! and go without a new format. The keys are plain bytes, because hexadecimal would double them.

use crate::proof::Proof;
use crate::record::Record;
use larder_content::{ContentNo, UrlKey};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const KEY_BYTES: usize = 32;

/// What is known of a content, and the URL keys that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) keys: Vec<UrlKey>,
}

/// The row of a content. The checksum covers its number, so that a row under another number is no row.
pub(super) fn encode(no: ContentNo, entry: &Entry) -> Result<Vec<u8>, serde_json::Error> {
    let keys = u32::try_from(entry.keys.len()).unwrap_or(u32::MAX);
    let mut row = vec![0; 8];
    row.extend_from_slice(&keys.to_le_bytes());
    entry
        .keys
        .iter()
        .for_each(|key| row.extend_from_slice(&key.0));
    serde_json::to_writer(&mut row, &entry.record)?;
    let sum = xxh3_64_with_seed(&row[8..], no.get());
    row[..8].copy_from_slice(&sum.to_le_bytes());
    Ok(row)
}

fn parts(no: ContentNo, row: &[u8]) -> Option<(Vec<UrlKey>, &[u8])> {
    let (sum, rest) = row.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != xxh3_64_with_seed(rest, no.get()) {
        return None;
    }
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (keys, record) = rest.split_at_checked(count.checked_mul(KEY_BYTES)?)?;
    let keys = keys.as_chunks::<KEY_BYTES>().0.iter();
    Some((keys.map(|key| UrlKey(*key)).collect(), record))
}

/// The content of a row, or None where it is damaged or cannot be understood.
pub(super) fn decode(no: ContentNo, row: &[u8]) -> Option<Entry> {
    let (keys, record) = parts(no, row)?;
    let record = serde_json::from_slice(record).ok()?;
    Some(Entry { record, keys })
}

/// The keys of a row; none where it is damaged.
pub(super) fn keys(no: ContentNo, row: &[u8]) -> Vec<UrlKey> {
    parts(no, row).map(|(keys, _)| keys).unwrap_or_default()
}

/// The row of what proves a content's bytes; none where it cannot be written, which is not reached.
pub(super) fn encode_proof(no: ContentNo, proof: &Proof) -> Option<Vec<u8>> {
    let mut row = vec![0; 8];
    serde_json::to_writer(&mut row, proof).ok()?;
    Some(sealed(no.get(), row))
}

/// What proves a content's bytes; none where the row is damaged or cannot be understood.
pub(super) fn decode_proof(no: ContentNo, row: &[u8]) -> Option<Proof> {
    serde_json::from_slice(opened(no.get(), row)?).ok()
}

/// The row of a part of a content's hashes.
pub(super) fn encode_hashes(no: ContentNo, part: u32, hashes: &[u8]) -> Vec<u8> {
    let mut row = vec![0; 8];
    row.extend_from_slice(hashes);
    sealed(no.get() ^ u64::from(part), row)
}

/// The hashes in a row; none where it is damaged.
pub(super) fn decode_hashes(no: ContentNo, part: u32, row: &[u8]) -> Option<Vec<u8>> {
    opened(no.get() ^ u64::from(part), row).map(<[u8]>::to_vec)
}

/// Puts the checksum in front, which covers what the row is about.
fn sealed(seed: u64, mut row: Vec<u8>) -> Vec<u8> {
    let sum = xxh3_64_with_seed(&row[8..], seed);
    row[..8].copy_from_slice(&sum.to_le_bytes());
    row
}

fn opened(seed: u64, row: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = row.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*sum) == xxh3_64_with_seed(rest, seed)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{key, record};
    use super::*;
    use proptest::prelude::*;

    fn signed(no: ContentNo, mut row: Vec<u8>) -> Vec<u8> {
        let sum = xxh3_64_with_seed(&row[8..], no.get());
        row[..8].copy_from_slice(&sum.to_le_bytes());
        row
    }

    fn entry() -> Entry {
        Entry {
            record: record("http://a/b", 5),
            keys: vec![key(1), key(2)],
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let no = ContentNo::new(7);
        let row = encode(no, &entry()).unwrap();
        assert_eq!(decode(no, &row), Some(entry()));
        assert_eq!(keys(no, &row), entry().keys);
        assert_eq!(
            decode(ContentNo::new(8), &row),
            None,
            "under another number"
        );
    }

    #[test]
    fn one_wrong_bit_anywhere_makes_it_no_row() {
        let no = ContentNo::new(7);
        let row = encode(no, &entry()).unwrap();
        for at in 0..row.len() {
            let mut wrong = row.clone();
            wrong[at] ^= 1;
            assert_eq!(decode(no, &wrong), None, "byte {at}");
            assert_eq!(decode(no, &row[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_newer_versions_field_is_passed_over_and_a_lacking_one_is_not_made_up() {
        let no = ContentNo::new(7);
        let row = encode(no, &entry()).unwrap();
        let text = String::from_utf8(row[12 + 2 * KEY_BYTES..].to_vec()).unwrap();
        let with =
            |json: String| signed(no, [&row[..12 + 2 * KEY_BYTES], json.as_bytes()].concat());
        let newer = with(text.replacen('{', "{\"of_tomorrow\":[1,{\"x\":null}],", 1));
        assert_eq!(decode(no, &newer), Some(entry()));
        let older = with(text.replacen("\"length\":5,", "", 1));
        assert_eq!(decode(no, &older), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(row in prop::collection::vec(any::<u8>(), 0..200)) {
            let no = ContentNo::new(3);
            let _ = decode(no, &row);
            if row.len() >= 8 {
                let _ = decode(no, &signed(no, row));
            }
        }
    }
}
