//! Keys that left lately without having been asked for. The rule: a key is remembered for as long as no more bytes
//! have left after it than the window; forgetting one early, or taking another for it, costs a choice and no more.

/// Entries that share one stretch of the table; the oldest of them makes room.
const WAYS: usize = 8;

/// The clock counts these: bytes that left, in units of it. It wraps after 16 TiB have left.
const UNIT_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// The key's hash; 0 where the entry is empty.
    hash: u32,
    /// What the clock said when it left.
    left_at: u32,
}

/// A table of eight bytes an entry, with room for as many keys as there have ever been slots.
#[derive(Debug)]
pub(super) struct Ghost {
    entries: Vec<Entry>,
    /// Bytes that have left so far.
    left_bytes: u64,
}

/// Zero marks an empty entry.
const fn mark(hash: u32) -> u32 {
    if hash == 0 { 1 } else { hash }
}

impl Ghost {
    pub(super) fn new() -> Self {
        Self {
            entries: vec![Entry::default(); WAYS * 8],
            left_bytes: 0,
        }
    }

    fn clock(&self) -> u32 {
        // Truncation is meant: ages are differences, and wrap with it.
        (self.left_bytes / UNIT_BYTES) as u32
    }

    fn ways(&mut self, hash: u32) -> &mut [Entry] {
        let groups = self.entries.len() / WAYS;
        // The hash may be a weak one: its bits are spread before the upper ones choose.
        let spread = u64::from(hash.wrapping_mul(0x9E37_79B1));
        let group = usize::try_from((spread * groups as u64) >> 32).unwrap_or(0);
        &mut self.entries[group * WAYS..(group + 1) * WAYS]
    }

    /// A key has left, and its bytes with it.
    pub(super) fn left(&mut self, hash: u32, bytes: u32) {
        self.left_bytes += u64::from(bytes);
        let now = self.clock();
        self.put(Entry {
            hash: mark(hash),
            left_at: now,
        });
    }

    fn put(&mut self, entry: Entry) {
        let now = self.clock();
        let ways = self.ways(entry.hash);
        let at = ways
            .iter()
            .position(|old| old.hash == entry.hash)
            .or_else(|| ways.iter().position(|old| old.hash == 0))
            .or_else(|| (0..WAYS).max_by_key(|at| now.wrapping_sub(ways[*at].left_at)));
        if let Some(at) = at {
            ways[at] = entry;
        }
    }

    /// Whether the key left within the last `window` bytes. It is forgotten: it is back.
    pub(super) fn is_back(&mut self, hash: u32, window: u64) -> bool {
        let (hash, now) = (mark(hash), self.clock());
        let ways = self.ways(hash);
        let Some(entry) = ways.iter_mut().find(|entry| entry.hash == hash) else {
            return false;
        };
        let age = u64::from(now.wrapping_sub(entry.left_at)) * UNIT_BYTES;
        *entry = Entry::default();
        age <= window
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Makes room for `keys` keys; what is remembered stays.
    pub(super) fn reserve(&mut self, keys: usize) {
        if keys > self.entries.len() {
            let len = (keys + keys / 8).next_multiple_of(WAYS);
            let old = std::mem::replace(&mut self.entries, vec![Entry::default(); len]);
            old.into_iter()
                .filter(|entry| entry.hash != 0)
                .for_each(|entry| self.put(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_back_once_and_within_the_window() {
        let mut ghost = Ghost::new();
        ghost.left(7, 4096);
        ghost.left(0, 4096);
        assert!(ghost.is_back(7, 4096));
        assert!(!ghost.is_back(7, 4096), "it is forgotten once it is back");
        assert!(ghost.is_back(0, 0), "nothing has left since");
        ghost.left(7, 4096);
        ghost.left(8, 1 << 20);
        assert!(!ghost.is_back(7, (1 << 20) - 1));
    }

    #[test]
    fn growing_forgets_nothing_and_a_full_table_forgets_the_oldest() {
        let mut ghost = Ghost::new();
        ghost.reserve(1 << 12);
        for hash in 0..1000_u32 {
            ghost.left(hash.wrapping_mul(0x85EB_CA6B), 4096);
        }
        ghost.reserve(1 << 14);
        let back =
            |ghost: &mut Ghost, hash: u32| ghost.is_back(hash.wrapping_mul(0x85EB_CA6B), u64::MAX);
        assert_eq!((0..1000).filter(|at| back(&mut ghost, *at)).count(), 1000);
        for hash in 0..100_000_u32 {
            ghost.left(hash.wrapping_mul(0x85EB_CA6B), 4096);
        }
        assert!((99_990..100_000).all(|at| back(&mut ghost, at)));
        assert!(!(0..100).any(|at| back(&mut ghost, at)));
    }
}
