//! What becomes of a piece that peers bring: it is taken from the list, put together, proved, or begun again. The rule: it
//! is given out only where its hash is the one it must have, and what is of no use leaves nothing behind.

use super::Party;
use super::assembly::Assembly;
use super::table::{BY_PEERS, Table, Work};
use crate::download::Way;
use crate::peer::Order;
use crate::swarm::Shared;
use larder_content::span::piece_len;
use larder_proto::swarm::picker::Event;

impl Party {
    /// Takes a piece from the list of what is wanted. False where it can not be had.
    pub(super) fn take(&self, table: &mut Table, shared: &Shared, piece: u32) -> bool {
        let job = self
            .download
            .upgrade()
            .and_then(|download| download.take_for_peer(&self.content, piece));
        if job.is_none() {
            table.works.remove(&piece);
            return false;
        }
        if let Some(work) = table.works.get_mut(&piece) {
            work.job = job;
            return true;
        }
        match self.assembly(shared, piece) {
            Some(assembly) => {
                let from = [0; BY_PEERS.len()];
                table.works.insert(
                    piece,
                    Work {
                        job,
                        assembly,
                        from,
                    },
                );
                true
            }
            None => {
                table.for_want_of_memory.insert(piece);
                false
            }
        }
    }

    fn assembly(&self, shared: &Shared, piece: u32) -> Option<Assembly> {
        let hash = self.hashes.phf.piece_hash(piece)?;
        let len = piece_len(self.content.length(), piece);
        Some(Assembly::new(*hash, shared.store.frame(len)?))
    }

    /// What has come of a piece is of no use. False where there is no memory to begin again.
    pub(super) fn begin_again(&self, table: &mut Table, shared: &Shared, piece: u32) -> bool {
        let Some(work) = table.works.remove(&piece) else {
            return true;
        };
        if work.job.is_none() {
            return true;
        }
        let Some(assembly) = self.assembly(shared, piece) else {
            table.for_want_of_memory.insert(piece);
            return false;
        };
        let from = [0; BY_PEERS.len()];
        table.works.insert(
            piece,
            Work {
                assembly,
                from,
                ..work
            },
        );
        true
    }

    /// All blocks of a piece are here.
    pub(super) fn prove(&self, table: &mut Table, shared: &Shared, piece: u32) -> Event {
        let proved = table.works.get_mut(&piece).map(|w| w.assembly.proved());
        if !self.is_believed(shared) {
            // It ends as soon as it looks.
            table.works.remove(&piece);
            self.bell.notify_one();
            return Event::Unwanted(piece);
        }
        match proved {
            Some(Some(writer)) => {
                let Some(work) = table.works.remove(&piece) else {
                    return Event::Unwanted(piece);
                };
                let shares: Vec<(Way, u32)> = BY_PEERS.into_iter().zip(work.from).collect();
                let hash = self.hashes.phf.piece_hash(piece);
                let landed = work
                    .job
                    .zip(hash)
                    .is_some_and(|(job, hash)| job.landed(writer, hash, &shares));
                if !landed {
                    return Event::Unwanted(piece);
                }
                table.brought = true;
                if self.hashes.trusted {
                    shared.figures.pieces_verified_phf.increment(1);
                }
                table.order_all(Order::Landed(piece));
                Event::Landed(piece)
            }
            Some(None) => {
                shared.figures.pieces_rejected_peer.increment(1);
                if self.begin_again(table, shared, piece) {
                    Event::Bad(piece)
                } else {
                    Event::AtOrigin(piece)
                }
            }
            None => Event::AtOrigin(piece),
        }
    }
}
