//! Which pieces stay in memory. The rule: what is being read, or not yet on disk, stays; of the rest, what nobody has
//! asked for since it was fetched goes first.

use crate::index::Index;
use crate::ram_tier::{FrameWriter, RamTier};
use larder_content::PieceId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Default)]
struct Queues {
    /// Just fetched; one touch brings a piece from here to `hot`.
    fresh: VecDeque<PieceId>,
    /// Admitted by its second touch; a touch buys one more round.
    hot: VecDeque<PieceId>,
}

/// The order in which pieces leave memory.
#[derive(Debug, Default)]
pub(crate) struct HotOrder {
    queues: Mutex<Queues>,
}

/// What became of a piece that was considered.
enum Verdict {
    Gone,
    InUse,
    Touched,
}

impl HotOrder {
    /// Pieces that were fetched and are on disk now: they may stay while nobody needs the memory.
    pub(crate) fn fetched(&self, pieces: impl Iterator<Item = PieceId>) {
        self.queues.lock().fresh.extend(pieces);
    }

    /// A piece that has earned its place.
    pub(crate) fn admitted(&self, piece: PieceId) {
        self.queues.lock().hot.push_back(piece);
    }

    /// Memory for `len` bytes, made free where that is needed and possible.
    pub(crate) fn frame(&self, index: &Index, ram: &RamTier, len: u32) -> Option<FrameWriter> {
        if let Some(writer) = ram.frame(len) {
            return Some(writer);
        }
        if len == 0 || u64::from(len) > ram.capacity_bytes() {
            return None;
        }
        let mut queues = self.queues.lock();
        // Each piece is considered once in its queue and, where it was touched, once more.
        let (fresh, hot) = (queues.fresh.len(), queues.hot.len());
        for turn in 0..2 * fresh + 2 * hot {
            let from_fresh = turn < fresh;
            let queue = if from_fresh {
                &mut queues.fresh
            } else {
                &mut queues.hot
            };
            let Some(id) = queue.pop_front() else {
                continue;
            };
            match consider(index, id) {
                Verdict::Gone => {
                    if let Some(writer) = ram.frame(len) {
                        return Some(writer);
                    }
                }
                Verdict::InUse => queue.push_back(id),
                Verdict::Touched => queues.hot.push_back(id),
            }
        }
        None
    }
}

fn consider(index: &Index, id: PieceId) -> Verdict {
    let mut shard = index.shard(id);
    let Some(hot) = shard.hot.get_mut(&id) else {
        return Verdict::Gone;
    };
    // Under the shard's lock nobody new can get hold of the frame.
    if hot.waits || Arc::strong_count(&hot.frame) > 1 {
        return Verdict::InUse;
    }
    if std::mem::take(&mut hot.touched) {
        return Verdict::Touched;
    }
    let gone = shard.hot.remove(&id);
    drop(shard);
    // Giving the memory back is a system call: not under the lock.
    drop(gone);
    Verdict::Gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Hot;
    use larder_content::ContentNo;

    const PIECE: u32 = 64 << 10;

    struct Memory {
        index: Index,
        ram: RamTier,
        order: HotOrder,
    }

    impl Memory {
        fn new(pieces: u32) -> Self {
            Self {
                index: Index::new(),
                ram: RamTier::new(u64::from(pieces * PIECE)).unwrap(),
                order: HotOrder::default(),
            }
        }

        fn id(piece: u32) -> PieceId {
            let content = ContentNo::new(1);
            PieceId { content, piece }
        }

        fn put(&self, piece: u32, waits: bool) {
            let id = Self::id(piece);
            let writer = self.frame().expect("there is room");
            let hot = Hot {
                frame: Arc::clone(writer.frame()),
                touched: false,
                waits,
                location: None,
            };
            drop(writer);
            self.index.shard(id).hot.insert(id, hot);
            self.order.fetched([id].into_iter());
        }

        fn frame(&self) -> Option<FrameWriter> {
            self.order.frame(&self.index, &self.ram, PIECE)
        }

        fn has(&self, piece: u32) -> bool {
            let id = Self::id(piece);
            self.index.shard(id).hot.contains_key(&id)
        }

        fn touch(&self, piece: u32) {
            let id = Self::id(piece);
            self.index.shard(id).hot.get_mut(&id).unwrap().touched = true;
        }
    }

    #[test]
    fn what_was_asked_for_stays_longer_than_what_was_not() {
        let memory = Memory::new(3);
        (0..3).for_each(|piece| memory.put(piece, false));
        memory.touch(0);
        memory.put(3, false);
        assert_eq!(
            [0, 1, 2, 3].map(|p| memory.has(p)),
            [true, false, true, true]
        );
        memory.put(4, false);
        memory.put(5, false);
        assert_eq!(
            [0, 2, 3, 4, 5].map(|p| memory.has(p)),
            [true, false, false, true, true]
        );
    }

    #[test]
    fn what_is_read_or_not_on_disk_stays_whatever_happens() {
        let memory = Memory::new(2);
        memory.put(0, true);
        memory.put(1, false);
        let id = Memory::id(1);
        let reader = Arc::clone(&memory.index.shard(id).hot[&id].frame);
        assert!(memory.frame().is_none());
        drop(reader);
        assert!(memory.frame().is_some());
        assert!(memory.has(0) && !memory.has(1));
        let whole = memory.order.frame(&memory.index, &memory.ram, 3 * PIECE);
        assert!(whole.is_none(), "more than there is");
    }
}
