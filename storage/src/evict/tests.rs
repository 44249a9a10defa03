//! Tests of the evictor against a slow obvious one. The rule: queues that are vectors, and the same decisions.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The same policy, written without links, tables and packing.
#[derive(Default)]
struct Slow {
    small: Vec<u32>,
    main: Vec<u32>,
    bytes: BTreeMap<u32, u64>,
    keys: BTreeMap<u32, u64>,
    touches: BTreeMap<u32, u8>,
    /// When each was entered, or touched so that it counted; in half minutes.
    counted: BTreeMap<u32, u64>,
    now: u64,
    /// Keys that left, each with how many bytes had left by then, itself included.
    ghost: Vec<(u64, u64)>,
    left: u64,
}

impl Slow {
    fn sum(&self, queue: &[u32]) -> u64 {
        queue.iter().map(|slot| self.bytes[slot]).sum()
    }

    fn inserted(&mut self, slot: u32, bytes: u64, key: u64, restored: bool) {
        let (small, main) = (self.sum(&self.small), self.sum(&self.main));
        let window = main.max((small + main) / 2);
        self.removed(slot);
        let at = self.ghost.iter().position(|(ghost, _)| *ghost == key);
        let mut back = restored;
        if let (Some(at), false) = (at, restored) {
            let (_, left) = self.ghost.remove(at);
            // Counted as the real one counts, in whole units.
            back = (self.left / 4096 - left / 4096) * 4096 <= window;
        }
        let queue = if back {
            &mut self.main
        } else {
            &mut self.small
        };
        queue.push(slot);
        self.bytes.insert(slot, bytes);
        self.keys.insert(slot, key);
        self.touches.insert(slot, 0);
        self.counted.insert(slot, self.now);
    }

    fn touched(&mut self, slot: u32) {
        if let Some(count) = self.touches.get_mut(&slot) {
            // Counted as the real one counts, which forgets after half an hour how long it is ago.
            if *count < 3 && (self.now - self.counted[&slot]) % 64 >= 2 {
                *count += 1;
                self.counted.insert(slot, self.now);
            }
        }
    }

    fn removed(&mut self, slot: u32) {
        self.small.retain(|other| *other != slot);
        self.main.retain(|other| *other != slot);
    }

