//! Files that nobody stores: every byte follows from a seed and its offset. The rule: what the origin sends and what
//! a client expects come from the same few lines, so nothing has to be kept to be compared.

/// Clients ask for aligned stretches of this many bytes (facts: clients, section 1.4).
pub const PIECE_BYTES: u64 = 1 << 20;

/// Bytes that are made up and compared at a time: small enough to stay in the first-level cache.
const COMPARED_BYTES: usize = 4096;

/// A file of the demonstration's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What people call it.
    pub title: &'static str,
    /// Host names under which its origin is known; more than one for a family of hosts.
    pub hosts: Vec<String>,
    /// The path of its URL.
    pub path: String,
    /// Whether its URLs carry a signature that differs per client (facts: clients, section 1.3).
    pub signed: bool,
    /// Length in bytes.
    pub len: u64,
    /// What its bytes follow from.
    pub seed: u64,
    /// Whether it is served by a web server that gives it validators of its own.
    pub foreign: bool,
}

impl File {
    /// The strong validator that the origin gives it.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.seed, self.len)
    }

    /// How many pieces it has; the last one may be short.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.len.div_ceil(PIECE_BYTES)
    }

    /// Offset of a piece's first byte, and of the byte after its last.
    #[must_use]
    pub fn piece(&self, number: u64) -> (u64, u64) {
        let start = number * PIECE_BYTES;
        (start, (start + PIECE_BYTES).min(self.len))
    }

    /// Writes the bytes that stand at `offset`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut word = offset / 8;
        let (_, skip) = split(offset);
        let mut rest = out;
        if skip != 0 {
            let bytes = self.word(word);
            let n = rest.len().min(8 - skip);
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&bytes[skip..skip + n]);
            rest = later;
            word += 1;
        }
        let mut whole = rest.chunks_exact_mut(8);
        for eight in &mut whole {
            eight.copy_from_slice(&self.word(word));
            word += 1;
        }
        let last = whole.into_remainder();
        let bytes = self.word(word);
        last.copy_from_slice(&bytes[..last.len()]);
    }

    /// The offset of the first byte that is not what should stand there, if there is one.
    #[must_use]
    pub fn first_wrong(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; COMPARED_BYTES];
        let mut at = offset;
        for got in bytes.chunks(COMPARED_BYTES) {
            let expected = &mut expected[..got.len()];
            self.fill(at, expected);
            if got != expected {
                let differs = got.iter().zip(expected.iter()).position(|(a, b)| a != b);
                return Some(at + differs.unwrap_or(0) as u64);
            }
            at += got.len() as u64;
        }
        None
    }

    /// SplitMix64 of seed and place: cheap, without a pattern that a misplaced block could hide in.
    fn word(&self, number: u64) -> [u8; 8] {
        mix(self
            .seed
            .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .to_le_bytes()
    }
}

/// The output function of SplitMix64.
pub(super) const fn mix(state: u64) -> u64 {
    let a = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

fn split(offset: u64) -> (u64, usize) {
    (offset / 8, (offset % 8) as usize)
}

/// What the demonstration's origin has: one file whose URLs are signed and known under two hosts, one that names its
/// own SHA-1, and one that is no more than fresh for an hour.
#[must_use]
pub fn branch_office_files() -> Vec<File> {
    vec![
        File {
            title: "Windows feature update",
            hosts: vec![
                "tlu.dl.delivery.mp.microsoft.com".to_owned(),
                "msedge.b.tlu.dl.delivery.mp.microsoft.com".to_owned(),
            ],
            path: "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43".to_owned(),
            signed: true,
            len: 120 * PIECE_BYTES + 77_777,
            seed: 0x1a2d_e201,
            foreign: false,
        },
        File {
            title: "Cumulative update",
            hosts: vec![
                "download.windowsupdate.com".to_owned(),
                "au.download.windowsupdate.com".to_owned(),
            ],
            path: format!("/c/msdownload/update/software/secu/2026/11/windows11.0-kb5071234-x64_{CUMULATIVE_SHA1}.cab"),
            signed: false,
            len: 80 * PIECE_BYTES,
            seed: CUMULATIVE_SEED,
            foreign: false,
        },
        File {
            title: "Office update",
            hosts: vec!["officecdn.microsoft.com".to_owned()],
            path: "/pr/492350f6-3a01-4f97-b9c0-c7c6ddf67d60/office/data/16.0.19328.20190/stream.x64.en-us.dat".to_owned(),
            signed: false,
            len: 44 * PIECE_BYTES + 1,
            seed: 0x0ff1_ce03,
            foreign: false,
        },
    ]
}

const CUMULATIVE_SEED: u64 = 0x00c0_1102;

/// The SHA-1 of the cumulative update, which its URL names (facts: clients, section 2.3); a test computes it anew.
const CUMULATIVE_SHA1: &str = "71b3c8fcfa6ac4ef18afc52ea058903a9d231595";

#[cfg(test)]
mod tests {
    use super::*;
    use sha1::{Digest, Sha1};

    fn file(len: u64) -> File {
        File {
            title: "a file",
            hosts: vec!["download.windowsupdate.com".to_owned()],
            path: "/a".to_owned(),
            signed: false,
            len,
            seed: 7,
            foreign: false,
        }
    }

    #[test]
    fn any_stretch_is_a_slice_of_the_whole() {
        let file = file(300);
        let mut whole = [0; 300];
        file.fill(0, &mut whole);
        for start in 0..40 {
            for end in start..80 {
                let mut part = vec![0; end - start];
                file.fill(start as u64, &mut part);
                assert_eq!(part, whole[start..end], "bytes {start} to {end}");
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_found_where_it_stands() {
        let file = file(20_000);
        let mut bytes = vec![0; 20_000 - 3];
        file.fill(3, &mut bytes);
        assert_eq!(file.first_wrong(3, &bytes), None);
        for at in [0, 1, 4095, 4096, 9_999, 19_996] {
            bytes[at] ^= 1;
            assert_eq!(file.first_wrong(3, &bytes), Some(at as u64 + 3));
            bytes[at] ^= 1;
        }
        assert!(
            file.first_wrong(4, &bytes).is_some(),
            "a shifted stretch is wrong"
        );
    }

    #[test]
    fn pieces_cover_the_file_once() {
        for len in [1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 1] {
            let file = file(len);
            let spans: Vec<_> = (0..file.pieces()).map(|n| file.piece(n)).collect();
            assert_eq!(spans.iter().map(|(a, b)| b - a).sum::<u64>(), len);
            assert_eq!(spans.last().map(|s| s.1), Some(len));
        }
    }

    #[test]
    fn the_cumulative_update_has_the_hash_that_its_url_names() {
        let files = branch_office_files();
        let file = files
            .iter()
            .find(|f| f.seed == CUMULATIVE_SEED)
            .expect("it is there");
        let mut hash = Sha1::new();
        let mut bytes = vec![0; PIECE_BYTES as usize];
        for number in 0..file.pieces() {
            let (start, end) = file.piece(number);
            let piece = &mut bytes[..(end - start) as usize];
            file.fill(start, piece);
            hash.update(piece);
        }
        let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, CUMULATIVE_SHA1);
    }
}
