//! How `memory_bytes_max` is shared out. The rule: the shares never add up to more than there is, and the memory tier
//! gets what the others leave.

use larder_net::settings::Settings;
use larder_storage::arena::FRAME_BYTES;

/// redb's cache; the catalogue is never read on a shard thread, so more would buy little.
const CATALOGUE_BYTES: u64 = 32 << 20;

/// The shares, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    /// Frames for cold reads, of each shard.
    pub(crate) arena_bytes: u64,
    /// The cache of the catalogue.
    pub(crate) catalogue_bytes: u64,
    /// Where each piece is: grows with the number of pieces on disk.
    pub(crate) index_bytes: u64,
    /// Connections: their records and what was received of their requests.
    pub(crate) connection_bytes: u64,
    /// Hot pieces, and pieces on their way in.
    pub(crate) ram_bytes: u64,
}

impl Budget {
    /// Settings that fit: what is asked of origins at once needs frames, and the other half is for hot pieces.
    #[must_use]
    pub(crate) fn fit(&self, mut settings: Settings) -> Settings {
        let under_way_max = self.ram_bytes / 2;
        settings.window_bytes_max = settings.window_bytes_max.min(under_way_max);
        settings.ahead_bytes_max = settings.ahead_bytes_max.min(under_way_max);
        settings.run_bytes_max = settings.run_bytes_max.min(under_way_max);
        settings
    }

    /// What each of so many shards may keep of requests that are not answered; the rest is for records, and for what was
    /// handed over.
    #[must_use]
    pub(crate) fn inbox_bytes(&self, shards: usize) -> usize {
        let bytes = self.connection_bytes / 2 / shards.max(1) as u64;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Shares out `bytes` among so many shards.
    #[must_use]
    pub(crate) fn new(bytes: u64, shards: usize) -> Self {
        let shards = shards.max(1) as u64;
        let frame = FRAME_BYTES as u64;
        // A sixteenth for frames: a shard reads a few dozen pieces at once at most, and one frame it must have.
        let arena_bytes = (bytes / 16 / shards / frame * frame).clamp(frame, 64 << 20);
        let catalogue_bytes = CATALOGUE_BYTES.min(bytes / 4);
        let (index_bytes, connection_bytes) = (bytes / 8, bytes / 16);
        let others = arena_bytes * shards + catalogue_bytes + index_bytes + connection_bytes;
        Self {
            arena_bytes,
            catalogue_bytes,
            index_bytes,
            connection_bytes,
            ram_bytes: bytes.saturating_sub(others),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MEMORY_BYTES_MIN;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_and_the_memory_tier_has_the_most(
            bytes in MEMORY_BYTES_MIN..1 << 40,
            shards in 0_usize..=32,
        ) {
            let budget = Budget::new(bytes, shards);
            let all = budget.arena_bytes * shards.max(1) as u64
                + budget.catalogue_bytes
                + budget.index_bytes
                + budget.connection_bytes
                + budget.ram_bytes;
            prop_assert_eq!(all, bytes);
            prop_assert!(budget.ram_bytes >= bytes / 4, "{:?}", budget);
            prop_assert!(budget.arena_bytes.is_multiple_of(FRAME_BYTES as u64));
        }
    }

    #[test]
    fn what_is_under_way_never_fills_the_memory_tier() {
        let usual = Settings::new(larder_proto::http::route::OriginRules::default());
        let small = Budget::new(MEMORY_BYTES_MIN, 2);
        assert_eq!(
            small.fit(usual.clone()).window_bytes_max,
            small.ram_bytes / 2
        );
        let large = Budget::new(4 << 30, 2).fit(usual.clone());
        assert_eq!(large.window_bytes_max, usual.window_bytes_max);
    }

    #[test]
    fn a_usual_machine() {
        let budget = Budget::new(2 << 30, 4);
        assert_eq!(budget.arena_bytes, 32 << 20);
        assert_eq!(budget.ram_bytes, (2048 - 128 - 32 - 256 - 128) << 20);
    }
}
