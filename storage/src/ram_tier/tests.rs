//! What the memory tier promises, tried on the real memfd.

use super::*;
use std::io::Read;
use std::os::unix::net::UnixStream;

const UNIT: u64 = UNIT_BYTES as u64;

#[test]
fn the_budget_is_exact_and_comes_back() {
    let tier = RamTier::new(3 * UNIT + 5).unwrap();
    assert_eq!(tier.capacity_bytes(), 3 * UNIT);
    let one = tier.frame(1).unwrap();
    let two = tier.frame(UNIT_BYTES + 1).unwrap();
    assert_eq!(tier.used_bytes(), 3 * UNIT);
    assert!(tier.frame(1).is_none());
    drop(one);
    assert_eq!(tier.used_bytes(), 2 * UNIT);
    assert!(tier.frame(UNIT_BYTES + 1).is_none());
    assert!(tier.frame(UNIT_BYTES).is_some());
    let shared = Arc::clone(two.frame());
    drop(two);
    assert_eq!(
        tier.used_bytes(),
        2 * UNIT,
        "a reader still holds the frame"
    );
    drop(shared);
    assert_eq!(tier.used_bytes(), 0);
    assert_eq!(tier.lost_bytes(), 0);
}

#[test]
fn lengths_that_are_no_piece_are_refused() {
    let tier = RamTier::new(4 << 20).unwrap();
    assert!(tier.frame(0).is_none());
    assert!(tier.frame(PIECE_BYTES + 1).is_none());
    assert_eq!(tier.frame(PIECE_BYTES).unwrap().remaining(), PIECE_BYTES);
    assert!(RamTier::new(0).unwrap().frame(1).is_none());
}

#[test]
fn what_is_appended_is_seen_by_readers_in_the_mapping_and_by_sendfile() {
    let tier = RamTier::new(4 << 20).unwrap();
    let _neighbour = tier.frame(UNIT_BYTES).unwrap();
    let mut writer = tier.frame(100_000).unwrap();
    let reader = Arc::clone(writer.frame());
    assert_eq!(reader.bytes(), b"");
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 249) as u8).collect();
    for (count, part) in bytes.chunks(33_333).enumerate() {
        writer.append(part);
        let filled = ((count + 1) * 33_333).min(bytes.len());
        assert_eq!(reader.bytes(), &bytes[..filled]);
    }
    assert_eq!((writer.remaining(), reader.filled()), (0, 100_000));
    assert_eq!(reader.share(10..20).unwrap(), &bytes[10..20]);
    assert!(reader.share(10..100_001).is_none());

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let sent = reader.send_file(ours.as_fd(), 70_000..70_100).unwrap();
    drop(ours);
    let mut arrived = Vec::new();
    theirs.read_to_end(&mut arrived).unwrap();
    assert_eq!(arrived, &bytes[70_000..70_000 + sent]);
    assert_eq!(sent, 100);
}

#[test]
fn memory_is_really_given_back() {
    let tier = RamTier::new(8 << 20).unwrap();
    let mut frames = Vec::new();
    while let Some(mut writer) = tier.frame(PIECE_BYTES) {
        writer.append(&vec![7; PIECE_BYTES as usize]);
        frames.push(writer);
    }
    assert_eq!(frames.len(), 8);
    assert_eq!(resident_bytes(&tier), 8 << 20);
    frames.truncate(1);
    assert_eq!(resident_bytes(&tier), 1 << 20);
    drop(frames);
    assert_eq!(resident_bytes(&tier), 0);
}

#[test]
fn a_frame_begins_without_the_bytes_of_the_one_before() {
    let tier = RamTier::new(UNIT).unwrap();
    let mut writer = tier.frame(10).unwrap();
    writer.append(b"0123456789");
    drop(writer);
    let mut writer = tier.frame(10).unwrap();
    assert_eq!(writer.frame().offset(), 0);
    assert_eq!(writer.frame().bytes(), b"");
    writer.set_filled(10);
    assert_eq!(writer.frame().bytes(), [0; 10]);
    assert!(
        writer.read_target().is_none(),
        "no disk read over what is visible"
    );
}

#[test]
#[should_panic(expected = "room for 3")]
fn more_than_fits_is_a_mistake() {
    let tier = RamTier::new(UNIT).unwrap();
    tier.frame(3).unwrap().append(b"four");
}

#[test]
fn queued_bytes_survive_their_frame() {
    let tier = RamTier::new(UNIT).unwrap();
    assert_eq!(tier.sendfile_refused_because(), None);
    assert!(tier.sendfile_is_safe());
}

#[test]
fn frames_are_made_and_dropped_by_many_threads_at_once() {
    let tier = RamTier::new(64 * UNIT).unwrap();
    std::thread::scope(|scope| {
        for seed in 1..=4u8 {
            let tier = &tier;
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for round in 0..500u32 {
                    let len = 1 + (round * 7919 + u32::from(seed) * 104_729) % PIECE_BYTES;
                    if let Some(mut writer) = tier.frame(len) {
                        writer.append(&vec![seed; len as usize]);
                        held.push_back(writer);
                    }
                    if held.len() > 2 || round % 3 == 0 {
                        held.pop_front();
                    }
                    for writer in &held {
                        assert!(writer.frame().bytes().iter().all(|byte| *byte == seed));
                    }
                }
            });
        }
    });
    assert_eq!(tier.used_bytes(), 0);
}

/// What the file holds according to the kernel.
fn resident_bytes(tier: &RamTier) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let path = format!("/proc/self/fd/{}", tier.fd());
    std::fs::metadata(path).unwrap().blocks() * 512
}
