//! Tests of piece-hash files against the two real ones (facts: clients, section 2.2). The rule: nothing that is
//! forged passes, and nothing that is read panics.

use super::*;
use proptest::prelude::*;

/// Length, hashes of the pieces, HashOfHashes.
const REAL: [(u64, &[&str], &str); 2] = [
    (
        244_530,
        &["J/rmYNjGCeAgcDu0Y7ZgHmKBHcddsZl1vLfWjZWbUn0="],
        "bLR+YkW147Gf10YSrQ6lgW3AC9E1aDesK3TaSr0DHJA=",
    ),
    (
        4_642_818,
        &[
            "WXdd9JFACfSvd8pL4CzlApi6zSFcMZvaEco9C+Zcjgc=",
            "7ZyMYuVE3K+gFOLr9YJstAno6vzOeLxh5fLQ8mHKt4g=",
            "kEyeX2FsHicx3AN64BNqAbaPMG4N/4HoME4mYX4ahCk=",
            "r1xSeMQBrq4Lp/VMMEtdGRCLr9DzJrjW+T/yj/IBMt4=",
            "8rPNGdVaZxgYMQ9SkBnjIWZ9TbIHb9zfGnM7Ub8xtb0=",
        ],
        "aGZA/I8Lc2F+ZsPzrXhTrcZaVte+PexJ5cOai52WjpQ=",
    ),
];

fn text(length: u64, size: u64, pieces: &[&str], hash: &str) -> String {
    format!(
        r#"{{"MajorVersion":1,"MinorVersion":0,"HashOfHashes":"{hash}","ContentLength":{length},"PieceSize":{size},"Pieces":["{}"]}}"#,
        pieces.join(r#"",""#)
    )
}

#[test]
fn the_real_files_prove_themselves() {
    for (length, pieces, hash) in REAL {
        let text = text(length, 1 << 20, pieces, hash);
        let phf = Phf::parse(text.as_bytes()).unwrap();
        assert_eq!(phf.length(), length);
        assert_eq!(phf.pieces() as usize, pieces.len());
        assert_eq!(phf.to_json(), text);
        assert!(text.len() as u64 <= phf_bytes_max(length));
        let named = *phf.hash_of_hashes();
        assert_eq!(encode_hash(Alphabet::Standard, &named), hash);
        assert!(phf.is_proved_by(&named, length));
        assert!(!phf.is_proved_by(&named, length + 1));
        assert!(!phf.is_proved_by(&[0; 32], length));
    }
}

#[test]
fn forged_lengths_sizes_and_hashes_are_refused_in_words() {
    let (length, pieces, hash) = REAL[1];
    let refused = |length, size, pieces: &[&str], hash| {
        Phf::parse(text(length, size, pieces, hash).as_bytes()).unwrap_err()
    };
    // A length with the same number of pieces changes what is hashed.
    assert_eq!(
        refused(length + 1, 1 << 20, pieces, hash),
        PhfError::Contradiction
    );
    let count = refused(length + (1 << 20), 1 << 20, pieces, hash);
    assert!(
        matches!(
            count,
            PhfError::Count {
                found: 5,
                expected: 6,
                ..
            }
        ),
        "{count}"
    );
    // The most pieces that a length can have, without room for them.
    let count = refused(u64::MAX, 1 << 20, pieces, hash);
    assert!(
        matches!(
            count,
            PhfError::Count {
                expected: 17_592_186_044_416,
                ..
            }
        ),
        "{count}"
    );
    for size in [0, 1, (1 << 20) - 1, 1 << 21, u64::MAX] {
        assert_eq!(
            refused(length, size, pieces, hash),
            PhfError::PieceSize(size)
        );
    }
    let swapped = [pieces[1], pieces[0], pieces[2], pieces[3], pieces[4]];
    assert_eq!(
        refused(length, 1 << 20, &swapped, hash),
        PhfError::Contradiction
    );
    let error = refused(length, 1 << 20, pieces, "bLR+").to_string();
    assert!(error.contains("base64"), "{error}");
    assert!(
        refused(length, 1 << 20, &["", ""], hash)
            .to_string()
            .contains("base64")
    );
}

#[test]
fn forms_that_are_not_known_are_refused_and_new_fields_are_not() {
    let (length, pieces, hash) = REAL[0];
    let good = text(length, 1 << 20, pieces, hash);
    let newer = good.replace(
        "\"MinorVersion\":0",
        "\"MinorVersion\":7,\"Of\":{\"tomorrow\":[]}",
    );
    assert!(Phf::parse(newer.as_bytes()).is_ok());
    let other = good.replace("\"MajorVersion\":1", "\"MajorVersion\":2");
    assert_eq!(Phf::parse(other.as_bytes()), Err(PhfError::Version(2)));
    let again = good.replace("\"MinorVersion\":0", "\"ContentLength\":5");
    for bad in [
        &again,
        &good.replace("244530", "-1"),
        &good.replace("244530", "1e99"),
        "",
        "[]",
        "{}",
    ] {
        let error = Phf::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, PhfError::Form(_)), "{bad}: {error}");
    }
    let nested = vec![b'['; 1 << 20];
    assert!(matches!(Phf::parse(&nested), Err(PhfError::Form(_))));
    let long = vec![b' '; usize::try_from(PHF_BYTES_MAX).unwrap() + 1];
    assert_eq!(
        Phf::parse(&long),
        Err(PhfError::TooLong {
            bytes: PHF_BYTES_MAX + 1
        })
    );
}

#[test]
fn a_piece_is_known_by_its_bytes() {
    let bytes: Vec<u8> = (0..(1_u32 << 20) + 5).map(|n| (n % 251) as u8).collect();
    let hashes = bytes
        .chunks(1 << 20)
        .map(|piece| Sha256::digest(piece).into());
    let phf = Phf::new(bytes.len() as u64, hashes.collect()).unwrap();
    let (first, last) = bytes.split_at(1 << 20);
    assert!(phf.piece_is(0, first) && phf.piece_is(1, last));
    assert!(!phf.piece_is(0, last) && !phf.piece_is(0, &first[1..]) && !phf.piece_is(2, last));
    assert_eq!(Phf::parse(phf.to_json().as_bytes()), Ok(phf));
    assert!(Phf::new(0, Vec::new()).is_ok());
}

#[test]
fn a_content_id_is_written_and_read() {
    let (length, pieces, hash) = REAL[0];
    let phf = Phf::parse(text(length, 1 << 20, pieces, hash).as_bytes()).unwrap();
    let id = phf.content_id().to_string();
    assert_eq!(id, "DO-bLR-YkW147Gf10YSrQ6lgW3AC9E1aDesK3TaSr0DHJA");
    assert_eq!(id.parse(), Ok(phf.content_id()));
    assert_eq!((id.clone() + "=").parse(), Ok(phf.content_id()));
    for bad in ["", "DO-", &id[3..], &id[..45], &id.replace("DO-", "do-")] {
        assert_eq!(bad.parse::<ContentId>(), Err(NotAContentId), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Phf::parse(&bytes);
    }

    /// Changes to a real file: what still parses is the same object.
    #[test]
    fn no_change_of_a_byte_gives_another_object(at in 0..400_usize, byte: u8) {
        let (length, pieces, hash) = REAL[1];
        let good = text(length, 1 << 20, pieces, hash).into_bytes();
        let mut bad = good.clone();
        bad[at % good.len()] = byte;
        if let Ok(phf) = Phf::parse(&bad) {
            prop_assert_eq!(phf, Phf::parse(&good).unwrap());
        }
    }
}
