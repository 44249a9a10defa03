//! What a simulation came to. The rule: every figure is counted by the world, not by those who are counted.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// When the last one had everything.
    pub(crate) last_ms: u64,
    /// When half of them had.
    pub(crate) median_ms: u64,
    pub(crate) unfinished: Vec<usize>,
    /// Bytes that came into each site from outside, from whomever.
    pub(crate) wan_in: Vec<u64>,
    /// Of the origin.
    pub(crate) origin_bytes: u64,
    /// Between sites.
    pub(crate) inter_site_bytes: u64,
    /// From peers, and how much of it was of no use.
    pub(crate) peer_bytes: u64,
    pub(crate) wasted_bytes: u64,
    /// Peers that the coordinator told of, and how many were gone.
    pub(crate) handed: u64,
    pub(crate) handed_dead: u64,
    /// Bad pieces by victim and liar.
    pub(crate) bad: BTreeMap<(usize, usize), u32>,
    pub(crate) bans: usize,
    /// Everything that happened, in one number.
    pub(crate) trace: u64,
    pub(crate) events: u64,
}

impl Outcome {
    pub(crate) fn wasted_share(&self) -> f64 {
        share(self.wasted_bytes, self.peer_bytes)
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures to be read")]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
