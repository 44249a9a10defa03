//! The scrubber's looks: everything on disk is read, slab by slab, so that damage is found before somebody asks for what
//! is damaged. The rule: what is found wrong is dropped, and fetched anew when it is asked for; a table or a head is
//! written anew from memory, where it is whole.

use super::{LookBuf, Looked, Store};
use crate::slab::check::CheckBuf;
use larder_content::PieceId;
use std::sync::atomic::Ordering;

/// Where a pass over all that is stored stands.
#[derive(Debug, Default)]
pub struct Pass {
    disk: usize,
    /// The next slab of it.
    slab: u32,
    /// What is still to be looked at in the slab before that one, the last first.
    pieces: Vec<PieceId>,
    piece: LookBuf,
    table: CheckBuf,
}

impl Store {
    /// Looks at the next piece, or at the next slab's table, and returns how many bytes that was. None: the pass is over.
    /// Everything that was stored as long as a pass goes on is looked at in it. Waits for the disk.
    pub fn scrub(&self, pass: &mut Pass) -> Option<u64> {
        if let Some(id) = pass.pieces.pop() {
            let mut bytes = 0;
            let looked = self.look(id, &mut pass.piece, |found| {
                bytes = found.len() as u64;
                Ok(())
            });
            if looked != Looked::Absent {
                let counter = &self.inner.common.counters.scrubbed;
                counter.fetch_add(1, Ordering::Relaxed);
            }
            return Some(bytes);
        }
        loop {
            let Some(disk) = self.inner.disks.get(pass.disk) else {
                let counter = &self.inner.common.counters.scrub_passes;
                counter.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            let number = pass.slab;
            pass.slab += 1;
            if number >= disk.view.slabs() {
                (pass.disk, pass.slab) = (pass.disk + 1, 0);
                continue;
            }
            let Some(slab) = disk.view.slab(number) else {
                continue;
            };
            // In the order of the disk, the last first.
            let mut headers = slab.headers();
            headers.sort_unstable_by_key(|header| std::cmp::Reverse((header.sector, header.skip)));
            pass.pieces = headers.into_iter().map(|header| header.id).collect();
            let counters = &self.inner.common.counters;
            match slab.check(&mut pass.table) {
                Ok(0) => {}
                Ok(damaged) => {
                    counters.corrupt.fetch_add(damaged, Ordering::Relaxed);
                    tracing::warn!(disk = %disk.name, slab = number, damaged, "slab: its table or its head is damaged on disk; it is written anew");
                }
                Err(error) => {
                    counters.io_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(disk = %disk.name, slab = number, %error, "slab: its table cannot be read; larder goes on with what it has in memory");
                }
            }
            return Some(slab.table_bytes());
        }
    }
}
