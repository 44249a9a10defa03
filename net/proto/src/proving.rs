//! When bytes of a piece may leave whose hash is known, and what is made of bytes that have another. The rule: no byte
//! leaves unproved, except on a link so slow that its client would give up; then the end is held back, so that what
//! turns out wrong is never a whole piece.
//!
//! A hash is *trusted* where a URL names the HashOfHashes that it belongs to; any other is a *hint*. Bytes that two
//! requests brought alike weigh more than a hint, which is dropped for all of its object, and less than a trusted
//! hash, since an origin or a line that forges does so twice. What weighs most is the SHA-1 in the name of the file
//! itself, which is what clients ask for: where it can tell, the refused file is fetched once more, apart from what
//! clients get, and if it has that SHA-1 it is the piece-hash file that is not believed any more.

use std::time::Duration;

/// A client gets under 4000 B/s over 20 s at most before it leaves (facts: clients, section 1.6); a piece that takes
/// longer than this is streamed before it is proved.
const PROVED_WITHIN: Duration = Duration::from_secs(8);

/// How long the speed of a link is watched before it is believed.
const WATCHED_FOR: Duration = Duration::from_secs(1);

/// What stays back of a piece that is streamed before it is proved.
pub const TAIL_BYTES: u32 = 64 << 10;

/// Whether a piece of `len` bytes comes so slowly that it must be streamed: `came` bytes of it have, in `within`.
#[must_use]
pub fn is_too_slow(len: u32, came: u32, within: Duration) -> bool {
    within >= WATCHED_FOR
        && within.as_millis() * u128::from(len) > PROVED_WITHIN.as_millis() * u128::from(came)
}

/// What is made of a piece whose bytes have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is what it should be.
    Good,
    /// It is not: it is fetched once more, by another request.
    Again,
    /// It is not for the second time, and its hash is trusted, or no two requests bring the same: it is given up.
    Refuse,
    /// The same bytes came twice, against a trusted hash: they are given up, and the SHA-1 of the whole file decides.
    Appeal,
    /// The same bytes came twice: it is the hint that is wrong.
    DropHint,
}

/// Judges a piece that hashes to `got` and should hash to `named`, by a name that is `trusted` or a hint. `before`:
/// what an earlier fetch of it hashed to, which was not it either. `may_appeal`: the file's URL names its SHA-1, which
/// nobody has compared yet.
#[must_use]
pub fn judge(
    named: &[u8; 32],
    trusted: bool,
    got: &[u8; 32],
    before: Option<&[u8; 32]>,
    may_appeal: bool,
) -> Verdict {
    match before {
        _ if named == got => Verdict::Good,
        None => Verdict::Again,
        // Bytes that are different each time are nobody's.
        Some(before) if before != got => Verdict::Refuse,
        Some(_) if !trusted => Verdict::DropHint,
        Some(_) if may_appeal => Verdict::Appeal,
        Some(_) => Verdict::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn a_piece_is_streamed_where_it_would_take_over_eight_seconds() {
        let ms = Duration::from_millis;
        for (len, came, within, slow) in [
            // Nothing is said in the first second.
            (MIB, 1, ms(999), false),
            (MIB, 1, ms(1000), true),
            // 131,072 B/s bring it in 8 s.
            (MIB, 131_072, ms(1000), false),
            (MIB, 131_071, ms(1000), true),
            (MIB, MIB / 2, ms(4000), false),
            (MIB, MIB / 2, ms(4001), true),
            // A line that stalls is slow, whatever it brought before.
            (MIB, MIB - 1, ms(8001), true),
            // A short piece at the same speed is there in time.
            (MIB / 8, 16_384, ms(1000), false),
        ] {
            assert_eq!(
                is_too_slow(len, came, within),
                slow,
                "{len} {came} {within:?}"
            );
        }
    }

    #[test]
    fn the_same_bytes_twice_outweigh_a_hint_and_only_the_files_own_name_a_trusted_hash() {
        let (right, wrong, other) = ([1; 32], [2; 32], [3; 32]);
        for (trusted, may_appeal, twice) in [
            (false, false, Verdict::DropHint),
            (false, true, Verdict::DropHint),
            (true, false, Verdict::Refuse),
            (true, true, Verdict::Appeal),
        ] {
            let judge = |got, before| judge(&right, trusted, got, before, may_appeal);
            assert_eq!(judge(&right, None), Verdict::Good);
            assert_eq!(judge(&right, Some(&wrong)), Verdict::Good);
            assert_eq!(judge(&wrong, None), Verdict::Again);
            assert_eq!(judge(&wrong, Some(&other)), Verdict::Refuse);
            assert_eq!(judge(&wrong, Some(&wrong)), twice, "{trusted} {may_appeal}");
        }
    }
}