    fn victim(&mut self, pinned: &BTreeSet<u32>) -> Option<u32> {
        let all: Vec<u32> = [&self.small[..], &self.main[..]].concat();
        if all.iter().all(|slot| pinned.contains(slot)) {
            return None;
        }
        let mut refused_in_a_row = 0;
        loop {
            let total = self.sum(&self.small) + self.sum(&self.main);
            let over = self.sum(&self.small) * 10 > total;
            let of_small = !self.small.is_empty() && (over || refused_in_a_row >= self.main.len());
            let queue = if of_small {
                &mut self.small
            } else {
                &mut self.main
            };
            let slot = queue.remove(0);
            let count = self.touches.entry(slot).or_default();
            if of_small && *count >= 1 {
                refused_in_a_row = 0;
                *count = 0;
                self.main.push(slot);
            } else if !of_small && *count >= 1 {
                refused_in_a_row = 0;
                *count -= 1;
                self.main.push(slot);
            } else if pinned.contains(&slot) {
                refused_in_a_row += 1;
                self.main.push(slot);
            } else {
                if of_small {
                    self.left += self.bytes[&slot];
                    self.ghost.retain(|(key, _)| *key != self.keys[&slot]);
                    self.ghost.push((self.keys[&slot], self.left));
                }
                return Some(slot);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, u32, u64),
    Restore(u32, u32, u64),
    Wait(u64),
    Touch(u32),
    Remove(u32),
    Evict(BTreeSet<u32>),
}

fn op() -> impl Strategy<Value = Op> {
    // Few keys, so that they come back, and few slots, so that they are reused.
    let slot = 0..24_u32;
    let bytes = prop_oneof![Just(1_u32 << 20), 1..1_u32 << 20];
    prop_oneof![
        4 => (slot.clone(), bytes.clone(), 1..40_u64).prop_map(|(s, b, k)| Op::Insert(s, b, k)),
        1 => (slot.clone(), bytes, 1..40_u64).prop_map(|(s, b, k)| Op::Restore(s, b, k)),
        4 => slot.clone().prop_map(Op::Touch),
        4 => prop_oneof![0..5_u64, Just(64)].prop_map(Op::Wait),
        1 => slot.clone().prop_map(Op::Remove),
        3 => prop::collection::btree_set(slot, 0..6).prop_map(Op::Evict),
    ]
}

proptest! {
    #[test]
    fn it_decides_as_the_obvious_one_does(ops in prop::collection::vec(op(), 1..300)) {
        let (mut real, mut slow) = (Evictor::new(), Slow::default());
        for op in ops {
            match op {
                Op::Insert(slot, bytes, key) => {
                    real.inserted(slot, bytes, key << 32);
                    slow.inserted(slot, u64::from(bytes), key, false);
                }
                Op::Restore(slot, bytes, key) => {
                    real.restored(slot, bytes);
                    slow.inserted(slot, u64::from(bytes), key, true);
                }
                Op::Wait(times) => {
                    slow.now += times;
                    real.touches().tell(slow.now * 30);
                }
                Op::Touch(slot) => {
                    real.touched(slot);
                    slow.touched(slot);
                }
                Op::Remove(slot) => {
                    real.removed(slot);
                    slow.removed(slot);
                }
                Op::Evict(pinned) => {
                    let keys = slow.keys.clone();
                    let got = real.victim(&mut |slot| {
                        (!pinned.contains(&slot)).then(|| keys[&slot] << 32)
                    });
                    // Where all are refused their order may differ: ask no more of it than that nothing goes.
                    if got.is_none() {
                        prop_assert_eq!(slow.victim(&pinned), None);
                        return Ok(());
                    }
                    prop_assert_eq!(got, slow.victim(&pinned));
                }
            }
            prop_assert_eq!(real.len(), slow.small.len() + slow.main.len());
            prop_assert_eq!(real.bytes(), slow.sum(&slow.small) + slow.sum(&slow.main));
        }
    }
}

#[test]
fn what_all_refuse_stays_and_the_search_ends() {
    let mut evictor = Evictor::new();
    assert_eq!(evictor.victim(&mut |_| Some(0)), None);
    for slot in 0..1000 {
        evictor.inserted(slot, 1 << 20, u64::from(slot));
    }
    let mut asked = 0_u32;
    let refuse = &mut |_| {
        asked += 1;
        None
    };
    assert_eq!(evictor.victim(refuse), None);
    assert!(asked <= 1001, "asked {asked} times");
    assert_eq!((evictor.len(), evictor.bytes()), (1000, 1000 << 20));
    assert_eq!(
        evictor.victim(&mut |slot| (slot == 777).then_some(0)),
        Some(777)
    );
}

#[test]
fn a_new_slot_goes_where_all_old_ones_are_pinned() {
    let mut evictor = Evictor::new();
    (0..100).for_each(|slot| evictor.restored(slot, 1 << 20));
    evictor.inserted(100, 1 << 20, 100);
    assert_eq!(
        evictor.victim(&mut |slot| (slot >= 100).then_some(0)),
        Some(100)
    );
}

#[test]
fn touches_that_never_stop_do_not_stop_the_search() {
    let mut evictor = Evictor::new();
    for slot in 0..100 {
        evictor.restored(slot, 4096);
    }
    let touches = evictor.touches();
    let mut seconds = 0;
    let mut touch_all = || {
        seconds += 60;
        touches.tell(seconds);
        (0..100).for_each(|slot| touches.touch(slot));
    };
    touch_all();
    // Each refusal touches everything again, as busy clients would that have all the time.
    let may = &mut |slot| {
        touch_all();
        (slot == 50).then_some(0)
    };
    assert_eq!(evictor.victim(may), Some(50));
}

#[test]
fn a_scan_passes_by_what_was_asked_for_often() {
    let mut evictor = Evictor::new();
    for slot in 0..100 {
        evictor.inserted(slot, 1 << 20, u64::from(slot));
    }
    for minute in 1..3 {
        evictor.touches().tell(60 * minute);
        (0..100).for_each(|slot| evictor.touched(slot));
    }
    let mut free = Vec::new();
    for key in 1000..3000_u64 {
        // The cache holds 120: a tenth of it is where the scan goes through.
        let slot = if evictor.len() < 120 {
            free.pop()
                .unwrap_or_else(|| u32::try_from(evictor.len()).unwrap())
        } else {
            evictor.victim(&mut |_| Some(0)).unwrap()
        };
        assert!(slot >= 100, "key {key} displaced slot {slot}");
        evictor.inserted(slot, 1 << 20, key);
    }
}

#[test]
fn a_key_that_comes_back_soon_stays() {
    let mut evictor = Evictor::new();
    for slot in 0..10 {
        evictor.inserted(slot, 1 << 20, u64::from(slot) << 32);
    }
    assert_eq!(
        evictor.victim(&mut |slot| Some(u64::from(slot) << 32)),
        Some(0)
    );
    evictor.inserted(0, 1 << 20, 0);
    // All others are older and newer in turn, none of them wanted: it outlives them.
    let order: Vec<_> = std::iter::from_fn(|| evictor.victim(&mut |_| Some(0))).collect();
    assert_eq!(order.last(), Some(&0), "{order:?}");
}

#[test]
fn only_quiet_slots_of_the_same_queue_go_along() {
    let mut evictor = Evictor::new();
    (0..10).for_each(|slot| evictor.restored(slot, 1 << 20));
    (10..20).for_each(|slot| evictor.inserted(slot, 1 << 20, u64::from(slot)));
    let touches = evictor.touches();
    touches.tell(16 * 30 - 1);
    assert_eq!(evictor.victim(&mut |_| Some(0)), Some(10));
    assert!(!evictor.goes_along(11), "not for long enough");
    touches.tell(16 * 30);
    touches.touch(12);
    assert!(evictor.goes_along(11) && !evictor.goes_along(12) && !evictor.goes_along(1));
    evictor.removed(11);
    assert!(!evictor.goes_along(11) && !evictor.goes_along(999));
    // Everything new is refused: one of the others goes.
    assert_eq!(
        evictor.victim(&mut |slot| (slot < 10).then_some(0)),
        Some(0)
    );
    assert!(evictor.goes_along(1));
}
